using System.Text.Json;
using Intercommunalite.Contracts;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Appends events of many streams in the order given, in one statement. Marten's own append goes stream by stream, which
/// would reorder the events of a journal and cost a function call a stream; the rows written here are those that its
/// <c>mt_quick_append_events</c> writes (a test holds the two side by side).
/// Appends of all nodes come one after the other, each holding a lock to the end of its transaction: so positions become visible
/// in their order, and whoever sees a position knows that nothing before it is missing. Whatever else ever appends must take
/// the same lock.
/// </summary>
internal static class Append
{
    /// <summary>PostgreSQL notification that events were appended.</summary>
    public const string Channel = "mt_events_appended";

    private const int LockKey = 1_870_244;

    /// <summary>
    /// SQL that ends a session which holds the lock and has for long been in the middle of sending its append: its node is frozen.
    /// (The database itself ends one that is between two statements, see <see cref="EventStore.WithoutIdleTransactions"/>.)
    /// </summary>
    public static string FreeFromFrozenNodes { get; } = $"""
        SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND classid = 0 AND objid = {LockKey} AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '10 s'
        """;

    private static readonly Dictionary<Type, string> s_dotNetNames = Catalogue.All.ToDictionary(
        type => type.Record, type => $"{type.Record.FullName}, {type.Record.Assembly.GetName().Name}");

    /// <summary>Appends events, without their personal data, as part of a transaction, and wakes the projections.</summary>
    /// <param name="batch">The transaction's commands.</param>
    /// <param name="events">Events that are not in the store yet.</param>
    public static void AppendEvents(this NpgsqlBatch batch, IReadOnlyCollection<CheckedEvent> events)
    {
        if (events.Count == 0) return;
        batch.BatchCommands.Add(new NpgsqlBatchCommand($"SELECT pg_advisory_xact_lock({LockKey})"));
        var command = new NpgsqlBatchCommand("""
            WITH given AS MATERIALIZED (
                SELECT *, row_number() OVER (PARTITION BY stream ORDER BY n) AS rank, count(*) OVER (PARTITION BY stream) AS total
                FROM unnest($1::uuid[], $2::varchar[], $3::varchar[], $4::varchar[], $5::jsonb[], $6::jsonb[]) WITH ORDINALITY AS g (id, stream, type, dotnet, data, headers, n)),
            stream AS (
                INSERT INTO hub.mt_streams AS s (id, version, timestamp, tenant_id)
                SELECT stream, count(*), now(), '*DEFAULT*' FROM given GROUP BY stream ORDER BY stream
                ON CONFLICT (id) DO UPDATE SET version = s.version + excluded.version, timestamp = excluded.timestamp
                RETURNING id, version)
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), id, stream, version, data, type, '*DEFAULT*', now() AT TIME ZONE 'utc', dotnet, FALSE, headers
            FROM (SELECT g.*, s.version - g.total + g.rank AS version FROM given g JOIN stream s ON s.id = g.stream ORDER BY g.n) AS ordered
            """);
        command.Parameters.Add(Array(NpgsqlDbType.Uuid, events.Select(read => read.EventId)));
        command.Parameters.Add(Array(NpgsqlDbType.Varchar, events.Select(read => EventStore.StreamKey(read.Envelope.Source.Commune, read.Type, read.Envelope.Subject))));
        command.Parameters.Add(Array(NpgsqlDbType.Varchar, events.Select(read => read.Type.Name)));
        command.Parameters.Add(Array(NpgsqlDbType.Varchar, events.Select(read => s_dotNetNames[read.Type.Record])));
        command.Parameters.Add(Array(NpgsqlDbType.Jsonb, events.Select(Facts)));
        command.Parameters.Add(Array(NpgsqlDbType.Jsonb, events.Select(Headers)));
        batch.BatchCommands.Add(command);
        batch.BatchCommands.Add(new NpgsqlBatchCommand($"NOTIFY {Channel}"));
    }

    private static byte[] Facts(CheckedEvent read) => JsonSerializer.SerializeToUtf8Bytes(read.Data.WithoutPersonal(), read.Type.Record, ContractJson.Options);

    private static byte[] Headers(CheckedEvent read)
    {
        var headers = new Dictionary<string, object?>
        {
            [EventHeaders.Id] = read.Envelope.Id,
            [EventHeaders.Source] = read.Envelope.Source,
            [EventHeaders.Time] = read.Envelope.Time,
            [EventHeaders.Journal] = read.Envelope.Journal,
            [EventHeaders.Position] = read.Envelope.Position,
        };
        if (read.Envelope.TraceParent is { } trace) headers[EventHeaders.TraceParent] = trace;
        if (read.Data.GetPersonal() is not null) headers[EventHeaders.Personal] = true;
        return JsonSerializer.SerializeToUtf8Bytes(headers, ContractJson.Options);
    }

    private static NpgsqlParameter Array<T>(NpgsqlDbType type, IEnumerable<T> values) => new() { Value = values.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | type };
}
