using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.ServiceDefaults;
using MassTransit.Serialization;
using Npgsql;
using Weasel.Postgresql.Tables;

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

/// <summary>What a retry of many came to.</summary>
internal sealed record RetryCounts(long Retried, long StillRefused);

/// <summary>
/// Keeps whole what the hub does not accept until somebody retries or discards it: events, and messages that cannot be read.
/// The content is encrypted with a key of its own, since it may hold personal data. When it ends, content and key are deleted: a
/// retried event is in the event store then, its personal data apart; the row stays, with the reason and the times.
/// </summary>
internal sealed class Quarantine : IDisposable
{
    private const int Page = 200;
    private const int Attempts = 5;
    private const int LongestReason = 500;

    // Enough to see what a broker user sends that it should not, little enough that it cannot fill the disk.
    private const int MostOfSender = 100;

    private static readonly TimeSpan s_full = TimeSpan.FromSeconds(1);

    /// <summary>How long content is kept of which the catalogue does not say it.</summary>
    private const int UnknownTypeMonths = 12;
    private const string ItemColumns = "id, state, received_at, commune, journal, position, reason, trace_id, CASE WHEN key IS NULL THEN octet_length(event) ELSE octet_length(event) - 28 END::bigint, ended_at, end_reason";

    private static readonly Counter<long> s_quarantined = Telemetry.Meter.CreateCounter<long>(
        "hub.events.quarantined", "{event}", "Events, and undecipherable messages, put into quarantine, by commune where it can be told");

    private readonly NpgsqlDataSource _database;
    private readonly Journals _journals;
    private readonly PersonalDataStore _personalData;
    private readonly KeyVault _vault;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _oneOfASender = new(1);
    private readonly Dictionary<string, DateTimeOffset> _fullUntil = [];

    public Quarantine(NpgsqlDataSource database, Journals journals, PersonalDataStore personalData, KeyVault vault, TimeProvider clock)
    {
        (_database, _journals, _personalData, _vault, _clock) = (database, journals, personalData, vault, clock);
        Telemetry.Meter.CreateObservableGauge(
            "hub.quarantine.kept", Kept, "{event}", "What is in quarantine now, by commune where it can be told; every node shows the same number");
    }

    public void Dispose() => _oneOfASender.Dispose();

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        // The content is kept as it came, byte by byte, encrypted with the key of that id in the vault.
        var table = new Table("ingestion.quarantine");
        table.AddColumn("id", "bigint").BigAutoIncrement().AsPrimaryKey();
        table.AddColumn("state", "text").NotNull();
        table.AddColumn("received_at", "timestamptz").NotNull();
        table.AddColumn("commune", "text");
        table.AddColumn("journal", "uuid");
        table.AddColumn("position", "bigint");
        table.AddColumn("reason", "text").NotNull();
        table.AddColumn("trace_id", "text");
        table.AddColumn("event", "bytea");
        table.AddColumn("key", "uuid");
        // Of a message, by which it is known again: a keyed hash of its content.
        table.AddColumn("digest", "uuid");
        table.AddColumn("keep_until", "timestamptz");
        table.AddColumn("ended_at", "timestamptz");
        table.AddColumn("end_reason", "text");
        // The broker user that sent a message; null for the hub's own, and for events.
        table.AddColumn("sender", "text");
        table.Indexes.Add(new IndexDefinition("quarantine_sender") { Columns = ["sender", "state"], Predicate = "sender IS NOT NULL" });
        table.Indexes.Add(new IndexDefinition("quarantine_place") { Columns = ["commune", "journal", "position"], IsUnique = true });
        table.Indexes.Add(new IndexDefinition("quarantine_state") { Columns = ["state", "id"] });
        return table;
    }

    /// <summary>How many messages of a broker user were not even kept.</summary>
    public static Table DroppedSchema()
    {
        var table = new Table("ingestion.dropped");
        table.AddColumn("sender", "text").AsPrimaryKey();
        table.AddColumn("messages", "bigint").NotNull();
        return table;
    }

    /// <summary>Puts an event aside, as part of the transaction that gives it its place in its journal.</summary>
    /// <param name="batch">The transaction's commands.</param>
    /// <param name="refused">The event.</param>
    /// <param name="reason">Why.</param>
    /// <param name="key">Id of the key by which it is encrypted.</param>
    /// <param name="content"><see cref="ContentOf"/> it, encrypted.</param>
    /// <param name="now">When it arrived.</param>
    public static void Keep(NpgsqlBatch batch, IncomingEvent refused, string reason, Guid key, byte[] content, DateTimeOffset now)
    {
        var command = new NpgsqlBatchCommand("""
            INSERT INTO ingestion.quarantine (state, received_at, commune, journal, position, reason, trace_id, event, key, keep_until)
            VALUES ('kept', $1, $2, $3, $4, $5, $6, $7, $8, $9)
            """);
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(new() { Value = refused.Commune });
        command.Parameters.Add(new() { Value = refused.Journal });
        command.Parameters.Add(new() { Value = refused.Position });
        command.Parameters.Add(new() { Value = Storable(reason) });
        command.Parameters.Add(Query.Text(TraceId(refused)));
        command.Parameters.Add(new() { Value = content });
        command.Parameters.Add(new() { Value = key });
        command.Parameters.Add(new() { Value = now.ToUniversalTime().AddMonths(MonthsOf(refused.Json)) });
        batch.BatchCommands.Add(command);
    }

    /// <summary>An event as it came, byte by byte.</summary>
    public static byte[] ContentOf(IncomingEvent refused) => JsonMarshal.GetRawUtf8Value(refused.Json).ToArray();

    /// <summary>Keeps a message that is no run of events, or that its sender may not send.</summary>
    /// <param name="message">What is told about it.</param>
    /// <param name="body">All of it.</param>
    /// <param name="redelivered">Whether the broker may have delivered it before: then it is not kept a second time.</param>
    /// <param name="sender">
    /// The broker user that sent it, empty when that is not said; null for the hub's own. Of any other, so many are kept at once, and the
    /// rest is only counted, so that nobody can fill the disk.
    /// </param>
    /// <param name="cancellation">Gives up; it may be kept nevertheless.</param>
    /// <returns>Whether it is kept.</returns>
    public async Task<bool> KeepAsync(UndecipherableMessage message, byte[] body, bool redelivered, string? sender, CancellationToken cancellation)
    {
        if (sender is null) return await InsertAsync(message, body, redelivered, null, cancellation);
        // One at a time, so that the count holds.
        await _oneOfASender.WaitAsync(cancellation);
        try
        {
            // Neither is the body sent nor are rows counted for each message of a flood.
            if (_clock.GetUtcNow() < _fullUntil.GetValueOrDefault(sender))
            {
                await DropAsync(sender, cancellation);
                return false;
            }

            await using var count = _database.CreateCommand("SELECT count(*) FROM ingestion.quarantine WHERE sender = $1 AND state = 'kept'");
            count.Parameters.Add(new() { Value = sender });
            if ((long)(await count.ExecuteScalarAsync(cancellation))! < MostOfSender) return await InsertAsync(message, body, redelivered, sender, cancellation);
            await DropAsync(sender, cancellation);
            _fullUntil[sender] = _clock.GetUtcNow() + s_full;
            return false;
        }
        finally
        {
            _oneOfASender.Release();
        }
    }

    /// <summary>How many messages of each broker user were refused: kept once, and not even that. Without a name: those that named no user.</summary>
    public async Task<IReadOnlyDictionary<string, long>> OfSendersAsync(CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand("""
            SELECT sender, sum(messages)::bigint FROM (
                SELECT sender, 1 AS messages FROM ingestion.quarantine WHERE sender IS NOT NULL
                UNION ALL SELECT sender, messages FROM ingestion.dropped) AS parts
            GROUP BY sender
            """);
        var messages = new Dictionary<string, long>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) messages[reader.GetString(0)] = reader.GetInt64(1);
        return messages;
    }

    /// <summary>Counts one more, once it is in quarantine.</summary>
    public static void Count(string? commune)
    {
        if (commune is null) s_quarantined.Add(1);
        else s_quarantined.Add(1, new KeyValuePair<string, object?>("commune", commune));
    }

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

    /// <summary>
    /// Checks an event again as at its arrival and stores it. In the store it comes after all that is there by now, also after
    /// later events of its journal, since the store's order is never rewritten; its journal and position stay what they were.
    /// An event that the store has already, from another journal, counts as retried too.
    /// </summary>
    /// <returns>False when it is refused again, with the new reason kept; null when it is not kept, or no event.</returns>
    public async Task<bool?> RetryAsync(long id, CancellationToken cancellation)
    {
        var outcome = await RetryAsync([id], cancellation);
        return outcome is { Retried: 0, StillRefused: 0 } ? null : outcome.Retried == 1;
    }

    /// <summary>
    /// Retries all events that are kept for a reason now, in the order of their arrival, a page a transaction. What is stored
    /// when it is given up stays stored. Two at once share the work.
    /// </summary>
    public async Task<RetryCounts> RetryAllAsync(string reason, string? commune, CancellationToken cancellation)
    {
        // What arrives from now on is left to the next retry, so that this one comes to an end.
        await using var newest = _database.CreateCommand("SELECT coalesce(max(id), 0) FROM ingestion.quarantine");
        var last = (long)(await newest.ExecuteScalarAsync(cancellation))!;
        var counts = new RetryCounts(0, 0);
        for (var after = 0L; ;)
        {
            var page = await KeptAsync(reason, commune, after, last, cancellation);
            if (page.Length == 0) return counts;
            var outcome = await RetryAsync(page, cancellation);
            counts = new(counts.Retried + outcome.Retried, counts.StillRefused + outcome.StillRefused);
            after = page[^1];
        }
    }

    /// <summary>Erases the content of what is kept, and its key; the row stays, with the reason given.</summary>
    /// <returns>False when it is not kept.</returns>
    public async Task<bool> DiscardAsync(long id, string reason, CancellationToken cancellation) =>
        await DiscardAsync("id = $1", reason, _clock.GetUtcNow(), id, cancellation) == 1;

    /// <summary>The same for those whose time is over, a thousand at a time.</summary>
    /// <returns>How many.</returns>
    public Task<int> DiscardPastTheirTimeAsync(DateTimeOffset now, CancellationToken cancellation) =>
        DiscardAsync("id IN (SELECT id FROM ingestion.quarantine WHERE state = 'kept' AND keep_until <= $1 LIMIT 1000)", "kept no longer: its time was over", now, now.ToUniversalTime(), cancellation);

    private async Task<int> DiscardAsync(string which, string reason, DateTimeOffset now, object parameter, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand($"""
            WITH kept AS (SELECT id, commune, journal, key FROM ingestion.quarantine WHERE {which} AND state = 'kept' FOR UPDATE),
            ended AS (
                UPDATE ingestion.quarantine q SET state = 'discarded', ended_at = $2, end_reason = $3, event = NULL, key = NULL, digest = NULL
                FROM kept WHERE q.id = kept.id RETURNING kept.commune, kept.journal, kept.key),
            journal AS (
                UPDATE ingestion.journal j SET quarantined = quarantined - e.count
                FROM (SELECT commune, journal, count(*) FROM ended GROUP BY 1, 2) e WHERE j.commune = e.commune AND j.journal = e.journal)
            SELECT key FROM ended
            """);
        command.Parameters.Add(new() { Value = parameter });
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(new() { Value = reason });
        var (count, keys) = (0, new List<Guid>());
        await using (var reader = await command.ExecuteReaderAsync(cancellation))
        {
            for (; await reader.ReadAsync(cancellation); count++)
            {
                if (Nullable<Guid>(reader, 0) is { } key) keys.Add(key);
            }
        }

        await _vault.DeleteAsync(keys, erased: false, cancellation);
        return count;
    }

    /// <summary>Whether messages, which cannot be retried, are kept for a reason.</summary>
    public async Task<bool> IsOfMessagesAsync(string reason, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand(
            "SELECT EXISTS (SELECT FROM ingestion.quarantine WHERE state = 'kept' AND journal IS NULL AND reason = $1)");
        command.Parameters.Add(new() { Value = reason });
        return (bool)(await command.ExecuteScalarAsync(cancellation))!;
    }

    // All in one transaction; when that fails for the sake of some of the events, half of them at a time, down to single ones.
    private async Task<RetryCounts> RetryAsync(long[] ids, CancellationToken cancellation)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await StoreAsync(ids, null, cancellation);
            }
            catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.UniqueViolation or PostgresErrorCodes.DeadlockDetected)
            {
                // Another transaction stored one of these events, or held the same rows, at the same time: the next try sees it.
                if (ids.Length == 1 && attempt == Attempts) throw;
            }
            catch (Exception e) when (e is not OperationCanceledException && Ingestion.IsOfAnEvent(e))
            {
                if (ids.Length == 1) return await StoreAsync(ids, Ingestion.StoreRefusal(e), cancellation);
            }

            if (ids.Length == 1) continue;
            var (first, second) = (await RetryAsync(ids[..(ids.Length / 2)], cancellation), await RetryAsync(ids[(ids.Length / 2)..], cancellation));
            return new(first.Retried + second.Retried, first.StillRefused + second.StillRefused);
        }
    }

    // The rows stay locked to the end of the transaction: of two that retry or discard the same, one waits and then finds it ended.
    private async Task<RetryCounts> StoreAsync(long[] ids, string? refusal, CancellationToken cancellation)
    {
        await using var connection = await _database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // Before anything is read: else a person who is being erased would be stored anew.
        await Forgetting.HoldAsync(connection, cancellation);
        if (await Forgetting.IsErasingAsync(connection, cancellation)) throw new ErasureUnderWayException();
        var kept = await LockAsync(connection, ids, cancellation);
        var known = await Journals.KnownAsync(connection, [.. kept.Select(row => row.Event)], cancellation);
        var keys = kept.ToDictionary(row => row.Id, row => row.Key);

        var stored = new List<CheckedEvent>();
        List<long> retried = [], duplicates = [];
        var refused = new List<(long Id, string Reason)>();
        var journals = new SortedDictionary<(string Commune, Guid Journal), (long Events, long Ended)>();
        foreach (var (id, incoming, _) in kept)
        {
            if ((refusal ?? _journals.Refusal(incoming)) is { } reason)
            {
                refused.Add((id, Storable(reason)));
                continue;
            }

            var isNew = known.Add(incoming.Read!.EventId);
            if (isNew) stored.Add(incoming.Read);
            (isNew ? retried : duplicates).Add(id);
            var (events, ended) = journals.GetValueOrDefault((incoming.Commune, incoming.Journal));
            journals[(incoming.Commune, incoming.Journal)] = (events + (isNew ? 1 : 0), ended + 1);
        }

        await using var batch = new NpgsqlBatch(connection, transaction);
        // The journals first, as the ingestion does, so that neither waits for the other in turn.
        foreach (var (journal, (events, ended)) in journals)
        {
            Add(
                batch, "UPDATE ingestion.journal SET events = events + $3, quarantined = quarantined - $4 WHERE commune = $1 AND journal = $2",
                journal.Commune, journal.Journal, events, ended);
        }

        var sealedRun = await _personalData.SealAsync(connection, stored, [], _clock.GetUtcNow(), cancellation);
        batch.AppendEvents(stored);
        sealedRun.Store(batch);
        End(batch, retried, "stored");
        End(batch, duplicates, "in the event store already");
        if (refused.Count > 0)
        {
            Add(
                batch, "UPDATE ingestion.quarantine q SET reason = r.reason FROM unnest($1, $2) AS r (id, reason) WHERE q.id = r.id",
                refused.Select(row => row.Id).ToArray(), refused.Select(row => row.Reason).ToArray());
        }

        if (batch.BatchCommands.Count > 0) await batch.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        await _vault.DeleteAsync([.. retried.Concat(duplicates).Select(id => keys[id]).OfType<Guid>()], erased: false, cancellation);
        return new RetryCounts(retried.Count + duplicates.Count, refused.Count);
    }

    private void End(NpgsqlBatch batch, List<long> ids, string how)
    {
        if (ids.Count == 0) return;
        Add(
            batch, "UPDATE ingestion.quarantine SET state = 'retried', ended_at = $2, end_reason = $3, event = NULL, key = NULL, digest = NULL WHERE id = ANY($1)",
            ids.ToArray(), _clock.GetUtcNow(), how);
    }

    private async Task<List<(long Id, IncomingEvent Event, Guid? Key)>> LockAsync(NpgsqlConnection connection, long[] ids, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("""
            SELECT id, commune, journal, position, event, key FROM ingestion.quarantine
            WHERE id = ANY($1) AND state = 'kept' AND journal IS NOT NULL ORDER BY id FOR UPDATE
            """, connection);
        command.Parameters.Add(new() { Value = ids });
        var rows = new List<(long Id, string Commune, Guid Journal, long Position, byte[] Content, Guid? Key)>();
        await using (var reader = await command.ExecuteReaderAsync(cancellation))
        {
            while (await reader.ReadAsync(cancellation))
                rows.Add((reader.GetInt64(0), reader.GetString(1), reader.GetGuid(2), reader.GetInt64(3), reader.GetFieldValue<byte[]>(4), Nullable<Guid>(reader, 5)));
        }

        var contents = await _personalData.OpenAsync([.. rows.Where(row => row.Key is not null).Select(row => (row.Key!.Value, row.Content))], cancellation);
        // One whose key is gone cannot be read any more; it is left as it is.
        return [.. rows.Where(row => row.Key is null || contents.ContainsKey(row.Key.Value)).Select(row =>
        {
            var json = Json(row.Key is { } key ? contents[key] : row.Content);
            return (row.Id, IncomingEvent.Of(new JournalSegment(row.Commune, row.Journal, row.Position, null, [json])).Single(), row.Key);
        })];
    }

    private async Task<long[]> KeptAsync(string reason, string? commune, long after, long last, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand("""
            SELECT id FROM ingestion.quarantine
            WHERE state = 'kept' AND journal IS NOT NULL AND reason = $1 AND ($2 IS NULL OR commune = $2) AND id > $3 AND id <= $4
            ORDER BY id LIMIT $5
            """);
        command.Parameters.Add(new() { Value = reason });
        command.Parameters.Add(Query.Text(commune));
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = last });
        command.Parameters.Add(new() { Value = Page });
        var ids = new List<long>(Page);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) ids.Add(reader.GetInt64(0));
        return [.. ids];
    }

    private async Task<bool> InsertAsync(UndecipherableMessage message, byte[] body, bool redelivered, string? sender, CancellationToken cancellation)
    {
        var (key, content) = await _personalData.SealAsync(body, cancellation);
        await using var command = _database.CreateCommand("""
            INSERT INTO ingestion.quarantine (state, received_at, commune, reason, trace_id, event, key, digest, keep_until, sender)
            SELECT 'kept', $1, $2, $3, $4, $5, $7, $8, $9, $10
            WHERE NOT ($6 AND EXISTS (SELECT FROM ingestion.quarantine WHERE state = 'kept' AND journal IS NULL AND digest = $8))
            """);
        var now = _clock.GetUtcNow();
        command.Parameters.Add(new() { Value = now });
        command.Parameters.Add(Query.Text(message.Commune));
        command.Parameters.Add(new() { Value = message.Reason });
        command.Parameters.Add(Query.Text(message.TraceId));
        command.Parameters.Add(new() { Value = content });
        command.Parameters.Add(new() { Value = redelivered });
        command.Parameters.Add(new() { Value = key });
        command.Parameters.Add(new() { Value = Persons.Keyed(await _vault.SecretAsync(cancellation), body) });
        command.Parameters.Add(new() { Value = now.ToUniversalTime().AddMonths(UnknownTypeMonths) });
        command.Parameters.Add(Query.Text(sender));
        if (await command.ExecuteNonQueryAsync(cancellation) > 0) Count(message.Commune);
        return true;
    }

    private async Task DropAsync(string sender, CancellationToken cancellation)
    {
        await using var command = _database.CreateCommand(
            "INSERT INTO ingestion.dropped AS d VALUES ($1, 1) ON CONFLICT (sender) DO UPDATE SET messages = d.messages + 1");
        command.Parameters.Add(new() { Value = sender });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    // Asked of the database when it is measured, so that it is right whoever retries or discards. Without the database there is no measurement.
    private List<Measurement<long>> Kept()
    {
        var kept = new List<Measurement<long>>();
        try
        {
            // A commune without any counts too, as 0, so that nobody takes the last number for the present one.
            using var command = _database.CreateCommand("""
                SELECT commune, sum(kept)::bigint FROM (
                    SELECT commune, quarantined AS kept FROM ingestion.journal
                    UNION ALL SELECT commune, 1 FROM ingestion.quarantine WHERE state = 'kept' AND journal IS NULL
                    UNION ALL SELECT NULL, 0) AS parts
                GROUP BY commune
                """);
            command.CommandTimeout = 5;
            using var reader = command.ExecuteReader();
            while (reader.Read())
                kept.Add(Text(reader, 0) is { } commune ? new(reader.GetInt64(1), new KeyValuePair<string, object?>("commune", commune)) : new(reader.GetInt64(1)));
        }
        catch (Exception e) when (e is NpgsqlException or ObjectDisposedException or TimeoutException)
        {
            kept.Clear();
        }

        return kept;
    }

    /// <summary>What is kept of an event, read as it was on the bus.</summary>
    internal static JsonElement Json(byte[] content) => JsonSerializer.Deserialize<JsonElement>(content, SystemTextJsonMessageSerializer.Options);

    private static int MonthsOf(JsonElement json)
    {
        try
        {
            return json.ValueKind == JsonValueKind.Object && json.TryGetProperty("type", out var type) && type.ValueKind == JsonValueKind.String
                && Catalogue.Find(type.GetString()!)?.Personal is { } retention ? retention.Months : UnknownTypeMonths;
        }
        catch (InvalidOperationException)
        {
            // Not well-formed Unicode.
            return UnknownTypeMonths;
        }
    }

    // The event's own trace, else that of the work at hand.
    private static string? TraceId(IncomingEvent incoming)
    {
        if (incoming.Read is { } read) return TraceId(read.Envelope.TraceParent);
        try
        {
            var named = incoming.Json.ValueKind == JsonValueKind.Object && incoming.Json.TryGetProperty("traceparent", out var trace)
                && trace.ValueKind == JsonValueKind.String;
            return TraceId(named ? incoming.Json.GetProperty("traceparent").GetString() : null);
        }
        catch (InvalidOperationException)
        {
            // Not well-formed Unicode.
            return TraceId((string?)null);
        }
    }

    /// <summary>The trace named by a W3C trace context, else the one of the work at hand, or null.</summary>
    internal static string? TraceId(string? traceParent) =>
        (ActivityContext.TryParse(traceParent, null, out var context) ? context.TraceId : Activity.Current?.TraceId)?.ToString();

    // A reason names fields, and a sender may have named thousands of them, or put anything into a name.
    private static string Storable(string reason)
    {
        var clean = reason.Replace('\0', ' ');
        if (clean.Length <= LongestReason) return clean;
        var end = char.IsHighSurrogate(clean[LongestReason - 2]) ? LongestReason - 2 : LongestReason - 1;
        return $"{clean[..end]}…";
    }

    private static QuarantineItem Item(NpgsqlDataReader reader) => new(
        reader.GetInt64(0), reader.GetString(1), reader.GetFieldValue<DateTimeOffset>(2), Text(reader, 3), Nullable<Guid>(reader, 4), Nullable<long>(reader, 5),
        reader.GetString(6), Text(reader, 7), Nullable<long>(reader, 8), Nullable<DateTimeOffset>(reader, 9), Text(reader, 10));

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static T? Nullable<T>(NpgsqlDataReader reader, int column)
        where T : struct => reader.IsDBNull(column) ? null : reader.GetFieldValue<T>(column);

    private static void Add(NpgsqlBatch batch, string sql, params object[] values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        batch.BatchCommands.Add(command);
    }
}
