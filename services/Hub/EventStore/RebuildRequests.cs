using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>The last rebuild of a projection: asked of any node, done by the one that projects.</summary>
/// <param name="State"><c>requested</c>, <c>running</c>, <c>completed</c> or <c>failed</c>.</param>
/// <param name="Target">Position that it has to reach.</param>
/// <param name="Error">Why it failed.</param>
internal sealed record Rebuild(string State, long Target, string? Error);

/// <summary>The table of rebuilds, a row a projection.</summary>
internal static class RebuildRequests
{
    public static Table Schema()
    {
        var table = new Table("replay.rebuild");
        table.AddColumn("projection", "text").AsPrimaryKey();
        table.AddColumn("state", "text").NotNull();
        table.AddColumn("target", "bigint").NotNull();
        table.AddColumn("error", "text");
        table.AddColumn("changed_at", "timestamptz").NotNull();
        return table;
    }

    /// <summary>Asks for a rebuild; false when one is asked for or running already.</summary>
    public static async Task<bool> AskAsync(NpgsqlDataSource database, string projection, CancellationToken cancellation) =>
        await ExecuteAsync(database, """
            INSERT INTO replay.rebuild AS r VALUES ($1, 'requested', 0, NULL, now())
            ON CONFLICT (projection) DO UPDATE SET state = 'requested', target = 0, error = NULL, changed_at = now()
            WHERE r.state IN ('completed', 'failed')
            """, projection, cancellation) == 1;

    /// <summary>The projection to rebuild next, or null.</summary>
    public static async Task<string?> NextAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT projection FROM replay.rebuild WHERE state = 'requested' ORDER BY changed_at LIMIT 1");
        return (string?)await command.ExecuteScalarAsync(cancellation);
    }

    /// <summary>The rebuild begins; its target is where the store is now.</summary>
    public static Task StartAsync(NpgsqlDataSource database, string projection, CancellationToken cancellation) =>
        ExecuteAsync(database, """
            UPDATE replay.rebuild SET state = 'running', changed_at = now(),
                target = (SELECT last_seq_id FROM hub.mt_event_progression WHERE name = 'HighWaterMark')
            WHERE projection = $1
            """, projection, cancellation);

    /// <summary>The rebuild ended, well or not.</summary>
    public static async Task FinishAsync(NpgsqlDataSource database, string projection, string? error, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("UPDATE replay.rebuild SET state = $2, error = $3, changed_at = now() WHERE projection = $1");
        command.Parameters.Add(new() { Value = projection });
        command.Parameters.Add(new() { Value = error is null ? "completed" : "failed" });
        command.Parameters.Add(new() { Value = (object?)error ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Text });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>What was running when its node went away is asked for again, from the beginning.</summary>
    public static async Task AskAgainForRunningAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("UPDATE replay.rebuild SET state = 'requested', changed_at = now() WHERE state = 'running'");
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>The last rebuild of each projection that had one.</summary>
    public static async Task<IReadOnlyDictionary<string, Rebuild>> AllAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        var found = new Dictionary<string, Rebuild>();
        await using var command = database.CreateCommand("SELECT projection, state, target, error FROM replay.rebuild");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
            found[reader.GetString(0)] = new(reader.GetString(1), reader.GetInt64(2), reader.IsDBNull(3) ? null : reader.GetString(3));
        return found;
    }

    private static async Task<int> ExecuteAsync(NpgsqlDataSource database, string sql, string projection, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = projection });
        return await command.ExecuteNonQueryAsync(cancellation);
    }
}
