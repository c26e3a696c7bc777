using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>Each part, and each pair of parts, killed (SIGKILL) in the middle of the stream and started again.</summary>
[Collection(nameof(FaultServers))]
public sealed class KillTests(FaultServers servers, ITestOutputHelper output)
{
    private const int Events = 50_000;

    private static readonly Part[][] s_outages =
    [
        [Part.Connector], [Part.Connectors], [Part.Hub], [Part.Broker], [Part.Database],
        [Part.Connectors, Part.Hub], [Part.Connectors, Part.Broker], [Part.Connectors, Part.Database],
        [Part.Hub, Part.Broker], [Part.Hub, Part.Database], [Part.Broker, Part.Database],
    ];

    private enum Part
    {
        Connector,
        Connectors,
        Hub,
        Broker,
        Database,
    }

    [Fact]
    public async Task Given_25_communes_that_send_50000_events_When_every_part_and_pair_is_killed_Then_all_is_there_once_and_in_order_and_soon()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        const int Each = Events / 12 / 25 * 25;
        foreach (var (number, outage) in s_outages.Index())
            await OutageAsync(scenario, outage, number * Each, Each);

        await scenario.EndsCompleteAsync(Events);
    }

    // A third of the outage's events is sent before it, a third during it (if there is a connector), a third after it.
    private static async Task OutageAsync(Scenario scenario, Part[] parts, int from, int count)
    {
        scenario.Sender.SendUpTo(from + count);
        await scenario.Sender.HasAcceptedAsync(from + (count / 3));
        await Task.WhenAll(parts.Select(part => KillAsync(scenario, part)));
        if (!parts.Contains(Part.Connectors)) await scenario.Sender.HasAcceptedAsync(from + (count / 3 * 2));
        await Task.WhenAll(parts.Select(part => StartAsync(scenario, part)));
        await scenario.RecoversAsync($"{string.Join(" and ", parts)} killed");
    }

    private static async Task KillAsync(Scenario scenario, Part part)
    {
        switch (part)
        {
            case Part.Connector:
                scenario.Deployment.Connectors[0].Kill();
                break;
            case Part.Connectors:
                foreach (var connector in scenario.Deployment.Connectors) connector.Kill();
                break;
            case Part.Hub:
                scenario.Deployment.Hub.Kill();
                break;
            case Part.Broker:
                await scenario.Servers.KillRabbitMqAsync();
                break;
            case Part.Database:
                await scenario.Servers.KillPostgresAsync();
                break;
        }
    }

    private static Task StartAsync(Scenario scenario, Part part) => part switch
    {
        Part.Connector => scenario.Deployment.Connectors[0].StartAsync(),
        Part.Connectors => Task.WhenAll(scenario.Deployment.Connectors.Select(connector => connector.StartAsync())),
        Part.Hub => scenario.Deployment.Hub.StartAsync(),
        Part.Broker => scenario.Servers.StartRabbitMqAsync(),
        _ => scenario.Servers.StartPostgresAsync(),
    };
}
