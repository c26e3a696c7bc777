using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Connector.Tests.Formats.InseeDeaths;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class DropFolderTests : IDisposable
{
    private static readonly string s_file = $"{Death.Header}\n{new Death().Csv}\n{new Death(DeathPlace: "35085").Csv}\n";

    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Given_a_file_in_a_communes_folder_When_it_is_whole_Then_it_is_imported_and_moved_to_done_with_its_report()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");

        await File.WriteAllTextAsync(Path.Combine(folder, "1970.csv"), s_file);
        var report = await ReportAsync(Path.Combine(folder, "done", "1970.csv"));

        Assert.Equal("completed", report.GetProperty("status").GetString());
        Assert.Equal((1, 1), (report.GetProperty("accepted").GetInt32(), report.GetProperty("rejected").GetInt32()));
        Assert.Equal(s_file, await File.ReadAllTextAsync(Path.Combine(folder, "done", "1970.csv")));
        Assert.Contains("of another commune", await File.ReadAllTextAsync(Path.Combine(folder, "done", "1970.csv.rejects.csv")), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(folder));
        Assert.Equal(1, app.Journal("35238").Last);
    }

    [Fact]
    public async Task Given_a_file_in_the_common_folder_When_it_is_whole_Then_each_record_goes_to_its_commune()
    {
        await using var app = Start();
        var folder = _data.Combine("drop", "insee-deaths");

        await File.WriteAllTextAsync(Path.Combine(folder, "1970.csv"), s_file);
        await ReportAsync(Path.Combine(folder, "done", "1970.csv"));

        Assert.Equal((1, 1), (app.Journal("35238").Last, app.Journal("35085").Last));
        Assert.False(File.Exists(Path.Combine(folder, "done", "1970.csv.rejects.csv")));
    }

    [Fact]
    public async Task Given_files_of_one_name_When_they_are_refused_Then_each_is_kept_under_a_name_of_its_own()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");

        await File.WriteAllTextAsync(Path.Combine(folder, "1970.csv"), "nom;prenom\n");
        var first = await ReportAsync(Path.Combine(folder, "rejected", "1970.csv"));
        await File.WriteAllTextAsync(Path.Combine(folder, "1970.csv"), "");
        var second = await ReportAsync(Path.Combine(folder, "rejected", "1970-2.csv"));

        Assert.All([first, second], report => Assert.Equal("refused", report.GetProperty("status").GetString()));
        Assert.Equal("nom;prenom\n", await File.ReadAllTextAsync(Path.Combine(folder, "rejected", "1970.csv")));
        Assert.Equal("The file is empty.", second.GetProperty("error").GetString());
    }

    [Fact]
    public async Task Given_a_file_that_was_being_imported_When_the_connector_starts_again_Then_it_is_moved_once_that_is_done()
    {
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        await using (var scene = Scene.Open(_data.FullPath, folder))
        {
            await scene.DropAsync("1970.csv", s_file);
            await scene.LookAsync(2);
            Assert.Single(Directory.GetFiles(folder, ".import-*.1970.csv"));
        }

        await using var app = Start();
        var report = await ReportAsync(Path.Combine(folder, "done", "1970.csv"));

        Assert.Equal((1, 0), (report.GetProperty("accepted").GetInt32(), report.GetProperty("duplicates").GetInt32()));
        Assert.Single(Directory.GetDirectories(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_a_file_that_still_grows_When_the_folder_is_looked_at_Then_it_is_left_until_it_has_rested()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));

        await scene.DropAsync("1970.csv", Death.Header);
        await scene.LookAsync(1);
        await File.AppendAllTextAsync(scene.File("1970.csv"), "\n");
        await scene.LookAsync(1);
        Assert.True(File.Exists(scene.File("1970.csv")));

        await scene.LookAsync(1);
        Assert.False(File.Exists(scene.File("1970.csv")));
    }

    [Fact]
    public async Task Given_a_file_that_somebody_has_open_When_the_folder_is_looked_at_Then_it_is_left_until_it_is_closed()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync("1970.csv", Death.Header);

        await using (new FileStream(scene.File("1970.csv"), FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            await scene.LookAsync(3);
            Assert.True(File.Exists(scene.File("1970.csv")));
        }

        await scene.LookAsync(2);
        Assert.False(File.Exists(scene.File("1970.csv")));
    }

    [Theory]
    [InlineData("1970.csv.part")]
    [InlineData("1970.TMP")]
    [InlineData(".1970.csv")]
    [InlineData(".nothing")]
    public async Task Given_a_file_that_is_not_meant_yet_When_the_folder_is_looked_at_Then_it_is_left_alone(string name)
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync(name, Death.Header);

        await scene.LookAsync(3);

        Assert.True(File.Exists(scene.File(name)));
        Assert.Empty(Directory.GetDirectories(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_a_link_When_the_folder_is_looked_at_Then_it_is_not_followed()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await File.WriteAllTextAsync(_data.Combine("outside"), Death.Header);
        File.CreateSymbolicLink(scene.File("1970.csv"), _data.Combine("outside"));

        await scene.LookAsync(3);

        Assert.Empty(Directory.GetDirectories(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_a_crash_before_the_file_was_taken_whole_When_the_folder_is_looked_at_Then_it_is_put_back()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync($".import-{Guid.CreateVersion7()}.1970.csv", Death.Header);

        await scene.LookAsync(1);

        Assert.True(File.Exists(scene.File("1970.csv")));
    }

    [Fact]
    public async Task Given_a_writer_that_went_on_after_all_When_the_import_is_over_Then_the_file_is_taken_anew()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync("1970.csv", Death.Header);
        await scene.LookAsync(2);
        var taken = Assert.Single(Directory.GetFiles(scene.Folder, ".import-*.1970.csv"));
        await File.AppendAllTextAsync(taken, $"\n{new Death().Csv}");

        scene.FinishAll();
        await scene.LookAsync(1);

        Assert.Equal($"{Death.Header}\n{new Death().Csv}", await File.ReadAllTextAsync(scene.File("1970.csv")));
        Assert.Empty(Directory.GetFiles(Path.Combine(scene.Folder, "done")));
    }

    [Fact]
    public async Task Given_a_file_that_arrives_slowly_When_the_folder_is_looked_at_often_Then_it_is_left_until_it_has_rested()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync("1970.csv", Death.Header);
        for (var i = 0; i < 5; i++) await scene.LookAtOnceAsync();
        Assert.True(File.Exists(scene.File("1970.csv")));

        await scene.LookAsync(2);

        Assert.False(File.Exists(scene.File("1970.csv")));
    }

    [Fact]
    public async Task Given_a_file_whose_import_is_held_When_it_is_decided_Then_it_waits_in_held_with_its_report_and_goes_on_from_there()
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        var held = Path.Combine(scene.Folder, "held");
        await scene.DropAsync("1970.csv", Death.Header);
        await scene.LookAsync(2);
        scene.FinishAll(ImportStatus.Held);

        await scene.LookAsync(3);
        Assert.Equal(["1970.csv", "1970.csv.report.json"], Directory.GetFiles(held).Select(path => Path.GetFileName(path)[37..]).Order(StringComparer.Ordinal));
        Assert.True(Guid.TryParse(Path.GetFileName(Directory.GetFiles(held)[0])[..36], out _));
        scene.FinishAll();
        await scene.LookAsync(1);

        Assert.Empty(Directory.GetFiles(held));
        Assert.Equal(["1970.csv", "1970.csv.report.json"], Directory.GetFiles(Path.Combine(scene.Folder, "done")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Given_many_files_at_once_When_they_are_dropped_Then_each_is_imported_once()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        for (var i = 0; i < 500; i++) await File.WriteAllTextAsync(Path.Combine(folder, $"{i}.csv"), $"{Death.Header}\n{new Death(Act: $"{i}", Name: $"MARTIN*LEA{i}/").Csv}\n");

        await Eventually.Is(() => Directory.GetFiles(Path.Combine(folder, "done"), "*.report.json").Length, count => count == 500, TimeSpan.FromMinutes(2));

        Assert.Equal(500, app.Journal("35238").Last);
        Assert.Empty(Directory.GetFiles(folder));
    }

    [Theory]
    [InlineData("01890a5d-ac96-774b-bcce-b302099a8057.part")]
    [InlineData(".01890a5d-ac96-774b-bcce-b302099a8057.tmp")]
    public async Task Given_an_upload_under_a_name_like_an_id_When_the_folder_is_looked_at_Then_it_is_left_alone(string name)
    {
        await using var scene = Scene.Open(_data.FullPath, _data.Combine("drop"));
        await scene.DropAsync(name, Death.Header);

        await scene.LookAsync(3);

        Assert.Equal([name], Directory.GetFiles(scene.Folder).Select(Path.GetFileName));
    }

    [Fact]
    public async Task Given_a_pipe_When_the_folder_is_looked_at_Then_it_does_not_hold_up_the_others()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        using (var made = System.Diagnostics.Process.Start("mkfifo", [Path.Combine(folder, "1.csv")])) await made.WaitForExitAsync();
        await File.WriteAllTextAsync(Path.Combine(folder, "2.csv"), s_file);

        Assert.Equal("completed", (await ReportAsync(Path.Combine(folder, "done", "2.csv"))).GetProperty("status").GetString());
        await Eventually.Is(() => File.Exists(Path.Combine(folder, "rejected", "1.csv.report.json")), exists => exists);
    }

    [Fact]
    public async Task Given_a_very_long_name_When_it_is_dropped_Then_it_is_imported_and_kept_under_a_shorter_one()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        await File.WriteAllTextAsync(Path.Combine(folder, $"{new string('é', 120)}.csv"), s_file);

        await Eventually.Is(() => Directory.GetFiles(Path.Combine(folder, "done"), "*~.csv").Length, count => count == 1);

        Assert.Equal(1, app.Journal("35238").Last);
    }

    [Fact]
    public async Task Given_a_name_in_another_encoding_When_it_is_dropped_Then_a_report_says_to_rename_it()
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        using (var made = System.Diagnostics.Process.Start("bash", ["-c", "printf x > \"$1\"/$(printf 'd\\xe9c.csv')", "bash", folder])) await made.WaitForExitAsync();

        var report = Path.Combine(folder, "rejected", "d_c.csv.report.json");
        await Eventually.Is(() => File.Exists(report), exists => exists);

        // .NET cannot delete it either.
        using (var removed = System.Diagnostics.Process.Start("find", [folder, "-maxdepth", "1", "-name", "d*c.csv", "-delete"])) await removed.WaitForExitAsync();
        Assert.Contains("Renommez-le", JsonElement.Parse(await File.ReadAllTextAsync(report)).GetProperty("erreur").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a\nb.csv")]
    [InlineData("-rf *.csv")]
    [InlineData("\"'é`$(x)`.csv")]
    [InlineData("a..csv..")]
    [InlineData("%2e%2e%2fjournal.db")]
    [InlineData("a\\..\\b.csv")]
    public async Task Given_a_file_of_an_odd_name_When_it_is_dropped_Then_it_is_imported_and_kept_under_that_name_in_done(string name)
    {
        await using var app = Start();
        var folder = _data.Combine("35238", "drop", "insee-deaths");
        var dropped = Path.Combine(folder, name);

        await File.WriteAllTextAsync(dropped, s_file);

        Assert.Equal("completed", (await ReportAsync(Path.Combine(folder, "done", name))).GetProperty("status").GetString());
        Assert.Equal(s_file, await File.ReadAllTextAsync(Path.Combine(folder, "done", name)));
        Assert.Equal(1, app.Journal("35238").Last);
    }

    private ConnectorApp Start() => ConnectorApp.Start(_data.FullPath, "35085,35238");

    private static async Task<JsonElement> ReportAsync(string path)
    {
        await Eventually.Is(() => File.Exists(path), exists => exists);
        return JsonElement.Parse(await File.ReadAllTextAsync($"{path}.report.json"));
    }

    /// <summary>A drop folder that is looked at by hand, each time after it has rested, and imports that nobody reads.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private static readonly TimeSpan s_quiet = TimeSpan.FromSeconds(10);

        private readonly Journals _journals;
        private readonly JournalLimits _limits;
        private readonly Imports _imports;
        private readonly DropFolder _drop;
        private readonly AheadOfTime _time = new();

        private Scene(string data, string folder)
        {
            Folder = folder;
            _journals = new Journals(new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
            {
                ["Connector:DataDirectory"] = data,
                ["Connector:Communes"] = "35085,35238",
            }).Build());
            _limits = new JournalLimits(_journals, new JournalOptions(), TimeProvider.System, NullLogger<JournalLimits>.Instance);
            _imports = new Imports(_journals, _limits, new FormatsOptions(), TimeProvider.System);
            _drop = new DropFolder(folder, new ImportRequest("insee-deaths", CommuneCode.Parse("35238"), new Dictionary<string, string>()), _imports, s_quiet, _time);
            _drop.Create();
        }

        public string Folder { get; }

        public static Scene Open(string data, string folder) => new(data, folder);

        public string File(string name) => Path.Combine(Folder, name);

        public Task DropAsync(string name, string content) => System.IO.File.WriteAllTextAsync(File(name), content);

        public async Task LookAsync(int times)
        {
            for (var i = 0; i < times; i++)
            {
                await _drop.LookAsync(failure => Assert.Fail(failure.ToString()), CancellationToken.None);
                _time.Advance(s_quiet);
            }
        }

        /// <summary>Looks again before the folder has rested.</summary>
        public async Task LookAtOnceAsync()
        {
            await _drop.LookAsync(failure => Assert.Fail(failure.ToString()), CancellationToken.None);
        }

        public void FinishAll(ImportStatus status = ImportStatus.Completed)
        {
            foreach (var directory in Directory.GetDirectories(Path.Combine(_journals.DataDirectory, "imports")))
            {
                var import = _imports.Find(Guid.Parse(Path.GetFileName(directory)))!;
                _imports.Finish(import, import.State with { Status = status });
            }
        }

        public ValueTask DisposeAsync()
        {
            _limits.Dispose();
            return _journals.DisposeAsync();
        }
    }
}
