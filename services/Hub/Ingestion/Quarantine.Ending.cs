using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Npgsql;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>What a retry of many came to.</summary>
internal sealed record RetryCounts(long Retried, long StillRefused);

// How what is in quarantine ends: it is retried, or discarded.
internal sealed partial class Quarantine
{
    private const int Page = 200;
    private const int Attempts = 5;

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
            leaving AS (
                INSERT INTO privacy.forgotten (person, erased, at) SELECT key, false, $2 FROM ended WHERE key IS NOT NULL ORDER BY key ON CONFLICT DO NOTHING),
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

        await _forgetting.TryFinishAsync(keys);
        return count;
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
        Guid[] formerKeys = [.. retried.Concat(duplicates).Select(id => keys[id]).OfType<Guid>()];
        // In the same transaction, so that they are deleted whatever happens then.
        Add(batch, "INSERT INTO privacy.forgotten (person, erased, at) SELECT key, false, $2 FROM unnest($1) AS key ORDER BY key ON CONFLICT DO NOTHING", formerKeys, _clock.GetUtcNow());
        if (refused.Count > 0)
        {
            Add(
                batch, "UPDATE ingestion.quarantine q SET reason = r.reason FROM unnest($1, $2) AS r (id, reason) WHERE q.id = r.id",
                refused.Select(row => row.Id).ToArray(), refused.Select(row => row.Reason).ToArray());
        }

        await batch.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        await _forgetting.TryFinishAsync(formerKeys);
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

    private static void Add(NpgsqlBatch batch, string sql, params object[] values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        batch.BatchCommands.Add(command);
    }
}
