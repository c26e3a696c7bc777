using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>The hub's database is set back.</summary>
[Collection(FaultServers.Second)]
public sealed class DatabaseTests(FaultServers servers, ITestOutputHelper output)
{
    [Fact]
    public async Task Given_a_backup_When_the_hub_is_restored_from_it_Then_the_connectors_bring_the_rest_again_even_those_that_fell_silent()
    {
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        var backup = Path.Combine(Path.GetTempPath(), $"hub-test-{Guid.NewGuid():N}.dump");
        try
        {
            // The backup knows none of the journals, and no commune sends: there is nobody to whom the hub could say that it was restored.
            await scenario.Servers.DumpPostgresAsync(scenario.Deployment.Database.Name, backup);
            scenario.Sender.SendUpTo(1_000);
            await scenario.Sender.HasAcceptedAsync(1_000);
            await scenario.RecoversAsync("first events");
            await RestoreAsync();
            await scenario.Deployment.Hub.StartAsync();
            await scenario.RecoversAsync("hub restored to the state before the first event");

            // In the middle of the stream.
            scenario.Sender.SendUpTo(6_000);
            await scenario.Sender.HasAcceptedAsync(2_000);
            await scenario.Servers.DumpPostgresAsync(scenario.Deployment.Database.Name, backup);
            await scenario.Sender.HasAcceptedAsync(6_000);
            await scenario.RecoversAsync("backup");
            scenario.Sender.SendUpTo(8_000);
            await scenario.Sender.HasAcceptedAsync(7_000);
            await RestoreAsync();
            // Counted before the hub runs: the connectors bring the rest at once.
            var restored = await scenario.Deployment.CountAsync("SELECT count(*) FROM hub.mt_events");
            Assert.InRange(restored, 1_000, 6_000);
            await scenario.Deployment.Hub.StartAsync();
            await scenario.RecoversAsync($"hub restored to {restored} events");
            await scenario.EndsCompleteAsync(9_000);
        }
        finally
        {
            File.Delete(backup);
        }

        async Task RestoreAsync()
        {
            await scenario.Deployment.Hub.StopAsync();
            await scenario.Servers.RestorePostgresAsync(scenario.Deployment.Database.Name, backup);
        }
    }
}
