using System.Text.Json.Nodes;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class ExportsTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory("exports-").FullName;
    private Deployment _deployment = null!;

    public async Task InitializeAsync() => _deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg], [Some.Combourg, Some.Tinteniac])).StartAsync();

    public async Task DisposeAsync()
    {
        await _deployment.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task Given_an_export_of_events_When_it_is_put_into_connectors_Then_neither_they_nor_the_hub_have_an_event_twice()
    {
        using var first = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 300));
        using var second = await _deployment.PostAsync(1, Some.Tinteniac, Some.Births(Some.Tinteniac, 1, 3));
        await _deployment.HasEventsAsync(303);
        var file = Path.Combine(_directory, "events.jsonl");

        var saved = JsonNode.Parse(await _deployment.IntercoAsync("export", "events", "--from", Some.Day, "--to", Some.Day, "--out", file, "--json"))!;
        Assert.Equal((303, 303), ((int)saved["rows"]!, File.ReadLines(file).Count()));
        Assert.DoesNotContain("NOM-DE-PERSONNE", await File.ReadAllTextAsync(file), StringComparison.Ordinal);

        var imports = JsonNode.Parse(await _deployment.IntercoAsync("import", "cloudevents-jsonl", file, "--json"))!["imports"]!.AsArray();
        Assert.Equal((300, 0, 0, 3), Outcome(imports[0]!));
        // The second connector has another journal of Combourg: what it takes anew, the hub has already.
        Assert.Equal((3, 300, 0, 0), Outcome(imports[1]!));
        using var last = await _deployment.PostAsync(1, Some.Combourg, Some.Births(Some.Combourg, 301, 1));
        await _deployment.HasEventsAsync(304);
        Assert.Equal(304, await _deployment.CountAsync("SELECT count(*) FROM hub.mt_events"));
    }

    [Fact]
    public async Task Given_births_When_their_figures_and_first_names_are_exported_Then_the_files_hold_them()
    {
        using var posted = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
        await _deployment.HasEventsAsync(3);

        Assert.EndsWith("\r\n35085;Combourg;2026-11;3;0;0;0;0;0\r\n", await _deployment.IntercoAsync("export", "indicators", "--min-position", "3"), StringComparison.Ordinal);
        var names = Path.Combine(_directory, "names.csv");
        var saved = JsonNode.Parse(await _deployment.IntercoAsync("export", "first-names", "--year", "2026", "--min-position", "3", "--out", names, "--json"))!;
        // Their first names were never sent.
        Assert.Equal((0, 3), ((int)saved["rows"]!, (int)saved["leftOut"]!["incomplete"]!));
        Assert.Equal("COMMUNE_NOM,COLL_INSEE,ENFANT_SEXE,ENFANT_PRENOM,NOMBRE_OCCURRENCES,ANNEE\r\n", await File.ReadAllTextAsync(names));
    }

    // Duplicates, accepted, rejected, elsewhere.
    private static (int Duplicates, int Accepted, int Rejected, int Elsewhere) Outcome(JsonNode import) =>
        ((int)import["duplicates"]!, (int)import["accepted"]!, (int)import["rejected"]!, (int)import["elsewhere"]!);
}
