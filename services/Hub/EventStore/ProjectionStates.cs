using System.Diagnostics.Metrics;
using System.Globalization;
using Intercommunalite.ServiceDefaults;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>How far the hub may be behind and still be ready; section <c>Health</c>.</summary>
internal sealed class HealthOptions
{
    /// <summary>How long an event may be in the store and not in a projection.</summary>
    public TimeSpan MaxProjectionLag { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long what has arrived may wait for the store.</summary>
    public TimeSpan MaxStoreLag { get; init; } = TimeSpan.FromMinutes(5);
}

/// <summary>A projection as it is now.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Position">Every event up to here is in it.</param>
/// <param name="HighWater">Every event up to here is in the store.</param>
/// <param name="Behind">How long the oldest event that it has not seen has been in the store; zero when it has seen all.</param>
/// <param name="Pause">Why it stands still, if it does.</param>
/// <param name="Rebuild">Its last rebuild.</param>
internal sealed record ProjectionState(string Name, long Position, long HighWater, TimeSpan Behind, Pause? Pause, Rebuild? Rebuild)
{
    /// <summary>Events that it has not seen.</summary>
    public long Lag => Math.Max(0, HighWater - Position);
}

/// <summary>
/// The projections' states, looked up for whoever asks, and every some seconds for the metrics.
/// </summary>
/// <remarks>
/// As a health check: unhealthy when a projection is behind a limit, or all are paused. A single one that is paused only makes it
/// degraded, and ready, whatever its lag: the figures of the others are right, and the hub must answer those who mend it. A rebuild
/// changes nothing: the figures in service go on.
/// </remarks>
internal sealed partial class ProjectionStates : BackgroundService, IHealthCheck
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);

    private readonly NpgsqlDataSource _database;
    private readonly StoreSchema _schema;
    private readonly HealthOptions _options;
    private readonly ILogger<ProjectionStates> _logger;
    private readonly string[] _names;

    // Not Telemetry.Meter, but by its name: the gauges end with this.
    private readonly Meter _meter = new(Telemetry.Name);
    private IReadOnlyList<ProjectionState> _seen = [];

    public ProjectionStates(
        NpgsqlDataSource database, StoreSchema schema, IEnumerable<ConsolidatedProjection> projections, HealthOptions options, ILogger<ProjectionStates> logger)
    {
        (_database, _schema, _options, _logger) = (database, schema, options, logger);
        _names = [.. projections.Select(projection => projection.Name)];
        _meter.CreateObservableGauge(
            "hub.projection.lag_seconds", () => Each(state => state.Behind.TotalSeconds), "s",
            "How long the oldest event that a projection has not seen has been in the store");
        _meter.CreateObservableGauge("hub.projection.paused", () => Each(state => state.Pause is null ? 0 : 1), "{projection}", "1 for a projection that stands still at an event");
        _meter.CreateObservableGauge(
            "hub.projection.rebuild.events", () => Rebuilt(rebuild => rebuild.Position), "{event}", "Events of the store that a rebuild has gone through; none while none runs");
        _meter.CreateObservableGauge("hub.projection.rebuild.rate", () => Rebuilt(rebuild => rebuild.Rate), "{event}/s", "Events of the store that a rebuild goes through a second");
    }

    /// <summary>All projections as they are now.</summary>
    public async Task<IReadOnlyList<ProjectionState>> AllAsync(CancellationToken cancellation)
    {
        var (rebuilds, pauses) = (await Rebuilds.AllAsync(_database, cancellation), await Pauses.AllAsync(_database, cancellation));
        var states = new List<ProjectionState>(_names.Length);
        // The store writes its times as UTC into the session's time zone, so that is how they are read: right in any time zone.
        await using var command = _database.CreateCommand($"""
            WITH at AS (
                SELECT name, coalesce((SELECT last_seq_id FROM hub.mt_event_progression p WHERE p.name = given.name || ':All'), 0) AS position, {Positions.End} AS high_water, n
                FROM unnest($1) WITH ORDINALITY AS given (name, n))
            SELECT name, position, high_water, extract(epoch FROM clock_timestamp() AT TIME ZONE 'utc'
                - (SELECT timestamp::timestamp FROM hub.mt_events e WHERE e.seq_id > at.position ORDER BY e.seq_id LIMIT 1))::float8
            FROM at ORDER BY n
            """);
        command.Parameters.Add(new() { Value = _names });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            var name = reader.GetString(0);
            var behind = await reader.IsDBNullAsync(3, cancellation) ? 0 : Math.Max(0, reader.GetDouble(3));
            states.Add(new(name, reader.GetInt64(1), reader.GetInt64(2), TimeSpan.FromSeconds(behind), pauses.GetValueOrDefault(name), rebuilds.GetValueOrDefault(name)));
        }

        return states;
    }

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        // Without the schema or the database, the event store's check says so.
        if (!_schema.Applied.IsCompletedSuccessfully) return HealthCheckResult.Healthy();
        try
        {
            var health = Health(await AllAsync(cancellationToken), _options.MaxProjectionLag);
            return health.Status == HealthStatus.Healthy && await Builds.IsNewerAtWorkAsync(_database, cancellationToken)
                ? HealthCheckResult.Healthy("this node leaves the projections to a newer build of the hub that is at work")
                : health;
        }
        catch (NpgsqlException)
        {
            return HealthCheckResult.Unhealthy("the projections could not be looked up");
        }
    }

    /// <summary>Whether the hub is ready, for all that its projections tell.</summary>
    /// <param name="states">All projections.</param>
    /// <param name="limit">See <see cref="HealthOptions.MaxProjectionLag"/>.</param>
    internal static HealthCheckResult Health(IReadOnlyCollection<ProjectionState> states, TimeSpan limit)
    {
        var paused = states.Where(state => state.Pause is not null).ToList();
        if (paused.Count > 0 && paused.Count == states.Count) return HealthCheckResult.Unhealthy("all projections are paused: see interco projections list");
        var late = states.Where(state => state.Pause is null && state.Behind > limit).ToList();
        if (late.Count > 0)
        {
            return HealthCheckResult.Unhealthy(string.Join("; ", late.Select(state => string.Create(
                CultureInfo.InvariantCulture, $"{state.Name} is {state.Lag} events and {state.Behind.TotalSeconds:F0} s behind, more than {limit} (Health:MaxProjectionLag)"))));
        }

        return paused.Count == 0
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Degraded($"{string.Join(", ", paused.Select(state => state.Name))}: paused, see interco projections list");
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

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
                    Volatile.Write(ref _seen, await AllAsync(stoppingToken));
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

    private IEnumerable<Measurement<T>> Each<T>(Func<ProjectionState, T> value)
        where T : struct =>
        Volatile.Read(ref _seen).Select(state => new Measurement<T>(value(state), new KeyValuePair<string, object?>("projection", state.Name)));

    private IEnumerable<Measurement<T>> Rebuilt<T>(Func<Rebuild, T> value)
        where T : struct =>
        Volatile.Read(ref _seen).Where(state => state.Rebuild is { IsActive: true })
            .Select(state => new Measurement<T>(value(state.Rebuild!), new KeyValuePair<string, object?>("projection", state.Name)));

    [LoggerMessage(Level = LogLevel.Debug, Message = "The projections could not be looked up. {Reason}")]
    private partial void LogAway(string reason);
}
