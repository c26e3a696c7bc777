using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>
/// The hub's connection to the broker breaks off, twice, while something waits on it. RabbitMQ's client forgets some of those that wait (issue
/// 1976 of its project); they must not keep back what comes after them.
/// </summary>
public sealed class BrokenConnectionTests
{
    [Fact]
    public Task Given_a_connection_that_breaks_off_while_receipts_are_said_When_it_stays_Then_the_connector_hears_of_all_that_is_stored() =>
        GoesOnAsync("commune-");

    [Fact]
    public Task Given_a_connection_that_breaks_off_while_the_hub_begins_to_listen_When_it_stays_Then_the_hub_takes_what_comes() =>
        GoesOnAsync("hub-ingestion");

    private static async Task GoesOnAsync(string exchange)
    {
        await using var deployment = await Deployment.CreateAsync(Some.BretagneRomantique, Deployment.CommunesOf(Some.BretagneRomantique));
        await using var relay = new CuttingRelay(deployment.VirtualHost.AmqpUri, CuttingRelay.DeclaresExchange(exchange));
        deployment.Hub.Environment["ConnectionStrings__Bus"] = relay.AmqpUri.ToString();
        await deployment.StartAsync();
        foreach (var commune in deployment.Communes[0])
        {
            using var answer = await deployment.PostAsync(0, commune, Some.Births(commune, 1, 1));
            Assert.Equal(System.Net.HttpStatusCode.Accepted, answer.StatusCode);
        }

        await Eventually.Is(() => relay.Cuts, cuts => cuts >= 2, TimeSpan.FromMinutes(1));
        relay.Cutting = false;

        using var connector = deployment.ClientOf(deployment.Connectors[0]);
        foreach (var commune in deployment.Communes[0])
        {
            await Eventually.Equal(
                (1, 1),
                async () =>
                {
                    var journal = JsonNode.Parse(await connector.GetStringAsync(new Uri($"/communes/{commune}/journal", UriKind.Relative)))!;
                    return ((int)journal["publishedThrough"]!, (int)journal["receivedThrough"]!);
                });
        }

        // What was forgotten keeps the hub from nothing.
        Assert.Equal(0, await deployment.Hub.StopAsync());
    }
}
