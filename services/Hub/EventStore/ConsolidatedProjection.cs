using System.Diagnostics;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>An event as projections see it: facts without persons.</summary>
/// <param name="Position">Its place in the store.</param>
/// <param name="Commune">Commune of the record that it is about.</param>
/// <param name="Subject">The record's own key in that commune.</param>
/// <param name="Data">The facts.</param>
internal sealed record StoredEvent(long Position, string Commune, string Subject, DomainEvent Data);

/// <summary>A page of events being applied, in the transaction that also moves the projection's position.</summary>
/// <param name="Connection">To read the projection's own rows with.</param>
/// <param name="Batch">Takes what is to be written.</param>
/// <param name="Version">The version whose rows are read and written.</param>
/// <param name="Events">The events, in the store's order.</param>
internal sealed record Page(NpgsqlConnection Connection, NpgsqlBatch Batch, FiguresVersion Version, IReadOnlyList<StoredEvent> Events);

/// <summary>What is applied, and to which version.</summary>
/// <param name="Version">The version.</param>
/// <param name="Through">No event beyond this position.</param>
/// <param name="Communes">Events of these communes alone; null for all.</param>
internal sealed record Part(FiguresVersion Version, long Through = long.MaxValue, IReadOnlyList<string>? Communes = null)
{
    /// <summary>All that there is, to the version in service.</summary>
    public static Part InService { get; } = new(FiguresVersion.InService);
}

/// <summary>
/// A projection that takes a page of events at once: it loads the records that they touch, decides in memory, and writes few
/// rows. Rows and position move in one transaction, and only from the position that was read: whoever else moved it meanwhile
/// makes the page fail, so no event is ever applied twice. A projection never asks the clock, other services or other
/// projections, so that a rebuild gives the same figures.
/// </summary>
/// <param name="name">Its name everywhere: positions, the API, <c>interco projections</c>.</param>
/// <param name="types">Events that it looks at.</param>
/// <param name="tables">Tables that it writes; none that another projection writes has the same schema.</param>
internal abstract class ConsolidatedProjection(string name, IEnumerable<EventType> types, params RowTable[] tables)
{
    private readonly Dictionary<string, EventType> _types = types.ToDictionary(type => type.Name);

    /// <summary>Its name.</summary>
    public string Name => name;

    /// <summary>Tables that it writes.</summary>
    public IReadOnlyList<RowTable> Tables => tables;

    /// <summary>
    /// Why the rows of a commune cannot be made from that commune's events alone; null when they can, and every table has the column
    /// <see cref="RowTable.Commune"/>.
    /// </summary>
    public virtual string? AcrossCommunes => null;

    /// <summary>Applies the next events to the version in service.</summary>
    public Task<(int Applied, bool Full)> AdvanceAsync(NpgsqlConnection connection, int size, CancellationToken cancellation) =>
        AdvanceAsync(connection, Part.InService, size, cancellation);

    /// <summary>Applies the next events.</summary>
    /// <param name="connection">An open connection without a transaction.</param>
    /// <param name="part">Which ones, to which version.</param>
    /// <param name="size">How many events at most.</param>
    /// <param name="cancellation">Gives up; nothing is changed then.</param>
    /// <returns>How many were applied, and whether there were as many as asked for, so that more may wait.</returns>
    /// <exception cref="Exception">An event cannot be applied, or the database refused; nothing is changed.</exception>
    public async Task<(int Applied, bool Full)> AdvanceAsync(NpgsqlConnection connection, Part part, int size, CancellationToken cancellation)
    {
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var (position, end) = await PositionAsync(connection, part, cancellation);
        if (position >= end) return (0, false);

        var (events, traces) = await ReadAsync(connection, position, part, size, cancellation);
        var full = events.Count == size;
        using var span = Telemetry.StartForEvents($"project {name}", ActivityKind.Consumer, traces);
        span?.SetTag("events", events.Count);
        await using var batch = new NpgsqlBatch(connection, transaction);
        if (events.Count > 0) await ProjectAsync(new Page(connection, batch, part.Version, events), cancellation);
        if (batch.BatchCommands.Count > 0) await batch.ExecuteNonQueryAsync(cancellation);
        await MoveAsync(connection, part.Version.Shard(name), position, full ? events[^1].Position : Math.Max(end, events.Count > 0 ? events[^1].Position : 0), cancellation);
        await transaction.CommitAsync(cancellation);
        return (events.Count, full);
    }

    /// <summary>Makes the tables of a version, empty and of the shape of those in service, and its position, 0; in place of what was there.</summary>
    /// <param name="connection">In a transaction.</param>
    /// <param name="version">Another than the one in service.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task MakeAsync(NpgsqlConnection connection, FiguresVersion version, CancellationToken cancellation)
    {
        await DropAsync(connection, version, cancellation);
        foreach (var schema in Schemas(version)) await ExecuteAsync(connection, $"CREATE SCHEMA {schema}", cancellation);
        foreach (var table in tables)
        {
            await ExecuteAsync(connection, $"CREATE TABLE {version.Of(table.Name)} (LIKE {table.Name} INCLUDING ALL)", cancellation);
            // By LIKE, indexes get names of their own: they get those back that the schema knows them by.
            await ExecuteAsync(connection, $"""
                DO $do$ DECLARE rename text; BEGIN
                    FOR rename IN
                        SELECT format('ALTER INDEX %s RENAME TO %I', made.indexrelid::regclass, known_name.relname)
                        FROM pg_index made JOIN pg_index known ON known.indrelid = '{table.Name}'::regclass
                            AND (made.indisprimary, made.indisunique, substring(pg_get_indexdef(made.indexrelid) FROM ' USING .*'))
                            = (known.indisprimary, known.indisunique, substring(pg_get_indexdef(known.indexrelid) FROM ' USING .*'))
                        JOIN pg_class known_name ON known_name.oid = known.indexrelid JOIN pg_class made_name ON made_name.oid = made.indexrelid
                        WHERE made.indrelid = '{version.Of(table.Name)}'::regclass AND made_name.relname <> known_name.relname
                    LOOP EXECUTE rename; END LOOP;
                END $do$
                """, cancellation);
        }

        await ExecuteAsync(connection, $"INSERT INTO hub.mt_event_progression (name, last_seq_id) VALUES ('{version.Shard(name)}', 0)", cancellation);
    }

    /// <summary>Drops the tables of a version and its position, if they are there.</summary>
    /// <param name="connection">In a transaction, or not.</param>
    /// <param name="version">Another than the one in service.</param>
    /// <param name="cancellation">Gives up.</param>
    public Task DropAsync(NpgsqlConnection connection, FiguresVersion version, CancellationToken cancellation) => ExecuteAsync(
        connection, $"""
            {string.Concat(Schemas(version).Select(schema => $"DROP SCHEMA IF EXISTS {schema} CASCADE;"))}
            DELETE FROM hub.mt_event_progression WHERE name = '{version.Shard(name)}'
            """, cancellation);

    private IEnumerable<string> Schemas(FiguresVersion version) => tables.Select(table => version.Of(table.Name).Split('.')[0]).Distinct();

    private static async Task ExecuteAsync(NpgsqlConnection connection, string sql, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Applies a page of events, in order.</summary>
    protected abstract Task ProjectAsync(Page page, CancellationToken cancellation);

    // Appends come one after the other (see Append), so whatever is visible has nothing missing before it.
    private async Task<(long Position, long End)> PositionAsync(NpgsqlConnection connection, Part part, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(
            $"SELECT coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = $1), 0), least($2, {Positions.End})", connection);
        command.Parameters.Add(new() { Value = part.Version.Shard(name) });
        command.Parameters.Add(new() { Value = part.Through });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        await reader.ReadAsync(cancellation);
        return (reader.GetInt64(0), reader.GetInt64(1));
    }

    private async Task<(List<StoredEvent> Events, List<string?> Traces)> ReadAsync(NpgsqlConnection connection, long after, Part part, int size, CancellationToken cancellation)
    {
        var traced = Telemetry.Activities.HasListeners();
        await using var command = new NpgsqlCommand($"""
            SELECT seq_id, stream_id, type, data{(traced ? ", headers ->> 'traceparent'" : "")}
            FROM hub.mt_events WHERE seq_id > $1 AND seq_id <= $2 AND type = ANY($3){(part.Communes is null ? "" : " AND split_part(stream_id, '/', 1) = ANY($5)")}
            ORDER BY seq_id LIMIT $4
            """, connection);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = part.Through });
        command.Parameters.Add(new() { Value = _types.Keys.ToArray() });
        command.Parameters.Add(new() { Value = size });
        if (part.Communes is not null) command.Parameters.Add(new() { Value = part.Communes.ToArray() });
        var (events, traces) = (new List<StoredEvent>(), new List<string?>());
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            var record = reader.GetString(1).Split('/', 3);
            var data = (DomainEvent)JsonSerializer.Deserialize(reader.GetFieldValue<byte[]>(3), _types[reader.GetString(2)].Record, ContractJson.Options)!;
            events.Add(new StoredEvent(reader.GetInt64(0), record[0], record[2], data));
            if (traced) traces.Add(await reader.IsDBNullAsync(4, cancellation) ? null : reader.GetString(4));
        }

        return (events, traces);
    }

    private async Task MoveAsync(NpgsqlConnection connection, string shard, long from, long to, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("""
            INSERT INTO hub.mt_event_progression AS p (name, last_seq_id) VALUES ($1, $3)
            ON CONFLICT (name) DO UPDATE SET last_seq_id = excluded.last_seq_id, last_updated = transaction_timestamp() WHERE p.last_seq_id = $2
            """, connection);
        command.Parameters.Add(new() { Value = shard });
        command.Parameters.Add(new() { Value = from });
        command.Parameters.Add(new() { Value = to });
        if (await command.ExecuteNonQueryAsync(cancellation) != 1) throw new InvalidOperationException($"{name} was moved from position {from} by another node.");
    }
}

/// <summary>What of the CloudEvent is kept in the stored event's headers.</summary>
internal static class EventHeaders
{
    public const string Id = "id";
    public const string Source = "source";
    public const string Time = "time";
    public const string Journal = "journal";
    public const string Position = "position";
    public const string TraceParent = "traceparent";

    /// <summary><c>true</c> when the event came with personal data, whether that is still held or not.</summary>
    public const string Personal = "personal";
}
