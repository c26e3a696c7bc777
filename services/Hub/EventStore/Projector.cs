using Intercommunalite.Hub.Audit;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Runs the projections on one hub node at a time: the one whose session in the database holds the lock. All that it does goes
/// through that one session, so that a node which loses it can write nothing more. A node that is frozen keeps its session: when
/// it gives no sign of life for a while, another node ends the session and takes over.
/// A projection that fails is paused at the event that it fails on; its error is kept for the administrator, and it is tried
/// again after a while. The other projections go on. Rebuilds are made in between, see <see cref="Rebuilder"/>. A node of an older build
/// of the hub leaves all that to one of a newer build that is at work, see <see cref="Builds"/>.
/// </summary>
internal sealed partial class Projector : BackgroundService
{
    private const int LockKey = 1_870_243;
    private const int PageSize = 3_000;
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(1);

    /// <summary>
    /// SQL for a session that applies events. Everything is read by its key: a table that has just grown looks small to the planner, which
    /// would then read all of it for every page. A small table without another way in would then look so dear that its query is compiled,
    /// each time anew.
    /// </summary>
    public const string ByKey = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off";

    // Events that come one by one are taken together: a page costs much the same for one as for a hundred.
    private static readonly TimeSpan s_gather = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(15);

    private readonly List<Running> _running;
    private readonly Rebuilder _rebuilder;
    private readonly StoreSchema _schema;
    private readonly string _session;
    private readonly IHostApplicationLifetime _lifetime;
    private readonly TimeProvider _clock;
    private readonly ILogger<Projector> _logger;
    private bool _leaves;

    public Projector(
        IEnumerable<ConsolidatedProjection> projections, StoreSchema schema, AuditLog audit, IConfiguration configuration, IHostApplicationLifetime lifetime, TimeProvider clock, ILogger<Projector> logger)
    {
        (_schema, _lifetime, _clock, _logger) = (schema, lifetime, clock, logger);
        _running = [.. projections.Select(projection => new Running(projection))];
        // A session of its own: one that went back to a pool would keep the lock.
        _session = new NpgsqlConnectionStringBuilder(EventStore.WithoutIdleTransactions(configuration.GetConnectionString("Hub"))) { Pooling = false, KeepAlive = 10 }.ConnectionString;
        _rebuilder = new(projections.ToList(), _session, audit, clock, logger);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await _schema.Applied.WaitAsync(stoppingToken);
            await StartedAsync(stoppingToken);
            while (true)
            {
                try
                {
                    await using var session = new NpgsqlConnection(_session);
                    await session.OpenAsync(stoppingToken);
                    while (!await TryLeadAsync(session, stoppingToken)) await Task.Delay(s_idle, _clock, stoppingToken);
                    await TakeOverAsync(session, stoppingToken);
                    LogLeading();
                    await ProjectAsync(session, stoppingToken);
                    await _rebuilder.ForgetAsync();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    LogLost(e.Message);
                    await _rebuilder.ForgetAsync();
                    await Task.Delay(s_idle, _clock, stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping: the session ends, and the lock with it.
            await _rebuilder.ForgetAsync();
        }
    }

    private async Task StartedAsync(CancellationToken stopping)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_lifetime.ApplicationStarted, stopping);
        await Task.Delay(Timeout.Infinite, either.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        stopping.ThrowIfCancellationRequested();
    }

    // What another build made of the tables since this node last looked, and counted since this build last did, is not what this one would.
    private async Task TakeOverAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        await _schema.MendAsync(stopping);
        _leaves = false;
        if (await Builds.HasOtherWrittenAsync(session, stopping))
        {
            LogWrittenByOther();
            await using var database = NpgsqlDataSource.Create(_session);
            foreach (var running in _running) await Rebuilds.AskAsync(database, running.Projection.Name, new("hub", "Another build of the hub wrote the figures"), stopping, insteadOfPart: true);
        }

        await Builds.LeadAsync(session, stopping);
    }

    private async Task<bool> TryLeadAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        if (!await Builds.IsNewestAsync(session, cancellation))
        {
            if (!_leaves) LogLeaves();
            _leaves = true;
            return false;
        }

        await using var attempt = new NpgsqlCommand($"SELECT pg_try_advisory_lock({LockKey})", session);
        if ((bool)(await attempt.ExecuteScalarAsync(cancellation))!) return true;
        // A session that works on a long statement, or began one a moment ago, is no frozen node's.
        await using var end = new NpgsqlCommand($"""
            SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = {LockKey} AND objsubid = 1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND state_change < clock_timestamp() - $1 AND (state <> 'active' OR wait_event_type = 'Client')
            """, session);
        end.Parameters.Add(new() { Value = s_silence });
        await end.ExecuteNonQueryAsync(cancellation);
        return false;
    }

    private async Task ProjectAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        var appended = true;
        session.Notification += (_, _) => appended = true;
        await ExecuteAsync(session, $"LISTEN {Append.Channel}", stopping);
        // Rows and position are lost together, if they are, and are made again from the events: no need to wait for the disk.
        await ExecuteAsync(session, "SET synchronous_commit = off", stopping);
        await ExecuteAsync(session, ByKey, stopping);
        foreach (var running in _running) running.Forget();
        var signed = DateTimeOffset.MinValue;
        while (true)
        {
            var look = _clock.GetUtcNow() - signed >= s_idle;
            if (look)
            {
                signed = _clock.GetUtcNow();
                // The session ends here, and with it the lock that the newer one waits for.
                if (!await Builds.IsNewestAsync(session, stopping)) return;
                await ExecuteAsync(session, Append.FreeFromFrozenNodes, stopping);
            }

            appended = false;
            var more = false;
            foreach (var running in _running) more |= await AdvanceAsync(running, session, stopping);
            // What is in service goes first; a rebuild gets the time between.
            var (moreToRebuild, replaced) = await _rebuilder.TurnAsync(session, look, stopping);
            more |= moreToRebuild;
            foreach (var running in _running.Where(running => replaced.Contains(running.Projection.Name))) running.Forget();
            if (more) continue;
            if (!appended) await session.WaitAsync(s_idle, stopping);
            await Task.Delay(s_gather, _clock, stopping);
        }
    }

    private async Task<bool> AdvanceAsync(Running running, NpgsqlConnection session, CancellationToken stopping)
    {
        if (_clock.GetUtcNow() < running.PausedUntil) return false;
        try
        {
            var (_, full) = await running.Projection.AdvanceAsync(session, running.Size, stopping);
            if (running.IsPaused != false)
            {
                running.IsPaused = false;
                if (await Pauses.EndAsync(session, running.Projection.Name, stopping)) LogGoesOn(running.Projection.Name);
            }

            running.Size = Math.Min(running.Size * 2, PageSize);
            return full;
        }
        catch (Exception e) when (!stopping.IsCancellationRequested && session.FullState == System.Data.ConnectionState.Open)
        {
            // With ever smaller pages, all that can be applied is; then it is known which event it is.
            if (running.Size > 1)
            {
                running.Size = Math.Max(1, running.Size / 8);
                return true;
            }

            running.PausedUntil = _clock.GetUtcNow() + s_pause;
            var reason = $"{e.Message} ({e.GetType().Name})";
            await Pauses.BeginAsync(session, running.Projection.Name, reason, stopping);
            if (running.IsPaused != true) LogPaused(running.Projection.Name, reason);
            running.IsPaused = true;
            return false;
        }
    }

    private static async Task ExecuteAsync(NpgsqlConnection session, string sql, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(sql, session);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "This node runs the projections.")]
    private partial void LogLeading();

    [LoggerMessage(Level = LogLevel.Warning, Message = "This node leaves the projections to a newer build of the hub that is at work.")]
    private partial void LogLeaves();

    [LoggerMessage(Level = LogLevel.Warning, Message = "Another build of the hub wrote the figures since this one did: they are rebuilt.")]
    private partial void LogWrittenByOther();

    [LoggerMessage(Level = LogLevel.Warning, Message = "This node does not run the projections for now: {Reason}")]
    private partial void LogLost(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "Projection {Projection} is paused: {Reason}")]
    private partial void LogPaused(string projection, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Projection {Projection} goes on.")]
    private partial void LogGoesOn(string projection);

    /// <summary>A projection on the node that runs it.</summary>
    private sealed class Running(ConsolidatedProjection projection)
    {
        public ConsolidatedProjection Projection => projection;

        public int Size { get; set; } = PageSize;

        /// <summary>Null while it is not known: another node may have run it, and paused it.</summary>
        public bool? IsPaused { get; set; }

        public DateTimeOffset PausedUntil { get; set; }

        /// <summary>What was known before another node ran it means nothing.</summary>
        public void Forget() => (Size, IsPaused, PausedUntil) = (PageSize, null, DateTimeOffset.MinValue);
    }
}
