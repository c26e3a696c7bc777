using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Connector.Tests.Formats.Concerto;
using Intercommunalite.Connector.Tests.Formats.Onde;
using Intercommunalite.Testing;

namespace Intercommunalite.Connector.Tests.Formats.Rolls;

/// <summary>State files through the connector as it is: taken, held, confirmed, given up, read again after a crash.</summary>
public sealed class StateFileTests : IAsyncLifetime, IDisposable
{
    private const string Onde = "/communes/35085/files/onde-pupils?uai=0350122T&schoolYear=2026";
    private const string Concerto = "/communes/35085/files/concerto-enrolments?schoolYear=2026";

    private static readonly OndePupil[] s_class = [.. OndePupil.ClassOf(6)];

    private readonly TemporaryFolder _data = new();
    private ConnectorApp _app;

    public StateFileTests() => _app = Start();

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _app.DisposeAsync();

    public void Dispose()
    {
        _app.Dispose();
        _data.Dispose();
    }

    [Fact]
    public async Task Given_a_school_When_files_follow_each_other_Then_the_journal_has_what_each_changed()
    {
        AssertCounts(await TakeAsync(s_class), linesRead: 6, accepted: 6);
        AssertCounts(await TakeAsync(s_class), linesRead: 6, duplicates: 6);
        AssertCounts(await TakeAsync([.. s_class[1..5], s_class[5] with { Level = "CE1" }, new OndePupil("New")]), linesRead: 6, accepted: 2, duplicates: 4, withdrawn: 1);

        Assert.Equal([.. Enumerable.Repeat("pupil-enrolled", 6), "pupil-changed-class", "pupil-enrolled", "pupil-withdrawn"], Types());
        Assert.Equal(7, _app.Events("35085").Select(said => said.GetProperty("subject").GetString()).Distinct().Count());
    }

    [Fact]
    public async Task Given_a_file_without_most_pupils_When_it_comes_Then_it_is_held_until_somebody_confirms_it()
    {
        await TakeAsync(s_class);

        var held = await TakeAsync(s_class[..3]);

        Assert.Equal("held", Status(held));
        Assert.Contains("3 of the 6 pupils of school 0350122T", held.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Contains("3 des 6 élèves de l'école 0350122T", held.GetProperty("erreur").GetString(), StringComparison.Ordinal);
        Assert.Contains("attente", await ReportAsync(held), StringComparison.Ordinal);
        Assert.Equal(6, _app.Journal("35085").Last);
        foreach (var path in new[] { "/imports/held", "/communes/35085/imports/held" })
            Assert.Equal(held.GetProperty("importId").GetString(), Assert.Single((await _app.GetAsync(path)).GetProperty("imports").EnumerateArray()).GetProperty("importId").GetString());
        Assert.Empty((await _app.GetAsync("/communes/35238/imports/held")).GetProperty("imports").EnumerateArray());
        AssertCounts(await ConfirmAsync(held), linesRead: 3, duplicates: 3, withdrawn: 3);
        Assert.Empty((await _app.GetAsync("/imports/held")).GetProperty("imports").EnumerateArray());
        Assert.Equal(["pupil-withdrawn", "pupil-withdrawn", "pupil-withdrawn"], Types()[6..]);
        AssertCounts(await TakeAsync([.. s_class, new OndePupil("New")]), linesRead: 7, accepted: 4, duplicates: 3);
    }

    [Fact]
    public async Task Given_a_third_of_a_school_missing_When_the_file_comes_Then_it_is_taken()
    {
        await TakeAsync(s_class);

        AssertCounts(await TakeAsync(s_class[..4]), linesRead: 4, duplicates: 4, withdrawn: 2);
    }

    [Fact]
    public async Task Given_a_smaller_share_in_the_settings_When_more_are_missing_Then_the_file_is_held()
    {
        await _app.DisposeAsync();
        _app = ConnectorApp.Start(_data.FullPath, "35085,35238", settings: new Dictionary<string, string> { ["Formats:MaxWithdrawnShare"] = "0.2" });
        await TakeAsync(s_class);

        Assert.Equal("held", Status(await TakeAsync(s_class[..4])));
    }

    [Fact]
    public async Task Given_a_file_with_nothing_but_its_header_When_the_school_is_known_Then_it_is_held()
    {
        AssertCounts(await TakeAsync());
        await TakeAsync(s_class);

        Assert.Equal("held", Status(await TakeAsync()));
    }

    [Fact]
    public async Task Given_a_held_file_When_it_is_given_up_Then_nothing_of_it_is_taken_and_the_next_goes_on_from_before()
    {
        await TakeAsync(s_class);
        var held = await TakeAsync(s_class[..1]);

        using var response = await _app.Http.DeleteAsync(new Uri($"/communes/35085/imports/{held.GetProperty("importId")}", UriKind.Relative));

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        AssertCounts(await TakeAsync([.. s_class, new OndePupil("New")]), linesRead: 7, accepted: 1, duplicates: 6);
    }

    [Fact]
    public async Task Given_an_earlier_file_When_it_comes_again_after_another_Then_it_is_held()
    {
        await TakeAsync(s_class);
        await TakeAsync([.. s_class, new OndePupil("New")]);

        var again = await TakeAsync(s_class);

        Assert.Equal("held", Status(again));
        Assert.Contains("taken before", again.GetProperty("error").GetString(), StringComparison.Ordinal);
        AssertCounts(await ConfirmAsync(again), linesRead: 6, duplicates: 6, withdrawn: 1);
        Assert.Equal("held", Status(await TakeAsync([.. s_class, new OndePupil("New")])));
    }

    [Fact]
    public async Task Given_a_held_file_When_a_later_one_of_the_other_software_was_taken_before_it_is_confirmed_Then_it_is_refused()
    {
        await TakeAsync(s_class);
        var held = await TakeAsync(s_class[..1]);
        var later = await _app.ImportAsync($"{Concerto}&uai=0350122T", ConcertoPupil.File(Enumerable.Range(1, 6).Select(i => new ConcertoPupil($"Enfant {i}"))));
        AssertCounts(await ConfirmAsync(later), linesRead: 6, duplicates: 6);

        var end = await ConfirmAsync(held);

        Assert.Equal("refused", Status(end));
        Assert.Contains("A later file", end.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal(6, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_school_known_from_one_software_When_a_file_of_the_other_comes_Then_it_is_held_and_once_confirmed_goes_on_with_the_same_pupils()
    {
        await File.WriteAllTextAsync(_data.Combine("35085", "schools.csv"), "Ecole du Coin;0350122T\n");
        await TakeAsync(new OndePupil("Léa"), new OndePupil("Léo"));

        var other = await _app.ImportAsync(Concerto, ConcertoPupil.File(new ConcertoPupil("LEA"), new ConcertoPupil("Léo", Level: "CE1")));

        Assert.Equal("held", Status(other));
        Assert.Contains("onde-pupils so far, not concerto-enrolments", other.GetProperty("error").GetString(), StringComparison.Ordinal);
        AssertCounts(await ConfirmAsync(other), linesRead: 2, accepted: 1, duplicates: 1);
        Assert.Equal(["pupil-enrolled", "pupil-enrolled", "pupil-changed-class"], Types());
    }

    [Fact]
    public async Task Given_a_file_of_several_schools_When_one_place_is_unknown_Then_its_lines_wait_and_adding_it_to_the_table_takes_them()
    {
        var table = _data.Combine("35085", "schools.csv");
        await File.WriteAllTextAsync(table, "Ecole du Coin;0350122T\n");
        var file = ConcertoPupil.File(new ConcertoPupil("Léa"), new ConcertoPupil("Léo", Place: "Maternelle"), new ConcertoPupil("Luc", Income: "beaucoup"));

        var first = await _app.ImportAsync(Concerto, file);
        await File.AppendAllTextAsync(table, "Maternelle;0350999X\n");
        var second = await _app.ImportAsync(Concerto, file);

        AssertCounts(first, linesRead: 3, accepted: 2, rejected: 1, remarks: 1);
        Assert.Contains("Maternelle;UAI", await ReportAsync(first), StringComparison.Ordinal);
        AssertCounts(second, linesRead: 3, accepted: 1, duplicates: 2, remarks: 1);
        Assert.True(File.Exists(_data.Combine("35085", "rolls", "0350999X-2026.json")));
    }

    [Fact]
    public async Task Given_a_school_that_a_file_of_several_no_longer_names_When_it_comes_Then_a_remark_says_so_and_its_own_empty_file_withdraws_all()
    {
        await File.WriteAllTextAsync(_data.Combine("35085", "schools.csv"), "Ecole du Coin;0350122T\nMaternelle;0350999X\n");
        await TakeAsync("0350111Y", s_class);
        await _app.ImportAsync(Concerto, ConcertoPupil.File(new ConcertoPupil("Léa"), new ConcertoPupil("Léo", Place: "Maternelle")));

        var without = await _app.ImportAsync(Concerto, ConcertoPupil.File(new ConcertoPupil("Léa")));
        var empty = await _app.ImportAsync($"{Concerto}&uai=0350999X", ConcertoPupil.File());

        AssertCounts(without, linesRead: 1, duplicates: 1, remarks: 1);
        Assert.Contains("uai=0350999X", await ReportAsync(without), StringComparison.Ordinal);
        AssertCounts(await ConfirmAsync(empty), withdrawn: 1);
        AssertCounts(await _app.ImportAsync(Concerto, ConcertoPupil.File(new ConcertoPupil("Léa"))), linesRead: 1, duplicates: 1);
    }

    [Fact]
    public async Task Given_a_rejected_line_When_pupils_are_missing_Then_nobody_is_withdrawn_and_a_remark_says_so()
    {
        await TakeAsync(s_class);

        var end = await TakeAsync([.. s_class[..4], new OndePupil("Secret", BirthDate: "31/02/2019")]);

        AssertCounts(end, linesRead: 5, duplicates: 4, rejected: 1, remarks: 1);
        var report = await ReportAsync(end);
        Assert.Contains("pupils no longer in the file: 2", report, StringComparison.Ordinal);
        Assert.DoesNotContain("Secret", report, StringComparison.OrdinalIgnoreCase);
        AssertCounts(await TakeAsync(s_class[..4]), linesRead: 4, duplicates: 4, withdrawn: 2);
    }

    [Fact]
    public async Task Given_a_line_rejected_for_its_town_When_its_pupil_is_known_Then_they_stay_and_only_who_is_not_in_the_file_is_withdrawn()
    {
        await TakeAsync(s_class);

        var end = await TakeAsync([.. s_class[..4], s_class[4] with { Town = "Nulle-Part" }]);

        AssertCounts(end, linesRead: 5, duplicates: 4, rejected: 1, withdrawn: 1);
        AssertCounts(await TakeAsync(s_class[..5]), linesRead: 5, duplicates: 5);
    }

    [Fact]
    public async Task Given_a_file_cut_off_in_its_last_line_When_it_comes_Then_nobody_is_withdrawn()
    {
        await TakeAsync(s_class);

        var end = await _app.ImportAsync(Onde, OndePupil.File(s_class)[..^20]);

        AssertCounts(end, linesRead: 6, duplicates: 5, rejected: 1, remarks: 1);
    }

    [Fact]
    public async Task Given_another_schools_file_with_a_bad_line_When_it_comes_by_mistake_Then_it_is_held_all_the_same()
    {
        await TakeAsync(s_class);

        Assert.Equal("held", Status(await TakeAsync(new OndePupil("Someone"), new OndePupil("Else", Level: "?"))));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Given_a_crash_after_the_events_were_written_When_the_file_is_read_again_Then_nothing_is_doubled_and_the_counts_are_the_same(bool stateSaved)
    {
        await TakeAsync(s_class);
        var state = _data.Combine("35085", "rolls", "0350122T-2026.json");
        var before = await File.ReadAllTextAsync(state);
        var file = OndePupil.File([.. s_class[1..5], s_class[5] with { Level = "CE1" }, new OndePupil("New")]);
        var end = await _app.ImportAsync(Onde, file);
        var ids = _app.Events("35085").Select(said => said.GetProperty("id").GetString()).ToList();
        await _app.DisposeAsync();
        if (!stateSaved) await File.WriteAllTextAsync(state, before);
        await RunAgainAsync(end, file);

        _app = Start();
        var again = await _app.EndOfAsync($"/imports/{end.GetProperty("importId")}");

        AssertCounts(again, linesRead: 6, accepted: 2, duplicates: 4, withdrawn: 1);
        Assert.Equal(ids, _app.Events("35085").Select(said => said.GetProperty("id").GetString()));
        AssertCounts(await TakeAsync([.. s_class[1..5], s_class[5] with { Level = "CE1" }, new OndePupil("New")]), linesRead: 6, duplicates: 6);
    }

    [Fact]
    public async Task Given_a_crash_in_the_first_file_When_it_is_read_again_Then_nobody_is_enrolled_twice()
    {
        var end = await TakeAsync(s_class);
        await _app.DisposeAsync();
        Directory.Delete(_data.Combine("35085", "rolls"), recursive: true);
        await RunAgainAsync(end, OndePupil.File(s_class));

        _app = Start();

        AssertCounts(await _app.EndOfAsync($"/imports/{end.GetProperty("importId")}"), linesRead: 6, accepted: 6);
        Assert.Equal(6, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_damaged_state_When_a_file_comes_Then_it_is_refused_and_nobody_is_enrolled_anew()
    {
        await TakeAsync(s_class);
        await File.WriteAllTextAsync(_data.Combine("35085", "rolls", "0350122T-2026.json"), "{\"salt\":");

        var end = await TakeAsync(s_class);

        Assert.Equal("refused", Status(end));
        Assert.Contains("backup", await ReportAsync(end), StringComparison.Ordinal);
        Assert.Equal(6, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_folder_of_a_school_When_a_file_is_put_there_Then_it_is_that_schools()
    {
        var folder = Directory.CreateDirectory(_data.Combine("35085", "drop", "onde-pupils", "0350122T")).FullName;

        await File.WriteAllTextAsync(Path.Combine(folder, "eleves.csv"), OndePupil.File(s_class));
        await Eventually.Is(() => File.Exists(Path.Combine(folder, "done", "eleves.csv")), exists => exists);

        Assert.All(_app.Events("35085"), said => Assert.Equal("0350122T", said.GetProperty("data").GetProperty("school").GetString()));
        Assert.Equal(6, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_file_of_one_format_When_it_is_posted_as_the_other_Then_the_refusal_names_the_right_one()
    {
        var onde = await _app.ImportAsync(Concerto, OndePupil.File(s_class));
        var concerto = await _app.ImportAsync(Onde, $"\uFEFF{ConcertoPupil.File(new ConcertoPupil())}");

        Assert.Equal(("refused", "refused"), (Status(onde), Status(concerto)));
        Assert.EndsWith("looks like the format onde-pupils.", onde.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.EndsWith("looks like the format concerto-enrolments.", concerto.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/files/onde-pupils?uai=0350122T", "de quelle commune")]
    [InlineData("/communes/35085/files/onde-pupils", "de quelle école")]
    [InlineData("/communes/35085/files/onde-pupils?uai=0350122", "uai")]
    [InlineData("/communes/35085/files/onde-pupils?uai=0350122T&schoolYear=soon", "schoolYear")]
    [InlineData("/files/concerto-enrolments", "de quelle commune")]
    public async Task Given_settings_that_are_missing_or_wrong_When_a_file_is_posted_Then_the_answer_says_which(string path, string detail)
    {
        using var body = new StringContent(OndePupil.File(s_class));
        using var response = await _app.Http.PostAsync(new Uri(path, UriKind.Relative), body);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains(detail, JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("detailFr").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_more_pupils_than_are_taken_at_once_When_the_file_comes_Then_it_is_refused()
    {
        var lines = string.Concat(Enumerable.Repeat($"{s_class[0].Csv}\n", 100_001));

        var end = await _app.ImportAsync(Onde, $"{OndePupil.Header}\n{lines}");

        Assert.Equal("refused", Status(end));
        Assert.Contains("100000", end.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_files_taken_held_and_refused_When_they_are_over_Then_no_file_but_the_journal_and_what_is_held_names_anybody()
    {
        await TakeAsync(new OndePupil("Léa", "SECRET"), new OndePupil("Léo", "SECRET", Level: "?"));
        await _app.ImportAsync(Onde, new OndePupil("Léa", "SECRET").Csv);

        foreach (var path in Directory.EnumerateFiles(_data.FullPath, "*", SearchOption.AllDirectories).Where(path => !path.Contains("journal.db", StringComparison.Ordinal)))
            Assert.DoesNotContain("SECRET", await File.ReadAllTextAsync(path), StringComparison.Ordinal);
    }

    private static string? Status(JsonElement state) => state.GetProperty("status").GetString();

    private static void AssertCounts(
        JsonElement state, long linesRead = 0, long accepted = 0, long duplicates = 0, long rejected = 0, long withdrawn = 0, long remarks = 0)
    {
        Assert.Equal("completed", Status(state));
        Assert.Equal(
            (linesRead, accepted, duplicates, rejected, withdrawn, remarks),
            (Count("linesRead"), Count("accepted"), Count("duplicates"), Count("rejected"), Count("withdrawn"), Count("remarks")));
        long Count(string name) => state.GetProperty(name).GetInt64();
    }

    private ConnectorApp Start() => ConnectorApp.Start(_data.FullPath, "35085,35238");

    private Task<JsonElement> TakeAsync(params OndePupil[] pupils) => _app.ImportAsync(Onde, OndePupil.File(pupils));

    private Task<JsonElement> TakeAsync(string uai, OndePupil[] pupils) => _app.ImportAsync(Onde.Replace("0350122T", uai, StringComparison.Ordinal), OndePupil.File(pupils));

    private async Task<JsonElement> ConfirmAsync(JsonElement held)
    {
        var path = $"/communes/35085/imports/{held.GetProperty("importId")}";
        using var response = await _app.Http.PostAsync(new Uri($"{path}/confirmation", UriKind.Relative), null);
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        return await _app.EndOfAsync(path);
    }

    private Task<string> ReportAsync(JsonElement state) => _app.Http.GetStringAsync(new Uri($"/imports/{state.GetProperty("importId")}/rejects", UriKind.Relative));

    private List<string> Types() => [.. _app.Events("35085").Select(said => said.GetProperty("type").GetString()!.Split('.')[^2])];

    // Puts an import back to where a crash would have left it: not over, and its file there.
    private async Task RunAgainAsync(JsonElement end, string file)
    {
        var directory = _data.Combine("imports", end.GetProperty("importId").GetString()!);
        var note = Path.Combine(directory, "import.json");
        var json = JsonNode.Parse(await File.ReadAllTextAsync(note))!;
        json["state"]!["status"] = "running";
        await File.WriteAllTextAsync(note, json.ToJsonString());
        await File.WriteAllTextAsync(Path.Combine(directory, "upload"), file);
    }
}
