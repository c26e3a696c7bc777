using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Builds a projection anew beside the version in service: on the node that projects and through its session, in turns with the
/// projections in service, which never wait for long. What it has done is in the database, so another node, or this one after a
/// start, goes on where it was. Once the new version is where the one in service is, both are compared, and it takes its place in
/// one transaction: whoever reads sees the one or the other, whole.
/// </summary>
/// <param name="projections">All there are.</param>
/// <param name="connectionString">To compare on another connection than the session's.</param>
/// <param name="audit">Where it is noted what came into service.</param>
/// <param name="clock">Tells when a turn is over.</param>
/// <param name="logger">Says what began and ended.</param>
/// <param name="pageSize">Positions in a page, at most.</param>
internal sealed partial class Rebuilder(
    IReadOnlyCollection<ConsolidatedProjection> projections, string connectionString, AuditLog audit, TimeProvider clock, ILogger logger, int pageSize = Rebuilder.PageSize)
{
    private const int PageSize = 10_000;

    // A longer wait for a lock would keep those waiting that come to read after it.
    private const string LockTimeout = "100ms";
    private static readonly TimeSpan s_turn = TimeSpan.FromMilliseconds(150);
    private static readonly TimeSpan s_betweenReports = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_longestRetry = TimeSpan.FromSeconds(30);

    /// <summary>Names this build of the hub: what one began, another does not go on with, since it may count otherwise.</summary>
    public static string Build { get; } = typeof(Rebuilder).Module.ModuleVersionId.ToString();

    private CurrentRebuild? _current;
    private Comparison? _comparison;
    private readonly int _pageSize = pageSize;
    private int _size = pageSize;
    private bool _applying;
    private TimeSpan _wait;
    private DateTimeOffset _notBefore;
    private (long Timestamp, long Position) _since;
    private long _reported;

    /// <summary>Nothing that was known of a rebuild holds any longer: the session was lost, or another node has run it.</summary>
    public async Task ForgetAsync()
    {
        if (_comparison is not null) await _comparison.DisposeAsync();
        (_comparison, _current, _size, _wait, _notBefore, _since) = (null, null, _pageSize, s_retry, DateTimeOffset.MinValue, default);
    }

    /// <summary>Does some of the rebuild that is asked for, if there is one, for a part of a second.</summary>
    /// <param name="session">The session that projects.</param>
    /// <param name="look">Whether to look for a new one, too.</param>
    /// <param name="stopping">Gives up.</param>
    /// <returns>Whether there is more to do at once, and the projection whose figures are other ones now.</returns>
    public async Task<(bool More, string? Replaced)> TurnAsync(NpgsqlConnection session, bool look, CancellationToken stopping)
    {
        if (!look && _current is null) return (false, null);
        var current = await Rebuilds.CurrentAsync(session, stopping);
        if (current is null || current.Projection != _current?.Projection || current.AskedAt != _current.AskedAt) await ForgetAsync();
        _current = current;
        if (look || current is null) await DropLeftoversAsync(session, stopping);
        if (current is null || clock.GetUtcNow() < _notBefore) return (false, null);
        if (projections.FirstOrDefault(one => one.Name == current.Projection) is not { } projection)
        {
            await Rebuilds.FailAsync(session, current, $"There is no projection {current.Projection}.", stopping);
            return (true, null);
        }

        try
        {
            _applying = false;
            return await StepAsync(session, projection, current, stopping);
        }
        catch (NpgsqlException e) when (e.IsTransient && !stopping.IsCancellationRequested && session.FullState == System.Data.ConnectionState.Open)
        {
            // Somebody reads for long, a backup perhaps; or the database has no room for another connection now.
            LogWaiting(current.Projection, e.Message);
            _notBefore = clock.GetUtcNow() + _wait;
            _wait = _wait * 2 < s_longestRetry ? _wait * 2 : s_longestRetry;
            return (false, null);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested && session.FullState == System.Data.ConnectionState.Open)
        {
            // With ever smaller pages, it is known in the end which event cannot be applied.
            if (_size > 1 && _applying)
            {
                _size = Math.Max(1, _size / 8);
                return (true, null);
            }

            var reason = $"{e.Message} ({e.GetType().Name})";
            LogFailed(current.Projection, reason);
            await ForgetAsync();
            await Rebuilds.FailAsync(session, current, reason, stopping);
            return (true, null);
        }
    }

    private async Task<(bool More, string? Replaced)> StepAsync(NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, CancellationToken stopping)
    {
        if (rebuild.State == "requested" || rebuild.Build != Build || rebuild.Position is not { } position)
        {
            await BeginAsync(session, projection, rebuild, stopping);
            return (true, null);
        }

        // Beyond an event that the one in service stands still at, once both were compared there.
        var target = rebuild is { ComparedAt: not null, IsPaused: true, Request.Communes: null } ? rebuild.End : rebuild.InService;
        position = await AdvanceAsync(session, projection, rebuild, position, target, stopping);
        if (position < target) return (true, null);
        if (rebuild.ComparedAt is null)
        {
            if (_comparison is null)
            {
                _comparison = await Comparison.BeginAsync(connectionString, projection, rebuild.Request.Communes, stopping);
                if (_comparison is null) return (true, null);
                await Rebuilds.CompareAsync(session, rebuild, stopping);
            }

            if (!_comparison.Result.IsCompleted) return (false, null);
            await using var done = _comparison;
            _comparison = null;
            await Rebuilds.ComparedAsync(session, rebuild, await done.Result, stopping);
            return (true, null);
        }

        return rebuild.Request.DryRun ? (await Rebuilds.CompleteAsync(session, rebuild with { Position = position }, stopping), null)
            : (true, await ReplaceAsync(session, projection, rebuild with { Position = position }, stopping) ? projection.Name : null);
    }

    private async Task BeginAsync(NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, CancellationToken stopping)
    {
        await ForgetAsync();
        _current = rebuild;
        // Without statistics, reading the events back after a bulk load is several times slower.
        await ExecuteAsync(session, "ANALYZE hub.mt_events", stopping);
        await using var transaction = await session.BeginTransactionAsync(stopping);
        await ExecuteAsync(session, $"SET LOCAL lock_timeout = '{LockTimeout}'", stopping);
        await projection.MakeAsync(session, FiguresVersion.Next, stopping);
        await Rebuilds.StartAsync(session, rebuild, Build, stopping);
        await transaction.CommitAsync(stopping);
        LogBegun(projection.Name);
    }

    private async Task<long> AdvanceAsync(
        NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, long position, long target, CancellationToken stopping)
    {
        if (position >= target) return position;
        var begin = clock.GetTimestamp();
        if (_since == default) _since = (begin, position);
        do
        {
            // By positions, so that no page takes long however few of the events are this projection's.
            var through = Math.Min(target, position + _size);
            _applying = true;
            await projection.AdvanceAsync(session, new(FiguresVersion.Next, through, rebuild.Request.Communes), _size, stopping);
            _applying = false;
            position = through;
            _size = Math.Min(_size * 2, _pageSize);
        }
        while (position < target && clock.GetElapsedTime(begin) < s_turn);

        if (position >= target || clock.GetElapsedTime(_reported) >= s_betweenReports)
        {
            _reported = clock.GetTimestamp();
            await Rebuilds.ReportAsync(session, rebuild, (position - _since.Position) / clock.GetElapsedTime(_since.Timestamp).TotalSeconds, target, stopping);
        }

        return position;
    }

    private async Task<bool> ReplaceAsync(NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, CancellationToken stopping)
    {
        await using var transaction = await session.BeginTransactionAsync(stopping);
        await ExecuteAsync(session, $"SET LOCAL lock_timeout = '{LockTimeout}'", stopping);
        if (!await Rebuilds.CompleteAsync(session, rebuild, stopping)) return false;
        if (!await AreAlikeAsync(session, projection, stopping))
        {
            // A node of another version changed the tables meanwhile.
            await transaction.RollbackAsync(stopping);
            await BeginAsync(session, projection, rebuild, stopping);
            return false;
        }

        if (rebuild.Request.Communes is { } communes)
            await ReplaceRowsAsync(session, projection, communes, stopping);
        else
            await ReplaceTablesAsync(session, projection, rebuild.Position!.Value, stopping);
        await projection.DropAsync(session, FiguresVersion.Next, stopping);
        await audit.AppendAsync(session, new("hub", "projection.replaced", projection.Name, rebuild.Request.Reason, Details(rebuild)), stopping);
        await transaction.CommitAsync(stopping);
        LogReplaced(projection.Name, rebuild.Differences);
        return true;
    }

    private static async Task ReplaceTablesAsync(NpgsqlConnection session, ConsolidatedProjection projection, long position, CancellationToken stopping)
    {
        await ExecuteAsync(session, $"LOCK TABLE {string.Join(", ", projection.Tables.Select(table => table.Name))} IN ACCESS EXCLUSIVE MODE", stopping);
        foreach (var table in projection.Tables)
        {
            // Whoever was given a right to read the table keeps it.
            var grants = new List<string>();
            await using (var rights = new NpgsqlCommand($"""
                SELECT format('GRANT %s ON {table.Name} TO %s', privilege_type, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
                FROM pg_class, aclexplode(relacl) WHERE oid = '{table.Name}'::regclass AND grantee <> relowner
                """, session))
            {
                await using var reader = await rights.ExecuteReaderAsync(stopping);
                while (await reader.ReadAsync(stopping)) grants.Add(reader.GetString(0));
            }

            await ExecuteAsync(session, $"""
                DROP TABLE {table.Name};
                ALTER TABLE {FiguresVersion.Next.Of(table.Name)} SET SCHEMA {table.Name.Split('.')[0]};
                {string.Concat(grants.Select(grant => $"{grant};"))}
                """, stopping);
        }

        // Never back.
        await using var move = new NpgsqlCommand("""
            INSERT INTO hub.mt_event_progression AS p (name, last_seq_id) VALUES ($1, $2)
            ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp() WHERE p.last_seq_id <= excluded.last_seq_id
            """, session);
        move.Parameters.Add(new() { Value = FiguresVersion.InService.Shard(projection.Name) });
        move.Parameters.Add(new() { Value = position });
        if (await move.ExecuteNonQueryAsync(stopping) != 1) throw new InvalidOperationException($"{projection.Name} was moved by another node.");
        await Pauses.EndAsync(session, projection.Name, stopping);
    }

    private static async Task ReplaceRowsAsync(NpgsqlConnection session, ConsolidatedProjection projection, IReadOnlyList<string> communes, CancellationToken stopping)
    {
        foreach (var table in projection.Tables)
        {
            await using var replace = new NpgsqlBatch(session);
            replace.BatchCommands.Add(new($"DELETE FROM {table.Name} WHERE {RowTable.Commune} = ANY($1)") { Parameters = { new() { Value = communes.ToArray() } } });
            replace.BatchCommands.Add(new($"INSERT INTO {table.Name} SELECT * FROM {FiguresVersion.Next.Of(table.Name)}"));
            replace.Timeout = 0;
            await replace.ExecuteNonQueryAsync(stopping);
        }
    }

    private static async Task<bool> AreAlikeAsync(NpgsqlConnection session, ConsolidatedProjection projection, CancellationToken stopping)
    {
        foreach (var table in projection.Tables)
        {
            await using var command = new NpgsqlCommand("""
                SELECT (SELECT array_agg((attname, atttypid, attnotnull) ORDER BY attnum) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped)
                    = (SELECT array_agg((attname, atttypid, attnotnull) ORDER BY attnum) FROM pg_attribute WHERE attrelid = $2::regclass AND attnum > 0 AND NOT attisdropped)
                """, session);
            command.Parameters.Add(new() { Value = table.Name });
            command.Parameters.Add(new() { Value = FiguresVersion.Next.Of(table.Name) });
            if (!(bool)(await command.ExecuteScalarAsync(stopping))!) return false;
        }

        return true;
    }

    // Of a rebuild that has ended, or of a build that knows no such thing. What somebody reads, a backup perhaps, is dropped later.
    private async Task DropLeftoversAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        var left = new List<string>();
        await using (var command = new NpgsqlCommand("""
            SELECT name FROM hub.mt_event_progression p WHERE name LIKE '%:next'
                AND NOT EXISTS (SELECT FROM replay.rebuild r WHERE r.projection || ':next' = p.name AND r.state IN ('running', 'comparing'))
            """, session))
        {
            await using var reader = await command.ExecuteReaderAsync(stopping);
            while (await reader.ReadAsync(stopping)) left.Add(reader.GetString(0));
        }

        foreach (var projection in projections.Where(one => left.Contains(FiguresVersion.Next.Shard(one.Name))))
        {
            await using var transaction = await session.BeginTransactionAsync(stopping);
            try
            {
                await ExecuteAsync(session, $"SET LOCAL lock_timeout = '{LockTimeout}'", stopping);
                await projection.DropAsync(session, FiguresVersion.Next, stopping);
                await transaction.CommitAsync(stopping);
            }
            catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.DeadlockDetected)
            {
                await transaction.RollbackAsync(stopping);
            }
        }
    }

    private static JsonObject Details(CurrentRebuild rebuild)
    {
        var details = new JsonObject { ["askedBy"] = rebuild.Request.AskedBy, ["position"] = rebuild.Position, ["comparedAt"] = rebuild.ComparedAt, ["differences"] = rebuild.Differences };
        if (rebuild.Request.Communes is { } communes) details["communes"] = string.Join(' ', communes);
        return details;
    }

    private static async Task ExecuteAsync(NpgsqlConnection session, string sql, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(sql, session);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "A new version of projection {Projection} is being built.")]
    private partial void LogBegun(string projection);

    [LoggerMessage(Level = LogLevel.Information, Message = "A new version of projection {Projection} is in service; {Differences} rows differ from the one before.")]
    private partial void LogReplaced(string projection, long differences);

    [LoggerMessage(Level = LogLevel.Information, Message = "The new version of projection {Projection} waits until nobody reads the one in service for long. {Reason}")]
    private partial void LogWaiting(string projection, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "The rebuild of projection {Projection} failed, what is in service stays: {Reason}")]
    private partial void LogFailed(string projection, string reason);
}
