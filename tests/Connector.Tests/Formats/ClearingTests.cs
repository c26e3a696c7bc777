using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Microsoft.Data.Sqlite;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class ClearingTests : IDisposable
{
    private static readonly DateOnly s_today = new(2026, 11, 24);
    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public void Given_files_moved_away_long_ago_When_cleared_Then_they_go_and_their_reports_stay_until_later()
    {
        var now = DateTimeOffset.UtcNow;
        foreach (var folder in (string[])["done", "rejected", "held"])
        {
            Directory.CreateDirectory(_data.Combine(folder));
            foreach (var (name, days) in ((string, int)[])[("new.csv", 29), ("old.csv", 31), ("ancient.csv", 401)])
            {
                // The file itself is of any age.
                File.WriteAllText(_data.Combine(folder, name), "x");
                File.WriteAllText(_data.Combine(folder, $"{name}.rejects.csv"), "x");
                File.WriteAllText(_data.Combine(folder, $"{name}.report.json"), "{}");
                File.SetLastWriteTimeUtc(_data.Combine(folder, name), now.UtcDateTime.AddDays(name == "new.csv" ? -500 : 0));
                File.SetLastWriteTimeUtc(_data.Combine(folder, $"{name}.report.json"), now.UtcDateTime.AddDays(-days));
            }

            File.WriteAllText(_data.Combine(folder, "of-somebody-else.txt"), "x");
        }

        DropFolder.Clear(_data.Combine(), now.AddDays(-30), now.AddDays(-400));

        Assert.All((string[])["done", "rejected", "held"], folder => Assert.Equal(
            ["new.csv", "new.csv.rejects.csv", "new.csv.report.json", "of-somebody-else.txt", "old.csv.rejects.csv", "old.csv.report.json"],
            Directory.GetFiles(_data.Combine(folder)).Select(Path.GetFileName).Order(StringComparer.Ordinal)));
    }

    [Fact]
    public void Given_an_act_of_a_file_When_a_year_has_passed_Then_it_is_known_no_longer_and_until_then_it_is()
    {
        Assert.Equal("a", Settle("a", "1", s_today));
        Assert.Equal("a", Settle("b", "2", s_today.AddMonths(11)));
        KnownActs.Forget(_data.Combine(), s_today.AddMonths(22));
        Assert.Equal("a", Settle("c", "3", s_today.AddMonths(22)));
        Assert.Equal("d", Settle("d", "4", s_today.AddMonths(36)));
    }

    [Fact]
    public void Given_a_register_from_before_it_had_a_key_When_opened_Then_its_acts_are_known_and_no_hash_without_the_key_is_left()
    {
        var (content, likeness) = (Event("a", "1").EventId.ToByteArray(bigEndian: true), System.Security.Cryptography.SHA256.HashData("NOM Prénom"u8)[..8]);
        using (var old = new SqliteConnection($"Data Source={_data.Combine("known-acts.db")};Pooling=False"))
        {
            old.Open();
            using var make = old.CreateCommand();
            make.CommandText = """
                PRAGMA journal_mode = WAL;
                CREATE TABLE act (place TEXT NOT NULL, content BLOB NOT NULL, likenesses BLOB NOT NULL, subject TEXT NOT NULL, import BLOB NOT NULL, PRIMARY KEY (place, content)) WITHOUT ROWID;
                INSERT INTO act VALUES ('place', $content, $likeness, 'a', zeroblob(16));
                """;
            make.Parameters.AddWithValue("$content", content);
            make.Parameters.AddWithValue("$likeness", likeness);
            make.ExecuteNonQuery();
        }

        Assert.Equal("a", Settle("b", "2", s_today));
        // The same record again.
        Assert.Equal("a", Settle("a", "1", s_today));
        Assert.All(Directory.GetFiles(_data.Combine(), "known-acts.db*"), file =>
        {
            var bytes = File.ReadAllBytes(file).AsSpan();
            Assert.True(bytes.IndexOf(content) < 0 && bytes.IndexOf(likeness) < 0, file);
        });
        if (!OperatingSystem.IsWindows()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_data.Combine("known-acts.key")));
    }

    private static CloudEvent Event(string subject, string id) =>
        CloudEvent.Create(new DeathRegistered(PartialDate.Parse("2026-11")), id, new EventSource(CommuneCode.Parse("35085")), subject, DateTimeOffset.UnixEpoch);

    // The subject under which the act of a new import is settled.
    private string Settle(string subject, string id, DateOnly today)
    {
        using var acts = new KnownActs(_data.Combine(), today);
        return acts.Settle([(Event(subject, id), new ActKey(["place"], ["NOM Prénom"], known => Event(known, id)))], Guid.NewGuid()).Single().Subject;
    }
}
