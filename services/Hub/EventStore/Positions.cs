using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Intercommunalite.ServiceDefaults;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// How far the store and each projection are, looked up several times a second, on every node. Positions are Marten's global
/// sequence; nothing is missing below one that is visible (see <see cref="Append"/>).
/// </summary>
internal sealed partial class Positions : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(100);

    private readonly NpgsqlDataSource _database;
    private readonly StoreSchema _schema;
    private readonly ILogger<Positions> _logger;
    private bool _away;
    private FrozenDictionary<string, long> _byName = FrozenDictionary<string, long>.Empty;
    private readonly TaskCompletionSource _known = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _moved = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Positions(NpgsqlDataSource database, StoreSchema schema, IEnumerable<ConsolidatedProjection> projections, ILogger<Positions> logger)
    {
        (_database, _schema, _logger) = (database, schema, logger);
        Projections = [.. projections.Select(projection => projection.Name)];
        Telemetry.Meter.CreateObservableGauge("hub.projection.lag", Lags, "{event}", "Events that a projection has not seen yet");
    }

    /// <summary>
    /// How far times are out of the order of positions, at most. An event's time is that of the beginning of its transaction, which then
    /// waits for its turn to append: some seconds when a node freezes in the middle (see <see cref="Append"/>). What was stored by a time
    /// is certain once this long has passed since; the rest is for clocks of hub and database that are apart.
    /// </summary>
    public static readonly TimeSpan Disorder = TimeSpan.FromMinutes(1);

    /// <summary>SQL of the last position in the store.</summary>
    public const string End = "coalesce((SELECT max(seq_id) FROM hub.mt_events), 0)";

    private const string EndName = "";

    /// <summary>Names of the projections.</summary>
    public IReadOnlyList<string> Projections { get; }

    /// <summary>Every event up to here is in the store for good.</summary>
    public long HighWater => Volatile.Read(ref _byName).GetValueOrDefault(EndName);

    /// <summary>Done once the positions were looked up a first time.</summary>
    public Task Known => _known.Task;

    /// <summary>Done when any position has changed, or figures were replaced by those of a rebuild, which may leave the position as it is.</summary>
    public Task Moved => Volatile.Read(ref _moved).Task;

    /// <summary>Name of a projection's row in Marten's table of positions.</summary>
    public static string Shard(string projection) => $"{projection}:All";

    /// <summary>Every event up to here is in the projection.</summary>
    public long Of(string projection) => Volatile.Read(ref _byName).GetValueOrDefault(Shard(projection));

    /// <summary>
    /// The store as it was at a time: the last position whose event was stored at or before it; 0 when none was, the end of the store
    /// for a time to come. An event beside it may be of a moment later, since times are a little out of the order of positions; what
    /// is at or before a position never changes.
    /// </summary>
    public Task<long> AtAsync(DateTimeOffset time, CancellationToken cancellation) => SearchAsync(
        time, "coalesce((SELECT seq_id FROM hub.mt_events WHERE seq_id > low AND seq_id < high AND timestamp::timestamp <= $1 ORDER BY seq_id DESC LIMIT 1), low)", cancellation);

    /// <summary>
    /// Where to begin to read from a time on: the greatest position up to which every event was stored before it. Whoever reads what
    /// comes after it misses nothing that was stored at the time or later, and may see a little of before. The end of the store for a
    /// time to come.
    /// </summary>
    public Task<long> BeforeAsync(DateTimeOffset time, CancellationToken cancellation) => SearchAsync(
        time, "coalesce((SELECT seq_id FROM hub.mt_events WHERE seq_id > low AND seq_id < high AND timestamp::timestamp >= $1 ORDER BY seq_id LIMIT 1), high) - 1", cancellation);

    // Halves the positions until it is known between which two the disorder around the time lies: up to low all are before it, from
    // high on all are after it. Only what is between is looked through, and all in one statement, so of one moment. The store writes
    // its times as UTC into the session's time zone, so that is how they are read.
    private async Task<long> SearchAsync(DateTimeOffset time, string found, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand($"""
            WITH RECURSIVE early (low, high) AS ({Halved("early", "< $1 - $2")}), late (low, high) AS ({Halved("late", "<= $1 + $2")}),
                within AS MATERIALIZED (SELECT (SELECT max(low) FROM early) AS low, (SELECT min(high) FROM late) AS high)
            SELECT {found} FROM within
            """);
        command.Parameters.Add(new() { Value = DateTime.SpecifyKind(time.UtcDateTime, DateTimeKind.Unspecified), NpgsqlDbType = NpgsqlDbType.Timestamp });
        command.Parameters.Add(new() { Value = Disorder });
        return (long)(await command.ExecuteScalarAsync(cancellation))!;
    }

    private static string Halved(string name, string isLow) => $"""
        SELECT 0::bigint, {End} + 1
        UNION ALL
        SELECT CASE WHEN is_low THEN middle ELSE low END, CASE WHEN is_low THEN high ELSE middle END
        FROM (SELECT low, high, (low + high) / 2 AS middle FROM {name} WHERE high - low > 1) step CROSS JOIN LATERAL (
            SELECT coalesce((SELECT timestamp::timestamp FROM hub.mt_events WHERE seq_id <= middle ORDER BY seq_id DESC LIMIT 1) {isLow}, true) AS is_low) looked
        """;

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
                    await LookAsync(stoppingToken);
                    _away = false;
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    // The last positions stay until a later look works; said once, not at every look.
                    if (!_away) LogAway(e.Message);
                    _away = true;
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The positions could not be looked up; the last ones stay. {Reason}")]
    private partial void LogAway(string reason);

    private async Task LookAsync(CancellationToken cancellation)
    {
        var found = new Dictionary<string, long>();
        await using var command = _database.CreateCommand($"SELECT name, last_seq_id FROM hub.mt_event_progression WHERE name LIKE '%:All' UNION ALL SELECT '{EndName}', {End} UNION ALL SELECT 'replaced', {Rebuilds.LastReplaced}");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) found[reader.GetString(0)] = reader.GetInt64(1);
        var before = _byName;
        if (_known.Task.IsCompleted && found.Count == before.Count && found.All(pair => before.TryGetValue(pair.Key, out var old) && old == pair.Value)) return;
        Volatile.Write(ref _byName, found.ToFrozenDictionary());
        _known.TrySetResult();
        Interlocked.Exchange(ref _moved, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
    }

    private IEnumerable<Measurement<long>> Lags() => Projections.Select(projection =>
        new Measurement<long>(Math.Max(0, HighWater - Of(projection)), new KeyValuePair<string, object?>("projection", projection)));
}
