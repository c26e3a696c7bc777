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
    public static async Task<bool> AskAsync(NpgsqlDataSource database, string projection, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            INSERT INTO replay.rebuild AS r VALUES ($1, 'requested', 0, NULL, now())
            ON CONFLICT (projection) DO UPDATE SET state = 'requested', target = 0, error = NULL, changed_at = now()
            WHERE r.state IN ('completed', 'failed')
            """);
        command.Parameters.Add(new() { Value = projection });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>The projection to rebuild next, or null.</summary>
    public static async Task<string?> NextAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT projection FROM replay.rebuild WHERE state = 'requested' ORDER BY changed_at LIMIT 1", session);
        return (string?)await command.ExecuteScalarAsync(cancellation);
    }

    /// <summary>The rebuild begins; its target is where the store is now.</summary>
    public static Task StartAsync(NpgsqlConnection session, string projection, CancellationToken cancellation) =>
        ExecuteAsync(session, $"UPDATE replay.rebuild SET state = 'running', changed_at = now(), target = {Positions.End} WHERE projection = $1", cancellation, projection);

    /// <summary>Whatever has reached its target is rebuilt, also when it failed on the way.</summary>
    public static Task FinishReachedAsync(NpgsqlConnection session, CancellationToken cancellation) =>
        ExecuteAsync(session, """
            UPDATE replay.rebuild r SET state = 'completed', error = NULL, changed_at = now()
            WHERE r.state IN ('running', 'failed') AND r.target <= coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = r.projection || ':All'), 0)
            """, cancellation);

    /// <summary>If a rebuild of the projection runs, it has failed. The projection is tried again all the same.</summary>
    public static Task FailAsync(NpgsqlConnection session, string projection, string error, CancellationToken cancellation) =>
        ExecuteAsync(
            session, "UPDATE replay.rebuild SET state = 'failed', error = $2, changed_at = now() WHERE projection = $1 AND state = 'running'", cancellation, projection, error);

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

    private static async Task ExecuteAsync(NpgsqlConnection session, string sql, CancellationToken cancellation, params string[] values)
    {
        await using var command = new NpgsqlCommand(sql, session);
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        await command.ExecuteNonQueryAsync(cancellation);
    }
}
