using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>The broker refuses, or has lost what it was given; it is trusted to keep nothing.</summary>
[Collection(FaultServers.Second)]
public sealed class BrokerTests(FaultServers servers, ITestOutputHelper output)
{
    [Fact]
    public async Task Given_events_on_their_way_When_the_broker_blocks_or_loses_messages_queues_or_its_disk_Then_all_is_accepted_and_soon_there()
    {
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        scenario.Sender.SendUpTo(1_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        // A memory alarm: publishers are blocked.
        await scenario.Servers.BlockRabbitMqAsync();
        scenario.Sender.SendUpTo(8_000);
        await scenario.Sender.HasAcceptedAsync(8_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        Assert.True(await scenario.Deployment.CountAsync("SELECT count(*) FROM hub.mt_events") < 8_000, "nothing was blocked");
        await scenario.Servers.UnblockRabbitMqAsync();
        await scenario.RecoversAsync("memory alarm");

        // Emptied by its administrator; without a hub, so that there is something to be lost.
        scenario.Sender.SendUpTo(12_000);
        await scenario.Sender.HasAcceptedAsync(9_000);
        scenario.Deployment.Hub.Kill();
        await scenario.Sender.HasAcceptedAsync(12_000);
        await scenario.Deployment.VirtualHost.PurgeQueuesAsync();
        await scenario.Deployment.Hub.StartAsync();
        await scenario.RecoversAsync("queues emptied");

        scenario.Sender.SendUpTo(16_000);
        await scenario.Sender.HasAcceptedAsync(13_000);
        await scenario.Deployment.VirtualHost.DeleteQueuesAsync();
        await scenario.Sender.HasAcceptedAsync(14_000);
        await scenario.RecoversAsync("queues deleted");

        scenario.Sender.SendUpTo(22_000);
        await scenario.Sender.HasAcceptedAsync(18_000);
        await scenario.Servers.LoseRabbitMqDataAsync();
        await scenario.RecoversAsync("broker without its data");
        await scenario.EndsCompleteAsync(24_000);
    }
}
