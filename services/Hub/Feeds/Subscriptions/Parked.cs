using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>A delivery that is parked: it is given to nobody until somebody decides.</summary>
/// <param name="Place">Its event's place in the store.</param>
/// <param name="Replay">The replay by which it came; empty for what came by itself.</param>
/// <param name="Type">Its event's type.</param>
/// <param name="Stream">The record: <c>{commune}/{domain}/{subject}</c>.</param>
/// <param name="Attempts">How often it was given.</param>
/// <param name="Reason">Why it is parked.</param>
/// <param name="Since">Since when.</param>
internal sealed record ParkedDelivery(Place Place, string Replay, string Type, string Stream, int Attempts, string Reason, DateTimeOffset Since);

/// <summary>Which of the parked deliveries of a subscription are meant.</summary>
/// <param name="Position">That of this position; null for all.</param>
/// <param name="Replay">The replay by which it came.</param>
/// <param name="Record">With all others of its record.</param>
internal sealed record ParkedOnes(long? Position = null, string Replay = "", bool Record = false);

/// <summary>What is parked, and what is done with it. Changes are part of the transaction of a connection, which must hold the lock of the subscription's row.</summary>
internal static class Parked
{
    /// <summary>Some of a subscription's, by position, then replay.</summary>
    public static async Task<IReadOnlyList<ParkedDelivery>> ListAsync(NpgsqlDataSource database, string name, long after, string afterReplay, int limit, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            SELECT d.position, e.id, d.replay, e.type, d.stream, d.attempts, d.reason, d.parked_at FROM feeds.delivery d JOIN hub.mt_events e ON e.seq_id = d.position
            WHERE d.subscription = $1 AND d.parked_at IS NOT NULL AND (d.position, d.replay) > ($2, $3) ORDER BY d.position, d.replay LIMIT $4
            """);
        foreach (var value in (ReadOnlySpan<object>)[name, after, afterReplay, limit]) command.Parameters.Add(new() { Value = value });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        var parked = new List<ParkedDelivery>();
        while (await row.ReadAsync(cancellation))
        {
            parked.Add(new(
                new(row.GetInt64(0), row.GetGuid(1)), row.GetString(2), row.GetString(3), row.GetString(4), row.GetInt32(5), row.GetString(6), row.GetFieldValue<DateTimeOffset>(7)));
        }

        return parked;
    }

    /// <summary>Parks one that waits or is held, and with it what follows of its record.</summary>
    /// <returns>How many were parked; 0 when it does not wait: it is done, parked already, or has not been looked up yet.</returns>
    public static Task<int> ParkAsync(NpgsqlConnection connection, string name, long position, string replay, string reason, CancellationToken cancellation) => ChangeAsync(
        connection, $"""
        WITH one AS (SELECT stream FROM feeds.delivery WHERE subscription = $1 AND position = $2 AND replay = $3 AND parked_at IS NULL),
        parked AS (
            UPDATE feeds.delivery d SET parked_at = clock_timestamp(), holder = NULL, held_until = NULL, reason = CASE WHEN d.position = $2 THEN $4 ELSE '{Deliveries.Behind}' END
            FROM one WHERE d.subscription = $1 AND d.replay = $3 AND d.stream = one.stream AND d.position >= $2 AND d.parked_at IS NULL RETURNING 1)
        SELECT count(*)::int FROM parked
        """, cancellation, name, position, replay, reason);

    /// <summary>They are given again, as if they had never failed; how often they were given is not forgotten.</summary>
    /// <returns>How many.</returns>
    public static Task<int> ReplayAsync(NpgsqlConnection connection, string name, ParkedOnes which, CancellationToken cancellation) => ChangeAsync(
        connection, $"""
        WITH again AS (
            UPDATE feeds.delivery d SET parked_at = NULL, reason = NULL, failures = 0, failed_at = NULL, due_at = clock_timestamp() WHERE {Meant} RETURNING 1)
        SELECT count(*)::int FROM again
        """, cancellation, name, which.Position, which.Replay, which.Record);

    /// <summary>They are given up for good.</summary>
    /// <returns>How many.</returns>
    public static Task<int> DiscardAsync(NpgsqlConnection connection, string name, ParkedOnes which, CancellationToken cancellation) => ChangeAsync(
        connection, $"WITH gone AS (DELETE FROM feeds.delivery d WHERE {Meant} RETURNING 1) SELECT count(*)::int FROM gone", cancellation, name, which.Position, which.Replay, which.Record);

    /// <summary>Position of the first parked one of the record of a parked one; null when that is not parked.</summary>
    public static async Task<long?> FirstOfRecordAsync(NpgsqlConnection connection, string name, long position, string replay, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("""
            SELECT (SELECT min(position) FROM feeds.delivery f WHERE f.subscription = $1 AND f.replay = $3 AND f.stream = d.stream AND f.parked_at IS NOT NULL)
            FROM feeds.delivery d WHERE subscription = $1 AND position = $2 AND replay = $3 AND parked_at IS NOT NULL
            """, connection);
        foreach (var value in (ReadOnlySpan<object>)[name, position, replay]) command.Parameters.Add(new() { Value = value });
        return (long?)await command.ExecuteScalarAsync(cancellation);
    }

    private const string Meant = """
        d.subscription = $1 AND d.parked_at IS NOT NULL AND ($2::bigint IS NULL OR (d.replay = $3 AND (d.position = $2 OR (
            $4 AND d.stream = (SELECT one.stream FROM feeds.delivery one WHERE one.subscription = $1 AND one.position = $2 AND one.replay = $3)))))
        """;

    private static async Task<int> ChangeAsync(NpgsqlConnection connection, string sql, CancellationToken cancellation, params object?[] values)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        foreach (var value in values) command.Parameters.Add(value is null ? new() { Value = DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint } : new() { Value = value });
        return (int)(await command.ExecuteScalarAsync(cancellation))!;
    }
}
