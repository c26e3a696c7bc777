using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public class BusUsersTests
{
    private static Task<FakeServer> HubAsync(bool managed = true) => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/access/bus-users", () => new
        {
            managed,
            items = new[] { new { name = "combourg", communes = new[] { "35085", "35308" }, createdAt = "2026-11-24T09:30:00+00:00", refused = 1312 } },
            unknown = new[] { new { name = "", refused = 3 } },
        });
        app.MapPost("/api/v1/access/bus-users", async (HttpRequest request) =>
        {
            var asked = await JsonSerializer.DeserializeAsync<JsonElement>(request.Body);
            return new
            {
                name = asked.GetProperty("name").GetString(),
                communes = asked.GetProperty("communes"),
                createdAt = "2026-11-24T09:30:00+00:00",
                password = asked.GetProperty("newPassword").GetBoolean() ? "secret" : null,
                settings = new Dictionary<string, string> { ["Connector__OwnBusUser"] = "true" },
                commands = managed ? null : new[] { "rabbitmqctl add_user combourg" },
                onBroker = managed ? true : (bool?)null,
            };
        });
        app.MapDelete("/api/v1/access/bus-users/{name}", (string name) => name == "combourg"
            ? Results.Ok(new { name, commands = (string[]?)null, offBroker = true })
            : Results.Problem(title: "No such broker user", statusCode: 404));
    });

    [Fact]
    public async Task Given_broker_users_When_they_are_listed_Then_each_is_shown_with_what_was_refused()
    {
        await using var hub = await HubAsync();

        var table = await Command.RunAsync("access", "bus-users", "list", "--hub", hub.Address);
        var json = await Command.RunAsync("access", "bus-users", "list", "--json", "--hub", hub.Address);

        Assert.Matches(@"combourg +35085, 35308 +2026-11-24 09:30:00Z +1,312", table.Out);
        Assert.Matches(@"\(no name\) +none +3", table.Out);
        Assert.Equal("combourg", json.Json.GetProperty("items")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task Given_a_name_and_communes_When_a_user_is_added_Then_the_settings_of_its_connector_are_shown_and_what_is_left_to_do()
    {
        await using var managed = await HubAsync();
        await using var byHand = await HubAsync(managed: false);

        var run = await Command.RunAsync("access", "bus-users", "add", "combourg", "--communes", "35085, 35308", "--new-password", "--hub", managed.Address);
        var hand = await Command.RunAsync("access", "bus-users", "add", "combourg", "--communes", "35085", "--hub", byHand.Address);
        var json = await Command.RunAsync("access", "bus-users", "add", "combourg", "--communes", "35085", "--new-password", "--json", "--hub", managed.Address);

        Assert.Contains("combourg speaks for 35085, 35308. Settings of its connector; the password is not shown again:", run.Out, StringComparison.Ordinal);
        Assert.Contains("  Connector__OwnBusUser=true", run.Out, StringComparison.Ordinal);
        Assert.DoesNotContain("rabbitmqctl", run.Out, StringComparison.Ordinal);
        Assert.Contains("  rabbitmqctl add_user combourg", hand.Out, StringComparison.Ordinal);
        Assert.Equal("secret", json.Json.GetProperty("password").GetString());
    }

    [Fact]
    public async Task Given_a_user_When_it_is_removed_Then_it_is_said_whether_the_broker_knows_it_And_one_that_is_not_there_is_a_failure()
    {
        await using var hub = await HubAsync();

        var run = await Command.RunAsync("access", "bus-users", "remove", "combourg", "--hub", hub.Address);
        var unknown = await Command.RunAsync("access", "bus-users", "remove", "nobody", "--hub", hub.Address);

        Assert.Equal((0, "combourg: removed"), (run.ExitCode, run.Out.TrimEnd()));
        Assert.Equal(1, unknown.ExitCode);
        Assert.Contains("No such broker user", unknown.Error, StringComparison.Ordinal);
    }
}
