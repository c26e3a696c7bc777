using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class QuarantineTests
{
    private static object Item(long id, string state = "kept", string? endReason = null) => new
    {
        id,
        kind = "event",
        state,
        receivedAt = "2026-11-24T09:30:00+00:00",
        commune = "35085",
        journal = "01890a5d-ac96-774b-bcce-b302099a8057",
        position = 1234,
        reason = "type: not a type of the catalogue",
        traceId = "4bf92f3577b34da6a3ce929d0e0e4736",
        size = 2048,
        endedAt = endReason is null ? null : "2026-11-24T10:00:00+00:00",
        endReason,
    };

    private static Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/admin/quarantine", () => new { items = new[] { Item(17), Item(18, "discarded", "noise") }, next = 18 });
        app.MapGet("/api/v1/admin/quarantine/reasons", () => new
        {
            items = new[]
            {
                new { reason = "type: not a type of the catalogue", commune = "35085", kind = "event", count = 1200, firstReceivedAt = "2026-11-24T09:30:00+00:00", lastReceivedAt = "2026-11-25T09:30:00+00:00" },
                new { reason = "message: not JSON", commune = (string)null!, kind = "message", count = 1, firstReceivedAt = "2026-11-24T09:30:00+00:00", lastReceivedAt = "2026-11-24T09:30:00+00:00" },
            },
        });
        app.MapGet("/api/v1/admin/quarantine/{id:long}", (long id) => new { item = Item(id), sha256 = "ab12", @event = new { data = new { personal = new { child = "[personal]" } } } });
        app.MapPost("/api/v1/admin/quarantine/{id:long}/retry", (long id) => id == 17
            ? Results.Ok(Item(17, "retried", "stored"))
            : Results.Problem(title: "Refused again", detail: "type: not a type of the catalogue. It stays in quarantine.", statusCode: 422));
        app.MapPost("/api/v1/admin/quarantine/retry", (string reason) => new { retried = 1199, stillRefused = reason == "x & y" ? 0 : 1 });
        app.MapPost("/api/v1/admin/quarantine/{id:long}/discard", async (long id, HttpRequest request) =>
            Item(id, "discarded", (await JsonSerializer.DeserializeAsync<JsonElement>(request.Body)).GetProperty("reason").GetString()));
    });

    [Fact]
    public async Task Given_a_quarantine_When_it_is_listed_Then_each_is_shown_and_where_the_next_page_begins()
    {
        await using var hub = await HubAsync();

        var table = await Command.RunAsync("quarantine", "list", "--hub", hub.Address);
        var json = await Command.RunAsync("quarantine", "list", "--commune", "35085", "--reason", "a & b", "--state", "all", "--after", "16", "--limit", "2", "--json", "--hub", hub.Address);

        Assert.Equal((0, 0), (table.ExitCode, json.ExitCode));
        Assert.Matches(@"17 +event +kept +2026-11-24 09:30:00Z +35085 +1234 +2,048 +type: not a type of the", table.Out);
        Assert.Contains("There are more: --after 18", table.Out, StringComparison.Ordinal);
        Assert.Equal((17, 18), (json.Json.GetProperty("items")[0].GetProperty("id").GetInt32(), json.Json.GetProperty("next").GetInt32()));
        Assert.Equal(
            ["GET /api/v1/admin/quarantine?state=kept&after=0&limit=100", "GET /api/v1/admin/quarantine?state=all&after=16&limit=2&commune=35085&reason=a%20%26%20b"],
            hub.Requests);
    }

    [Fact]
    public async Task Given_a_quarantine_When_its_reasons_are_asked_for_Then_they_are_counted()
    {
        await using var hub = await HubAsync();

        var table = await Command.RunAsync("quarantine", "reasons", "--hub", hub.Address);
        var json = await Command.RunAsync("quarantine", "reasons", "--json", "--hub", hub.Address);

        Assert.Matches(@"1,200 +event +35085 +2026-11-24 09:30:00Z +2026-11-25 09:30:00Z +type: not a type of the catalogue", table.Out);
        Assert.Equal(1200, json.Json.GetProperty("items")[0].GetProperty("count").GetInt32());
    }

    [Fact]
    public async Task Given_an_event_in_quarantine_When_it_is_shown_Then_all_that_may_be_seen_is()
    {
        await using var hub = await HubAsync();

        var text = await Command.RunAsync("quarantine", "show", "17", "--hub", hub.Address);
        var json = await Command.RunAsync("quarantine", "show", "17", "--json", "--hub", hub.Address);

        Assert.Contains("17: event, kept", text.Out, StringComparison.Ordinal);
        Assert.Contains("content   2,048 bytes, SHA-256 ab12", text.Out, StringComparison.Ordinal);
        Assert.Contains("\"child\": \"[personal]\"", text.Out, StringComparison.Ordinal);
        Assert.Equal("[personal]", json.Json.GetProperty("event").GetProperty("data").GetProperty("personal").GetProperty("child").GetString());
    }

    [Fact]
    public async Task Given_one_or_all_of_a_reason_When_they_are_retried_Then_the_exit_code_tells_whether_any_is_left()
    {
        await using var hub = await HubAsync();

        var one = await Command.RunAsync("quarantine", "retry", "17", "--hub", hub.Address);
        var refused = await Command.RunAsync("quarantine", "retry", "18", "--hub", hub.Address);
        var all = await Command.RunAsync("quarantine", "retry", "--reason", "x & y", "--commune", "35085", "--json", "--hub", hub.Address);
        var some = await Command.RunAsync("quarantine", "retry", "--reason", "z", "--hub", hub.Address);

        Assert.Equal((0, 1, 0, 1), (one.ExitCode, refused.ExitCode, all.ExitCode, some.ExitCode));
        Assert.Equal("17: retried, stored", one.Out.TrimEnd());
        Assert.Contains("Refused again. type: not a type of the catalogue.", refused.Error, StringComparison.Ordinal);
        Assert.Equal(1199, all.Json.GetProperty("retried").GetInt32());
        Assert.Contains("1,199 retried, 1 still refused", some.Out, StringComparison.Ordinal);
        Assert.Contains("POST /api/v1/admin/quarantine/retry?reason=x%20%26%20y&commune=35085", hub.Requests);
    }

    [Fact]
    public async Task Given_a_reason_When_one_is_discarded_Then_the_hub_is_told_it()
    {
        await using var hub = await HubAsync();

        var run = await Command.RunAsync("quarantine", "discard", "17", "--reason", "sent twice", "--hub", hub.Address);

        Assert.Equal((0, "17: discarded, sent twice"), (run.ExitCode, run.Out.TrimEnd()));
    }

    [Theory]
    [InlineData("discard", "17")]
    [InlineData("retry")]
    [InlineData("retry", "17", "--reason", "x")]
    [InlineData("retry", "17", "--commune", "35085")]
    [InlineData("list", "--state", "lost")]
    [InlineData("show", "x")]
    public async Task Given_a_command_without_sense_When_it_is_run_Then_nothing_is_asked_of_the_hub(params string[] arguments)
    {
        var run = await Command.RunAsync(["quarantine", .. arguments, "--hub", "http://127.0.0.1:9"]);
        Assert.Equal(2, run.ExitCode);
    }
}
