using System.Diagnostics.Metrics;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>How far a subscription is.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Done">Position up to which all is done or parked.</param>
/// <param name="Lag">Events that may still come of what is stored: those of the window, and all that was not looked through yet, whether it is asked for or not.</param>
/// <param name="Unacknowledged">Events that were given to a reader and are neither done nor parked.</param>
/// <param name="OldestUnacknowledged">When the oldest of them was given first.</param>
/// <param name="Parked">Parked events.</param>
/// <param name="OwnParked">Of them, those that came by themselves and not by a replay: as many as <see cref="SubscriptionOptions.MostParked"/> make the subscription full.</param>
/// <param name="Replaying">Events that are still to be given of each replay.</param>
/// <param name="FailingSince">Of a webhook: since when its endpoint takes nothing though something is brought; null when it takes events, nothing waits, or it is suspended.</param>
internal sealed record SubscriptionState(
    string Name, long Done, long Lag, long Unacknowledged, DateTimeOffset? OldestUnacknowledged, long Parked, long OwnParked, IReadOnlyDictionary<string, long> Replaying, DateTimeOffset? FailingSince);

/// <summary>How far the subscriptions are, looked up for whoever asks, and every some seconds for the metrics; every node gives the same gauges.</summary>
internal sealed partial class SubscriptionStates : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(10);

    private readonly NpgsqlDataSource _database;
    private readonly SubscriptionOptions _options;
    private readonly StoreSchema _schema;
    private readonly TimeProvider _clock;
    private readonly ILogger<SubscriptionStates> _logger;

    // Not Telemetry.Meter, but by its name: the gauges end with this.
    private readonly Meter _meter = new(Telemetry.Name);
    private IReadOnlyDictionary<string, SubscriptionState> _seen = new Dictionary<string, SubscriptionState>();

    public SubscriptionStates(NpgsqlDataSource database, SubscriptionOptions options, StoreSchema schema, TimeProvider clock, ILogger<SubscriptionStates> logger)
    {
        (_database, _options, _schema, _clock, _logger) = (database, options, schema, clock, logger);
        _meter.CreateObservableGauge("hub.subscription.lag", () => Each(state => state.Lag), "{event}", "Events of the store that a subscription has not looked through, and those that wait in it");
        _meter.CreateObservableGauge("hub.subscription.unacknowledged", () => Each(state => state.Unacknowledged), "{event}", "Events given to a reader and not acknowledged");
        _meter.CreateObservableGauge(
            "hub.subscription.oldest_unacknowledged", () => Each(state => state.OldestUnacknowledged is { } since ? Math.Max(0, (_clock.GetUtcNow() - since).TotalSeconds) : 0), "s",
            "How long ago the oldest event that is not acknowledged was given first");
        _meter.CreateObservableGauge(
            "hub.subscription.failing", () => Each(state => state.FailingSince is { } since ? Math.Max(0, (_clock.GetUtcNow() - since).TotalSeconds) : 0), "s",
            "How long the endpoint of a webhook has taken nothing though something waits");
        _meter.CreateObservableGauge("hub.subscription.parked", () => Each(state => state.Parked), "{event}", "Events that are parked");
        _meter.CreateObservableGauge("hub.subscription.full", () => Each(state => IsFull(state) ? 1 : 0), "", "1 when so many events are parked that nothing more is given");
    }

    /// <summary>That of one that is made now.</summary>
    public async Task<SubscriptionState> NewAsync(Subscription made, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand($"SELECT greatest({Positions.End} - $1, 0)");
        command.Parameters.Add(new() { Value = made.Fetched });
        return new(made.Name, made.Fetched, (long)(await command.ExecuteScalarAsync(cancellation))!, 0, null, 0, 0, new Dictionary<string, long>(), null);
    }

    /// <summary>All of them, or the one named, as they are now.</summary>
    public async Task<IReadOnlyDictionary<string, SubscriptionState>> NowAsync(string? name, CancellationToken cancellation)
    {
        var states = new Dictionary<string, SubscriptionState>(StringComparer.Ordinal);
        await using var command = _database.CreateCommand($"""
            WITH counted AS (
                SELECT subscription, replay, count(*) FILTER (WHERE parked_at IS NULL) AS waiting, min(position) FILTER (WHERE parked_at IS NULL) AS first,
                    count(first_given_at) FILTER (WHERE parked_at IS NULL) AS given, min(first_given_at) FILTER (WHERE parked_at IS NULL) AS since, count(parked_at) AS parked
                FROM feeds.delivery WHERE $1::text IS NULL OR subscription = $1 GROUP BY subscription, replay)
            SELECT s.name, s.fetched, greatest({Positions.End} - s.fetched, 0), c.replay, coalesce(c.waiting, 0), c.first, coalesce(c.given, 0), c.since, coalesce(c.parked, 0),
                (SELECT failing_since FROM feeds.webhook w WHERE w.subscription = s.name AND s.state = 'active')
            FROM feeds.subscription s LEFT JOIN counted c ON c.subscription = s.name WHERE $1::text IS NULL OR s.name = $1 ORDER BY s.name, c.replay
            """);
        command.Parameters.Add(Query.Text(name));
        await using var row = await command.ExecuteReaderAsync(cancellation);
        while (await row.ReadAsync(cancellation))
        {
            var of = row.GetString(0);
            var (replay, waiting, given, parked) = (row.IsDBNull(3) ? "" : row.GetString(3), row.GetInt64(4), row.GetInt64(6), row.GetInt64(8));
            DateTimeOffset? since = row.IsDBNull(7) ? null : row.GetFieldValue<DateTimeOffset>(7);
            if (!states.TryGetValue(of, out var state)) state = new(of, row.GetInt64(1), row.GetInt64(2), 0, null, 0, 0, new Dictionary<string, long>(), row.IsDBNull(9) ? null : row.GetFieldValue<DateTimeOffset>(9));
            states[of] = state with
            {
                Done = replay.Length > 0 || row.IsDBNull(5) ? state.Done : row.GetInt64(5) - 1,
                Lag = state.Lag + (replay.Length > 0 ? 0 : waiting),
                Unacknowledged = state.Unacknowledged + given,
                OldestUnacknowledged = state.OldestUnacknowledged < since ? state.OldestUnacknowledged : since ?? state.OldestUnacknowledged,
                Parked = state.Parked + parked,
                OwnParked = state.OwnParked + (replay.Length > 0 ? 0 : parked),
                Replaying = replay.Length > 0 && waiting > 0 ? new Dictionary<string, long>(state.Replaying) { [replay] = waiting } : state.Replaying,
            };
        }

        return states;
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_interval);
        try
        {
            await _schema.Applied.WaitAsync(stoppingToken);
            do
            {
                try
                {
                    var now = await NowAsync(null, stoppingToken);
                    foreach (var state in now.Values.Where(IsFull).Where(state => !_seen.TryGetValue(state.Name, out var before) || !IsFull(before))) LogFull(state.Name, state.OwnParked);
                    Volatile.Write(ref _seen, now);
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    // What was last seen stays.
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

    private bool IsFull(SubscriptionState state) => state.OwnParked >= _options.MostParked;

    private IEnumerable<Measurement<T>> Each<T>(Func<SubscriptionState, T> value)
        where T : struct =>
        Volatile.Read(ref _seen).Values.Select(state => new Measurement<T>(value(state), new KeyValuePair<string, object?>("subscription", state.Name)));

    [LoggerMessage(Level = LogLevel.Warning, Message = "Of the subscription {Subscription} {Parked} events are parked: nothing more is given until some are replayed or discarded.")]
    private partial void LogFull(string subscription, long parked);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The subscriptions could not be looked up. {Reason}")]
    private partial void LogAway(string reason);
}
