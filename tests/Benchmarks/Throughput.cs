using System.Diagnostics;
using Intercommunalite.Cli;
using Intercommunalite.Contracts;

namespace Intercommunalite.Benchmarks;

/// <summary>How fast events go through.</summary>
/// <param name="Events">Events sent.</param>
/// <param name="AcceptedPerSecond">From the first request to the last 202.</param>
/// <param name="StoredPerSecond">From the first request to the last event's storage by the hub.</param>
/// <param name="ProjectedPerSecond">From the first request until every projection has every event.</param>
/// <param name="Seconds">The last of these times.</param>
/// <param name="Used">CPU time of each process in that time, and its memory at the end.</param>
/// <param name="PeakMemoryBytes">Most memory of each process seen, by name; looked at every second.</param>
/// <param name="OthersCpuSeconds">CPU time that the rest of the machine took meanwhile.</param>
/// <param name="Memory">Memory as events were stored.</param>
internal sealed record ThroughputResult(
    int Events, double AcceptedPerSecond, double StoredPerSecond, double ProjectedPerSecond, double Seconds,
    IReadOnlyList<Usage> Used, IReadOnlyDictionary<string, long> PeakMemoryBytes, double OthersCpuSeconds, IReadOnlyList<MemorySample> Memory);

/// <summary>Memory of each process, by name, once so many events were stored.</summary>
internal sealed record MemorySample(long Events, IReadOnlyDictionary<string, long> Bytes);

/// <summary>Sends as fast as answers come, with so many requests under way, and waits until the figures hold it all.</summary>
internal static class Throughput
{
    private const int SampleEvery = 100_000;
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(20);

    public static async Task<ThroughputResult> RunAsync(
        Pipeline pipeline, IReadOnlyList<Batch> batches, int inFlight, long already, CancellationToken cancellation)
    {
        var events = batches.Sum(batch => batch.Events);
        await using var watch = new Watch(pipeline, s_interval);
        var before = watch.Last.Stored;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var sampling = SampleAsync(pipeline, watch, end.Token);
        var (used, machine, begin) = (pipeline.Processes.Read(), Processes.MachineCpuSeconds(), Stopwatch.GetTimestamp());

        await SendAsync(batches, inFlight, batch => pipeline.PostAsync(batch, cancellation));
        var accepted = Stopwatch.GetTimestamp();
        var last = await pipeline.SettledAsync(already + events, watch, cancellation);

        var usedAfter = pipeline.Processes.Read();
        var machineAfter = Processes.MachineCpuSeconds();
        await end.CancelAsync();
        var (samples, peaks) = await sampling;
        var spent = usedAfter.Zip(used, (after, start) => after with { CpuSeconds = after.CpuSeconds - start.CpuSeconds }).ToArray();
        return new(
            events,
            PerSecond(accepted), PerSecond(watch.StoredAt(last)), PerSecond(watch.ProjectedAt(last)),
            Stopwatch.GetElapsedTime(begin, watch.ProjectedAt(last)).TotalSeconds,
            spent, peaks, machineAfter - machine - spent.Sum(usage => usage.CpuSeconds),
            [.. samples.Select(sample => sample with { Events = sample.Events - before })]);

        double PerSecond(long at) => events / Stopwatch.GetElapsedTime(begin, at).TotalSeconds;
    }

    /// <summary>
    /// Sends requests, so many at once, but of each commune one after the other, as its software would; the commune that has
    /// most of its own left goes first, so that all end together.
    /// </summary>
    public static async Task SendAsync(IReadOnlyList<Batch> batches, int inFlight, Func<Batch, Task> send)
    {
        var turn = new Lock();
        var waiting = batches.GroupBy(batch => batch.Commune).ToDictionary(group => group.Key, group => new Queue<Batch>(group));
        var totals = waiting.ToDictionary(pair => pair.Key, pair => (double)pair.Value.Count);
        var idle = new HashSet<CommuneCode>(waiting.Keys);
        await Task.WhenAll(Enumerable.Range(0, inFlight).Select(_ => Task.Run(async () =>
        {
            while (Next() is { } batch)
            {
                await send(batch);
                lock (turn) idle.Add(batch.Commune);
            }
        })));

        // A worker that finds nothing to do ends: what is left then is of communes that others are at.
        Batch? Next()
        {
            lock (turn)
            {
                var commune = idle.Where(commune => waiting[commune].Count > 0)
                    .OrderByDescending(commune => waiting[commune].Count / totals[commune]).Cast<CommuneCode?>().FirstOrDefault();
                if (commune is null) return null;
                idle.Remove(commune.Value);
                return waiting[commune.Value].Dequeue();
            }
        }
    }

    /// <summary>Whether what was measured is right: every event once, in its journal's order, and the births counted.</summary>
    /// <exception cref="Failure">It is not.</exception>
    public static async Task VerifyAsync(Pipeline pipeline, long events, int births, CancellationToken cancellation)
    {
        Check("events in the store", events, await pipeline.CountAsync("SELECT count(*) FROM hub.mt_events", cancellation));
        Check("events in quarantine", 0, await pipeline.CountAsync("SELECT count(*) FROM ingestion.quarantine", cancellation));
        Check("events out of their journal's order", 0, await pipeline.CountAsync("""
            SELECT count(*) FROM (
                SELECT (headers->>'position')::bigint AS position, row_number() OVER (PARTITION BY headers->>'journal' ORDER BY seq_id) AS place
                FROM hub.mt_events) AS stored
            WHERE position <> place
            """, cancellation));
        var counted = await pipeline.AskHubAsync("civil-records/indicators?by=commune", cancellation);
        Check("births in the figures", births, counted.Sum(commune => (long)commune!["births"]!));

        static void Check(string what, long expected, long found)
        {
            if (found != expected) throw new Failure($"The results are wrong, so the measurement is worth nothing: {found} {what}, {expected} expected.");
        }
    }

    private static async Task<(List<MemorySample> Samples, Dictionary<string, long> Peaks)> SampleAsync(Pipeline pipeline, Watch watch, CancellationToken end)
    {
        var samples = new List<MemorySample>();
        var peaks = new Dictionary<string, long>();
        var (first, due) = (watch.Last.Stored, watch.Last.Stored);
        while (!end.IsCancellationRequested)
        {
            var sample = Sample();
            if (sample.Events >= due)
            {
                samples.Add(sample);
                due = sample.Events - ((sample.Events - first) % SampleEvery) + SampleEvery;
            }

            await Task.Delay(TimeSpan.FromSeconds(1), end).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        samples.Add(Sample());
        return (samples, peaks);

        MemorySample Sample()
        {
            var sample = new MemorySample(watch.Last.Stored, pipeline.Processes.Read().ToDictionary(usage => usage.Name, usage => usage.MemoryBytes));
            foreach (var (name, memory) in sample.Bytes) peaks[name] = Math.Max(memory, peaks.GetValueOrDefault(name));
            return sample;
        }
    }
}
