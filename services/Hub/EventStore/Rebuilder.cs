using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Builds a projection anew beside the version in service: on the node that projects and through its session, in turns with the
/// projections in service, which never wait for long; one after the other, except that one which waits does not keep the next. What it
/// has done is in the database, so another node, or this one after a start, goes on where it was. Once the new version is where the one in service is, both are compared, and it takes its place in
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

    /// <summary>Names this build of the hub: what one began, another does not go on with, since it may count otherwise.</summary>
    public static string Build { get; } = typeof(Rebuilder).Module.ModuleVersionId.ToString();

    // Of those that are under way, by projection.
    private readonly Dictionary<string, UnderWay> _underWay = [];

    /// <summary>Nothing that was known of rebuilds holds any longer: the session was lost, or another node has run them.</summary>
    public async Task ForgetAsync()
    {
        foreach (var projection in _underWay.Keys.ToList()) await ForgetAsync(projection);
    }

    /// <summary>Does some of the rebuilds that are asked for, if there are any, for a part of a second.</summary>
    /// <param name="session">The session that projects.</param>
    /// <param name="look">Whether to look for a new one, and for one that has waited long enough, too.</param>
    /// <param name="stopping">Gives up.</param>
    /// <returns>Whether there is more to do at once, and the projections whose figures are other ones now.</returns>
    public async Task<(bool More, IReadOnlyList<string> Replaced)> TurnAsync(NpgsqlConnection session, bool look, CancellationToken stopping)
    {
        if (!look && _underWay.Count == 0) return (false, []);
        var due = await Rebuilds.DueAsync(session, stopping);
        foreach (var (name, known) in _underWay.ToList())
        {
            if (!due.Any(one => one.Projection == name && one.AskedAt == known.AskedAt)) await ForgetAsync(name);
        }

        if (look || due.Count == 0) await DropLeftoversAsync(session, stopping);
        var (more, replaced) = (false, new List<string>());
        foreach (var current in due)
        {
            var (again, isReplaced) = await TurnAsync(session, current, stopping);
            more |= again;
            if (isReplaced) replaced.Add(current.Projection);
        }

        return (more, replaced);
    }

    private async Task<(bool More, bool IsReplaced)> TurnAsync(NpgsqlConnection session, CurrentRebuild current, CancellationToken stopping)
    {
        if (projections.FirstOrDefault(one => one.Name == current.Projection) is not { } projection)
        {
            await Rebuilds.FailAsync(session, current, $"There is no projection {current.Projection}.", stopping);
            return (true, false);
        }

        if (!_underWay.TryGetValue(current.Projection, out var known)) _underWay[current.Projection] = known = new(current.AskedAt, pageSize);
        try
        {
            known.IsApplying = false;
            return await StepAsync(session, projection, current, known, stopping);
        }
        catch (NpgsqlException e) when (e.IsTransient && !stopping.IsCancellationRequested && session.FullState == System.Data.ConnectionState.Open)
        {
            // Somebody reads for long, a backup perhaps; or the database has no room for another connection now.
            if (current.Tries == 0) LogWaiting(current.Projection, e.Message);
            await Rebuilds.WaitAsync(session, current, e.SqlState is PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.DeadlockDetected ? "readers of the figures" : "the database", stopping);
            return (false, false);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested && session.FullState == System.Data.ConnectionState.Open)
        {
            // With ever smaller pages, it is known in the end which event cannot be applied.
            if (known is { Size: > 1, IsApplying: true })
            {
                known.Size = Math.Max(1, known.Size / 8);
                return (true, false);
            }

            var reason = e is Dependants ? e.Message : $"{e.Message} ({e.GetType().Name})";
            LogFailed(current.Projection, reason);
            await ForgetAsync(current.Projection);
            await Rebuilds.FailAsync(session, current, reason, stopping);
            return (true, false);
        }
    }

    private async Task ForgetAsync(string projection)
    {
        if (_underWay.Remove(projection, out var known) && known.Comparison is { } comparison) await comparison.DisposeAsync();
    }

    private async Task<(bool More, bool IsReplaced)> StepAsync(
        NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, UnderWay known, CancellationToken stopping)
    {
        if (rebuild.State == "requested" || rebuild.Build != Build || rebuild.Position is not { } position)
        {
            await BeginAsync(session, projection, rebuild, stopping);
            return (true, false);
        }

        // Beyond an event that the one in service stands still at, once both were compared there.
        var target = rebuild is { ComparedAt: not null, IsPaused: true, Request.Communes: null } ? rebuild.End : rebuild.InService;
        position = await AdvanceAsync(session, projection, rebuild, known, position, target, stopping);
        // Else the next one would be built beside it. Once both were compared it waits for readers, and goes on waiting.
        if (rebuild is { State: "waiting", ComparedAt: null }) await Rebuilds.GoOnAsync(session, rebuild, stopping);
        if (position < target) return (true, false);
        if (rebuild.ComparedAt is null)
        {
            if (known.Comparison is null)
            {
                known.Comparison = await Comparison.BeginAsync(connectionString, projection, rebuild.Request.Communes, stopping);
                if (known.Comparison is null) return (true, false);
                await Rebuilds.CompareAsync(session, rebuild, stopping);
            }

            if (!known.Comparison.Result.IsCompleted) return (false, false);
            await using var done = known.Comparison;
            known.Comparison = null;
            await Rebuilds.ComparedAsync(session, rebuild, await done.Result, stopping);
            return (true, false);
        }

        return rebuild.Request.DryRun ? (await Rebuilds.CompleteAsync(session, rebuild with { Position = position }, stopping), false)
            : (true, await ReplaceAsync(session, projection, rebuild with { Position = position }, stopping));
    }

    private async Task BeginAsync(NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, CancellationToken stopping)
    {
        await ForgetAsync(rebuild.Projection);
        if (rebuild.Request is { Communes: null, DryRun: false }) await CheckDependantsAsync(session, projection, stopping);
        // Without statistics, reading the events back after a bulk load is several times slower.
        await ExecuteAsync(session, "ANALYZE hub.mt_events", stopping);
        await using var transaction = await session.BeginTransactionAsync(stopping);
        await ExecuteAsync(session, $"SET LOCAL lock_timeout = '{LockTimeout}'", stopping);
        await projection.MakeAsync(session, FiguresVersion.Next, stopping);
        if (!rebuild.Request.DryRun && !await AreAlikeAsync(session, projection, stopping))
            throw new InvalidOperationException("The indexes and constraints of the tables in service cannot all be copied. Drop those that the hub did not make, rebuild, and make them again.");
        await Rebuilds.StartAsync(session, rebuild, Build, stopping);
        await transaction.CommitAsync(stopping);
        LogBegun(projection.Name);
    }

    private async Task<long> AdvanceAsync(
        NpgsqlConnection session, ConsolidatedProjection projection, CurrentRebuild rebuild, UnderWay known, long position, long target, CancellationToken stopping)
    {
        if (position >= target) return position;
        var begin = clock.GetTimestamp();
        if (known.Since == default) known.Since = (begin, position);
        do
        {
            // By positions, so that no page takes long however few of the events are this projection's.
            var through = Math.Min(target, position + known.Size);
            known.IsApplying = true;
            await projection.AdvanceAsync(session, new(FiguresVersion.Next, through, rebuild.Request.Communes), known.Size, stopping);
            known.IsApplying = false;
            position = through;
            known.Size = Math.Min(known.Size * 2, pageSize);
        }
        while (position < target && clock.GetElapsedTime(begin) < s_turn);

        if (position >= target || clock.GetElapsedTime(known.Reported) >= s_betweenReports)
        {
            known.Reported = clock.GetTimestamp();
            await Rebuilds.ReportAsync(session, rebuild, (position - known.Since.Position) / clock.GetElapsedTime(known.Since.Timestamp).TotalSeconds, target, stopping);
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
        await CheckDependantsAsync(session, projection, stopping);
        foreach (var table in projection.Tables)
        {
            // Whoever was given a right to the table, or to columns of it, keeps it.
            var grants = new List<string>();
            await using (var rights = new NpgsqlCommand($"""
                SELECT format('GRANT %s ON {table.Name} TO %s%s', what, CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
                FROM pg_class, LATERAL (
                    SELECT privilege_type AS what, grantee, is_grantable FROM aclexplode(relacl)
                    UNION ALL
                    SELECT format('%s (%I)', privilege_type, attname), grantee, is_grantable FROM pg_attribute, aclexplode(attacl) WHERE attrelid = pg_class.oid AND NOT attisdropped) AS given
                WHERE oid = '{table.Name}'::regclass AND grantee <> relowner
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

    // What somebody else made on the tables in service, views and triggers for instance, would keep them from being replaced, or go with them.
    private static async Task CheckDependantsAsync(NpgsqlConnection session, ConsolidatedProjection projection, CancellationToken stopping)
    {
        await using var command = new NpgsqlCommand("""
            SELECT string_agg(DISTINCT pg_describe_object(classid, objid, 0), ', ') FROM pg_depend
            WHERE refclassid = 'pg_class'::regclass AND refobjid = ANY($1::regclass[]::oid[])
                AND classid <> ALL ('{pg_type, pg_attrdef}'::regclass[]::oid[])
                AND NOT (classid = 'pg_class'::regclass AND objid IN (SELECT indexrelid FROM pg_index WHERE indrelid = refobjid UNION ALL SELECT reltoastrelid FROM pg_class WHERE oid = refobjid))
                AND NOT (classid = 'pg_constraint'::regclass AND objid IN (SELECT oid FROM pg_constraint WHERE conrelid = refobjid AND contype <> 'f'))
            """, session);
        command.Parameters.Add(new() { Value = projection.Tables.Select(table => table.Name).ToArray() });
        if (await command.ExecuteScalarAsync(stopping) is string found) throw new Dependants(found);
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
            await using var command = new NpgsqlCommand($"SELECT {Shape("$1")} IS NOT DISTINCT FROM {Shape("$2")}", session);
            command.Parameters.Add(new() { Value = table.Name });
            command.Parameters.Add(new() { Value = FiguresVersion.Next.Of(table.Name) });
            if (!(bool)(await command.ExecuteScalarAsync(stopping))!) return false;
        }

        return true;
    }

    // The columns, and the indexes and constraints without their names. Foreign keys, which are not copied, are refused where they would be lost.
    private static string Shape(string table) => $"""
        ROW((SELECT array_agg((attname, atttypid, attnotnull) ORDER BY attnum) FROM pg_attribute WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped),
            (SELECT array_agg(made ORDER BY made) FROM (
                SELECT format('%s %s %s', indisunique, indisprimary, substring(pg_get_indexdef(indexrelid) FROM ' USING .*')) FROM pg_index WHERE indrelid = {table}::regclass
                UNION ALL
                SELECT replace(pg_get_constraintdef(oid), ' NOT VALID', '') FROM pg_constraint WHERE conrelid = {table}::regclass AND contype <> 'f') AS those (made)))
        """;

    // Of a rebuild that has ended, or of a build that knows no such thing. What somebody reads, a backup perhaps, is dropped later.
    private async Task DropLeftoversAsync(NpgsqlConnection session, CancellationToken stopping)
    {
        var left = new List<string>();
        await using (var command = new NpgsqlCommand("""
            SELECT name FROM hub.mt_event_progression p WHERE name LIKE '%:next'
                AND NOT EXISTS (SELECT FROM replay.rebuild r WHERE r.projection || ':next' = p.name AND r.state IN ('running', 'comparing', 'waiting'))
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
        await using var command = new NpgsqlCommand(sql, session) { CommandTimeout = 0 };
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

    /// <summary>What this node knows of a rebuild while it is at it.</summary>
    private sealed class UnderWay(DateTime askedAt, int size)
    {
        public DateTime AskedAt => askedAt;

        /// <summary>Positions in a page, at most.</summary>
        public int Size { get; set; } = size;

        /// <summary>Whether it is at events: what goes wrong is then told by smaller pages.</summary>
        public bool IsApplying { get; set; }

        public Comparison? Comparison { get; set; }

        /// <summary>Since when it is at it, and from where.</summary>
        public (long Timestamp, long Position) Since { get; set; }

        /// <summary>When it was last told how far it is.</summary>
        public long Reported { get; set; }
    }

    /// <summary>Other objects of the database need the tables in service.</summary>
    private sealed class Dependants(string found) : Exception(
        $"On the tables in service there is something that would be lost with them: {found}. Drop it, rebuild, and make it again; what goes by dryRun or by communes leaves the tables.");
}
