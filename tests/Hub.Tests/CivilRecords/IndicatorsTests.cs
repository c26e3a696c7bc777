using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.CivilRecords;

public sealed class IndicatorsTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_acts_registered_corrected_and_annulled_When_projected_and_rebuilt_Then_each_counts_as_it_stands()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-31"), "1", Tinteniac), "birth/2026/1");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-31"), "2", Tinteniac), "birth/2026/2");
        await _hub.ArriveAsync(new DeathRegistered(PartialDate.Parse("2026")), "death/2026/1");
        await _hub.ArriveAsync(new MarriageRegistered(PartialDate.Parse("2026-10-03"), "1", Combourg), "marriage/2026/1");
        await _hub.ProjectAsync();

        // The same subject as the birth: numbers are unique only within a kind.
        await _hub.ArriveAsync(new PacsRegistered(PartialDate.Parse("2026-10-05"), "1", Combourg), "birth/2026/1");
        // Born on the first of the next month after all, and of another commune.
        await _hub.ArriveAsync(new ActCorrected(ActKind.Birth, PartialDate.Parse("2026-11-10"), PartialDate.Parse("2026-11-01"), "2", Combourg), "birth/2026/2");
        await _hub.ArriveAsync(new ActAnnulled(ActKind.Marriage, PartialDate.Parse("2026-11-12")), "marriage/2026/1");
        await _hub.ArriveAsync(new ActCorrected(ActKind.Marriage, PartialDate.Parse("2026-11-13"), PartialDate.Parse("2026-10-04"), "1", Combourg), "marriage/2026/1");
        // Said again by the commune's software.
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-31"), "1", Tinteniac), "birth/2026/1");
        await _hub.ProjectAsync();

        string[] expected =
        [
            "registration 35085 2026 0 0 0 1", "registration 35085 2026-10 1 0 1 0", "registration 35085 2026-11 1 0 0 0",
            "residence 35085 2026-10 0 0 1 0", "residence 35085 2026-11 1 0 0 0", "residence 35337 2026-10 1 0 0 0",
        ];
        Assert.Equal(expected, await FiguresAsync());

        await _hub.RebuildAsync("civil-records");
        Assert.Equal(expected, await FiguresAsync());
    }

    [Fact]
    public async Task Given_a_residence_in_a_commune_since_merged_When_projected_Then_it_counts_in_the_commune_of_today()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-31"), "1", CommuneCode.Parse("69383")), "birth/2026/1");
        await _hub.ProjectAsync();
        Assert.Contains("residence 69123 2026-10 1 0 0 0", await FiguresAsync());
    }

    private Task<IReadOnlyList<string>> FiguresAsync() => _hub.RowsAsync("""
        SELECT basis, commune, period, births, marriages, pacs, deaths FROM civil_records.indicator
        WHERE births + marriages + pacs + deaths <> 0 ORDER BY basis, commune, period
        """);
}
