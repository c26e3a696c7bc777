using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Cli;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// What it costs that a partner gets what its agreement allows: the same events are read from the feed of one hub, by turns as an
/// administrator, whom no agreement binds, and as partners.
/// </summary>
internal static class AccessChecks
{
    private static readonly DateOnly s_from = new(2010, 10, 1);
    private static readonly string[] s_roles = ["administrator", "partner"];

    private sealed record Reader(string Name, string Token)
    {
        public List<double> Seconds { get; } = [];

        public List<double> CpuSeconds { get; } = [];
    }

    public static Command Command(Terminal terminal)
    {
        var events = new Option<int>("--events") { Description = "Events in the feed.", HelpName = "N", DefaultValueFactory = _ => 60_000 };
        var rounds = new Option<int>("--rounds") { Description = "Times that each reads all of them.", HelpName = "N", DefaultValueFactory = _ => 15 };
        var command = new Command("access", "Measures what it costs to check tokens, and what agreements cost the feed: all fields, and some of them, beside no agreement.") { events, rounds };
        command.SetAction((parsed, cancellation) => RunAsync(terminal, parsed.GetValue(events), parsed.GetValue(rounds), cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, int count, int rounds, CancellationToken cancellation)
    {
        await IntakeChecks.RunAsync(terminal, rounds, cancellation);
        terminal.Say($"Preparing {count:N0} events.");
        var prepared = Workload.From(s_from, count);
        await using var hub = await FilledHub.StartAsync(prepared, cancellation);
        await hub.ProjectedAsync(cancellation);
        await hub.AgreeAsync("whole", "{\"type\":\"fr.intercommunalite.*\"}", cancellation);
        await hub.AgreeAsync("trimmed", FilledHub.SomeFields, cancellation);

        Reader[] readers =
        [
            new("no agreement (administrator)", TestIssuer.Token([s_roles[0]], client: "administrator")),
            new("agreement, all fields", TestIssuer.Token([s_roles[1]], client: "whole")),
            new("agreement, some fields", TestIssuer.Token([s_roles[1]], client: "trimmed")),
        ];
        using var channel = GrpcChannel.ForAddress(hub.Grpc);
        var feed = new Feed.FeedClient(channel);
        var processes = hub.Processes;
        for (var warm = 0; warm < 3; warm++)
            foreach (var reader in readers) await ReadAsync(feed, reader.Token, count, cancellation);
        terminal.Say($"Reading {count:N0} events {rounds} times as each.");
        for (var round = 0; round < rounds; round++)
        {
            // Each begins as often as the others: what the machine does meanwhile hits all alike.
            for (var i = 0; i < readers.Length; i++)
            {
                var reader = readers[(round + i) % readers.Length];
                var (cpu, began) = (processes.Read().Sum(usage => usage.CpuSeconds), Stopwatch.GetTimestamp());
                await ReadAsync(feed, reader.Token, count, cancellation);
                reader.Seconds.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
                reader.CpuSeconds.Add(processes.Read().Sum(usage => usage.CpuSeconds) - cpu);
            }
        }

        foreach (var reader in readers)
        {
            // The best is what the machine does when nobody disturbs; the median of CPU time is told, too, which waits do not count in.
            var (median, best, cpu) = (Median(reader.Seconds), reader.Seconds.Min(), Median(reader.CpuSeconds));
            // Of each round by itself, since what disturbs lasts longer than a round.
            var (rates, costs) = (Spread(readers[0].Seconds, reader.Seconds), Spread(reader.CpuSeconds, readers[0].CpuSeconds));
            terminal.Write(string.Create(CultureInfo.InvariantCulture,
                $"{reader.Name}: events/s {count / median:N0} median ({rates} of that without), {count / best:N0} best ({readers[0].Seconds.Min() / best:0.000}); CPU of hub and PostgreSQL {cpu * 1e6 / count:0.0} µs an event ({costs})"));
        }

        return 0;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    // Median and quartiles of what the one is of the other, round by round.
    private static string Spread(List<double> values, List<double> of)
    {
        var ratios = values.Zip(of, (value, whole) => value / whole).Order().ToList();
        return string.Create(CultureInfo.InvariantCulture, $"{ratios[ratios.Count / 2]:0.000}, half of the rounds {ratios[ratios.Count / 4]:0.000} to {ratios[ratios.Count * 3 / 4]:0.000}");
    }

    private static async Task ReadAsync(Feed.FeedClient feed, string token, int expected, CancellationToken cancellation)
    {
        using var call = feed.Subscribe(new SubscribeRequest(), new Metadata { { "authorization", $"Bearer {token}" } }, cancellationToken: cancellation);
        var read = 0;
        while (await call.ResponseStream.MoveNext(cancellation) && call.ResponseStream.Current.CaughtUp is null)
        {
            if (call.ResponseStream.Current.Event is not null) read++;
        }

        if (read != expected) throw new Failure($"The feed gave {read:N0} events, {expected:N0} expected.");
    }
}
