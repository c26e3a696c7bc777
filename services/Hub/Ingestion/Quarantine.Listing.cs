using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>What is in quarantine, or was, without its content.</summary>
/// <param name="Id">Grows with the time of arrival.</param>
/// <param name="State"><c>kept</c>, <c>retried</c> (it is in the event store) or <c>discarded</c>.</param>
/// <param name="ReceivedAt">When it arrived.</param>
/// <param name="Commune">INSEE code; null for a message that does not tell it.</param>
/// <param name="Journal">Journal of the event; null for a message.</param>
/// <param name="Position">Its place there; null for a message.</param>
/// <param name="Reason">Why it is here, as of the last try. Names fields, never values.</param>
/// <param name="TraceId">Trace that it belongs to, where that can be told.</param>
/// <param name="Size">Bytes kept; null once it is no longer kept.</param>
/// <param name="EndedAt">When it was retried with success or discarded.</param>
/// <param name="EndReason">What became of it, or why it was discarded.</param>
internal sealed record QuarantineItem(
    long Id, string State, DateTimeOffset ReceivedAt, string? Commune, Guid? Journal, long? Position, string Reason, string? TraceId, long? Size,
    DateTimeOffset? EndedAt, string? EndReason)
{
    /// <summary><c>event</c>, or <c>message</c> for what came over the bus and is no run of events.</summary>
    public string Kind => Journal is null ? "message" : "event";
}

/// <summary>How many are kept for the same reason.</summary>
internal sealed record QuarantineReason(string Reason, string? Commune, string Kind, long Count, DateTimeOffset FirstReceivedAt, DateTimeOffset LastReceivedAt);

// What is in quarantine, as administrators see it.
internal sealed partial class Quarantine
{
    private const string ItemColumns = "id, state, received_at, commune, journal, position, reason, trace_id, CASE WHEN key IS NULL THEN octet_length(event) ELSE octet_length(event) - 28 END::bigint, ended_at, end_reason";

    /// <summary>What is in quarantine, by arrival.</summary>
    /// <param name="commune">Of this commune alone, or null.</param>
    /// <param name="reason">For exactly this reason, or null.</param>
    /// <param name="state">In this state, or null for any.</param>
    /// <param name="after">Only those with a greater id.</param>
    /// <param name="limit">So many at most.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<IReadOnlyList<QuarantineItem>> ListAsync(
        string? commune, string? reason, string? state, long after, int limit, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand($"""
            SELECT {ItemColumns} FROM ingestion.quarantine
            WHERE ($1 IS NULL OR commune = $1) AND ($2 IS NULL OR reason = $2) AND ($3 IS NULL OR state = $3) AND id > $4
            ORDER BY id LIMIT $5
            """);
        command.Parameters.Add(Query.Text(commune));
        command.Parameters.Add(Query.Text(reason));
        command.Parameters.Add(Query.Text(state));
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = limit });
        var items = new List<QuarantineItem>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) items.Add(Item(reader));
        return items;
    }

    /// <summary>How many are kept, by reason and commune, the most frequent first; a thousand lines at most.</summary>
    public async Task<IReadOnlyList<QuarantineReason>> ReasonsAsync(CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand("""
            SELECT reason, commune, journal IS NULL, count(*), min(received_at), max(received_at)
            FROM ingestion.quarantine WHERE state = 'kept'
            GROUP BY 1, 2, 3 ORDER BY count(*) DESC, 1, 2 LIMIT 1000
            """);
        var reasons = new List<QuarantineReason>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            reasons.Add(new QuarantineReason(
                reader.GetString(0), Text(reader, 1), reader.GetBoolean(2) ? "message" : "event", reader.GetInt64(3),
                reader.GetFieldValue<DateTimeOffset>(4), reader.GetFieldValue<DateTimeOffset>(5)));
        }

        return reasons;
    }

    /// <summary>One of them with its content, or null when there is none of that id. The content is null once it has ended.</summary>
    public async Task<(QuarantineItem Item, byte[]? Content)?> FindAsync(long id, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand($"SELECT {ItemColumns}, event, key FROM ingestion.quarantine WHERE id = $1");
        command.Parameters.Add(new() { Value = id });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        if (!await reader.ReadAsync(cancellation)) return null;
        var item = Item(reader);
        if (await reader.IsDBNullAsync(11, cancellation)) return (item, null);
        var (content, key) = (reader.GetFieldValue<byte[]>(11), Nullable<Guid>(reader, 12));
        await reader.CloseAsync();
        if (key is null) return (item, content);
        return (item, (await _personalData.OpenAsync([(key.Value, content)], cancellation)).GetValueOrDefault(key.Value));
    }

    /// <summary>Whether messages, which cannot be retried, are kept for a reason.</summary>
    public async Task<bool> IsOfMessagesAsync(string reason, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand(
            "SELECT EXISTS (SELECT FROM ingestion.quarantine WHERE state = 'kept' AND journal IS NULL AND reason = $1)");
        command.Parameters.Add(new() { Value = reason });
        return (bool)(await command.ExecuteScalarAsync(cancellation))!;
    }

    private static QuarantineItem Item(NpgsqlDataReader reader) => new(
        reader.GetInt64(0), reader.GetString(1), reader.GetFieldValue<DateTimeOffset>(2), Text(reader, 3), Nullable<Guid>(reader, 4), Nullable<long>(reader, 5),
        reader.GetString(6), Text(reader, 7), Nullable<long>(reader, 8), Nullable<DateTimeOffset>(reader, 9), Text(reader, 10));
}
