using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Territory;
using Xunit;

namespace Intercommunalite.Hub.Tests.Territory;

public sealed class TerritoryClockTests
{
    [Theory]
    [InlineData("35", "2026-06-30", false, "2026-06-29T22:00:00Z")]
    [InlineData("35", "2026-06-30", true, "2026-06-30T21:59:59.999999Z")]
    [InlineData("35", "2026-10-25", true, "2026-10-25T22:59:59.999999Z")]
    [InlineData("974", "2026-06-30", false, "2026-06-29T20:00:00Z")]
    [InlineData("972", "2026-06-30", true, "2026-07-01T03:59:59.999999Z")]
    [InlineData("974", "2026-06-30T12:00:00Z", false, "2026-06-30T12:00:00Z")]
    [InlineData("35", "2026-06-30T12:00:00.25+02:00", true, "2026-06-30T10:00:00.25Z")]
    // A plus that was not escaped in an address.
    [InlineData("35", "2026-06-30T12:00:00 02:00", true, "2026-06-30T10:00:00Z")]
    [InlineData("35", "0001-01-01", false, "0001-01-01T00:00:00Z")]
    [InlineData("35", "9999-12-31", true, "9999-12-31T23:59:59.9999999Z")]
    public void Given_a_day_or_a_time_Then_it_is_the_moment_meant_in_the_territory(string communes, string text, bool isEnd, string moment)
    {
        var clock = ClockOf(communes);

        Assert.Equal(DateTimeOffset.Parse(moment, System.Globalization.CultureInfo.InvariantCulture), clock.Moment(text, isEnd));
    }

    [Theory]
    [InlineData("")]
    [InlineData("yesterday")]
    [InlineData("2026-6-30")]
    [InlineData("2026-02-30")]
    [InlineData("2026-06-30T12:00:00")]
    [InlineData("2026-06-30\0")]
    [InlineData("0001-01-01T00:00:00+14:00")]
    public void Given_something_else_Then_it_is_none(string text) => Assert.Null(ClockOf("35").Moment(text, isEnd: false));

    private static TerritoryClock ClockOf(string communes) =>
        new(Epci.All.Values.First(epci => epci.Communes[0].Code.ToString().StartsWith(communes, StringComparison.Ordinal)), TimeProvider.System);
}
