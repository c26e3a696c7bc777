using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Intercommunalite.ServiceDefaults;
using Npgsql;

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

    /// <summary>SQL of the last position in the store.</summary>
    public const string End = "coalesce((SELECT max(seq_id) FROM hub.mt_events), 0)";

    private const string EndName = "";

    /// <summary>Names of the projections.</summary>
    public IReadOnlyList<string> Projections { get; }

    /// <summary>Every event up to here is in the store for good.</summary>
    public long HighWater => Volatile.Read(ref _byName).GetValueOrDefault(EndName);

    /// <summary>Done once the positions were looked up a first time.</summary>
    public Task Known => _known.Task;

    /// <summary>Done when any position has changed.</summary>
    public Task Moved => Volatile.Read(ref _moved).Task;

    /// <summary>Name of a projection's row in Marten's table of positions.</summary>
    public static string Shard(string projection) => $"{projection}:All";

    /// <summary>Every event up to here is in the projection.</summary>
    public long Of(string projection) => Volatile.Read(ref _byName).GetValueOrDefault(Shard(projection));

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
        await using var command = _database.CreateCommand($"SELECT name, last_seq_id FROM hub.mt_event_progression UNION ALL SELECT '{EndName}', {End}");
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
