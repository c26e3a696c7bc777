using System.Globalization;
using System.Text.Json;
using Intercommunalite.Cli;

namespace Intercommunalite.Benchmarks;

/// <summary>All that a run found; what was not measured is null or empty.</summary>
/// <param name="At">When it began.</param>
/// <param name="Machine">On what.</param>
/// <param name="EventsPerRequest">Events in a request of the throughput.</param>
/// <param name="RequestsInFlight">Requests at once.</param>
/// <param name="Throughput">How fast events go through.</param>
/// <param name="Latency">How long they take at given rates.</param>
/// <param name="Limits">What the machine does at best.</param>
/// <param name="Complaints">What the services logged.</param>
internal sealed record Report(
    DateTimeOffset At, Machine Machine, int EventsPerRequest, int RequestsInFlight,
    ThroughputResult? Throughput, IReadOnlyList<LatencyResult> Latency, IReadOnlyList<Limit> Limits, IReadOnlyList<string> Complaints)
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        NumberHandling = System.Text.Json.Serialization.JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    public void Write(Terminal terminal)
    {
        terminal.Write($"{Machine.Processor}, {Machine.Cores} cores, {Machine.MemoryBytes / 1e9:N1} GB; fsync {Machine.FsyncMilliseconds:N2} ms");
        terminal.Write($"{Machine.System}; {Machine.Runtime}; PostgreSQL {Machine.PostgreSql}; RabbitMQ {Machine.RabbitMq}");
        if (Throughput is { } throughput) WriteThroughput(terminal, throughput);
        if (Latency.Count > 0) WriteLatency(terminal);
        if (Limits.Count > 0) WriteLimits(terminal);
        foreach (var complaint in Complaints) terminal.Write($"logged by {complaint}");
    }

    private void WriteThroughput(Terminal terminal, ThroughputResult found)
    {
        terminal.WriteTable(
            $"Throughput: {found.Events:N0} events, {EventsPerRequest} a request, {RequestsInFlight} requests at once, {found.Seconds:N1} s",
            ["Events a second#", "accepted#", "stored by the hub#", "in every projection#"],
            [["", $"{found.AcceptedPerSecond:N0}", $"{found.StoredPerSecond:N0}", $"{found.ProjectedPerSecond:N0}"]]);
        terminal.WriteTable(
            "Where the time went, and the memory",
            ["Process", "CPU s#", "CPU µs an event#", "cores#", "MB at the end#", "MB at most#"],
            [
                .. found.Used.Select(usage => (string[])
                    [usage.Name, .. Cpu(usage.CpuSeconds), Megabytes(usage.MemoryBytes), Megabytes(found.PeakMemoryBytes[usage.Name])]),
                ["all of these", .. Cpu(found.Used.Sum(usage => usage.CpuSeconds)), "", ""],
                ["rest of the machine", .. Cpu(found.OthersCpuSeconds), "", ""],
            ]);
        if (found.Memory.Count > 2)
        {
            terminal.WriteTable(
                "Memory in MB as events came in",
                ["Events#", .. found.Used.Select(usage => $"{usage.Name}#")],
                found.Memory.Select(sample => (string[])[$"{sample.Events:N0}", .. found.Used.Select(usage => Megabytes(sample.Bytes[usage.Name]))]));
        }

        string[] Cpu(double seconds) => [$"{seconds:N1}", $"{seconds * 1e6 / found.Events:N0}", $"{seconds / found.Seconds:N2}"];
    }

    private void WriteLatency(Terminal terminal)
    {
        terminal.WriteTable(
            "Latency in ms",
            ["Sent", "Accepted#", "From … to …", "p50#", "p95#", "p99#", "max#"],
            Latency.SelectMany(run => (string[][])
            [
                [Sent(run.Pace), $"{run.AcceptedPerSecond:N0}/s", "due to 202", .. Texts(run.Acceptance)],
                ["", "", "202 to store", .. Texts(run.Stored)],
                ["", "", "202 to its figures", .. Texts(run.Projected)],
                ["", "", "202 to all projections", .. Texts(run.ProjectedEverywhere)],
            ]));
        terminal.WriteTable(
            "Cores kept busy meanwhile",
            ["Sent", .. Latency[0].Cores.Keys.Select(name => $"{name}#")],
            Latency.Select(run => (string[])[Sent(run.Pace), .. run.Cores.Values.Select(cores => $"{cores:N2}")]));

        static string Sent(Pace pace) => $"{pace.EventsPerSecond:N0}/s, {pace.EventsPerRequest} a request";
    }

    private void WriteLimits(Terminal terminal) => terminal.WriteTable(
        "What this machine does at best, each alone",
        ["Part", "events a second#", "CPU µs an event#", "the pipeline reaches#"],
        Limits.Append(Benchmarks.Limits.Together(Limits)).Select(limit => (string[])
        [
            limit.Needed ? $"{limit.Name} *" : limit.Name, $"{limit.EventsPerSecond:N0}", $"{limit.CpuMicroseconds:N0}",
            Throughput is { } found ? $"{found.ProjectedPerSecond / limit.EventsPerSecond:P0}" : "",
        ]));

    private static IEnumerable<string> Texts(Percentiles found) => new[] { found.P50, found.P95, found.P99, found.Max }
        .Select(milliseconds => milliseconds.ToString(milliseconds < 10 ? "N1" : "N0", CultureInfo.InvariantCulture));

    private static string Megabytes(long bytes) => $"{bytes / 1e6:N0}";
}
