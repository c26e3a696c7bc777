using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class StatusTests
{
    private static readonly Guid s_journal = new("01890a5d-ac96-774b-bcce-b302099a8057");

    private static Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/territory", () => new { siren = "243500733", name = "CC Bretagne Romantique", kind = "CC", communes = Array.Empty<object>() });
        app.MapGet("/api/v1/ingestion", () => new
        {
            position = 1234,
            items = new[] { new { commune = "35085", journal = s_journal, receivedThrough = 40, lastReceivedAt = "2026-11-24T08:58:00Z", events = 39, quarantined = 1 } },
        });
        app.MapGet("/api/v1/admin/projections", () => new
        {
            items = new[] { new { name = "civil-records", position = 1200, highWater = 1234, lag = 34, lagSeconds = 12.25, state = "running", error = (string?)null, rebuild = (object?)null } },
        });
    });

    private static Task<FakeServer> WorriedHubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/territory", () => new { siren = "243500733", name = "CC Bretagne Romantique", kind = "CC", communes = Array.Empty<object>() });
        app.MapGet("/api/v1/ingestion", () => new
        {
            position = 1234,
            items = new[]
            {
                new
                {
                    commune = "35085", journal = s_journal, receivedThrough = 40, lastReceivedAt = "2026-11-24T08:58:00Z", events = 39, quarantined = 1, lastPosition = 45, unreceived = 5,
                    alerts = new[] { new { alert = "unreceived", since = "2026-11-24T08:30:00Z", detail = "5 events have not arrived." } },
                },
            },
            neverSent = new[] { "35337" },
        });
        app.MapGet("/api/v1/admin/projections", () => new
        {
            items = new[] { new { name = "schools", position = 1200, highWater = 1234, lag = 34, lagSeconds = 12.25, state = "paused", pausedSince = "2026-11-24T08:50:00Z", error = "no (such) level" } },
        });
    });

    private static Task<FakeServer> ConnectorAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/communes", () => new { communes = new[] { "35085" } });
        app.MapGet("/communes/35085/journal", () => new { journal = s_journal, lastPosition = 45, publishedThrough = 44, receivedThrough = 40, oldestUnreceivedAt = "2026-11-24T08:59:30Z" });
    });

    [Fact]
    public async Task Given_a_hub_and_a_connector_When_asked_for_the_status_Then_it_is_shown_in_tables()
    {
        await using var hub = await HubAsync();
        await using var connector = await ConnectorAsync();

        var run = await Command.RunAsync("status", "--hub", hub.Address, "--connectors", connector.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Contains("CC Bretagne Romantique (243500733), hub at position 1234", run.Out, StringComparison.Ordinal);
        Assert.Matches(@"35085 Combourg +01890a5d +40 +39 +1 +2 min ago", run.Out);
        Assert.Matches(@"civil-records +running +1,200 +34", run.Out);
        Assert.Matches(@"35085 Combourg +http\S+ +01890a5d +45 +44 +40 +30 s ago", run.Out);
        Assert.Empty(run.Error);
    }

    [Fact]
    public async Task Given_alerts_When_asked_for_the_status_Then_they_are_in_one_list_and_the_exit_code_is_that_of_success()
    {
        await using var hub = await WorriedHubAsync();
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = new[] { "35085" } });
            app.MapGet("/communes/35085/journal", () => new { journal = s_journal, lastPosition = 45, publishedThrough = 44, receivedThrough = 40, accepting = false, reason = "The disk is full." });
        });

        var run = await Command.RunAsync("status", "--hub", hub.Address, "--connectors", connector.Address);
        var json = (await Command.RunAsync("status", "--json", "--hub", hub.Address, "--connectors", connector.Address)).Json;

        Assert.Equal(0, run.ExitCode);
        Assert.Contains("Nothing yet from 35337 Tinténiac", run.Out, StringComparison.Ordinal);
        Assert.Matches(@"schools +paused +1,200 +34 +12 s +no \(such\) level", run.Out);
        Assert.Matches(@"To look at[\s\S]*35085 Combourg +unreceived +30 min ago +5 events have not arrived\.", run.Out);
        Assert.Matches(@"To look at[\s\S]*schools +paused +10 min ago +no \(such\) level", run.Out);
        Assert.Matches(@"To look at[\s\S]*35085 Combourg +not-accepting +The disk is full\.", run.Out);
        Assert.Equal("unreceived", json.GetProperty("ingestion")[0].GetProperty("alerts")[0].GetProperty("alert").GetString());
        Assert.Equal("35337", json.GetProperty("neverSent")[0].GetString());
        Assert.Equal(12.25, json.GetProperty("projections")[0].GetProperty("lagSeconds").GetDouble());
        Assert.False(json.GetProperty("journals")[0].GetProperty("state").GetProperty("accepting").GetBoolean());
    }

    [Fact]
    public async Task Given_json_When_asked_for_the_status_Then_it_is_one_document()
    {
        await using var hub = await HubAsync();
        await using var connector = await ConnectorAsync();

        var run = await Command.RunAsync("status", "--json", "--hub", hub.Address, "--connectors", connector.Address);

        Assert.Equal(1234, run.Json.GetProperty("position").GetInt64());
        Assert.Equal(40, run.Json.GetProperty("ingestion")[0].GetProperty("receivedThrough").GetInt64());
        Assert.Equal("running", run.Json.GetProperty("projections")[0].GetProperty("state").GetString());
        Assert.Equal(45, run.Json.GetProperty("journals")[0].GetProperty("state").GetProperty("lastPosition").GetInt64());
    }

    [Fact]
    public async Task Given_a_connector_that_is_down_When_asked_for_the_status_Then_the_rest_is_shown_and_the_exit_code_tells()
    {
        await using var hub = await HubAsync();

        var run = await Command.RunAsync("status", "--hub", hub.Address, "--connectors", "http://127.0.0.1:9");

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("civil-records", run.Out, StringComparison.Ordinal);
        Assert.Contains("No answer from http://127.0.0.1:9", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_no_hub_When_asked_for_the_status_Then_it_says_where_none_answers()
    {
        var run = await Command.RunAsync("status", "--hub", "http://127.0.0.1:9");

        Assert.Equal(1, run.ExitCode);
        Assert.Empty(run.Out);
        Assert.Contains("No answer from http://127.0.0.1:9: Connection refused. Check the address", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_hub_that_lets_nobody_in_When_asked_for_the_status_Then_its_problem_is_told()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapFallback(() => Results.Problem(title: "Not allowed", detail: "A token is needed", statusCode: 401)));

        var run = await Command.RunAsync("status", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("answered 401: Not allowed. A token is needed.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_something_else_at_the_address_When_asked_for_the_status_Then_it_asks_whether_that_is_right()
    {
        await using var other = await FakeServer.StartAsync(app => app.MapFallback(() => "hello"));

        var run = await Command.RunAsync("status", "--hub", other.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("Is it the right address?", run.Error, StringComparison.Ordinal);
    }
}
