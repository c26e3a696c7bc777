using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class ProjectionsTests
{
    private static object Projection(string state, long position, string? error = null) => new
    {
        name = "civil-records",
        position = 100,
        highWater = 100,
        lag = 0,
        state = "running",
        error = (string?)null,
        rebuild = new { state, position, target = 100, percent = (double)position, eventsPerSecond = 20, secondsLeft = 5, error, dryRun = false, differences = state == "completed" ? 3 : (int?)null, waitsFor = state == "waiting" ? "waits for readers of the figures; tried 3 times" : null },
    };

    private readonly ConcurrentQueue<JsonElement> _asked = new();

    private Task<FakeServer> HubAsync(params object[] answers)
    {
        var asked = -1;
        return FakeServer.StartAsync(app =>
        {
            app.MapGet("/api/v1/admin/projections", () => new { items = new[] { answers[0] } });
            app.MapGet("/api/v1/admin/projections/civil-records", () => answers[Math.Min(Interlocked.Increment(ref asked), answers.Length - 1)]);
            app.MapPost("/api/v1/admin/projections/{name}/rebuild", (string name, JsonElement body) =>
            {
                _asked.Enqueue(body);
                return name == "civil-records"
                    ? Results.Accepted(value: answers[0])
                    : Results.Problem(title: "No such projection", detail: $"There is no projection {name}.", statusCode: 404);
            });
            app.MapDelete("/api/v1/admin/projections/civil-records/rebuild", () => answers[0]);
            app.MapGet("/api/v1/admin/projections/civil-records/diff", () => new
            {
                position = 100,
                tables = new[] { new { table = "civil_records.act", differences = 2 }, new { table = "civil_records.indicator", differences = 0 } },
                items = new[] { new { table = "civil_records.act", key = new { commune = "35085", subject = "7" }, inService = (object?)null, rebuilt = (object?)new { period = "2026-11" } } },
            });
        });
    }

    [Fact]
    public async Task Given_a_hub_When_projections_are_listed_Then_each_is_shown()
    {
        await using var hub = await HubAsync(Projection("running", 40));

        var table = await Command.RunAsync("projections", "list", "--hub", hub.Address);
        var json = await Command.RunAsync("projections", "list", "--json", "--hub", hub.Address);

        Assert.Equal((0, 0), (table.ExitCode, json.ExitCode));
        Assert.Matches(@"civil-records +running +100 +100 +0 +running 40/100, 20/s", table.Out);
        Assert.Equal("civil-records", json.Json.GetProperty("items")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task Given_a_rebuild_that_waits_When_shown_Then_it_says_for_what()
    {
        await using var hub = await HubAsync(Projection("waiting", 100));

        var table = await Command.RunAsync("projections", "list", "--hub", hub.Address);
        var asked = await Command.RunAsync("projections", "rebuild", "civil-records", "--reason", "a fault", "--no-wait", "--hub", hub.Address);

        Assert.Contains("waits for readers of the figures; tried 3 times", table.Out, StringComparison.Ordinal);
        Assert.Contains("rebuild waiting at 100 of 100 events, 20/s; waits for readers of the figures; tried 3 times", asked.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_rebuild_When_it_completes_Then_so_does_the_command()
    {
        var time = new SwiftTime();
        await using var hub = await HubAsync(Projection("running", 10), Projection("running", 60), Projection("completed", 100));

        var run = await Command.RunAsync(time, "projections", "rebuild", "civil-records", "--reason", "a fault", "--json", "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("completed", run.Json.GetProperty("rebuild").GetProperty("state").GetString());
        Assert.Equal(2, time.Waits.Count);
        Assert.Equal("""{"reason":"a fault","dryRun":false,"communes":null}""", Assert.Single(_asked).GetRawText());
    }

    [Fact]
    public async Task Given_a_dry_run_of_communes_When_asked_for_Then_the_hub_is_told_and_what_differs_is_said()
    {
        await using var hub = await HubAsync(Projection("completed", 100));

        var run = await Command.RunAsync("projections", "rebuild", "civil-records", "--reason", "a fault", "--dry-run", "--commune", "35085", "--commune", "35337", "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("""{"reason":"a fault","dryRun":true,"communes":["35085","35337"]}""", Assert.Single(_asked).GetRawText());
        Assert.Contains("completed at 100 of 100 events, 20/s; 3 rows differ", run.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_no_reason_When_a_rebuild_is_asked_for_Then_the_command_line_is_refused()
    {
        var run = await Command.RunAsync("projections", "rebuild", "civil-records");

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("--reason", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_rebuild_that_is_followed_When_interrupted_Then_it_is_said_to_go_on()
    {
        using var interrupted = new CancellationTokenSource();
        var answers = 0;
        await using var hub = await FakeServer.StartAsync(app =>
        {
            app.MapPost("/api/v1/admin/projections/civil-records/rebuild", () => Results.Accepted(value: Projection("requested", 0)));
            app.MapGet("/api/v1/admin/projections/civil-records", async () =>
            {
                if (++answers == 3) await interrupted.CancelAsync();
                return Projection("running", 10);
            });
        });

        var run = await Command.RunAsync(new SwiftTime(), interrupted.Token, "projections", "rebuild", "civil-records", "--reason", "a fault", "--hub", hub.Address);

        Assert.Equal(130, run.ExitCode);
        Assert.Contains("The rebuild of civil-records goes on in the hub", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(hub.Requests, request => request.StartsWith("DELETE", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Given_nobody_who_watches_When_a_rebuild_is_long_Then_a_line_now_and_then_says_how_far_it_is()
    {
        await using var hub = await HubAsync([.. Enumerable.Range(0, 25).Select(n => Projection("running", n * 4)), Projection("completed", 100)]);

        var run = await Command.RunAsync("projections", "rebuild", "civil-records", "--reason", "a fault", "--hub", hub.Address);

        Assert.Contains("Rebuilding civil-records: rebuild running at 80 of 100 events, 20/s, 0:00:05 left (80 %)", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_rebuild_When_cancelled_Then_the_hub_gives_it_up_and_whoever_follows_it_is_told()
    {
        await using var hub = await HubAsync(Projection("cancelled", 10));

        var cancel = await Command.RunAsync("projections", "cancel", "civil-records", "--hub", hub.Address);
        var followed = await Command.RunAsync("projections", "rebuild", "civil-records", "--reason", "a fault", "--hub", hub.Address);

        Assert.Equal((0, 1), (cancel.ExitCode, followed.ExitCode));
        Assert.Contains("civil-records: rebuild cancelled at 10 of 100 events", cancel.Out, StringComparison.Ordinal);
        Assert.Contains("The rebuild of civil-records was cancelled.", followed.Error, StringComparison.Ordinal);
        Assert.Contains("DELETE /api/v1/admin/projections/civil-records/rebuild", hub.Requests);
    }

    [Fact]
    public async Task Given_what_a_rebuild_found_When_shown_Then_it_is_numbers_and_rows()
    {
        await using var hub = await HubAsync(Projection("completed", 100));

        var table = await Command.RunAsync("projections", "diff", "civil-records", "--hub", hub.Address);
        var json = await Command.RunAsync("projections", "diff", "civil-records", "--json", "--hub", hub.Address);

        Assert.Equal((0, 0), (table.ExitCode, json.ExitCode));
        Assert.Matches(@"civil_records\.act +2", table.Out);
        Assert.Matches(@"civil_records\.act +commune 35085, subject 7 +\(no row\) +period 2026-11", table.Out);
        Assert.Equal("35085", json.Json.GetProperty("items")[0].GetProperty("key").GetProperty("commune").GetString());
    }

    [Fact]
    public async Task Given_a_rebuild_When_it_fails_Then_the_command_fails_with_the_reason()
    {
        await using var hub = await HubAsync(Projection("running", 10), Projection("failed", 60, "Event 61 has no period."));

        var run = await Command.RunAsync("projections", "rebuild", "civil-records", "--reason", "a fault", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("The rebuild of civil-records failed: Event 61 has no period.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_no_wait_When_a_rebuild_is_asked_for_Then_it_is_not_followed()
    {
        var time = new SwiftTime();
        await using var hub = await HubAsync(Projection("running", 10));

        var run = await Command.RunAsync(time, "projections", "rebuild", "civil-records", "--reason", "a fault", "--no-wait", "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Empty(time.Waits);
    }

    [Fact]
    public async Task Given_an_answer_that_is_lost_When_a_rebuild_is_asked_for_Then_it_is_asked_once_and_said_that_it_may_have_been_taken()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapPost("/api/v1/admin/projections/civil-records/rebuild", (HttpContext context) => context.Abort()));

        var run = await Command.RunAsync(new SwiftTime(), "projections", "rebuild", "civil-records", "--reason", "a fault", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Single(hub.Requests);
        Assert.Contains("'interco projections list' shows whether a rebuild of civil-records was asked for", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_unknown_projection_When_a_rebuild_is_asked_for_Then_the_hub_is_quoted()
    {
        await using var hub = await HubAsync(Projection("running", 10));

        var run = await Command.RunAsync("projections", "rebuild", "weather", "--reason", "a fault", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("There is no projection weather.", run.Error, StringComparison.Ordinal);
    }
}
