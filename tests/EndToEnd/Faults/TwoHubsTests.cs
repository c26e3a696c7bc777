using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>Two nodes of the hub: one ingests and one projects at any time, and whoever of them fails, the other does it all.</summary>
[Collection(FaultServers.Alone)]
public sealed class TwoHubsTests(FaultServers servers, ITestOutputHelper output)
{
    private static readonly TimeSpan s_takeover = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_takeoverFromFrozen = TimeSpan.FromSeconds(30);

    // The lock of the node that projects.
    private const string Projecting = """
        FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND objid = 1870243 AND granted AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """;

    [Fact]
    public async Task Given_two_hubs_When_either_is_killed_or_frozen_Then_the_other_takes_over_and_nothing_is_stored_or_counted_twice()
    {
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        var deployment = scenario.Deployment;
        await deployment.SecondHub.StartAsync();
        await SendAsync(scenario, 2_000);
        Assert.Equal(("hub-1", "hub-1"), (await IngestingAsync(deployment), await ProjectingAsync(deployment)));

        await HandProjectionsOverAsync(scenario, "hub-2");
        await SendAsync(scenario, 8_000);
        Assert.Equal("hub-1", await IngestingAsync(deployment));
        deployment.SecondHub.Kill();
        await scenario.GoesOnAsync("the hub that projects killed", s_takeover);
        await scenario.RecoversAsync("the hub that projects killed");
        await deployment.SecondHub.StartAsync();

        await HandProjectionsOverAsync(scenario, "hub-2");
        await SendAsync(scenario, 14_000);
        Assert.Equal("hub-1", await IngestingAsync(deployment));
        deployment.AskedHub = deployment.SecondHub;
        deployment.Hub.Kill();
        await scenario.GoesOnAsync("the hub that ingests killed", s_takeover);
        await scenario.RecoversAsync("the hub that ingests killed");
        await deployment.Hub.StartAsync();

        await SendAsync(scenario, 20_000);
        Assert.Equal(("hub-2", "hub-2"), (await IngestingAsync(deployment), await ProjectingAsync(deployment)));
        deployment.AskedHub = deployment.Hub;
        deployment.SecondHub.Freeze();
        await scenario.GoesOnAsync("the hub that does both frozen", s_takeoverFromFrozen);
        Assert.Equal("hub-1", await ProjectingAsync(deployment));
        await SendAsync(scenario, 26_000);
        Assert.Equal("hub-1", await IngestingAsync(deployment));
        deployment.SecondHub.Thaw();
        await scenario.RecoversAsync("the frozen hub thawed");
        await deployment.SecondHub.WaitUntilReadyAsync();
        Assert.Equal("hub-1", await ProjectingAsync(deployment));

        await SendAsync(scenario, 32_000);
        deployment.AskedHub = deployment.SecondHub;
        deployment.Hub.Kill();
        await scenario.GoesOnAsync("the other killed, once the frozen one was thawed", s_takeover);
        await scenario.EndsCompleteAsync(34_000);
    }

    // So many more are on their way, the first of them accepted.
    private static async Task SendAsync(Scenario scenario, int total)
    {
        var before = scenario.Sender.Accepted;
        scenario.Sender.SendUpTo(total);
        await scenario.Sender.HasAcceptedAsync(before + ((total - before) / 3));
    }

    private static async Task<string> ProjectingAsync(Deployment deployment) =>
        Assert.IsType<string>(await deployment.Database.ScalarAsync($"SELECT application_name {Projecting}"));

    // Of the sessions in the pool only those of the ingestion commit. Events must be on their way.
    private static async Task<string> IngestingAsync(Deployment deployment)
    {
        async Task<string?> LookAsync() => (string?)await deployment.Database.ScalarAsync("""
            SELECT string_agg(DISTINCT application_name, ' ') FROM pg_stat_activity
            WHERE datname = current_database() AND query = 'COMMIT' AND query_start > clock_timestamp() - interval '1 second'
                AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1870243)
            """);
        return (await Eventually.Is<string?>(LookAsync, ingesting => ingesting is not null))!;
    }

    // The other node asks for the lock before the one whose session was ended is back.
    private static Task HandProjectionsOverAsync(Scenario scenario, string to) => Eventually.Passes(async () =>
    {
        if (await ProjectingAsync(scenario.Deployment) == to) return;
        await scenario.Deployment.Database.ScalarAsync($"SELECT pg_terminate_backend(pid) {Projecting}");
        await Task.Delay(TimeSpan.FromSeconds(2));
        Assert.Equal(to, await ProjectingAsync(scenario.Deployment));
    });
}
