using System.Collections.Concurrent;
using JasperFx.Events.Daemon;
using Marten;
using Medallion.Threading.Postgres;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Runs the projections on one hub node at a time: the node that holds the lock in the database. A projection that fails
/// is paused, its error is kept for the administrator, and it is tried again after a while.
/// </summary>
internal sealed partial class Projector(
    IDocumentStore store,
    StoreSchema schema,
    Positions positions,
    NpgsqlDataSource database,
    IConfiguration configuration,
    ILoggerFactory logging,
    ILogger<Projector> logger) : BackgroundService
{
    private static readonly TimeSpan s_supervision = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_rebuildLimit = TimeSpan.FromHours(12);

    private readonly ConcurrentDictionary<string, string> _errors = new();
    private string? _rebuilding;
    private Task _rebuild = Task.CompletedTask;

    /// <summary>Why a projection is paused on this node; null while it runs.</summary>
    public string? ErrorOf(string projection) => _errors.GetValueOrDefault(projection);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            while (!stoppingToken.IsCancellationRequested)
            {
                try
                {
                    await LeadAsync(stoppingToken);
                }
                catch (Exception e) when (e is not OperationCanceledException || !stoppingToken.IsCancellationRequested)
                {
                    LogLost(e.Message);
                    await Task.Delay(s_supervision, stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task LeadAsync(CancellationToken stopping)
    {
        var election = new PostgresDistributedLock(new PostgresAdvisoryLockKey("hub-projector", allowHashing: true), configuration.GetConnectionString("Hub")!);
        await using var held = await election.AcquireAsync(timeout: null, stopping);
        using var leading = CancellationTokenSource.CreateLinkedTokenSource(stopping, held.HandleLostToken);
        using var daemon = await store.BuildProjectionDaemonAsync(logger: logging.CreateLogger("Marten.Daemon"));
        LogLeading();
        try
        {
            await daemon.StartAllAsync();
            await RebuildRequests.AskAgainForRunningAsync(database, leading.Token);
            using var timer = new PeriodicTimer(s_supervision);
            while (await timer.WaitForNextTickAsync(leading.Token)) await SuperviseAsync(daemon, leading.Token);
        }
        finally
        {
            await leading.CancelAsync();
            await _rebuild;
            await daemon.StopAllAsync();
        }
    }

    private async Task SuperviseAsync(IProjectionDaemon daemon, CancellationToken cancellation)
    {
        foreach (var projection in positions.Projections.Where(projection => projection != _rebuilding))
        {
            var shard = Positions.Shard(projection);
            var agent = daemon.CurrentAgents().FirstOrDefault(agent => agent.Name.Identity == shard);
            if (agent is { PausedTime: null } && daemon.StatusFor(shard) == JasperFx.AgentStatus.Running)
            {
                _errors.TryRemove(projection, out _);
            }
            else if (agent?.PausedTime is not { } paused || DateTimeOffset.UtcNow - paused > s_pause)
            {
                daemon.EjectPausedShard(shard);
                await daemon.StartAgentAsync(shard, cancellation);
            }
            else if (agent.Failure is { } failure && _errors.TryAdd(projection, $"{failure.Message} ({failure.RootExceptionType})"))
            {
                LogPaused(projection, _errors[projection]);
            }
        }

        if (_rebuilding is null && await RebuildRequests.NextAsync(database, cancellation) is { } requested)
        {
            _rebuilding = requested;
            _rebuild = RebuildAsync(daemon, requested, cancellation);
        }
    }

    private async Task RebuildAsync(IProjectionDaemon daemon, string projection, CancellationToken cancellation)
    {
        string? error = null;
        try
        {
            // Without statistics, reading the events back after a bulk load is several times slower.
            await using (var analyze = database.CreateCommand("ANALYZE hub.mt_events")) await analyze.ExecuteNonQueryAsync(cancellation);
            await RebuildRequests.StartAsync(database, projection, cancellation);
            await daemon.RebuildProjectionAsync(projection, s_rebuildLimit, cancellation);
        }
        catch (Exception e)
        {
            error = e.Message;
            LogRebuildFailed(projection, e.Message);
        }

        // A node that stops, or no longer leads, leaves the rebuild to the next one.
        if (!cancellation.IsCancellationRequested) await NoteEndAsync(projection, error);

        // The next look starts the projection again where the rebuild ended.
        _rebuilding = null;
    }

    private async Task NoteEndAsync(string projection, string? error)
    {
        try
        {
            await RebuildRequests.FinishAsync(database, projection, error, CancellationToken.None);
        }
        catch (NpgsqlException e)
        {
            LogRebuildFailed(projection, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "This node runs the projections.")]
    private partial void LogLeading();

    [LoggerMessage(Level = LogLevel.Warning, Message = "This node does not run the projections for now: {Reason}")]
    private partial void LogLost(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "Projection {Projection} is paused: {Reason}")]
    private partial void LogPaused(string projection, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "Rebuild of {Projection} failed: {Reason}")]
    private partial void LogRebuildFailed(string projection, string reason);
}
