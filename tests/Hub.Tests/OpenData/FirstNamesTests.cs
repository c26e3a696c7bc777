using System.Net;
using System.Text;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Testing;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.OpenData;

public sealed class FirstNamesTests : IAsyncLifetime
{
    private const string Header = "COMMUNE_NOM,COLL_INSEE,ENFANT_SEXE,ENFANT_PRENOM,NOMBRE_OCCURRENCES,ANNEE";

    private static readonly string[] s_reasons = ["Below-Threshold", "Not-Expressible", "Not-Held", "Incomplete", "Simulated"];

    private readonly HubStore _hub = new();
    private HubServer _server = null!;
    private int _acts;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await HubServer.StartAsync(_hub);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_births_of_a_year_When_exported_Then_first_names_are_counted_by_commune_of_registration_and_sex()
    {
        await BornAsync("Léa Marie", Sex.Female, 2);
        await BornAsync("LÉA", Sex.Female, 1);
        await BornAsync("JEAN-PIERRE Louis", Sex.Male, 4);
        await BornAsync("Camille", Sex.Male, 2);
        await BornAsync("Camille", Sex.Female, 3, Tinteniac);
        await BornAsync("Camille", Sex.Female, 5, date: "2025-12-31");
        await BornAsync("Noé", Sex.Male, 3, date: "2026");
        await _hub.ProjectAsync();

        using var file = await FileAsync("year=2026");
        Assert.Equal("text/csv; charset=utf-8", file.Content.Headers.ContentType?.ToString());
        Assert.Equal("prenoms-nouveau-nes-243500733-2026.csv", file.Content.Headers.ContentDisposition?.FileNameStar);
        Assert.Equal(["20"], file.Headers.GetValues("X-Hub-Position"));
        Assert.Equal(
            Encoding.UTF8.GetBytes($"{Header}\r\nCombourg,35085,F,Léa,3,2026\r\nCombourg,35085,M,Jean-Pierre,4,2026\r\nCombourg,35085,M,Noé,3,2026\r\nTinténiac,35337,F,Camille,3,2026\r\n"),
            await file.Content.ReadAsByteArrayAsync());
        Assert.Equal("3: 2 0 0 0 0", LeftOut(file));

        Assert.Equal(["Tinténiac,35337,F,Camille,3,2026"], await RowsAsync("year=2026&commune=35337"));
        Assert.Equal(["Combourg,35085,M,Jean-Pierre,4,2026"], await RowsAsync("year=2026&threshold=4"));
        Assert.Equal(["Combourg,35085,F,Camille,5,2025"], await RowsAsync("year=2025"));
        Assert.Empty(await RowsAsync("year=2024"));
    }

    [Fact]
    public async Task Given_acts_said_again_corrected_and_annulled_When_exported_Then_each_counts_once_as_it_stands()
    {
        await BornAsync("Léa", Sex.Female, 2);
        // Registered under another name, corrected; then corrected without persons, which takes nothing back.
        await ActAsync("corrected", "Lea", Sex.Male);
        await CorrectAsync("corrected", [new Person("NOM", "Léa", Sex: Sex.Female), new Person("MERE", "Anne", Sex: Sex.Female)]);
        await CorrectAsync("corrected", null);
        // Said twice.
        await ActAsync("twice", "Tom", Sex.Male);
        await ActAsync("twice", "Tom", Sex.Male);
        await BornAsync("Tom", Sex.Male, 1);
        // Annulled, and corrected all the same.
        await ActAsync("annulled", "Tom", Sex.Male);
        await _hub.ArriveAsync(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-12")), "annulled");
        await CorrectAsync("annulled", [new Person("NOM", "Tom", Sex: Sex.Male)]);
        // A correction of another kind of act with the same key is none of this one.
        await BornAsync("Eve", Sex.Female, 2);
        await ActAsync("shared", "Eve", Sex.Female);
        await _hub.ArriveAsync(new ActCorrected(ActKind.Death, PartialDate.Parse("2026-11-10"), PartialDate.Parse("2026-11-01"))
        {
            Personal = new AmendmentPersonal([new Person("NOM", "Paul", Sex: Sex.Male)]),
        }, "shared");
        // Born the year before after all.
        await ActAsync("earlier", "Eve", Sex.Female);
        await CorrectAsync("earlier", null, "2025-12-31");
        await _hub.ProjectAsync();

        using var file = await FileAsync("year=2026");
        Assert.Equal(["Combourg,35085,F,Eve,3,2026", "Combourg,35085,F,Léa,3,2026"], await RowsAsync(file));
        Assert.Equal("3: 2 0 0 0 0", LeftOut(file));
    }

    [Fact]
    public async Task Given_names_that_may_not_be_used_or_cannot_be_written_When_exported_Then_they_are_left_out_and_numbered()
    {
        await BornAsync("Léa", Sex.Female, 3);
        await BornAsync("Iñaki", Sex.Male, 3);
        await BornAsync("Łucja", Sex.Female, 1, Tinteniac);
        await BornAsync("Camille", null, 2);
        await BornAsync(null, Sex.Female, 2);
        for (var act = 0; act < 3; act++) await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-01"), $"{act}"), $"birth/2026/unnamed-{act}");
        // A second longer than a year ago, so no longer; the last second of the year, so still.
        await AgedAsync("Max", 2, Now.AddMonths(-12).AddSeconds(-1));
        await AgedAsync("Zoé", 3, Now.AddMonths(-12).AddSeconds(1));
        await _hub.ProjectAsync();

        using var file = await FileAsync("year=2026");
        Assert.Equal(["Combourg,35085,F,Léa,3,2026", "Combourg,35085,F,Zoé,3,2026"], await RowsAsync(file));
        // The one of Tinténiac alone is among the rare.
        Assert.Equal("3: 1 3 5 4 0", LeftOut(file));
        using var one = await FileAsync("year=2026&commune=35337");
        Assert.Equal("3: 1 0 0 0 0", LeftOut(one));
    }

    [Fact]
    public async Task Given_a_correction_whose_names_are_past_their_time_When_exported_Then_the_name_that_it_corrected_does_not_come_back()
    {
        for (var act = 0; act < 3; act++)
        {
            await ActAsync($"birth-{act}", "Léa", Sex.Female);
            await _hub.ArriveAsync(Event(Correction([new Person("NOM", "Tom", Sex: Sex.Male)]), $"birth-{act}") with { Time = Now.AddYears(-2) });
        }

        await _hub.ProjectAsync();
        using var file = await FileAsync("year=2026");
        Assert.Empty(await RowsAsync(file));
        Assert.Equal("3: 0 0 3 0 0", LeftOut(file));
    }

    [Fact]
    public async Task Given_simulated_births_When_exported_Then_they_are_never_among_the_real_ones()
    {
        await BornAsync("Léa", Sex.Female, 3);
        for (var act = 0; act < 4; act++)
        {
            await _hub.ArriveAsync(Event(Birth("Léa", Sex.Female, "2026-10-01"), $"birth/2026/simulated-{act}") with { Source = new EventSource(Combourg, "registry:simulated") });
        }

        await _hub.ProjectAsync();

        using var real = await FileAsync("year=2026");
        Assert.Equal(["Combourg,35085,F,Léa,3,2026"], await RowsAsync(real));
        Assert.Equal("3: 0 0 0 0 4", LeftOut(real));
        using var simulated = await FileAsync("year=2026&simulated=true");
        Assert.Equal(["Combourg,35085,F,Léa,4,2026"], await RowsAsync(simulated));
        Assert.Contains("SIMULATION", simulated.Content.Headers.ContentDisposition?.FileNameStar, StringComparison.Ordinal);
        Assert.False(simulated.Headers.Contains("X-Left-Out-Simulated"));
    }

    [Fact]
    public async Task Given_an_act_that_the_figures_have_not_seen_When_exported_Then_it_is_not_there_yet()
    {
        await BornAsync("Léa", Sex.Female, 3);
        await _hub.ProjectAsync();
        await BornAsync("Léa", Sex.Female, 1);
        await CorrectAsync("birth/2026/1", [new Person("NOM", "Tom", Sex: Sex.Male)]);

        using var file = await FileAsync("year=2026");
        Assert.Equal(["Combourg,35085,F,Léa,3,2026"], await RowsAsync(file));
        Assert.Equal(["3"], file.Headers.GetValues("X-Hub-Position"));
    }

    [Theory]
    [InlineData("", HttpStatusCode.BadRequest, "year: ")]
    [InlineData("year=26", HttpStatusCode.BadRequest, "year: ")]
    [InlineData("year=2026-01", HttpStatusCode.BadRequest, "year: ")]
    [InlineData("year=2026&commune=35238", HttpStatusCode.BadRequest, "commune: ")]
    [InlineData("year=2026&threshold=2", HttpStatusCode.BadRequest, "threshold: 3 or more expected")]
    [InlineData("year=2026&threshold=-1", HttpStatusCode.BadRequest, "threshold: 3 or more expected")]
    [InlineData("year=2026&threshold=x", HttpStatusCode.BadRequest, "")]
    [InlineData("year=2026&minPosition=1", HttpStatusCode.PreconditionFailed, "")]
    public async Task Given_a_question_without_sense_Then_a_problem_says_why(string query, HttpStatusCode status, string said)
    {
        using var answer = await FileAsync(query);
        Assert.Equal(status, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        Assert.Contains(said, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_the_setting_When_it_is_lower_or_higher_Then_it_is_the_least_that_may_be_asked_for()
    {
        await BornAsync("Léa", Sex.Female, 1);
        await _hub.ProjectAsync();
        await using var open = await HubServer.StartAsync(_hub, ("OpenData:MinOccurrences", "1"));
        await using var strict = await HubServer.StartAsync(_hub, ("OpenData:MinOccurrences", "10"));

        using var all = await open.GetAsync("/api/v1/open-data/first-names?year=2026");
        Assert.Equal(["Combourg,35085,F,Léa,1,2026"], await RowsAsync(all));
        using var refused = await strict.GetAsync("/api/v1/open-data/first-names?year=2026&threshold=9");
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        await Assert.ThrowsAsync<InvalidOperationException>(() => HubServer.StartAsync(_hub, ("OpenData:MinOccurrences", "0")));
    }

    [SharedDataFact]
    public async Task Given_names_of_all_kinds_When_exported_Then_every_row_is_as_the_schema_wants_it()
    {
        string[] names = ["Léa", "JEAN-PIERRE", "n’deye", "Gwenc'hlan", "'Abdou", "ŒUVRE", "Mohamed-El-Amine", "Boul'", "Iñaki", "J.", "=1+1", "Zoë, Marie"];
        foreach (var name in names) await BornAsync(name, Sex.Female, 3);
        foreach (var commune in Epci.Find("243500733")!.Communes.Select(commune => commune.Code)) await BornAsync("Tom", Sex.Male, 3, commune);
        await _hub.ProjectAsync();

        using var file = await FileAsync("year=2026");
        var csv = await file.Content.ReadAsStringAsync();
        Assert.Empty(TableSchemaTests.Schema().Faults(csv));
        Assert.Equal(1 + 9 + 25, csv.Split("\r\n", StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal("3: 0 9 0 0 0", LeftOut(file));
    }

    private Task<HttpResponseMessage> FileAsync(string query) => _server.GetAsync($"/api/v1/open-data/first-names?{query}");

    private async Task<string[]> RowsAsync(string query)
    {
        using var file = await FileAsync(query);
        return await RowsAsync(file);
    }

    private static async Task<string[]> RowsAsync(HttpResponseMessage file)
    {
        Assert.Equal(HttpStatusCode.OK, file.StatusCode);
        var lines = (await file.Content.ReadAsStringAsync()).Split("\r\n");
        Assert.Equal((Header, ""), (lines[0], lines[^1]));
        return lines[1..^1];
    }

    // The threshold, and the births left out: below it, not expressible, not held, incomplete, simulated.
    private static string LeftOut(HttpResponseMessage file) =>
        $"{HeaderOf(file, "X-Min-Occurrences")}: {string.Join(' ', s_reasons.Select(reason => HeaderOf(file, $"X-Left-Out-{reason}")))}";

    private static string HeaderOf(HttpResponseMessage file, string name) => Assert.Single(file.Headers.GetValues(name));

    private static BirthRegistered Birth(string? names, Sex? sex, string date) =>
        new(PartialDate.Parse(date), "1", Tinteniac) { Personal = new BirthPersonal(new Person("NOM", names, Sex: sex), [new Person("MERE", "Anne", Sex: Sex.Female)]) };

    private static ActCorrected Correction(Person[]? persons, string date = "2026-10-02") =>
        new(ActKind.Birth, PartialDate.Parse("2026-11-10"), PartialDate.Parse(date), "1") { Personal = persons is null ? null : new AmendmentPersonal(persons) };

    private async Task BornAsync(string? names, Sex? sex, int count, CommuneCode? commune = null, string date = "2026-10-01")
    {
        for (; count > 0; count--) await _hub.ArriveAsync(Birth(names, sex, date), $"birth/2026/{++_acts}", commune);
    }

    private Task ActAsync(string subject, string names, Sex sex) => _hub.ArriveAsync(Birth(names, sex, "2026-10-01"), subject);

    private Task CorrectAsync(string subject, Person[]? persons, string date = "2026-10-02") => _hub.ArriveAsync(Correction(persons, date), subject);

    private async Task AgedAsync(string names, int count, DateTimeOffset time)
    {
        for (; count > 0; count--) await _hub.ArriveAsync(Event(Birth(names, Sex.Female, "2026-01-01"), $"birth/2026/{++_acts}") with { Time = time });
    }
}
