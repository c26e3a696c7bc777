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

/// <summary>A journal as the administrator sees it.</summary>
/// <param name="Commune">INSEE code.</param>
/// <param name="Journal">The journal.</param>
/// <param name="ReceivedThrough">Every position up to here is stored, or in quarantine.</param>
/// <param name="LastEventId">The event there.</param>
/// <param name="LastReceivedAt">When it arrived.</param>
/// <param name="Events">Events stored.</param>
/// <param name="Quarantined">Those in quarantine now (retried and discarded ones no longer count).</param>
/// <param name="LastPosition">Last position in the journal, as far as the connector has said.</param>
/// <param name="OldestUnreceivedAt">When the oldest of those not received was accepted, or somewhat earlier; null when there is none.</param>
/// <param name="BegunAt">When the hub first saw the journal; null when that was before it noted it.</param>
/// <param name="HeardAt">When anything last came from the connector: it gives a sign of life even when it has no new event.</param>
/// <param name="Superseded">Whether the commune has begun a newer journal.</param>
internal sealed record JournalStatus(
    string Commune, Guid Journal, long ReceivedThrough, [property: JsonIgnore] Guid? LastEventId, DateTimeOffset LastReceivedAt, long Events, long Quarantined,
    long LastPosition, DateTimeOffset? OldestUnreceivedAt, DateTimeOffset? BegunAt, DateTimeOffset? HeardAt, bool Superseded)
{
    /// <summary>Events that the connector has and the hub has not, as far as the connector has said.</summary>
    public long Unreceived => LastPosition - ReceivedThrough;

    /// <summary>Whether the commune had another journal before.</summary>
    [JsonIgnore]
    public bool HasPredecessor { get; init; }

    /// <summary>Since when what arrives lies beyond a missing event; null when nothing does.</summary>
    [JsonIgnore]
    public DateTimeOffset? ResendSince { get; init; }

    /// <summary>When the first event arrived that is in quarantine now.</summary>
    [JsonIgnore]
    public DateTimeOffset? QuarantinedSince { get; init; }

    /// <summary>Longest time without a new event, a past one counting half after each 30 days; a new journal begins with a week.</summary>
    [JsonIgnore]
    public TimeSpan LongestPause { get; init; }

    /// <summary>What somebody should look at.</summary>
    public IReadOnlyList<JournalAlert> Alerts { get; init; } = [];
}

/// <summary>
/// <c>ReceivedThrough</c> of every journal, and the one transaction in which events are appended, their personal data stored
/// and <c>ReceivedThrough</c> moved.
/// </summary>
internal sealed class Journals(NpgsqlDataSource database, Epci territory, PersonalDataStore personalData)
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
        // First, as whoever retries what is in quarantine does: so that neither waits for the other in turn.
        await Forgetting.HoldAsync(connection, cancellation);
        var received = await LockAsync(connection, run, now, cancellation);
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

        var sealedRun = await personalData.SealAsync(connection, stored, [.. quarantined.Select(refused => (refused.Event.EventId, Quarantine.ContentOf(refused.Event)))], now, cancellation);
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.AppendEvents(stored);
        sealedRun.Store(batch);
        foreach (var ((refused, reason), (key, content)) in quarantined.Zip(sealedRun.Contents)) Quarantine.Keep(batch, refused, reason, key, content, now);
        var arriving = Arriving(run, ends);
        foreach (var (journal, end) in ends)
        {
            if (end.Through != received[journal].Through)
            {
                Move(
                    batch, journal.Commune, journal.Journal, end,
                    placed.GetValueOrDefault(journal), quarantined.Count(refused => refused.Event.JournalKey == journal), arriving[journal].AcceptedAt, now);
            }
            else if (!end.Forked && arriving[journal].Beyond)
            {
                Add(batch, "UPDATE ingestion.journal SET resend_since = coalesce(resend_since, $3) WHERE commune = $1 AND journal = $2", journal.Commune, journal.Journal, now);
            }
        }

        if (batch.BatchCommands.Count > 0) await batch.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        return new Outcome(stored, quarantined, ends);
    }

    /// <summary>Every journal that the hub knows.</summary>
    public async Task<IReadOnlyList<JournalStatus>> AllAsync(CancellationToken cancellation)
    {
        var all = new List<JournalStatus>();
        await using var command = database.CreateCommand("""
            SELECT commune, journal, received_through, last_event_id, last_received_at, events, quarantined,
                greatest(last_position, received_through), oldest_unreceived_at, begun_at, heard_at,
                row_number() OVER (PARTITION BY commune ORDER BY begun_at DESC NULLS LAST, last_received_at DESC) > 1,
                count(*) OVER (PARTITION BY commune) > 1, resend_since,
                CASE WHEN quarantined > 0 THEN (
                    SELECT received_at FROM ingestion.quarantine q WHERE q.commune = j.commune AND q.journal = j.journal AND state = 'kept' ORDER BY position LIMIT 1) END,
                longest_pause
            FROM ingestion.journal j ORDER BY commune, last_received_at
            """);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            all.Add(new JournalStatus(
                reader.GetString(0), reader.GetGuid(1), reader.GetInt64(2), await reader.IsDBNullAsync(3, cancellation) ? null : reader.GetGuid(3),
                reader.GetFieldValue<DateTimeOffset>(4), reader.GetInt64(5), reader.GetInt64(6), reader.GetInt64(7), Time(reader, 8), Time(reader, 9), Time(reader, 10), reader.GetBoolean(11))
            {
                HasPredecessor = reader.GetBoolean(12) && !reader.GetBoolean(11),
                ResendSince = Time(reader, 13),
                QuarantinedSince = Time(reader, 14),
                LongestPause = TimeSpan.FromSeconds(reader.GetDouble(15)),
            });
        }

        return all;

        static DateTimeOffset? Time(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetFieldValue<DateTimeOffset>(column);
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
        journal.AddColumn("last_position", "bigint").NotNull().DefaultValue(0);
        journal.AddColumn("oldest_unreceived_at", "timestamptz");
        journal.AddColumn("begun_at", "timestamptz");
        journal.AddColumn("heard_at", "timestamptz");
        journal.AddColumn("resend_since", "timestamptz");
        // Seconds. Of a new journal nothing is known: it may be one of a commune that sends once a week.
        journal.AddColumn("longest_pause", "double precision").NotNull().DefaultValue(7 * 24 * 3600);
        yield return journal;
        yield return Quarantine.Schema();
        yield return Quarantine.DroppedSchema();
    }

    /// <summary>Why an event is not accepted; null when it is.</summary>
    internal string? Refusal(IncomingEvent incoming) =>
        incoming.Refused is { } refused ? refused
        : territory.Member(incoming.Read!.Envelope.Source.Commune) is null ? $"source: not a commune of {territory.Name}"
        : null;

    private static void Move(
        NpgsqlBatch batch, string commune, Guid journal, JournalEnd end, long stored, long quarantined, DateTimeOffset? firstOpen, DateTimeOffset now) => Add(
        batch,
        """
        UPDATE ingestion.journal SET received_through = $3, last_event_id = $4, last_received_at = $5, events = events + $6, quarantined = quarantined + $7,
            oldest_unreceived_at = CASE WHEN last_position > $3 THEN $8 END, resend_since = NULL,
            longest_pause = greatest(
                extract(epoch FROM $5 - last_received_at)::float8, longest_pause * power(0.5::float8, extract(epoch FROM $5 - last_received_at)::float8 / (30 * 24 * 3600)))
        WHERE commune = $1 AND journal = $2
        """,
        commune, journal, end.Through, new NpgsqlParameter { Value = (object?)end.LastEvent ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid }, now, stored, quarantined,
        firstOpen?.ToUniversalTime() ?? now);

    // Of each journal, whether the run has an event beyond its end, and when the first one there was accepted, as far as is known:
    // not before the last one that came.
    private static Dictionary<(string Commune, Guid Journal), (bool Beyond, DateTimeOffset? AcceptedAt)> Arriving(
        IEnumerable<IncomingEvent> run, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> ends)
    {
        var arriving = new Dictionary<(string Commune, Guid Journal), (bool Beyond, DateTimeOffset? AcceptedAt)>();
        foreach (var incoming in run)
        {
            if (!arriving.TryGetValue(incoming.JournalKey, out var known) || !known.Beyond)
                arriving[incoming.JournalKey] = (incoming.Position > ends[incoming.JournalKey].Through, incoming.AcceptedAt ?? known.AcceptedAt);
        }

        return arriving;
    }

    private static void Add(NpgsqlBatch batch, string sql, params object[] values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values) command.Parameters.Add(value as NpgsqlParameter ?? new NpgsqlParameter { Value = value });
        batch.BatchCommands.Add(command);
    }

    // The rows stay locked to the end of the transaction: should two nodes ingest at once, one waits and then sees duplicates.
    // It is noted here that the connector was heard, and what it has, since this is done whatever the run brings.
    private static async Task<Dictionary<(string Commune, Guid Journal), JournalEnd>> LockAsync(
        NpgsqlConnection connection, IEnumerable<IncomingEvent> run, DateTimeOffset now, CancellationToken cancellation)
    {
        var journals = run.GroupBy(incoming => incoming.JournalKey)
            .Select(group => (group.Key.Commune, group.Key.Journal, Last: group.Max(incoming => Math.Max(incoming.Last, incoming.Position)), group.First().AcceptedAt)).ToList();
        await using var command = new NpgsqlCommand("""
            INSERT INTO ingestion.journal AS j (commune, journal, received_through, last_received_at, events, quarantined, last_position, oldest_unreceived_at, begun_at, heard_at)
            SELECT commune, journal, 0, $5, 0, 0, last, coalesce(accepted_at, $5), $5, $5 FROM unnest($1, $2, $3, $4) AS given (commune, journal, last, accepted_at)
            ORDER BY commune, journal
            ON CONFLICT (commune, journal) DO UPDATE SET
                heard_at = excluded.heard_at,
                last_position = greatest(j.last_position, excluded.last_position),
                oldest_unreceived_at = CASE WHEN greatest(j.last_position, excluded.last_position) > j.received_through THEN coalesce(j.oldest_unreceived_at, excluded.oldest_unreceived_at) END
            RETURNING commune, journal, received_through, last_event_id
            """, connection);
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.Commune).ToArray() });
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.Journal).ToArray() });
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.Last).ToArray() });
        command.Parameters.Add(new() { Value = journals.Select(journal => journal.AcceptedAt?.ToUniversalTime()).ToArray() });
        command.Parameters.Add(new() { Value = now });
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
