using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// The figures as they were at a position of the store: the projection, applied up to there into tables of its own. They are built when
/// somebody asks for them, one at a time in all of the hub, on whichever node was asked, and without any effect on the figures in
/// service. Whoever asks for the same position meanwhile waits for the same. A few are kept for a while, so that another question about
/// the same day is answered at once. Each build of the hub has versions of its own, since it may count otherwise than another that runs
/// beside it.
/// </summary>
internal sealed partial class PastVersions(
    NpgsqlDataSource database, StoreSchema schema, IEnumerable<ConsolidatedProjection> projections, IConfiguration configuration, TimeProvider clock, ILogger<PastVersions> logger)
    : BackgroundService
{
    /// <summary>Versions that are kept at most, those used last.</summary>
    public const int MostKept = 6;

    private const int LockKey = 1_870_246;
    private const int PageSize = 10_000;

    // Wanted and not built yet: more have to come again.
    private const int MostWanted = 4;

    // Then it is said that it cannot be built, for a while.
    private const int MostTries = 10;
    private static readonly TimeSpan s_kept = TimeSpan.FromHours(1);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan s_betweenTurns = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_afterFailure = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_betweenTidying = TimeSpan.FromMinutes(1);

    // A session of its own: what is set ends with it, and so does the lock. A statement may take as long as it takes.
    private readonly string _session = new NpgsqlConnectionStringBuilder(EventStore.WithoutIdleTransactions(configuration.GetConnectionString("Hub")))
    {
        Pooling = false,
        CommandTimeout = 0,
        TcpKeepAlive = true,
        TcpKeepAliveTime = 10,
        TcpKeepAliveInterval = 10,
    }.ConnectionString;

    private readonly Lock _turn = new();
    private readonly CancellationTokenSource _stopped = new();
    private Task _building = Task.CompletedTask;

    public static Table Schema()
    {
        var table = new Table("replay.past");
        table.AddColumn("projection", "text").AsPrimaryKey();
        table.AddColumn("position", "bigint").AsPrimaryKey();
        table.AddColumn("build", "text").AsPrimaryKey();
        table.AddColumn("ready", "boolean").NotNull();
        table.AddColumn("error", "text");
        table.AddColumn("asked_at", "timestamptz").NotNull();
        table.AddColumn("used_at", "timestamptz").NotNull();
        table.AddColumn("tries", "integer");
        table.AddColumn("reason", "text");
        return table;
    }

    /// <summary>
    /// Waits until the version at a position is there, building it if need be, for some seconds. Null once it is; else how far it is, or
    /// why it cannot be built.
    /// </summary>
    public async Task<PastProgress?> ReadyAsync(string projection, long position, CancellationToken cancellation)
    {
        var since = clock.GetTimestamp();
        while (true)
        {
            if (await LookAsync(projection, position, cancellation) is { } found)
            {
                if (found.Ready) return null;
                if (found.Error is not null) return new(found.Through, position, found.Error, null);
                StartBuilding();
                if (clock.GetElapsedTime(since) >= s_patience) return new(found.Through, position, null, found.Reason);
            }
            else if (!await WantAsync(projection, position, cancellation))
            {
                StartBuilding();
                if (clock.GetElapsedTime(since) >= s_patience) return new(0, position, null, null);
            }

            await Task.Delay(s_betweenLooks, cancellation);
        }
    }

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopped.CancelAsync();
        await _building.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await base.StopAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _stopped.Dispose();
        base.Dispose();
    }

    /// <summary>Drops what is kept no longer, now and then. What a node left unbuilt is gone on with when somebody asks for it.</summary>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            using var timer = new PeriodicTimer(s_betweenTidying, clock);
            do StartBuilding();
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task<(bool Ready, string? Error, long Through, string? Reason)?> LookAsync(string projection, long position, CancellationToken cancellation)
    {
        // Somebody who waits asks often: when it was last used is noted now and then.
        await using var command = database.CreateCommand("""
            WITH used AS (UPDATE replay.past SET used_at = now() WHERE projection = $1 AND position = $2 AND build = $3 AND used_at < now() - interval '10 s')
            SELECT ready, error, coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = $4), 0), reason
            FROM replay.past WHERE projection = $1 AND position = $2 AND build = $3
            """);
        command.Parameters.Add(new() { Value = projection });
        command.Parameters.Add(new() { Value = position });
        command.Parameters.Add(new() { Value = Rebuilder.Build });
        command.Parameters.Add(new() { Value = FiguresVersion.At(position).Shard(projection) });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        if (!await reader.ReadAsync(cancellation)) return null;
        return (reader.GetBoolean(0), reader.IsDBNull(1) ? null : reader.GetString(1), reader.GetInt64(2), reader.IsDBNull(3) ? null : reader.GetString(3));
    }

    private async Task<bool> WantAsync(string projection, long position, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            INSERT INTO replay.past (projection, position, build, ready, asked_at, used_at)
            SELECT $1, $2, $3, false, now(), now() WHERE (SELECT count(*) FROM replay.past WHERE NOT ready AND error IS NULL AND build = $3) < $4
            ON CONFLICT DO NOTHING
            """);
        command.Parameters.Add(new() { Value = projection });
        command.Parameters.Add(new() { Value = position });
        command.Parameters.Add(new() { Value = Rebuilder.Build });
        command.Parameters.Add(new() { Value = (long)MostWanted });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    private void StartBuilding()
    {
        lock (_turn)
        {
            if (_building.IsCompleted && !_stopped.IsCancellationRequested) _building = Task.Run(() => BuildAsync(_stopped.Token));
        }
    }

    private async Task BuildAsync(CancellationToken stopping)
    {
        try
        {
            await using var session = new NpgsqlConnection(_session);
            await session.OpenAsync(stopping);
            await using (var turn = new NpgsqlCommand($"SELECT pg_try_advisory_lock({LockKey})", session))
            {
                if (!(bool)(await turn.ExecuteScalarAsync(stopping))!)
                {
                    // Another node is at it, and takes what is wanted there too. Whoever waits here asks often: a turn is asked for now and then.
                    await session.CloseAsync();
                    await Task.Delay(s_betweenTurns, clock, stopping);
                    return;
                }
            }

            await ExecuteAsync(session, $"SET synchronous_commit = off; {Projector.ByKey}", stopping);
            await TidyAsync(session, stopping);
            while (await NextAsync(session, stopping) is var (projection, position))
            {
                await BuildAsync(session, projection, position, stopping);
                await TidyAsync(session, stopping);
            }

            // At once, not when the server has seen that the session is closed.
            await ExecuteAsync(session, $"SELECT pg_advisory_unlock({LockKey})", stopping);
        }
        catch (Exception e) when (e is not OperationCanceledException || !stopping.IsCancellationRequested)
        {
            // Tried again while somebody asks for it, not at once.
            LogNotBuilt($"{e.Message} ({e.GetType().Name})");
            await Task.Delay(s_afterFailure, clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<(ConsolidatedProjection Projection, long Position)?> NextAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        await using var command = new NpgsqlCommand("SELECT projection, position FROM replay.past WHERE NOT ready AND error IS NULL AND build = $1 ORDER BY asked_at LIMIT 1", session);
        command.Parameters.Add(new() { Value = Rebuilder.Build });
        await using var reader = await command.ExecuteReaderAsync(stopping);
        return await reader.ReadAsync(stopping) ? (projections.Single(one => one.Name == reader.GetString(0)), reader.GetInt64(1)) : null;
    }

    // What may pass is noted and thrown, and the version gone on with where it is when somebody asks again, after the others that are wanted.
    private async Task BuildAsync(NpgsqlConnection session, ConsolidatedProjection projection, long position, CancellationToken stopping)
    {
        var version = FiguresVersion.At(position);
        string? error = null;
        try
        {
            var through = await BeginAsync(session, projection, version, stopping);
            while (through < position)
            {
                through = Math.Min(position, through + PageSize);
                await projection.AdvanceAsync(session, new(version, through), PageSize, stopping);
            }

            await ExecuteAsync(session, string.Concat(projection.Tables.Select(table => $"ANALYZE {version.Of(table.Name)};")), stopping);
        }
        catch (Exception e) when (session.FullState == System.Data.ConnectionState.Open && IsOfAnEvent(e))
        {
            error = $"{e.Message} ({e.GetType().Name})";
            LogNotApplied(projection.Name, position, error);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            // Not through the session: an error for want of room, on the disk or in memory, may have ended it.
            await using var failed = database.CreateCommand("""
                UPDATE replay.past SET asked_at = now(), tries = coalesce(tries, 0) + 1, reason = $4, error = CASE WHEN coalesce(tries, 0) + 1 >= $5 THEN $4 END
                WHERE projection = $1 AND position = $2 AND build = $3
                """);
            failed.Parameters.Add(new() { Value = projection.Name });
            failed.Parameters.Add(new() { Value = position });
            failed.Parameters.Add(new() { Value = Rebuilder.Build });
            failed.Parameters.Add(Query.Text($"{e.Message} ({e.GetType().Name})"));
            failed.Parameters.Add(new() { Value = MostTries });
            await failed.ExecuteNonQueryAsync(stopping);
            throw;
        }

        await using var done = new NpgsqlCommand("UPDATE replay.past SET ready = $4, error = $5, asked_at = now(), used_at = now() WHERE projection = $1 AND position = $2 AND build = $3", session);
        done.Parameters.Add(new() { Value = projection.Name });
        done.Parameters.Add(new() { Value = position });
        done.Parameters.Add(new() { Value = Rebuilder.Build });
        done.Parameters.Add(new() { Value = error is null });
        done.Parameters.Add(Query.Text(error));
        await done.ExecuteNonQueryAsync(stopping);
    }

    // Where the version is; it is made when it is not there.
    private static async Task<long> BeginAsync(NpgsqlConnection session, ConsolidatedProjection projection, FiguresVersion version, CancellationToken stopping)
    {
        await using (var command = new NpgsqlCommand("SELECT last_seq_id FROM hub.mt_event_progression WHERE name = $1", session))
        {
            command.Parameters.Add(new() { Value = version.Shard(projection.Name) });
            if (await command.ExecuteScalarAsync(stopping) is long position) return position;
        }

        await using var transaction = await session.BeginTransactionAsync(stopping);
        await projection.MakeAsync(session, version, stopping);
        await transaction.CommitAsync(stopping);
        return 0;
    }

    // Of the database, what it says of a value that an event led to (data exception, constraint) stays as it is; all else may be gone the next time.
    private static bool IsOfAnEvent(Exception e) =>
        e is PostgresException refused ? refused.SqlState.StartsWith("22", StringComparison.Ordinal) || refused.SqlState.StartsWith("23", StringComparison.Ordinal)
        : !DatabaseAway.Is(e) && e is not (OperationCanceledException or ObjectDisposedException or IOException);

    // What could not be built goes too: it is tried again when it is asked for. Of other builds, which may be at work beside this one, what nobody used for long.
    private async Task TidyAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        await using (var forget = new NpgsqlCommand("""
            DELETE FROM replay.past WHERE (projection, position, build) IN (
                SELECT projection, position, build FROM (SELECT *, row_number() OVER (PARTITION BY build, ready ORDER BY used_at DESC) AS n FROM replay.past) p
                WHERE used_at < now() - $2 OR (build = $3 AND ((ready AND n > $1) OR (error IS NOT NULL AND asked_at < now() - interval '10 s'))))
            """, session))
        {
            forget.Parameters.Add(new() { Value = (long)MostKept });
            forget.Parameters.Add(new() { Value = s_kept });
            forget.Parameters.Add(new() { Value = Rebuilder.Build });
            await forget.ExecuteNonQueryAsync(stopping);
        }

        var kept = new HashSet<string>();
        await using (var command = new NpgsqlCommand("SELECT projection, position, build FROM replay.past", session))
        {
            await using var reader = await command.ExecuteReaderAsync(stopping);
            while (await reader.ReadAsync(stopping)) kept.Add(FiguresVersion.At(reader.GetInt64(1), reader.GetString(2)).Shard(reader.GetString(0)));
        }

        // Those too that an earlier build of the hub named otherwise, or made of a projection that is no more.
        var made = new List<string>();
        await using (var command = new NpgsqlCommand("SELECT name FROM hub.mt_event_progression WHERE name ~ '^[a-z-]+:at_[0-9]+(_[a-z0-9]*)?$'", session))
        {
            await using var reader = await command.ExecuteReaderAsync(stopping);
            while (await reader.ReadAsync(stopping)) made.Add(reader.GetString(0));
        }

        foreach (var shard in made.Where(shard => !kept.Contains(shard)))
        {
            var (name, version) = (shard.Split(':')[0], new FiguresVersion($"_{shard.Split(':')[1]}"));
            try
            {
                await using var transaction = await session.BeginTransactionAsync(stopping);
                await ExecuteAsync(session, "SET LOCAL lock_timeout = '1s'", stopping);
                if (projections.FirstOrDefault(one => one.Name == name) is { } projection)
                    await projection.DropAsync(session, version, stopping);
                else
                    await ExecuteAsync(session, $"DROP SCHEMA IF EXISTS {name.Replace('-', '_')}{version.Suffix} CASCADE; DELETE FROM hub.mt_event_progression WHERE name = '{shard}'", stopping);
                await transaction.CommitAsync(stopping);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.LockNotAvailable)
            {
                // Whoever still reads it keeps it until a later look.
            }
        }
    }

    private static async Task ExecuteAsync(NpgsqlConnection session, string sql, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(sql, session);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "Figures of projection {Projection} as of position {Position} cannot be built; what is in service is not touched. {Reason}")]
    private partial void LogNotApplied(string projection, long position, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Figures of a past day could not be built for now; what is in service is not touched. {Reason}")]
    private partial void LogNotBuilt(string reason);
}

/// <summary>How far a version of a past position is.</summary>
/// <param name="Through">Every event up to here is in it.</param>
/// <param name="Position">Where it is to end.</param>
/// <param name="Error">Why it cannot be built; null while it is.</param>
/// <param name="Reason">Why the last try to build it failed; null when none has.</param>
internal sealed record PastProgress(long Through, long Position, string? Error, string? Reason);
