using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class ReplayTests
{
    private static object Shown(string state, int delivered) => new
    {
        id = "replay-0a1b2c3d4e",
        subscription = "canteen",
        state,
        percent = state == "running" ? 40.5 : 100,
        found = 1200,
        delivered,
        waiting = 1200 - delivered,
        parked = 0,
        rate = 100,
        reason = "perdu",
        askedBy = "admin",
        askedAt = "2026-11-24T09:30:00+00:00",
    };

    [Fact]
    public async Task Given_a_subscription_When_a_replay_is_started_Then_what_was_asked_for_is_sent_and_it_is_waited_for()
    {
        var asked = new List<string>();
        var polls = 0;
        await using var hub = await FakeServer.StartAsync(app =>
        {
            app.MapPost("/api/v1/admin/replays", async (HttpRequest request) =>
            {
                asked.Add((await JsonSerializer.DeserializeAsync<JsonElement>(request.Body)).GetRawText());
                return request.QueryString.HasValue ? Results.Ok(new { subscription = "canteen", events = 1200, orMore = false }) : Results.Ok(Shown("running", 0));
            });
            app.MapGet("/api/v1/admin/replays/{id}", (string id) => Shown(++polls < 3 ? "running" : "completed", 400 * polls));
        });

        var dry = await Command.RunAsync("replay", "start", "canteen", "--reason", "perdu", "--from", "2026-11-01", "--type", "a.*", "--commune", "35085", "--rate", "50", "--dry-run", "--hub", hub.Address);
        var done = await Command.RunAsync("replay", "start", "canteen", "--reason", "perdu", "--record", "35085/civil-records/birth/1", "--hub", hub.Address);

        Assert.Equal((0, 0), (dry.ExitCode, done.ExitCode));
        Assert.Contains("canteen would be given 1,200 events again.", dry.Out, StringComparison.Ordinal);
        Assert.Contains("replay-0a1b2c3d4e: completed, 100 % looked through, 1,200 delivered, 0 waiting, 0 parked", done.Out, StringComparison.Ordinal);
        Assert.Equal(
            [
                """{"subscription":"canteen","reason":"perdu","from":"2026-11-01","to":null,"types":["a.*"],"communes":["35085"],"record":null,"rate":50}""",
                """{"subscription":"canteen","reason":"perdu","from":null,"to":null,"types":null,"communes":null,"record":"35085/civil-records/birth/1","rate":null}""",
            ],
            asked);
        Assert.Equal(3, polls);
    }

    [Theory]
    [InlineData("active", 0, false, "Nobody reads canteen now. The replay goes on by itself when that is over")]
    [InlineData("active", 3, false, "Whoever reads canteen has not acknowledged")]
    [InlineData("suspended", 0, false, "canteen is suspended (maintenance).")]
    [InlineData("active", 3, true, "The endpoint of canteen takes nothing now: HTTP 500.")]
    public async Task Given_a_subscription_that_takes_nothing_When_a_replay_is_waited_for_Then_it_is_said_once_why(string state, int unacknowledged, bool webhook, string why)
    {
        var polls = 0;
        await using var hub = await FakeServer.StartAsync(app =>
        {
            app.MapPost("/api/v1/admin/replays", () => Shown("running", 0));
            app.MapGet("/api/v1/admin/replays/{id}", () => Shown(++polls < 60 ? "running" : "completed", polls < 60 ? 0 : 1200));
            app.MapGet("/api/v1/subscriptions/canteen", () => SubscriptionsTests.Item(state, webhook: webhook, unacknowledged: unacknowledged));
        });

        var done = await Command.RunAsync("replay", "start", "canteen", "--reason", "perdu", "--hub", hub.Address);

        Assert.Equal(0, done.ExitCode);
        Assert.Contains(why, done.Error, StringComparison.Ordinal);
        Assert.Single(hub.Requests, request => request.EndsWith("/subscriptions/canteen", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Given_a_replay_that_nobody_takes_When_it_is_not_waited_for_Then_the_command_ends()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapPost("/api/v1/admin/replays", () => Shown("running", 0)));

        var begun = await Command.RunAsync("replay", "start", "canteen", "--reason", "perdu", "--no-wait", "--hub", hub.Address);

        Assert.Equal(0, begun.ExitCode);
        Assert.Contains("replay-0a1b2c3d4e: running", begun.Out, StringComparison.Ordinal);
        Assert.Single(hub.Requests);
    }

    [Fact]
    public async Task Given_replays_When_they_are_listed_shown_and_cancelled_Then_each_is_told()
    {
        string? why = null;
        await using var hub = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/api/v1/admin/replays", () => new { items = new[] { Shown("running", 400) } });
            app.MapGet("/api/v1/admin/replays/{id}", () => Shown("running", 400));
            app.MapDelete("/api/v1/admin/replays/{id}", async (HttpRequest request) =>
            {
                why = (await JsonSerializer.DeserializeAsync<JsonElement>(request.Body)).GetProperty("reason").GetString();
                return Shown("cancelled", 1200);
            });
        });

        var list = await Command.RunAsync("replay", "list", "--subscription", "canteen", "--hub", hub.Address);
        var json = await Command.RunAsync("replay", "show", "replay-1", "--json", "--hub", hub.Address);
        var cancelled = await Command.RunAsync("replay", "cancel", "replay-1", "--reason", "trop tôt", "--hub", hub.Address);

        Assert.Matches(@"replay-0a1b2c3d4e +canteen +running +40\.5 % +400 +800 +0", list.Out);
        Assert.Equal("running", json.Json.GetProperty("state").GetString());
        Assert.Contains("cancelled", cancelled.Out, StringComparison.Ordinal);
        Assert.Equal("trop tôt", why);
        Assert.Equal(["GET /api/v1/admin/replays?subscription=canteen", "GET /api/v1/admin/replays/replay-1", "DELETE /api/v1/admin/replays/replay-1"], hub.Requests);
    }

    [Fact]
    public async Task Given_journals_When_they_are_asked_for_again_Then_it_is_told_from_where_and_without_a_reason_nothing_is_asked()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapPost(
            "/api/v1/admin/ingestion/resend", () => new { items = new[] { new { commune = "35085", journal = "01890a5d-ac96-774b-bcce-b302099a8057", from = 18 } } }));

        var asked = await Command.RunAsync("replay", "journals", "--reason", "restauré", "--commune", "35085", "--hub", hub.Address);
        var unexplained = await Command.RunAsync("replay", "journals", "--hub", hub.Address);

        Assert.Matches("35085 +01890a5d-ac96-774b-bcce-b302099a8057 +18", asked.Out);
        Assert.NotEqual(0, unexplained.ExitCode);
        Assert.Single(hub.Requests);
    }
}
