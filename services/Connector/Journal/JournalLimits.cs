using System.Diagnostics.Metrics;
using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Intercommunalite.Connector.Journal;

/// <summary>What a journal takes up, and whether it accepts events.</summary>
/// <param name="SizeBytes">Bytes in use; see <see cref="JournalOptions.MaxSize"/>.</param>
/// <param name="Unreceived">Events that the hub has not said to have.</param>
/// <param name="OldestUnreceivedAge">How long the oldest of them has waited; zero when there is none.</param>
/// <param name="DiskFull">Whether it is the disk that leaves no room.</param>
/// <param name="Reason">Why it accepts nothing, and what to do; null when it accepts.</param>
internal sealed record JournalMeasure(long SizeBytes, long Unreceived, TimeSpan OldestUnreceivedAge, bool DiskFull, string? Reason);

/// <summary>
/// Measures the journals against <see cref="JournalOptions"/>, each once a second at most, whoever asks: requests, imports, health,
/// metrics. What is accepted within that second may go past a limit; the disk that stays free is there for that.
/// </summary>
/// <remarks>
/// As a health check: unhealthy when the disk leaves no room to any journal, so that no requests are sent here; degraded, and
/// ready, when single journals are past a limit, since the others accept.
/// </remarks>
internal sealed partial class JournalLimits : IHealthCheck, IDisposable
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly Journals _journals;
    private readonly JournalOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<JournalLimits> _logger;
    private readonly Dictionary<CommuneJournal, Latest> _latest;

    // Not Telemetry.Meter, but by its name: the gauges end with the journals.
    private readonly Meter _meter = new(Telemetry.Name);

    public JournalLimits(Journals journals, JournalOptions options, TimeProvider clock, ILogger<JournalLimits> logger)
    {
        (_journals, _options, _clock, _logger) = (journals, options, clock, logger);
        _latest = journals.All.ToDictionary(journal => journal, _ => new Latest());
        _meter.CreateObservableGauge(
            "hub.journal.unreceived", () => Each(measure => measure.Unreceived), "{event}", "Events that the hub has not said to have, by commune");
        _meter.CreateObservableGauge(
            "hub.journal.oldest_unreceived", () => Each(measure => measure.OldestUnreceivedAge.TotalSeconds), "s", "How long the oldest of them has waited, by commune");
        _meter.CreateObservableGauge("hub.journal.size", () => Each(measure => measure.SizeBytes), "By", "What the journal uses of the disk, by commune");
    }

    /// <summary>The journal as it was within the last second.</summary>
    public JournalMeasure Of(CommuneJournal journal)
    {
        var latest = _latest[journal];
        lock (latest)
        {
            if (latest.Measure is { } known && _clock.GetElapsedTime(latest.At) < s_interval) return known;
            var measure = Measure(journal);
            if (measure.Reason is { } reason && latest.Measure?.Reason is null) LogRefuses(journal.Commune, reason);
            if (measure.Reason is null && latest.Measure?.Reason is not null) LogAccepts(journal.Commune);
            (latest.Measure, latest.At) = (measure, _clock.GetTimestamp());
            return measure;
        }
    }

    /// <summary>Returns once the journal accepts events.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="waiting">Told why it does not, as long as it does not.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task UntilAcceptsAsync(CommuneJournal journal, Action<string> waiting, CancellationToken cancellation)
    {
        while (Of(journal).Reason is { } reason)
        {
            waiting(reason);
            await Task.Delay(s_interval, _clock, cancellation);
        }
    }

    /// <summary>Why the disk cannot take a file now, and what to do; null when it can. Measured anew each time.</summary>
    /// <param name="bytes">Size of the file, or of what is still to come of it.</param>
    public string? NoRoomFor(long bytes) => NoRoomFor(bytes, new DriveInfo(_journals.DataDirectory).AvailableFreeSpace);

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var refusing = _journals.All.Select(journal => (journal.Commune, Measure: Of(journal))).Where(one => one.Measure.Reason is not null).ToList();
        var result = refusing.Count == 0 ? HealthCheckResult.Healthy()
            : refusing.Count == _journals.All.Count && refusing.All(one => one.Measure.DiskFull) ? HealthCheckResult.Unhealthy(refusing[0].Measure.Reason)
            : HealthCheckResult.Degraded(string.Join(' ', refusing.Select(one => $"{one.Commune}: {one.Measure.Reason}")));
        return Task.FromResult(result);
    }

    public void Dispose() => _meter.Dispose();

    private JournalMeasure Measure(CommuneJournal journal)
    {
        var size = journal.UsedBytes();
        var unreceived = journal.Last - journal.ReceivedThrough;
        var oldest = journal.OldestUnreceivedAt();
        var age = oldest is null ? TimeSpan.Zero : _clock.GetUtcNow() - oldest.Value;
        var noRoom = NoRoomFor(0, new DriveInfo(journal.Directory).AvailableFreeSpace);
        return new JournalMeasure(size, unreceived, age, noRoom is not null, noRoom ?? TooLarge(size, unreceived) ?? TooOld(age, unreceived));
    }

    private string? NoRoomFor(long bytes, long free) => free - bytes >= _options.MinFreeDisk
        ? null
        : $"The connector's disk has {Readable(free)} left, of which {Readable(_options.MinFreeDisk)} stay free (Journal:MinFreeDisk). Make room on it, or enlarge it.";

    private string? TooLarge(long size, long unreceived) => size <= _options.MaxSize
        ? null
        : $"The journal has {Readable(size)}, and may have {Readable(_options.MaxSize)} (Journal:MaxSize). " + (unreceived > 0
            ? $"{unreceived} of its events wait for the hub: see that the broker and the hub run. Received events stay for Forwarding:Retention."
            : "The hub has received it all, and it stays for Forwarding:Retention: raise the one or shorten the other.");

    private string? TooOld(TimeSpan age, long unreceived) => age <= _options.MaxUnreceivedAge
        ? null
        : string.Create(CultureInfo.InvariantCulture, $"{unreceived} events wait for the hub, the oldest for {age:d\\.hh\\:mm\\:ss} (days.hours), longer than {_options.MaxUnreceivedAge} (Journal:MaxUnreceivedAge). See that the broker and the hub run.");

    private static string Readable(long bytes) => bytes < 10L << 30 ? $"{bytes >> 20} MiB" : $"{bytes >> 30} GiB";

    private List<Measurement<T>> Each<T>(Func<JournalMeasure, T> value)
        where T : struct =>
        [.. _journals.All.Select(journal => new Measurement<T>(value(Of(journal)), new KeyValuePair<string, object?>("commune", journal.Commune.ToString())))];

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: no events are accepted. {Reason}")]
    private partial void LogRefuses(CommuneCode commune, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}: events are accepted again.")]
    private partial void LogAccepts(CommuneCode commune);

    private sealed class Latest
    {
        public JournalMeasure? Measure { get; set; }

        public long At { get; set; }
    }
}
