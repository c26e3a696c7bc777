using System.Diagnostics.Metrics;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// Looks at the journals every some seconds: says in the log what begins to be an alert and what ends, and gives metrics.
/// Every node does, and shows the same. Without the database what was last seen stays.
/// </summary>
internal sealed partial class JournalWatch : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);

    private readonly Journals _journals;
    private readonly StoreSchema _schema;
    private readonly Epci _territory;
    private readonly AlertOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger<JournalWatch> _logger;
    private readonly DateTimeOffset _listening;

    // Not Telemetry.Meter, but by its name: the gauges end with the watch.
    private readonly Meter _meter = new(Telemetry.Name);
    private IReadOnlyList<JournalStatus> _seen = [];

    public JournalWatch(Journals journals, StoreSchema schema, Epci territory, AlertOptions options, TimeProvider clock, ILogger<JournalWatch> logger)
    {
        (_journals, _schema, _territory, _options, _clock, _logger) = (journals, schema, territory, options, clock, logger);
        _listening = clock.GetUtcNow();
        _meter.CreateObservableGauge("hub.ingestion.unreceived", () => Each(journal => journal.Unreceived), "{event}", "Events that the commune's connector has and the hub has not, as far as it has said");
        _meter.CreateObservableGauge("hub.ingestion.oldest_unreceived", () => Each(journal => Age(journal.OldestUnreceivedAt)), "s", "How long the oldest of them has been on its way, by commune");
        _meter.CreateObservableGauge("hub.ingestion.silence", () => Each(journal => Age(journal.LastReceivedAt)), "s", "Time since the last new event, by commune");
        _meter.CreateObservableGauge("hub.alerts", Alerts, "{alert}", "1 for an alert of a commune that holds, 0 for one that does not");
    }

    /// <summary>All journals as they are now, with their alerts; and the communes of the territory that have none.</summary>
    public async Task<(IReadOnlyList<JournalStatus> Journals, IReadOnlyList<string> NeverSent)> LookAsync(CancellationToken cancellation)
    {
        var (journals, now) = (await _journals.AllAsync(cancellation), _clock.GetUtcNow());
        var sent = journals.Select(journal => journal.Commune).ToHashSet();
        return (
            [.. journals.Select(journal => journal with { Alerts = AlertRules.Of(journal, _options, _listening, now) })],
            [.. _territory.Communes.Select(commune => commune.Code.ToString()).Where(commune => !sent.Contains(commune))]);
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval, _clock);
        try
        {
            await _schema.Applied.WaitAsync(stoppingToken);
            do
            {
                try
                {
                    var before = _seen;
                    Volatile.Write(ref _seen, (await LookAsync(stoppingToken)).Journals);
                    var (known, holding) = (Holding(before), Holding(_seen));
                    foreach (var ((commune, journal, kind), alert) in holding.Where(one => !known.ContainsKey(one.Key))) LogBegun(commune, journal, kind, alert.Since, alert.Detail);
                    foreach (var (commune, journal, kind) in known.Keys.Where(one => !holding.ContainsKey(one))) LogEnded(commune, journal, kind);
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    LogAway(e.Message);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private static Dictionary<(string Commune, Guid Journal, string Kind), JournalAlert> Holding(IEnumerable<JournalStatus> journals) =>
        journals.SelectMany(journal => journal.Alerts.Select(alert => (Key: (journal.Commune, journal.Journal, alert.Alert), alert))).ToDictionary(one => one.Key, one => one.alert);

    private double Age(DateTimeOffset? since) => since is { } then ? Math.Max(0, (_clock.GetUtcNow() - then).TotalSeconds) : 0;

    private IEnumerable<Measurement<T>> Each<T>(Func<JournalStatus, T> value)
        where T : struct =>
        Volatile.Read(ref _seen).Where(journal => !journal.Superseded).Select(journal => new Measurement<T>(value(journal), new KeyValuePair<string, object?>("commune", journal.Commune)));

    private IEnumerable<Measurement<int>> Alerts() => Volatile.Read(ref _seen).GroupBy(journal => journal.Commune).SelectMany(commune => AlertRules.Kinds.Select(kind => new Measurement<int>(
        commune.Any(journal => journal.Alerts.Any(alert => alert.Alert == kind)) ? 1 : 0,
        new KeyValuePair<string, object?>("commune", commune.Key), new KeyValuePair<string, object?>("alert", kind))));

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}, journal {Journal}: {Alert} since {Since:O}. {Detail}")]
    private partial void LogBegun(string commune, Guid journal, string alert, DateTimeOffset since, string detail);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}, journal {Journal}: no longer {Alert}.")]
    private partial void LogEnded(string commune, Guid journal, string alert);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The journals could not be looked at. {Reason}")]
    private partial void LogAway(string reason);
}
