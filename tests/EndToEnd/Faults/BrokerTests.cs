using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>The broker refuses, or has lost what it was given; it is trusted to keep nothing.</summary>
[Collection(nameof(FaultServers))]
public sealed class BrokerTests(FaultServers servers, ITestOutputHelper output)
{
    [Fact]
    public async Task Given_a_memory_alarm_When_publishers_are_blocked_Then_all_is_accepted_and_soon_there_once_the_alarm_is_over()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        scenario.Sender.SendUpTo(1_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        await scenario.Servers.BlockRabbitMqAsync();
        scenario.Sender.SendUpTo(8_000);
        await scenario.Sender.HasAcceptedAsync(8_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        Assert.True(await scenario.Deployment.CountAsync("SELECT count(*) FROM hub.mt_events") < 8_000, "nothing was blocked");
        await scenario.Servers.UnblockRabbitMqAsync();

        await scenario.RecoversAsync("memory alarm");
        await scenario.EndsCompleteAsync(10_000);
    }

    [Fact]
    public async Task Given_events_on_their_way_When_the_broker_is_emptied_by_its_administrator_Then_they_come_again()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        scenario.Sender.SendUpTo(4_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        // Without a hub, so that there is something to be lost.
        scenario.Deployment.Hub.Kill();
        await scenario.Sender.HasAcceptedAsync(4_000);
        await scenario.Deployment.VirtualHost.PurgeQueuesAsync();
        await scenario.Deployment.Hub.StartAsync();
        await scenario.RecoversAsync("queues emptied");

        scenario.Sender.SendUpTo(8_000);
        await scenario.Sender.HasAcceptedAsync(5_000);
        await scenario.Deployment.VirtualHost.DeleteQueuesAsync();
        await scenario.Sender.HasAcceptedAsync(6_000);
        await scenario.RecoversAsync("queues deleted");
        await scenario.EndsCompleteAsync(10_000);
    }

    [Fact]
    public async Task Given_events_on_their_way_When_the_broker_loses_its_disk_Then_they_come_again()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        scenario.Sender.SendUpTo(6_000);
        await scenario.Sender.HasAcceptedAsync(2_000);

        await scenario.Servers.LoseRabbitMqDataAsync();

        await scenario.RecoversAsync("broker without its data");
        await scenario.EndsCompleteAsync(8_000);
    }
}
