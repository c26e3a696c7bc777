using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class SubscriptionsTests
{
    private const string LongCursor = "AQAAAAAAAAAqbG9uZy1hcy1hLWN1cnNvci1pcy1pbi1mYWN0LTEyMzQ1Njc4OTA";

    internal static object Item(string state = "active", object[]? failing = null, bool webhook = false, int unacknowledged = 7) => new
    {
        name = "canteen",
        client = "cantines-et-cie",
        agreement = "canteen-2026",
        kind = "pull",
        filter = new { types = new[] { "fr.intercommunalite.schools.*" }, communes = Array.Empty<string>(), subjects = Array.Empty<string>(), facts = Array.Empty<object>() },
        state,
        reason = state switch { "suspended" => "maintenance", "full" => "10000 events or more are parked: nothing more is given.", _ => null },
        suspendedBy = state == "suspended" ? "administrator" : null,
        inForce = true,
        position = "AbC",
        lag = 1234,
        unacknowledged,
        oldestUnacknowledged = "2026-11-24T09:30:00+00:00",
        parked = 2,
        maxAttempts = 10,
        ackTimeoutSeconds = 60,
        createdAt = "2026-11-01T08:00:00+00:00",
        createdBy = "cantines-et-cie",
        webhook = webhook ? new { url = "https://partner.example/events", alert = true, failingSince = "2026-11-24T08:00:00+00:00", lastFailure = "HTTP 500", note = "without personal data", secret = "whsec_x" } : null,
        failing,
    };

    private readonly List<(string Path, JsonElement Body)> _posted = [];

    private Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/subscriptions", () => new { items = new[] { Item(), Item("suspended") } });
        app.MapGet("/api/v1/subscriptions/canteen", () => Item(failing: [new { cursor = "CuR", replay = "", type = "fr.intercommunalite.schools.pupil-enrolled.v1", commune = "35085", subject = "enrolment/1", attempts = 3, failures = 3, reason = "HTTP 422", dueAt = "2026-11-24T09:31:00+00:00" }]));
        app.MapGet("/api/v1/subscriptions/canteen/parked", (string after) => new
        {
            items = new[] { new { cursor = LongCursor, replay = "", type = "fr.intercommunalite.schools.pupil-enrolled.v1", commune = "35085", subject = "enrolment/2/of-a-school-with-a-long-name/2026", attempts = 10, reason = "behind position 12, and more is said of why it is parked than there is room for in a line of the terminal", since = "2026-11-24T09:30:00+00:00" } },
            next = after.Length == 0 ? "PaR" : null,
        });
        app.MapGet("/api/v1/subscriptions/full", () => Item("full"));
        app.MapGet("/api/v1/subscriptions/hook", () => Item(webhook: true));
        app.MapPost("/api/v1/subscriptions/hook/webhook/secret", () => new { secret = "whsec_new", previousUntil = "2026-11-25T09:30:00+00:00" });
        app.MapPost("/api/v1/subscriptions/{**rest}", async (HttpRequest request) =>
        {
            _posted.Add(($"{request.Path}{request.QueryString}"["/api/v1/subscriptions".Length..], await JsonSerializer.DeserializeAsync<JsonElement>(request.Body)));
            return request.Path.Value!.EndsWith("/parked", StringComparison.Ordinal) ? Results.Ok(new { parked = 1 })
                : request.Path.Value.EndsWith("/replay", StringComparison.Ordinal) ? Results.Ok(new { replayed = 2 })
                : request.Path.Value.EndsWith("/discard", StringComparison.Ordinal) ? Results.Ok(new { discarded = 1 })
                : Results.Ok(Item(request.Path.Value.EndsWith("suspension", StringComparison.Ordinal) ? "suspended" : "active"));
        });
        app.MapDelete("/api/v1/subscriptions/canteen", () => Results.NoContent());
    });

    [Fact]
    public async Task Given_subscriptions_When_they_are_listed_or_shown_Then_how_far_they_are_is_told()
    {
        await using var hub = await HubAsync();

        var table = await Command.RunAsync("subscriptions", "list", "--hub", hub.Address);
        var json = await Command.RunAsync("subscriptions", "list", "--json", "--hub", hub.Address);
        var shown = await Command.RunAsync("subscriptions", "show", "canteen", "--hub", hub.Address);
        var parked = await Command.RunAsync("subscriptions", "parked", "canteen", "--hub", hub.Address);

        Assert.Equal((0, 0, 0, 0), (table.ExitCode, json.ExitCode, shown.ExitCode, parked.ExitCode));
        Assert.Matches(@"canteen +cantines-et-cie +canteen-2026 +pull +active +1234 +7 +2026-11-24 09:30:00Z +2", table.Out);
        Assert.Contains("suspended", table.Out, StringComparison.Ordinal);
        Assert.Equal(1234, json.Json.GetProperty("items")[0].GetProperty("lag").GetInt32());
        Assert.DoesNotContain("suspended by", shown.Out, StringComparison.Ordinal);
        Assert.Contains("10000 events or more are parked", (await Command.RunAsync("subscriptions", "show", "full", "--hub", hub.Address)).Out, StringComparison.Ordinal);
        Assert.Matches(@"CuR +35085 +enrolment/1 +3 +2026-11-24 09:31:00Z +HTTP 422", shown.Out);
        Assert.Matches($@"(?m)^ *{LongCursor} +35085 +enrolment/2", parked.Out);
        // What has less room is broken between lines, not cut.
        Assert.Contains("terminal", parked.Out, StringComparison.Ordinal);
        Assert.Contains("There are more: --after PaR", parked.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_subscription_When_it_is_changed_Then_the_hub_is_asked_and_with_dry_run_only_tried()
    {
        await using var hub = await HubAsync();

        Assert.Equal(0, (await Command.RunAsync("subscriptions", "create", "canteen", "--start", "now", "--type", "fr.intercommunalite.schools.*", "--fact", "school=0350122T,0350123U", "--max-attempts", "3", "--reason", "repas", "--hub", hub.Address)).ExitCode);
        var tried = await Command.RunAsync("subscriptions", "suspend", "canteen", "--reason", "maintenance", "--dry-run", "--hub", hub.Address);
        Assert.Equal(0, (await Command.RunAsync("subscriptions", "resume", "canteen", "--reason", "terminé", "--hub", hub.Address)).ExitCode);
        var parked = await Command.RunAsync("subscriptions", "park", "canteen", "CuR", "--reason", "attend", "--hub", hub.Address);
        var replayed = await Command.RunAsync("subscriptions", "replay-parked", "canteen", "--cursor", "PaR", "--record", "--reason", "corrigé", "--dry-run", "--hub", hub.Address);
        var discarded = await Command.RunAsync("subscriptions", "discard", "canteen", "--all", "--reason", "doublon", "--hub", hub.Address);
        var deleted = await Command.RunAsync("subscriptions", "delete", "canteen", "--hub", hub.Address);

        Assert.Contains("--dry-run", tried.Error, StringComparison.Ordinal);
        Assert.Contains("suspended by administrator", tried.Out, StringComparison.Ordinal);
        Assert.Equal(("1 delivery parked", "2 deliveries would be replayed", "1 delivery discarded"), (parked.Out.Trim(), replayed.Out.Trim(), discarded.Out.Trim()));
        Assert.Contains("canteen: deleted, with 1234 events to come and 2 parked.", deleted.Out, StringComparison.Ordinal);
        Assert.Equal(
            [
                """ {"name":"canteen","start":"now","filter":{"types":["fr.intercommunalite.schools.*"],"communes":[],"subjects":[],"facts":[{"field":"school","values":["0350122T","0350123U"]}]},"maxAttempts":3,"reason":"repas"}""",
                """/canteen/suspension?dryRun=true {"reason":"maintenance"}""", """/canteen/resumption {"reason":"termin\u00E9"}""", """/canteen/parked {"cursor":"CuR","reason":"attend"}""",
                """/canteen/parked/replay?dryRun=true {"cursor":"PaR","record":true,"reason":"corrig\u00E9"}""", """/canteen/parked/discard {"all":true,"reason":"doublon"}""",
            ],
            _posted.Select(one => $"{one.Path} {one.Body.GetRawText()}"));
    }

    [Fact]
    public async Task Given_a_webhook_When_it_is_shown_or_gets_another_secret_Then_what_is_wrong_and_the_secret_are_told()
    {
        await using var hub = await HubAsync();

        var shown = await Command.RunAsync("subscriptions", "show", "hook", "--hub", hub.Address);
        var renewed = await Command.RunAsync("subscriptions", "renew-secret", "hook", "--hub", hub.Address);
        Assert.Equal(0, (await Command.RunAsync("subscriptions", "create", "hook", "--start", "now", "--webhook", "https://partner.example/events", "--hub", hub.Address)).ExitCode);

        Assert.Contains("ALERT: takes nothing since 2026-11-24 08:00:00Z: HTTP 500", shown.Out, StringComparison.Ordinal);
        Assert.Contains("without personal data", shown.Out, StringComparison.Ordinal);
        Assert.StartsWith("whsec_new", renewed.Out, StringComparison.Ordinal);
        Assert.Contains("\"webhook\":{\"url\":\"https://partner.example/events\"}", Assert.Single(_posted).Body.GetRawText(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("replay-parked")]
    [InlineData("replay-parked", "--all", "--cursor", "x")]
    [InlineData("discard", "--all")]
    [InlineData("suspend")]
    public async Task Given_a_command_line_without_sense_Then_nothing_is_asked(string name, params string[] options)
    {
        await using var hub = await HubAsync();

        Assert.Equal(2, (await Command.RunAsync(["subscriptions", name, "canteen", .. options, "--hub", hub.Address])).ExitCode);
        Assert.Empty(hub.Requests);
    }
}
