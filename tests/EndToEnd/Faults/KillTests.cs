using System.Diagnostics;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>Each part, and each pair of parts, killed (SIGKILL) in the middle of the stream and started again.</summary>
[Collection(FaultServers.First)]
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
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        const int Each = Events / 12 / 25 * 25;
        foreach (var (number, outage) in s_outages.Index())
            await OutageAsync(scenario, outage, number * Each, Each);

        await scenario.EndsCompleteAsync(Events);
    }

    /// <summary>A command of its own, <c>deploy/test --soak MINUTES [SEED]</c>; without it there is nothing to do.</summary>
    [SoakFact]
    [Trait("Category", "Soak")]
    public async Task Given_outages_at_random_for_a_while_When_it_is_over_Then_all_is_there_once_and_in_order()
    {
        var seed = SoakFactAttribute.Setting("SOAK_SEED") ?? Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var chance = new Random(seed);
        var clock = Stopwatch.StartNew();
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        var sent = 0;
        while (clock.Elapsed.TotalMinutes < SoakFactAttribute.Setting("SOAK_MINUTES"))
        {
            var count = chance.Next(40, 200) * 25;
            await OutageAsync(scenario, s_outages[chance.Next(s_outages.Length)], sent, count);
            sent += count;
        }

        await scenario.EndsCompleteAsync(sent);
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

/// <summary>A test that runs for as long as <c>SOAK_MINUTES</c> says, and not at all without it.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SoakFactAttribute : FactAttribute
{
    /// <summary>Skips the test without the setting.</summary>
    public SoakFactAttribute() => Skip = Setting("SOAK_MINUTES") is null ? "SOAK_MINUTES is not set." : null;

    internal static int? Setting(string variable) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? int.Parse(value, CultureInfo.InvariantCulture) : null;
}
