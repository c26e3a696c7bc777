using System.Diagnostics;
using System.Text.Json;
using Intercommunalite.Cli;

namespace Intercommunalite.Benchmarks;

/// <summary>At which rate to send.</summary>
/// <param name="EventsPerSecond">Events a second.</param>
/// <param name="EventsPerRequest">Events of a commune in a request.</param>
internal sealed record Pace(int EventsPerSecond, int EventsPerRequest)
{
    /// <summary>As it is written on the command line: <c>500x10</c>.</summary>
    public override string ToString() => $"{EventsPerSecond}x{EventsPerRequest}";
}

/// <summary>Milliseconds.</summary>
internal sealed record Percentiles(double P50, double P95, double P99, double Max)
{
    public static Percentiles Of(IEnumerable<double> milliseconds)
    {
        var sorted = milliseconds.Order().ToArray();
        return sorted.Length == 0 ? new(double.NaN, double.NaN, double.NaN, double.NaN) : new(At(0.5), At(0.95), At(0.99), sorted[^1]);
        double At(double share) => sorted[Math.Max(0, (int)Math.Ceiling(share * sorted.Length) - 1)];
    }
}

/// <summary>How long events took at a rate.</summary>
/// <param name="Pace">The rate.</param>
/// <param name="Events">Events counted.</param>
/// <param name="AcceptedPerSecond">The rate at which they were accepted.</param>
/// <param name="Acceptance">From the time at which the request was due to its 202.</param>
/// <param name="Stored">From the 202 to the event's being in the store.</param>
/// <param name="Projected">From the 202 to its being in the projection of its domain; events of a domain without one are left out.</param>
/// <param name="ProjectedEverywhere">From the 202 until every projection had gone past it.</param>
/// <param name="Cores">Cores that each process kept busy while events were sent, and <c>rest of the machine</c>, by name.</param>
internal sealed record LatencyResult(
    Pace Pace, int Events, double AcceptedPerSecond, Percentiles Acceptance, Percentiles Stored, Percentiles Projected, Percentiles ProjectedEverywhere,
    IReadOnlyDictionary<string, double> Cores);

/// <summary>
/// Sends on schedule, whether answers come or not (open loop), and looks up afterwards when each event got where. The hub
/// is not asked anything about an event, nor does it know of the measurement.
/// </summary>
internal static class Latency
{
    /// <summary>Time at the beginning of a run whose events are sent and not counted.</summary>
    public const int LeadInSeconds = 2;

    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(5);

    /// <summary>How many events a run takes.</summary>
    public static int EventsOf(Pace pace, int seconds) => pace.EventsPerSecond * (seconds + LeadInSeconds);

    public static async Task<LatencyResult> RunAsync(
        Pipeline pipeline, IReadOnlyList<Prepared> events, Pace pace, long already, CancellationToken cancellation)
    {
        var batches = Batch.Of(events, pace.EventsPerRequest);
        await using var watch = new Watch(pipeline, s_interval);
        var before = watch.Last.Stored;
        var (used, machine, begin) = (pipeline.Processes.Read(), Processes.MachineCpuSeconds(), Stopwatch.GetTimestamp());

        var answers = await SendAsync(pipeline, batches, pace, begin, cancellation);
        var sending = Stopwatch.GetElapsedTime(begin).TotalSeconds;
        var (usedAfter, machineAfter) = (pipeline.Processes.Read(), Processes.MachineCpuSeconds());
        await pipeline.SettledAsync(already + events.Count, watch, cancellation);

        var journals = new Dictionary<Contracts.CommuneCode, Guid>();
        foreach (var batch in batches.DistinctBy(batch => batch.Commune)) journals[batch.Commune] = await pipeline.JournalAsync(batch.Commune, cancellation);
        var places = await PlacesAsync(pipeline, before, cancellation);
        List<double> acceptance = [], stored = [], projected = [], everywhere = [];
        var counted = begin + (LeadInSeconds * Stopwatch.Frequency);
        foreach (var (batch, answer) in batches.Zip(answers).Where(pair => pair.Second.Due >= counted))
        {
            acceptance.Add(Milliseconds(answer.Due, answer.At));
            foreach (var position in PositionsOf(answer.Body))
            {
                if (!places.TryGetValue((journals[batch.Commune], position), out var place))
                    throw new Failure($"Commune {batch.Commune}, position {position} was accepted and is not in the store.");
                stored.Add(Milliseconds(answer.At, watch.StoredAt(place.Sequence)));
                everywhere.Add(Milliseconds(answer.At, watch.ProjectedAt(place.Sequence)));
                var projection = watch.Projections.IndexOf(place.Domain);
                if (projection >= 0) projected.Add(Milliseconds(answer.At, watch.ProjectedAt(projection, place.Sequence)));
            }
        }

        var cores = usedAfter.Zip(used).ToDictionary(pair => pair.First.Name, pair => (pair.First.CpuSeconds - pair.Second.CpuSeconds) / sending);
        cores.Add("rest of the machine", ((machineAfter - machine) / sending) - cores.Values.Sum());
        return new(
            pace, stored.Count, events.Count / Stopwatch.GetElapsedTime(begin, answers.Max(answer => answer.At)).TotalSeconds,
            Percentiles.Of(acceptance), Percentiles.Of(stored), Percentiles.Of(projected), Percentiles.Of(everywhere), cores);
    }

    // Due: when it was to be sent. At: when its 202 was there. Body: the answer, read later.
    private readonly record struct Answer(long Due, long At, byte[] Body);

    private static async Task<Answer[]> SendAsync(Pipeline pipeline, List<Batch> batches, Pace pace, long begin, CancellationToken cancellation)
    {
        var answers = new Task<Answer>[batches.Count];
        // On a thread of its own: the pool's threads are busy with answers.
        await Task.Factory.StartNew(
            () =>
            {
                var sent = 0L;
                for (var i = 0; i < answers.Length; i++)
                {
                    var due = begin + (sent * Stopwatch.Frequency / pace.EventsPerSecond);
                    while (Stopwatch.GetTimestamp() < due) Thread.Sleep(1);
                    cancellation.ThrowIfCancellationRequested();
                    answers[i] = SendOneAsync(pipeline, batches[i], due, cancellation);
                    sent += batches[i].Events;
                }
            },
            cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        return await Task.WhenAll(answers);
    }

    private static async Task<Answer> SendOneAsync(Pipeline pipeline, Batch batch, long due, CancellationToken cancellation)
    {
        var body = await pipeline.PostAsync(batch, cancellation);
        return new(due, Stopwatch.GetTimestamp(), body);
    }

    private static IEnumerable<long> PositionsOf(byte[] answer)
    {
        using var json = JsonDocument.Parse(answer);
        foreach (var e in json.RootElement.GetProperty("events").EnumerateArray()) yield return e.GetProperty("position").GetInt64();
    }

    private static async Task<Dictionary<(Guid Journal, long Position), (long Sequence, string Domain)>> PlacesAsync(
        Pipeline pipeline, long after, CancellationToken cancellation)
    {
        var places = new Dictionary<(Guid, long), (long, string)>();
        await using var command = pipeline.DataSource.CreateCommand(
            "SELECT (headers->>'journal')::uuid, (headers->>'position')::bigint, seq_id, split_part(type, '.', 3) FROM hub.mt_events WHERE seq_id > $1");
        command.Parameters.Add(new() { Value = after });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) places[(reader.GetGuid(0), reader.GetInt64(1))] = (reader.GetInt64(2), reader.GetString(3));
        return places;
    }

    private static double Milliseconds(long from, long to) => Stopwatch.GetElapsedTime(from, to).TotalMilliseconds;
}
