using Intercommunalite.Testing;
using RabbitMQ.Client;

namespace Intercommunalite.Connector.Tests.Forwarding;

/// <summary>The broker goes away, or falls silent, while a connector begins to listen.</summary>
public sealed class CutOffStartTests
{
    [Fact]
    public async Task Given_a_broker_that_goes_away_while_the_connector_begins_to_listen_When_it_stays_Then_the_connector_listens_within_three_seconds()
    {
        using var data = new TemporaryFolder();
        await using var virtualHost = await TestVirtualHost.CreateAsync();
        await using var relay = new CuttingRelay(virtualHost.AmqpUri, CuttingRelay.DeclaresQueue);
        await using var connector = ConnectorApp.Start(data.FullPath, "35085", settings: new Dictionary<string, string>
        {
            ["ConnectionStrings:Bus"] = relay.AmqpUri.ToString(),
        });
        await Eventually.Is(() => relay.Cuts, cuts => cuts >= 4, TimeSpan.FromMinutes(1));
        relay.Cutting = false;

        await ListensAsync(virtualHost, TimeSpan.FromSeconds(3));
    }

    [Fact]
    public async Task Given_a_broker_that_takes_connections_and_says_nothing_When_it_answers_again_Then_the_connector_listens_soon()
    {
        using var data = new TemporaryFolder();
        await using var virtualHost = await TestVirtualHost.CreateAsync();
        await using var relay = new CuttingRelay(virtualHost.AmqpUri, _ => false) { Silent = true };
        await using var connector = ConnectorApp.Start(data.FullPath, "35085", settings: new Dictionary<string, string>
        {
            ["ConnectionStrings:Bus"] = relay.AmqpUri.ToString(),
        });
        await Eventually.Is(() => relay.Kept, kept => kept > 0);
        relay.Silent = false;

        await ListensAsync(virtualHost, TimeSpan.FromSeconds(20));
    }

    private static async Task ListensAsync(TestVirtualHost virtualHost, TimeSpan limit)
    {
        await using var broker = await new ConnectionFactory { Uri = virtualHost.AmqpUri }.CreateConnectionAsync();
        await using var channel = await broker.CreateChannelAsync();
        await channel.QueueDeclareAsync("commune-35085", durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?>
        {
            ["x-queue-type"] = "quorum",
            ["x-delivery-limit"] = 20,
        });
        await Eventually.Is(async () => await channel.ConsumerCountAsync("commune-35085"), consumers => consumers == 1, limit);
    }
}
