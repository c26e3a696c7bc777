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
        state = "rebuilding",
        error = (string?)null,
        rebuild = new { state, position, target = 100, error },
    };

    private static Task<FakeServer> HubAsync(params object[] answers)
    {
        var asked = -1;
        return FakeServer.StartAsync(app =>
        {
            app.MapGet("/api/v1/admin/projections", () => new { items = new[] { answers[0] } });
            app.MapGet("/api/v1/admin/projections/civil-records", () => answers[Math.Min(Interlocked.Increment(ref asked), answers.Length - 1)]);
            app.MapPost("/api/v1/admin/projections/{name}/rebuild", (string name) => name == "civil-records"
                ? Results.Accepted(value: answers[0])
                : Results.Problem(title: "No such projection", detail: $"There is no projection {name}.", statusCode: 404));
        });
    }

    [Fact]
    public async Task Given_a_hub_When_projections_are_listed_Then_each_is_shown()
    {
        await using var hub = await HubAsync(Projection("running", 40));

        var table = await Command.RunAsync("projections", "list", "--hub", hub.Address);
        var json = await Command.RunAsync("projections", "list", "--json", "--hub", hub.Address);

        Assert.Equal((0, 0), (table.ExitCode, json.ExitCode));
        Assert.Matches(@"civil-records +rebuilding +100 +100 +0 +running 40/100", table.Out);
        Assert.Equal("civil-records", json.Json.GetProperty("items")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task Given_a_rebuild_When_it_completes_Then_so_does_the_command()
    {
        var time = new SwiftTime();
        await using var hub = await HubAsync(Projection("running", 10), Projection("running", 60), Projection("completed", 100));

        var run = await Command.RunAsync(time, "projections", "rebuild", "civil-records", "--json", "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("completed", run.Json.GetProperty("rebuild").GetProperty("state").GetString());
        Assert.Equal(2, time.Waits.Count);
    }

    [Fact]
    public async Task Given_a_rebuild_When_it_fails_Then_the_command_fails_with_the_reason()
    {
        await using var hub = await HubAsync(Projection("running", 10), Projection("failed", 60, "Event 61 has no period."));

        var run = await Command.RunAsync("projections", "rebuild", "civil-records", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("The rebuild of civil-records failed: Event 61 has no period.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_no_wait_When_a_rebuild_is_asked_for_Then_it_is_not_followed()
    {
        var time = new SwiftTime();
        await using var hub = await HubAsync(Projection("running", 10));

        var run = await Command.RunAsync(time, "projections", "rebuild", "civil-records", "--no-wait", "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Empty(time.Waits);
    }

    [Fact]
    public async Task Given_an_unknown_projection_When_a_rebuild_is_asked_for_Then_the_hub_is_quoted()
    {
        await using var hub = await HubAsync(Projection("running", 10));

        var run = await Command.RunAsync("projections", "rebuild", "weather", "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("There is no projection weather.", run.Error, StringComparison.Ordinal);
    }
}
