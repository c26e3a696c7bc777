using System.Collections.Concurrent;
using System.Text.Json;
using Intercommunalite.Contracts.Territories;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests.Simulate;

public class SimulateTests
{
    private static readonly string[] s_all = [.. Epci.Find(Played.BretagneRomantique)!.Communes.Select(commune => commune.Code.ToString())];
    private static readonly string[] s_month = ["simulate", "--territory", Played.BretagneRomantique, "--backfill", "1", "--until", "2026-10-31"];

    private static Task<FakeServer> HubAsync() => FakeServer.StartAsync(app => app.MapGet("/api/v1/territory", () => new
    {
        siren = Played.BretagneRomantique,
        name = "CC Bretagne Romantique",
        kind = "CC",
        communes = Epci.Find(Played.BretagneRomantique)!.Communes.Select(commune => new { code = commune.Code.ToString(), name = commune.Name, population = commune.Population }),
    }));

    [Fact]
    public async Task Given_connectors_When_simulated_Then_each_commune_gets_its_own_events_in_order_of_time()
    {
        ConcurrentQueue<JsonElement> first = new(), second = new();
        await using var hub = await HubAsync();
        await using var one = await FakeServer.ConnectorAsync(first, s_all[..4]);
        await using var two = await FakeServer.ConnectorAsync(second, s_all[4..]);

        var run = await Command.RunAsync(
            "simulate", "--backfill", "1", "--until", "2026-10-31", "--hub", hub.Address, "--connectors", $"{one.Address},{two.Address}", "--json");

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(first.Count + second.Count, run.Json.GetProperty("accepted").GetInt64());
        Assert.Equal(run.Json.GetProperty("events").GetInt64(), run.Json.GetProperty("byType").EnumerateObject().Sum(type => type.Value.GetInt64()));
        Assert.All(first, e => Assert.Contains(e.GetProperty("source").GetString()!.Split(':')[3], s_all[..4]));
        foreach (var ofCommune in first.Concat(second).GroupBy(e => e.GetProperty("source").GetString()))
        {
            var times = ofCommune.Select(e => e.GetProperty("time").GetDateTimeOffset()).ToList();
            Assert.Equal(times.Order(), times);
        }
    }

    [Fact]
    public async Task Given_files_When_simulated_Then_they_hold_what_connectors_would_get()
    {
        var accepted = new ConcurrentQueue<JsonElement>();
        await using var connector = await FakeServer.ConnectorAsync(accepted, s_all);
        var directory = Directory.CreateTempSubdirectory("interco");
        try
        {
            await Command.RunAsync([.. s_month, "--connectors", connector.Address]);
            await Command.RunAsync([.. s_month, "--out", directory.FullName]);
            var again = await Command.RunAsync([.. s_month, "--out", directory.FullName, "--json"]);

            var lines = directory.GetFiles("*.jsonl").SelectMany(file => File.ReadLines(file.FullName)).ToList();
            Assert.Equal(0, again.ExitCode);
            Assert.Equal(lines.Count, again.Json.GetProperty("events").GetInt64());
            Assert.Equal(accepted.Select(e => e.GetRawText()).Order(), lines.Order());
            Assert.Equal(s_all.Order(), directory.GetFiles().Select(file => Path.GetFileNameWithoutExtension(file.Name)).Order());
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Given_a_connector_that_is_busy_When_simulated_Then_it_is_asked_again_when_it_wants()
    {
        var time = new SwiftTime();
        var refusals = 2;
        ConcurrentBag<int> counts = [];
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = new[] { "35085" } });
            app.MapPost("/communes/{code}/events", async (HttpRequest request, HttpResponse response) =>
            {
                var events = await JsonSerializer.DeserializeAsync<JsonElement[]>(request.Body);
                if (Interlocked.Decrement(ref refusals) >= 0)
                {
                    response.Headers.RetryAfter = "7";
                    return Results.StatusCode(503);
                }

                counts.Add(events!.Length);
                return Results.Accepted(value: FakeServer.Positions(events, duplicate: true));
            });
        });

        var run = await Command.RunAsync(time, [.. s_month, "--connectors", connector.Address, "--json"]);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal([TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(7)], time.Waits);
        Assert.Equal(counts.Sum(), run.Json.GetProperty("duplicates").GetInt64());
        Assert.All(counts, count => Assert.InRange(count, 1, 200));
        Assert.Contains("answered 503", run.Error, StringComparison.Ordinal);
        Assert.Equal(24, run.Json.GetProperty("notServed").GetArrayLength());
    }

    [Fact]
    public async Task Given_a_connector_that_refuses_events_When_simulated_Then_it_stops_and_names_the_first_errors()
    {
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = new[] { "35085" } });
            app.MapPost("/communes/{code}/events", () => Results.Problem(
                title: "Invalid events", detail: "Nothing was accepted.", statusCode: 422,
                extensions: new Dictionary<string, object?> { ["errors"] = new[] { new { index = 3, field = "data.level", reason = "one of PS, MS expected" } } }));
        });

        var run = await Command.RunAsync([.. s_month, "--connectors", connector.Address]);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("/communes/35085/events answered 422: Invalid events. Nothing was accepted.", run.Error, StringComparison.Ordinal);
        Assert.Contains("event 3: data.level: one of PS, MS expected", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain(" at Intercommunalite", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_live_events_When_interrupted_Then_it_ends_well_and_says_what_was_sent()
    {
        using var interrupt = new CancellationTokenSource();
        var accepted = new ConcurrentQueue<JsonElement>();
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = s_all });
            app.MapPost("/communes/{code}/events", async (HttpRequest request) =>
            {
                var events = await JsonSerializer.DeserializeAsync<JsonElement[]>(request.Body);
                foreach (var e in events!) accepted.Enqueue(e);
                if (accepted.Count > 300) await interrupt.CancelAsync();
                return Results.Accepted(value: FakeServer.Positions(events));
            });
        });

        var run = await Command.RunAsync(
            new SwiftTime(), interrupt.Token, "simulate", "--territory", Played.BretagneRomantique, "--live", "--rate", "50", "--connectors", connector.Address, "--json");

        Assert.Equal(0, run.ExitCode);
        Assert.InRange(run.Json.GetProperty("events").GetInt64(), 200, accepted.Count);
        var declared = accepted.Where(e => e.GetProperty("type").GetString()!.EndsWith("school-declared.v1", StringComparison.Ordinal)).ToList();
        Assert.All(accepted.Except(declared), e => Assert.Equal(2026, e.GetProperty("time").GetDateTimeOffset().Year));
        Assert.Equal(
            Played.Events(Played.BretagneRomantique, 1, 1, new DateOnly(2026, 11, 23)).Where(e => e.Data is Contracts.Schools.SchoolDeclared).Select(e => e.Id).Order(),
            declared.Select(e => e.GetProperty("id").GetString()).Order());
    }

    [Fact]
    public async Task Given_an_interruption_half_way_When_simulated_Then_it_says_how_to_go_on()
    {
        using var interrupt = new CancellationTokenSource();
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = s_all });
            app.MapPost("/communes/{code}/events", async () =>
            {
                await interrupt.CancelAsync();
                return Results.StatusCode(503);
            });
        });

        var run = await Command.RunAsync(new SwiftTime(), interrupt.Token, [.. s_month, "--connectors", connector.Address]);

        Assert.Equal(130, run.ExitCode);
        Assert.Contains("Run it again with the same seed", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Nothing to simulate", "simulate")]
    [InlineData("1 to 1200", "simulate", "--backfill", "0")]
    [InlineData("--rate", "simulate", "--live", "--rate", "0")]
    [InlineData("--out", "simulate", "--live", "--out", "x")]
    [InlineData("--until", "simulate", "--backfill", "1", "--until", "soon")]
    [InlineData("not an address", "simulate", "--backfill", "1", "--connectors", "localhost")]
    public async Task Given_a_command_line_without_sense_When_run_Then_it_is_refused(string reason, params string[] args)
    {
        var run = await Command.RunAsync(args);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
        Assert.Empty(run.Out);
    }

    [Fact]
    public async Task Given_no_such_territory_or_no_connector_When_simulated_Then_it_says_so()
    {
        var unknown = await Command.RunAsync("simulate", "--backfill", "1", "--territory", "123456789", "--connectors", "http://127.0.0.1:9");
        var alone = await Command.RunAsync([.. s_month]);

        Assert.Equal((1, 1), (unknown.ExitCode, alone.ExitCode));
        Assert.Contains("No territory has the SIREN '123456789'", unknown.Error, StringComparison.Ordinal);
        Assert.Contains("INTERCO_CONNECTORS", alone.Error, StringComparison.Ordinal);
    }
}
