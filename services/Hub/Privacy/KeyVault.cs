using System.Security.Cryptography;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>A key by which data is encrypted, and its id; of a person's data, the id is the person's.</summary>
internal readonly record struct DataKey(Guid Id, byte[] Key);

/// <summary>A part of an event that was erased by right.</summary>
/// <param name="EventId">The event.</param>
/// <param name="Path">Where it stood in <c>data.personal</c>.</param>
/// <param name="KeepUntil">Until when it could have been kept.</param>
internal readonly record struct ErasedPart(Guid EventId, string Path, DateTimeOffset KeepUntil);

/// <summary>The database of keys is not the one of this hub.</summary>
internal sealed class WrongKeysException(string message) : Exception(message);

/// <summary>
/// The keys of persons and of quarantined content, wrapped by the master key, in a database of their own: whoever deletes one here
/// makes every copy of what it encrypts unreadable, those in backups of the hub's database too. A person is a random id; the
/// pseudonym, a keyed hash of the identity, stands here alone. (What the hub's database still says of somebody is in the subjects of deaths
/// from files, which end with a hash without a key.) It belongs to one database of a hub, which notes it and takes no other.
/// </summary>
internal sealed class KeyVault(string connectionString, IKeyWrapping wrapping, NpgsqlDataSource hub) : IAsyncDisposable
{
    private const string PseudonymSecret = "pseudonyms";

    private readonly NpgsqlDataSource _database = NpgsqlDataSource.Create(connectionString);
    private readonly SemaphoreSlim _preparing = new(1, 1);
    private byte[]? _secret;

    /// <summary>The table of the hub's database that notes which keys are its own.</summary>
    public static Table Schema()
    {
        var table = new Table("privacy.vault");
        table.AddColumn("one", "boolean").AsPrimaryKey();
        table.AddColumn("id", "uuid").NotNull();
        return table;
    }

    /// <summary>Makes the tables where they are missing, and the secret of the pseudonyms; several nodes may do so at once.</summary>
    /// <exception cref="NpgsqlException">The database does not answer.</exception>
    /// <exception cref="CryptographicException">The master key that was used here is not among those given.</exception>
    /// <exception cref="WrongKeysException">These are not the keys of the hub's database; nothing was written into theirs.</exception>
    public async Task PrepareAsync(CancellationToken cancellation)
    {
        if (Volatile.Read(ref _secret) is not null) return;
        await _preparing.WaitAsync(cancellation);
        try
        {
            if (_secret is not null) return;
            await using var connection = await _database.OpenConnectionAsync(cancellation);
            await using var transaction = await connection.BeginTransactionAsync(cancellation);
            await using (var schema = new NpgsqlCommand("""
                SELECT pg_advisory_xact_lock(1870245);
                CREATE SCHEMA IF NOT EXISTS keys;
                CREATE TABLE IF NOT EXISTS keys.secret (name text PRIMARY KEY, wrapped bytea NOT NULL);
                CREATE TABLE IF NOT EXISTS keys.data_key (id uuid PRIMARY KEY, pseudonym uuid, wrapped bytea NOT NULL, made_at timestamptz NOT NULL DEFAULT now());
                CREATE UNIQUE INDEX IF NOT EXISTS data_key_pseudonym ON keys.data_key (pseudonym) WHERE pseudonym IS NOT NULL;
                CREATE TABLE IF NOT EXISTS keys.erased (id uuid PRIMARY KEY, erased_at timestamptz NOT NULL DEFAULT now());
                CREATE TABLE IF NOT EXISTS keys.leaving (id uuid PRIMARY KEY, pseudonym uuid NOT NULL);
                CREATE TABLE IF NOT EXISTS keys.erased_part (event_id uuid, path text, keep_until timestamptz NOT NULL, PRIMARY KEY (event_id, path));
                """, connection))
            {
                await schema.ExecuteNonQueryAsync(cancellation);
            }

            await using var made = new NpgsqlCommand("INSERT INTO keys.secret VALUES ($1, $2) ON CONFLICT DO NOTHING", connection);
            made.Parameters.Add(new() { Value = PseudonymSecret });
            made.Parameters.Add(new() { Value = wrapping.Wrap(Sealed.NewKey()) });
            await made.ExecuteNonQueryAsync(cancellation);
            await using var kept = new NpgsqlCommand("SELECT wrapped FROM keys.secret WHERE name = $1", connection);
            kept.Parameters.Add(new() { Value = PseudonymSecret });
            var secret = wrapping.Unwrap((byte[])(await kept.ExecuteScalarAsync(cancellation))!);
            var id = Persons.Keyed(secret, "the id of these keys"u8);
            await CheckAsync(connection, id, cancellation);
            await transaction.CommitAsync(cancellation);
            // Last: were it noted before the secret is stored, a crash in between would leave the note of keys that do not exist.
            await using (var note = hub.CreateCommand("INSERT INTO privacy.vault (one, id) VALUES (true, $1) ON CONFLICT DO NOTHING"))
            {
                note.Parameters.Add(new() { Value = id });
                await note.ExecuteNonQueryAsync(cancellation);
            }

            // Another node may have noted others in between.
            await CheckAsync(connection, id, cancellation);
            Volatile.Write(ref _secret, secret);
        }
        finally
        {
            _preparing.Release();
        }
    }

    /// <summary>Whether the database answers; throws when it does not.</summary>
    public async Task AskAsync(CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT 1");
        await command.ExecuteScalarAsync(cancellation);
    }

    /// <summary>The secret by which pseudonyms and digests are made; the same on every node.</summary>
    public async Task<byte[]> SecretAsync(CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        return _secret!;
    }

    /// <summary>
    /// The keys of persons, made where there are none yet, and new ones that belong to no pseudonym. They are stored when this returns.
    /// </summary>
    /// <param name="pseudonyms">Distinct ones.</param>
    /// <param name="more">How many keys without a pseudonym.</param>
    /// <param name="cancellation">Gives up; keys may have been made nevertheless.</param>
    public async Task<(IReadOnlyDictionary<Guid, DataKey> ByPseudonym, IReadOnlyList<DataKey> More)> TakeAsync(
        IReadOnlyCollection<Guid> pseudonyms, int more, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        var byPseudonym = new Dictionary<Guid, DataKey>(pseudonyms.Count);
        DataKey[] others = [.. Enumerable.Range(0, more).Select(_ => New())];
        // A key that was there when ours was not taken may be deleted before it is read: then ours is offered again. None is used that is not stored.
        for (var first = true; byPseudonym.Count < pseudonyms.Count || (first && more > 0); first = false)
        {
            var offered = pseudonyms.Where(pseudonym => !byPseudonym.ContainsKey(pseudonym)).ToDictionary(pseudonym => pseudonym, _ => New());
            foreach (var (pseudonym, key) in await OfferAsync(offered, first ? others : [], cancellation)) byPseudonym[pseudonym] = key;
        }

        return (byPseudonym, others);

        static DataKey New() => new(Guid.CreateVersion7(), Sealed.NewKey());
    }

    /// <summary>Stores keys; those of pseudonyms only where there is none yet.</summary>
    /// <returns>The keys of the pseudonyms as they are stored; not of those whose key went in between.</returns>
    private async Task<IReadOnlyDictionary<Guid, DataKey>> OfferAsync(Dictionary<Guid, DataKey> offered, DataKey[] others, CancellationToken cancellation)
    {
        var all = offered.Select(pair => ((Guid?)pair.Key, pair.Value)).Concat(others.Select(key => ((Guid?)null, key))).ToList();
        var stored = new Dictionary<Guid, DataKey>(offered.Count);

        await using var connection = await _database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection);
        // In one order everywhere, so that two nodes with the same persons do not wait for each other in turn.
        var insert = new NpgsqlBatchCommand("""
            INSERT INTO keys.data_key (id, pseudonym, wrapped)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS given (id, pseudonym, wrapped) ORDER BY pseudonym
            ON CONFLICT (pseudonym) WHERE pseudonym IS NOT NULL DO NOTHING
            RETURNING pseudonym
            """);
        insert.Parameters.Add(new() { Value = all.Select(key => key.Item2.Id).ToArray() });
        insert.Parameters.Add(new() { Value = all.Select(key => key.Item1).ToArray() });
        insert.Parameters.Add(new() { Value = all.Select(key => wrapping.Wrap(key.Item2.Key)).ToArray() });
        batch.BatchCommands.Add(insert);
        if (offered.Count > 0)
        {
            var known = new NpgsqlBatchCommand("""
                SELECT k.pseudonym, k.id, k.wrapped FROM unnest($1::uuid[], $2::uuid[]) AS given (id, pseudonym) JOIN keys.data_key k USING (pseudonym) WHERE k.id <> given.id
                """);
            known.Parameters.Add(new() { Value = offered.Values.Select(key => key.Id).ToArray() });
            known.Parameters.Add(new() { Value = offered.Keys.ToArray() });
            batch.BatchCommands.Add(known);
        }

        await using var reader = await batch.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            if (!await reader.IsDBNullAsync(0, cancellation)) stored[reader.GetGuid(0)] = offered[reader.GetGuid(0)];
        }

        await reader.NextResultAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) stored[reader.GetGuid(0)] = new(reader.GetGuid(1), wrapping.Unwrap(reader.GetFieldValue<byte[]>(2)));
        return stored;
    }

    /// <summary>Those of the keys that are there.</summary>
    public async Task<IReadOnlyDictionary<Guid, byte[]>> FindAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        var found = new Dictionary<Guid, byte[]>(ids.Count);
        await using var command = _database.CreateCommand("SELECT id, wrapped FROM keys.data_key WHERE id = ANY($1)");
        command.Parameters.Add(new() { Value = ids.Distinct().ToArray() });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) found[reader.GetGuid(0)] = wrapping.Unwrap(reader.GetFieldValue<byte[]>(1));
        return found;
    }

    /// <summary>Those of the keys that are not there.</summary>
    public async Task<IReadOnlyList<Guid>> MissingAsync(IReadOnlyCollection<Guid> ids, CancellationToken cancellation)
    {
        if (ids.Count == 0) return [];
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT id FROM unnest($1) AS id WHERE NOT EXISTS (SELECT FROM keys.data_key k WHERE k.id = id.id)");
        command.Parameters.Add(new() { Value = ids.ToArray() });
        return await command.ReadIdsAsync(cancellation);
    }

    /// <summary>The person of a pseudonym, or null.</summary>
    public async Task<Guid?> PersonOfAsync(Guid pseudonym, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT id FROM keys.data_key WHERE pseudonym = $1");
        command.Parameters.Add(new() { Value = pseudonym });
        return (Guid?)await command.ExecuteScalarAsync(cancellation);
    }

    /// <summary>The pseudonyms of persons, also of those whose key went ahead; those who have none, or are not there, are left out.</summary>
    public async Task<IReadOnlySet<Guid>> PseudonymsAsync(IReadOnlyCollection<Guid> persons, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT pseudonym FROM keys.data_key WHERE id = ANY($1) AND pseudonym IS NOT NULL UNION SELECT pseudonym FROM keys.leaving WHERE id = ANY($1)");
        command.Parameters.Add(new() { Value = persons.ToArray() });
        return (await command.ReadIdsAsync(cancellation)).ToHashSet();
    }

    /// <summary>Deletes keys for good; those that are not there are passed over.</summary>
    /// <param name="ids">Which ones.</param>
    /// <param name="erased">Whether to remember that they were erased by right, so that an older copy of the hub's database learns it.</param>
    /// <param name="cancellation">Gives up; they may be deleted nevertheless.</param>
    /// <returns>How many were there.</returns>
    public async Task<int> DeleteAsync(IReadOnlyCollection<Guid> ids, bool erased, CancellationToken cancellation)
    {
        if (ids.Count == 0) return 0;
        await PrepareAsync(cancellation);
        // Locked in the order of ids, as whoever wraps them anew does.
        await using var command = _database.CreateCommand("""
            WITH there AS MATERIALIZED (SELECT id FROM keys.data_key WHERE id = ANY($1) ORDER BY id FOR UPDATE),
            gone AS (DELETE FROM keys.data_key k USING there WHERE k.id = there.id RETURNING k.id),
            left_before AS (DELETE FROM keys.leaving WHERE id = ANY($1)),
            noted AS (INSERT INTO keys.erased (id) SELECT id FROM unnest($1) AS id WHERE $2 ORDER BY id ON CONFLICT DO NOTHING)
            SELECT count(*)::int FROM gone
            """);
        command.Parameters.Add(new() { Value = ids.ToArray() });
        command.Parameters.Add(new() { Value = erased });
        return (int)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>
    /// Deletes keys of persons who are leaving ahead of <see cref="DeleteAsync"/>, so that their pseudonyms are free; by which pseudonym they went
    /// is kept until then.
    /// </summary>
    public async Task DeleteAheadAsync(IReadOnlyCollection<Guid> persons, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("""
            WITH there AS MATERIALIZED (SELECT id FROM keys.data_key WHERE id = ANY($1) ORDER BY id FOR UPDATE),
            gone AS (DELETE FROM keys.data_key k USING there WHERE k.id = there.id RETURNING k.id, k.pseudonym)
            INSERT INTO keys.leaving (id, pseudonym) SELECT id, pseudonym FROM gone WHERE pseudonym IS NOT NULL ON CONFLICT DO NOTHING
            """);
        command.Parameters.Add(new() { Value = persons.ToArray() });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Remembers which parts of events were erased by right, so that they are not stored again should the events come again.</summary>
    public async Task RememberAsync(IReadOnlyCollection<ErasedPart> parts, CancellationToken cancellation)
    {
        if (parts.Count == 0) return;
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand(
            "INSERT INTO keys.erased_part (event_id, path, keep_until) SELECT * FROM unnest($1, $2, $3) AS given (event_id, path, keep_until) ORDER BY 1, 2 ON CONFLICT DO NOTHING");
        command.Parameters.Add(new() { Value = parts.Select(part => part.EventId).ToArray() });
        command.Parameters.Add(new() { Value = parts.Select(part => part.Path).ToArray() });
        command.Parameters.Add(new() { Value = parts.Select(part => part.KeepUntil.ToUniversalTime()).ToArray() });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Which parts of events were erased by right.</summary>
    public async Task<IReadOnlySet<(Guid EventId, string Path)>> ErasedPartsAsync(IReadOnlyCollection<Guid> events, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT event_id, path FROM keys.erased_part WHERE event_id = ANY($1)");
        command.Parameters.Add(new() { Value = events.ToArray() });
        var parts = new HashSet<(Guid, string)>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) parts.Add((reader.GetGuid(0), reader.GetString(1)));
        return parts;
    }

    /// <summary>Forgets the erased parts of events that would be kept no longer by now: they are not stored again anyway.</summary>
    public async Task DropErasedPartsAsync(DateTimeOffset now, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("DELETE FROM keys.erased_part WHERE keep_until <= $1");
        command.Parameters.Add(new() { Value = now.ToUniversalTime() });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>A page of what was erased by right, in the order of ids.</summary>
    public async Task<IReadOnlyList<Guid>> ErasedAsync(Guid after, int limit, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT id FROM keys.erased WHERE id > $1 ORDER BY id LIMIT $2");
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = limit });
        return await command.ReadIdsAsync(cancellation);
    }

    /// <summary>How many keys there are.</summary>
    public async Task<long> CountAsync(CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var command = _database.CreateCommand("SELECT count(*) FROM keys.data_key");
        return (long)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Wraps a page of keys with the newest master key where they are not yet; the secret of the pseudonyms at the end.</summary>
    /// <returns>How many were wrapped anew, and the last id of the page; null when there are no more.</returns>
    public async Task<(int Rewrapped, Guid? Last)> RewrapAsync(Guid after, int limit, CancellationToken cancellation)
    {
        await PrepareAsync(cancellation);
        await using var connection = await _database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        List<Guid> ids = [];
        List<byte[]> wrapped = [];
        Guid? last = null;
        await using (var page = new NpgsqlCommand("SELECT id, wrapped FROM keys.data_key WHERE id > $1 ORDER BY id LIMIT $2 FOR UPDATE", connection))
        {
            page.Parameters.Add(new() { Value = after });
            page.Parameters.Add(new() { Value = limit });
            await using var reader = await page.ExecuteReaderAsync(cancellation);
            while (await reader.ReadAsync(cancellation))
            {
                last = reader.GetGuid(0);
                var old = reader.GetFieldValue<byte[]>(1);
                if (wrapping.IsNewest(old)) continue;
                ids.Add(last.Value);
                wrapped.Add(wrapping.Wrap(wrapping.Unwrap(old)));
            }
        }

        await using (var update = new NpgsqlCommand("UPDATE keys.data_key k SET wrapped = g.wrapped FROM unnest($1, $2) AS g (id, wrapped) WHERE k.id = g.id", connection))
        {
            update.Parameters.Add(new() { Value = ids.ToArray() });
            update.Parameters.Add(new() { Value = wrapped.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Bytea });
            await update.ExecuteNonQueryAsync(cancellation);
        }

        await using (var secret = new NpgsqlCommand("UPDATE keys.secret SET wrapped = $2 WHERE name = $1", connection))
        {
            secret.Parameters.Add(new() { Value = PseudonymSecret });
            secret.Parameters.Add(new() { Value = wrapping.Wrap(_secret) });
            if (last is null) await secret.ExecuteNonQueryAsync(cancellation);
        }

        await transaction.CommitAsync(cancellation);
        return (ids.Count, last);
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        _preparing.Dispose();
    }

    // Whoever took an empty database of keys for the right one would store new persons beside others that nobody can read any more.
    private async Task CheckAsync(NpgsqlConnection keys, Guid id, CancellationToken cancellation)
    {
        await using (var own = new NpgsqlCommand("SELECT to_regclass('hub.mt_events') IS NOT NULL", keys))
        {
            if ((bool)(await own.ExecuteScalarAsync(cancellation))!)
                throw new WrongKeysException("ConnectionStrings:Keys names the hub's own database: the keys need another one, so that a backup of the hub's holds none");
        }

        await using var noted = hub.CreateCommand("SELECT id FROM privacy.vault");
        if (await noted.ExecuteScalarAsync(cancellation) is Guid known ? known == id : await HasKeyOfHubAsync(keys, cancellation)) return;
        throw new WrongKeysException(
            "the database of ConnectionStrings:Keys does not hold the keys of this hub's personal data: name the one that does, or put a backup of it back");
    }

    // Whether one of the hub's newest persons has a key there, or there is none yet.
    private async Task<bool> HasKeyOfHubAsync(NpgsqlConnection keys, CancellationToken cancellation)
    {
        await using var newest = hub.CreateCommand("SELECT DISTINCT person FROM privacy.personal_data ORDER BY person DESC LIMIT 100");
        var persons = await newest.ReadIdsAsync(cancellation);
        await using var has = new NpgsqlCommand("SELECT EXISTS (SELECT FROM keys.data_key WHERE id = ANY($1))", keys);
        has.Parameters.Add(new() { Value = persons.ToArray() });
        return persons.Count == 0 || (bool)(await has.ExecuteScalarAsync(cancellation))!;
    }
}
