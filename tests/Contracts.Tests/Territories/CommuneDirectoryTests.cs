using Intercommunalite.Contracts.Territories;
using Xunit;

namespace Intercommunalite.Contracts.Tests.Territories;

public sealed class CommuneDirectoryTests
{
    [Theory]
    [InlineData("35270", "COMBOURG", "35085")]
    [InlineData("21000", "Dijon", "21231")]
    [InlineData("75012", "PARIS", "75056")]
    [InlineData("75012", "Paris 12e Arrondissement", "75056")]
    [InlineData("69003", "LYON 3EME", "69123")]
    [InlineData("35042", "RENNES CEDEX", "35238")]
    [InlineData("35042", "RENNES CEDEX 7", "35238")]
    [InlineData("93000", "DRANCY", "93029")]
    [InlineData("35400", "ST MALO", "35288")]
    [InlineData("94170", "le perreux sur marne", "94058")]
    [InlineData("20000", "Ajaccio", "2A004")]
    [InlineData("97410", "SAINT PIERRE", "97416")]
    [InlineData("01300", "ARBIGNIEU", "01015")]
    public void Given_the_last_line_of_an_address_When_the_town_is_looked_for_Then_it_is_found(string postalCode, string town, string code)
    {
        Assert.Equal(code, CommuneDirectory.OfAddress(postalCode, town).ToString());
    }

    [Theory]
    [InlineData("21000", "RENNES")]
    [InlineData("99999", "DIJON")]
    [InlineData("97000", "SAINT PIERRE")]
    [InlineData("", "DIJON")]
    [InlineData("21000", "")]
    [InlineData("21000", "12")]
    [InlineData("21000", "CEDEX")]
    public void Given_a_town_that_is_not_there_When_it_is_looked_for_Then_none_is_found(string postalCode, string town)
    {
        Assert.Null(CommuneDirectory.OfAddress(postalCode, town));
    }

    [Theory]
    [InlineData("213500853", "35085")]
    [InlineData("212000046", "2A004")]
    [InlineData("123456725", null)]
    [InlineData("200069193", null)]
    public void Given_a_siren_When_its_commune_is_looked_for_Then_only_a_communes_is_found(string siren, string? code)
    {
        Assert.Equal(code, CommuneDirectory.OfSiren(siren)?.ToString());
    }
}
