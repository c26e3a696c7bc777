using Microsoft.AspNetCore.Builder;

namespace Intercommunalite.Cli.Tests;

public class EventsTests
{
    private static Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/records/{**record}", (string? after) => Page(after is null ? "registered" : "corrected", after is null ? "c1" : null));
        app.MapGet("/api/v1/records", () => Page("registered", null));
    });

    private static object Page(string id, string? next) => new
    {
        commune = "35085",
        domain = "civil-records",
        subject = "birth/2026/1",
        items = new[]
        {
            new
            {
                @event = new
                {
                    id,
                    source = "urn:insee:commune:35085:etat-civil",
                    type = "fr.intercommunalite.civil-records.birth-registered.v1",
                    time = "2026-11-24T10:30:00+01:00",
                    recordedtime = "2026-11-24T09:30:05+00:00",
                    cursor = "c",
                    data = new { date = "2026-11-20" },
                },
                changes = id == "registered" ? [] : new[] { new { field = "date", before = "2026-11-19", after = "2026-11-20" } },
                journal = "01890a5d-ac96-774b-bcce-b302099a8057",
                number = 17,
                personal = "held",
            },
        },
        next,
    };

    [Fact]
    public async Task Given_a_record_When_it_is_shown_Then_all_pages_of_its_events_are_with_what_each_changed()
    {
        await using var hub = await HubAsync();

        var shown = await Command.RunAsync("events", "show", "35085/civil-records/birth/2026/1 a", "--hub", hub.Address);
        var json = await Command.RunAsync("events", "show", "--source", "urn:insee:commune:35085", "--id", "a&b", "--json", "--hub", hub.Address);

        Assert.Equal((0, 0), (shown.ExitCode, json.ExitCode));
        Assert.Contains("2026-11-24 09:30:05Z  fr.intercommunalite.civil-records.birth-registered.v1  registered", shown.Out, StringComparison.Ordinal);
        Assert.Contains("said by urn:insee:commune:35085:etat-civil at 2026-11-24 09:30:00Z; number 17 of journal 01890a5d", shown.Out, StringComparison.Ordinal);
        Assert.Contains("date: \"2026-11-19\" → \"2026-11-20\"", shown.Out, StringComparison.Ordinal);
        Assert.Equal("registered", json.Json.GetProperty("event").GetProperty("id").GetString());
        Assert.Equal(
            [
                "GET /api/v1/records/35085/civil-records/birth/2026/1%20a?limit=1000", "GET /api/v1/records/35085/civil-records/birth/2026/1%20a?limit=1000&after=c1",
                "GET /api/v1/records?limit=1000&source=urn%3Ainsee%3Acommune%3A35085&id=a%26b",
            ],
            hub.Requests);
    }

    [Theory]
    [InlineData("events", "show")]
    [InlineData("events", "show", "35085/birth")]
    [InlineData("events", "show", "--source", "x")]
    [InlineData("events", "show", "35085/a/b", "--source", "x", "--id", "y")]
    public async Task Given_neither_a_record_nor_an_event_of_it_When_shown_Then_it_is_said_what_is_expected(params string[] arguments) =>
        Assert.NotEqual(0, (await Command.RunAsync(arguments)).ExitCode);
}
