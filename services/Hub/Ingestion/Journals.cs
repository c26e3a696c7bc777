using System.Text.Json.Serialization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>What became of a run of events.</summary>
/// <param name="Stored">Events newly stored.</param>
/// <param name="Quarantined">Events put into quarantine, with the reason.</param>
/// <param name="Ends">How far the hub now has the journals concerned.</param>
internal sealed record Outcome(
    IReadOnlyList<CheckedEvent> Stored,
    IReadOnlyList<(IncomingEvent Event, string Reason)> Quarantined,
    IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> Ends);

/// <summary>A journal as the administrator sees it: events stored, and those in quarantine now (retried and discarded ones no longer count).</summary>
internal sealed record JournalStatus(
    string Commune, Guid Journal, long ReceivedThrough, [property: JsonIgnore] Guid? LastEventId, DateTimeOffset LastReceivedAt, long Events, long Quarantined);

/// <summary>
/// <c>ReceivedThrough</c> of every journal, and the one transaction in which events are appended, their personal data stored
/// and <c>ReceivedThrough</c> moved.
/// </summary>
internal sealed class Journals(NpgsqlDataSource database, Epci territory)
{
    /// <summary>Stores the events of a run that are next in their journals.</summary>
    /// <param name="run">Events, sorted by journal and position.</param>
    /// <param name="now">The time of reception.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="Exception">The store refused; nothing of the run is stored.</exception>
    public async Task<Outcome> StoreAsync(IReadOnlyCollection<IncomingEvent> run, DateTimeOffset now, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var received = await LockAsync(connection, run, cancellation);
        var (next, ends) = Receiver.Take(run, received);
        var known = await KnownAsync(connection, next, cancellation);

        var stored = new List<CheckedEvent>(next.Count);
        var placed = new Dictionary<(string Commune, Guid Journal), long>();
        var quarantined = new List<(IncomingEvent Event, string Reason)>();
        foreach (var incomingEvent in next)
        {
            if (Refusal(incomingEvent) is { } reason) quarantined.Add((incomingEvent, reason));
            else if (known.Add(incomingEvent.Read!.EventId))
            {
                stored.Add(incomingEvent.Read);
                placed[incomingEvent.JournalKey] = placed.GetValueOrDefault(incomingEvent.JournalKey) + 1;
            }
        }

        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.AppendEvents(stored);
        batch.StorePersonalData(stored);
        foreach (var (refused, reason) in quarantined) Quarantine.Keep(batch, refused, reason, now);
        foreach (var (journal, end) in ends.Where(moved => moved.Value.Through != received[moved.Key].Through))
        {
            Move(
                batch, journal.Commune, journal.Journal, end,
                placed.GetValueOrDefault(journal), quarantined.Count(refused => refused.Event.JournalKey == journal), now);
        }

        if (batch.BatchCommands.Count > 0) await batch.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        return new Outcome(stored, quarantined, ends);
    }

    /// <summary>Every journal that the hub knows.</summary>
    public async Task<IReadOnlyList<JournalStatus>> AllAsync(CancellationToken cancellation)
    {
        var all = new List<JournalStatus>();
        await using var command = database.CreateCommand(
            "SELECT commune, journal, received_through, last_event_id, last_received_at, events, quarantined FROM ingestion.journal ORDER BY commune, last_received_at");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            all.Add(new JournalStatus(
                reader.GetString(0), reader.GetGuid(1), reader.GetInt64(2), await reader.IsDBNullAsync(3, cancellation) ? null : reader.GetGuid(3),
                reader.GetFieldValue<DateTimeOffset>(4), reader.GetInt64(5), reader.GetInt64(6)));
        }

        return all;
    }

    /// <summary>The tables of this room.</summary>
    public static IEnumerable<Table> Schema()
    {
        var journal = new Table("ingestion.journal");
        journal.AddColumn("commune", "text").AsPrimaryKey();
        journal.AddColumn("journal", "uuid").AsPrimaryKey();
        journal.AddColumn("received_through", "bigint").NotNull();
        journal.AddColumn("last_event_id", "uuid");
        journal.AddColumn("last_received_at", "timestamptz").NotNull();
        journal.AddColumn("events", "bigint").NotNull();
        journal.AddColumn("quarantined", "bigint").NotNull();
        yield return journal;
        yield return Quarantine.Schema();
    }

    /// <summary>Why an event is not accepted; null when it is.</summary>
    internal string? Refusal(IncomingEvent incoming) =>
        incoming.Refused is { } refused ? refused
        : territory.Member(incoming.Read!.Envelope.Source.Commune) is null ? $"source: not a commune of {territory.Name}"
        : null;

    private static void Move(
        NpgsqlBatch batch, string commune, Guid journal, JournalEnd end, long stored, long quarantined, DateTimeOffset now) => Add(
        batch,
        """
        UPDATE ingestion.journal SET received_through = $3, last_event_id = $4, last_received_at = $5, events = events + $6, quarantined = quarantined + $7
        WHERE commune = $1 AND journal = $2
        """,
        commune, journal, end.Through, new NpgsqlParameter { Value = (object?)end.LastEvent ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid }, now, stored, quarantined);

    private static void Add(NpgsqlBatch batch, string sql, params object[] values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values) command.Parameters.Add(value as NpgsqlParameter ?? new NpgsqlParameter { Value = value });
        batch.BatchCommands.Add(command);
    }

    // The rows stay locked to the end of the transaction: should two nodes ingest at once, one waits and then sees duplicates.
    private static async Task<Dictionary<(string Commune, Guid Journal), JournalEnd>> LockAsync(
        NpgsqlConnection connection, IEnumerable<IncomingEvent> run, CancellationToken cancellation)
    {
        var journals = run.Select(incoming => incoming.JournalKey).Distinct().ToList();
        await using var command = new NpgsqlCommand("""
            INSERT INTO ingestion.journal (commune, journal, received_through, last_received_at, events, quarantined)
            SELECT commune, journal, 0, now(), 0, 0 FROM unnest($1, $2) AS given (commune, journal)
            ORDER BY commune, journal
            ON CONFLICT (commune, journal) DO UPDATE SET received_through = journal.received_through
            RETURNING commune, journal, received_through, last_event_id
            """, connection);
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.Commune).ToArray() });
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.Journal).ToArray() });
        var received = new Dictionary<(string, Guid), JournalEnd>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
            received[(reader.GetString(0), reader.GetGuid(1))] = new(reader.GetInt64(2), await reader.IsDBNullAsync(3, cancellation) ? null : reader.GetGuid(3));
        return received;
    }

    /// <summary>Those of the events that are in the store already: another journal of the commune brought them before.</summary>
    internal static async Task<HashSet<Guid>> KnownAsync(NpgsqlConnection connection, IReadOnlyList<IncomingEvent> next, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT id FROM hub.mt_events WHERE id = ANY($1)", connection);
        command.Parameters.Add(new() { Value = next.Where(incoming => incoming.Read is not null).Select(incoming => incoming.Read!.EventId).ToArray() });
        var known = new HashSet<Guid>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) known.Add(reader.GetGuid(0));
        return known;
    }
}
