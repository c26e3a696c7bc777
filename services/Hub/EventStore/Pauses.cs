using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>Why a projection stands still.</summary>
/// <param name="Since">Since when.</param>
/// <param name="Reason">What went wrong at the event behind its position.</param>
internal sealed record Pause(DateTimeOffset Since, string Reason);

/// <summary>The projections that are paused; in the database, so that every node can tell.</summary>
internal static class Pauses
{
    public static Table Schema()
    {
        var pause = new Table("replay.pause");
        pause.AddColumn("projection", "text").AsPrimaryKey();
        pause.AddColumn("since", "timestamptz").NotNull();
        pause.AddColumn("reason", "text").NotNull();
        return pause;
    }

    /// <summary>A projection is paused, or still is, for this reason.</summary>
    public static async Task BeginAsync(NpgsqlConnection connection, string projection, string reason, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(
            "INSERT INTO replay.pause VALUES ($1, now(), $2) ON CONFLICT (projection) DO UPDATE SET reason = excluded.reason", connection);
        command.Parameters.Add(new() { Value = projection });
        command.Parameters.Add(new() { Value = reason });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>A projection goes on; false when it was not paused.</summary>
    public static async Task<bool> EndAsync(NpgsqlConnection connection, string projection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("DELETE FROM replay.pause WHERE projection = $1", connection);
        command.Parameters.Add(new() { Value = projection });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>The paused ones.</summary>
    public static async Task<IReadOnlyDictionary<string, Pause>> AllAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        var found = new Dictionary<string, Pause>();
        await using var command = database.CreateCommand("SELECT projection, since, reason FROM replay.pause");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) found[reader.GetString(0)] = new(reader.GetFieldValue<DateTimeOffset>(1), reader.GetString(2));
        return found;
    }
}
