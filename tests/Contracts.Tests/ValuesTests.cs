using Intercommunalite.Contracts.Territories;
using Xunit;

namespace Intercommunalite.Contracts.Tests;

public sealed class ValuesTests
{
    [Theory]
    [InlineData("2026-11-24", "2026-11", true)]
    [InlineData("2026-11", "2026-11", true)]
    [InlineData("2026", "2026", true)]
    [InlineData("1970-02-29", "", false)]
    [InlineData("2026-00", "", false)]
    [InlineData("0000", "", false)]
    [InlineData("2026-1", "", false)]
    [InlineData("2026/11/24", "", false)]
    public void Given_a_date_of_any_precision_When_parsed_Then_it_counts_under_its_month_or_year(string text, string period, bool valid)
    {
        Assert.Equal(valid, PartialDate.TryParse(text, out var date));
        if (!valid) return;
        Assert.Equal(period, date.Period);
        Assert.Equal(text, date.ToString());
    }

    [Theory]
    [InlineData("35085", true)]
    [InlineData("2A004", true)]
    [InlineData("97411", true)]
    [InlineData("98818", true)]
    [InlineData("20004", false)]
    [InlineData("99101", false)]
    [InlineData("3508", false)]
    [InlineData("2C004", false)]
    [InlineData("3508x", false)]
    public void Given_a_code_Then_only_those_of_communes_are_commune_codes(string text, bool valid) => Assert.Equal(valid, CommuneCode.TryParse(text, out _));

    // Computed with Python's uuid.uuid5(uuid.NAMESPACE_URL, "urn:insee:commune:35085#id-1").
    [Fact]
    public void Given_source_and_id_Then_the_event_id_is_their_version_5_uuid() =>
        Assert.Equal(new Guid("4b8ec6c5-ff5a-5b33-84b6-865b134c3b5f"), Samples.Envelope(Samples.All[0]).EventId);

    [Fact]
    public void Given_a_SIREN_Then_the_territory_and_its_communes_are_known()
    {
        var territory = Epci.Find("243500733");
        Assert.Equal("CC Bretagne Romantique", territory?.Name);
        Assert.Equal(25, territory?.Communes.Count);
        Assert.Equal("Combourg", territory?.Member(Samples.Combourg)?.Name);
        Assert.Null(territory?.Member(CommuneCode.Parse("35238")));
        Assert.Null(Epci.Find("000000000"));
        Assert.Equal(1255, Epci.All.Count);
    }

    [Theory]
    [InlineData("69383", "69123")]
    [InlineData("75112", "75056")]
    [InlineData("35085", "35085")]
    [InlineData("01039", "01138")]
    [InlineData("20004", "2A004")]
    [InlineData("20033", "2B033")]
    public void Given_a_former_code_When_resolved_Then_it_is_that_of_the_commune_of_today(string code, string current)
    {
        Assert.True(Epci.TryResolve(code, out var resolved));
        Assert.Equal(current, resolved.ToString());
    }

    [Theory]
    [InlineData("99131")]
    [InlineData("35990")]
    [InlineData("")]
    public void Given_the_code_of_no_commune_When_resolved_Then_it_is_not(string code) => Assert.False(Epci.TryResolve(code, out _));
}
