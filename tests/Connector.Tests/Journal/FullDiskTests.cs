using System.Net;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Testing;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Connector.Tests.Journal;

/// <summary>On a disk that is really full.</summary>
public sealed class FullDiskTests
{
    private const string Path = "/communes/35085/events";

    [SmallDiskFact]
    public async Task Given_a_disk_that_fills_up_to_its_last_byte_When_events_are_posted_Then_none_accepted_is_lost_and_it_goes_on_once_there_is_room()
    {
        using var disk = new SmallDisk(16);
        var accepted = new List<string>();
        await using (var app = Start(disk, minFree: 0))
        {
            for (var round = 1; round <= 3; round++)
            {
                Assert.True(await PostAsync(app, $"{round}-before", accepted));
                disk.Fill(butBytes: 600_000 * (round - 1));
                var batch = 0;
                while (await PostAsync(app, $"{round}-{batch}", accepted)) Assert.InRange(batch++, 0, 200);
                Assert.Equal(accepted.Count, app.Journal("35085").Last);

                disk.Empty();
                Assert.True(await PostAsync(app, $"{round}-after", accepted));
            }

            Assert.Equal(accepted, app.Events("35085").Select(json => json.GetProperty("id").GetString()));
        }

        await using var again = Start(disk, minFree: 0);
        Assert.Equal(accepted, again.Events("35085").Select(json => json.GetProperty("id").GetString()));
        Assert.Equal(Enumerable.Range(1, accepted.Count).Select(i => (long)i), again.Events("35085").Select(json => json.GetProperty("position").GetInt64()));
        Assert.Equal("ok", Check(disk));
        Assert.True(await PostAsync(again, "end", accepted));
    }

    [SmallDiskFact]
    public async Task Given_a_disk_near_its_end_When_events_are_posted_Then_it_is_never_full_and_it_goes_on_once_there_is_room()
    {
        using var disk = new SmallDisk(32);
        await using var app = Start(disk, minFree: 8 << 20);
        var accepted = new List<string>();
        Assert.True(await PostAsync(app, "before", accepted));

        disk.Fill(butBytes: 7 << 20);
        await Eventually.Is(() => ReadyAsync(app), status => status == HttpStatusCode.ServiceUnavailable);
        using var refused = await app.PostEventAsync(Path, SampleEvents.Json("refused"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.Contains("Journal:MinFreeDisk", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(accepted.Count, app.Journal("35085").Last);

        disk.Empty();
        await Eventually.Is(() => ReadyAsync(app), status => status == HttpStatusCode.OK);
        Assert.True(await PostAsync(app, "after", accepted));
    }

    [SmallDiskFact]
    public async Task Given_a_full_disk_When_the_hub_says_how_far_it_is_Then_each_word_of_it_counts_and_is_written_once_there_is_room()
    {
        using var disk = new SmallDisk(8);
        await using (var app = Start(disk, minFree: 0))
        {
            var accepted = new List<string>();
            Assert.True(await PostAsync(app, "a", accepted));
            var journal = app.Journal("35085");
            var forwarders = app.Services.GetRequiredService<Forwarders>();
            disk.Fill();
            Assert.Throws<SqliteException>(() => journal.DeleteReceived(DateTimeOffset.UtcNow, TimeSpan.Zero));

            for (var through = 1; through <= 40; through++)
            {
                await app.ReceivedAsync("35085", through);
            }

            disk.Empty();
            forwarders.Heard(new JournalReceipt("35085", journal.Id, 40));
            await Eventually.Is(() => Noted(disk), noted => noted == 40);
        }

        await using var again = Start(disk, minFree: 0);
        Assert.Equal(40, again.Journal("35085").ReceivedThrough);
    }

    [SmallDiskFact]
    public async Task Given_a_full_disk_When_the_connector_starts_again_Then_it_says_no_and_goes_on_once_there_is_room()
    {
        using var disk = new SmallDisk(8);
        var accepted = new List<string>();
        await using (var first = Start(disk, minFree: 1 << 20)) Assert.True(await PostAsync(first, "before", accepted));
        disk.Fill();

        await using var app = Start(disk, minFree: 1 << 20);
        Assert.False(await PostAsync(app, "full", accepted));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await ReadyAsync(app));
        disk.Empty();
        await Eventually.Is(() => ReadyAsync(app), status => status == HttpStatusCode.OK);
        Assert.True(await PostAsync(app, "after", accepted));
        Assert.Equal(accepted, app.Events("35085").Select(json => json.GetProperty("id").GetString()));
    }

    [SmallDiskFact]
    public async Task Given_a_disk_too_full_for_a_file_When_one_is_posted_or_dropped_Then_it_is_refused_or_waits_and_nothing_is_lost()
    {
        using var disk = new SmallDisk(32);
        await using var app = Start(disk, minFree: 8 << 20);
        var lines = string.Concat(Enumerable.Range(1, 50).Select(i => $"{SampleEvents.Json($"{i}")}\n"));
        disk.Fill(butBytes: 9 << 20);

        await AssertNoRoomForAsync(app, disk, 24 << 20);
        Assert.True(new DriveInfo(disk.FullPath).AvailableFreeSpace >= 8 << 20);

        disk.Fill(butBytes: 7 << 20);
        var drop = System.IO.Path.Combine(disk.FullPath, "35085", "drop", "cloudevents-jsonl");
        await File.WriteAllTextAsync(System.IO.Path.Combine(drop, "events.jsonl"), lines);
        await Eventually.Is(() => ReadyAsync(app), status => status == HttpStatusCode.ServiceUnavailable);
        Assert.True(File.Exists(System.IO.Path.Combine(drop, "events.jsonl")));
        Assert.Equal(0, app.Journal("35085").Last);

        disk.Empty();
        await Eventually.Is(() => File.Exists(System.IO.Path.Combine(drop, "done", "events.jsonl")), done => done);
        Assert.Equal(50, app.Journal("35085").Last);
    }

    [SmallDiskFact]
    public async Task Given_a_disk_full_in_the_middle_of_an_import_When_there_is_room_again_Then_it_ends_with_the_right_counts()
    {
        using var disk = new SmallDisk(16);
        await using var app = Start(disk, minFree: 0);
        await AssertNoRoomForAsync(app, disk, 24 << 20);
        var lines = string.Concat(Enumerable.Range(1, 4_000).Select(i => $"{SampleEvents.Json($"{i}")}\n"));
        disk.Fill(butBytes: lines.Length + 1_000_000);
        using var body = new StringContent(lines);
        using var posted = await app.Http.PostAsync(new Uri("/communes/35085/files/cloudevents-jsonl", UriKind.Relative), body);
        Assert.Equal(HttpStatusCode.Accepted, posted.StatusCode);
        var path = posted.Headers.Location!.ToString();

        var waiting = await Eventually.Is(() => app.GetAsync(path), state => state.TryGetProperty("waiting", out _));
        Assert.Equal("running", waiting.GetProperty("status").GetString());
        disk.Empty();
        var end = await app.EndOfAsync(path);

        Assert.Equal(
            ("completed", 4_000, 4_000, 0),
            (end.GetProperty("status").GetString(), end.GetProperty("linesRead").GetInt32(), end.GetProperty("accepted").GetInt32(), end.GetProperty("duplicates").GetInt32()));
        Assert.Equal(4_000, app.Journal("35085").Last);
    }

    private static ConnectorApp Start(SmallDisk disk, long minFree) => ConnectorApp.Start(
        disk.FullPath, "35085", settings: new Dictionary<string, string> { ["Journal:MinFreeDisk"] = $"{minFree}", ["Formats:RetryDelay"] = "00:00:00.500" });

    // 40 events at once; true when they were accepted, false when the answer is 503.
    private static async Task<bool> PostAsync(ConnectorApp app, string name, List<string> accepted)
    {
        var ids = Enumerable.Range(1, 40).Select(i => $"{name}-{i}").ToList();
        using var response = await app.PostEventAsync(Path, $"[{string.Join(',', ids.Select(id => SampleEvents.Json(id)))}]", CloudEvent.BatchMediaType);
        if (response.StatusCode == HttpStatusCode.Accepted)
        {
            accepted.AddRange(ids);
            return true;
        }

        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.True(response.Headers.RetryAfter!.Delta > TimeSpan.Zero);
        return false;
    }

    // A file of which nobody knows how long it is before it is there.
    private static async Task AssertNoRoomForAsync(ConnectorApp app, SmallDisk disk, int bytes)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri("/files/cloudevents-jsonl", UriKind.Relative));
        request.Headers.TransferEncodingChunked = true;
        request.Content = new ByteArrayContent(new byte[bytes]);
        using var response = await app.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.True(response.Headers.RetryAfter!.Delta > TimeSpan.Zero);
        Assert.Empty(Directory.GetDirectories(System.IO.Path.Combine(disk.FullPath, "imports")));
    }

    private static async Task<HttpStatusCode> ReadyAsync(ConnectorApp app)
    {
        using var response = await app.Http.GetAsync(new Uri("/health/ready", UriKind.Relative));
        return response.StatusCode;
    }

    private static string? Check(SmallDisk disk) => Scalar(disk, "PRAGMA integrity_check") as string;

    private static long Noted(SmallDisk disk) => (long)Scalar(disk, "SELECT received FROM journal")!;

    private static object? Scalar(SmallDisk disk, string sql)
    {
        using var connection = new SqliteConnection($"Data Source={System.IO.Path.Combine(disk.FullPath, "35085", "journal.db")};Pooling=False");
        connection.Open();
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
