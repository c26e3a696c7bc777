using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Somebody erased by right has not gone from everywhere yet: what is in quarantine may still name that one.</summary>
internal sealed class ErasureUnderWayException : Exception;

/// <summary>
/// Forgets persons: their rows are deleted in the hub's database, then what quarantine holds of them, then their keys in the vault.
/// In between they stand in the register as leaving, so that whatever is interrupted is brought to its end. Those erased by right stay
/// in the register, by their random ids, and the parts of events that were theirs: when an older copy of either database is put back,
/// the other one tells it who was erased since, and an event that comes again brings nobody back. (The key of a content of quarantine
/// that has ended, or named somebody, stands there like a person.)
/// </summary>
internal sealed partial class Forgetting(
    NpgsqlDataSource database, KeyVault vault, QuarantinedPersons quarantined, IKeyWrapping wrapping, AuditLog audit, StoreSchema schema, TimeProvider clock,
    ILogger<Forgetting> logger) : BackgroundService
{
    /// <summary>PostgreSQL notification that somebody was forgotten.</summary>
    public const string Channel = "persons_forgotten";

    /// <summary>SQL of a number that changes whenever somebody is forgotten.</summary>
    public const string Epoch = "coalesce((SELECT number FROM privacy.epoch), 0)";

    private const int Page = 2_000;
    private const int RoundsBetweenReconciliations = 20;

    // Shared by who encrypts, alone by who forgets; the number is arbitrary.
    private const int Lock = 1_870_246;
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(30);

    private volatile IReadOnlyList<Guid> _missing = [];
    private bool _hasLookedThrough;

    /// <summary>Whether persons were stored of whom the vault has no key: it was put back from a copy older than the hub's database.</summary>
    public bool IsVaultOlder => _missing.Count > 0;

    /// <summary>
    /// Keeps everybody from being forgotten until the transaction of the connection ends.
    /// </summary>
    /// <returns>The epoch, which changes whenever somebody is forgotten.</returns>
    public static async Task<long> HoldAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands = { new($"SELECT pg_advisory_xact_lock_shared({Lock})"), new($"SELECT {Epoch}") },
        };
        await using var reader = await batch.ExecuteReaderAsync(cancellation);
        await reader.NextResultAsync(cancellation);
        await reader.ReadAsync(cancellation);
        return reader.GetInt64(0);
    }

    /// <summary>Those of the persons who are forgotten, in a transaction that keeps everybody else from it.</summary>
    public static async Task<IReadOnlyList<Guid>> ForgottenAsync(NpgsqlConnection connection, IReadOnlyCollection<Guid> persons, CancellationToken cancellation)
    {
        if (persons.Count == 0) return [];
        await using var command = new NpgsqlCommand("SELECT person FROM privacy.forgotten WHERE person = ANY($1)", connection);
        command.Parameters.Add(new() { Value = persons.ToArray() });
        return await command.ReadIdsAsync(cancellation);
    }

    /// <summary>Whether somebody erased by right has not gone from everywhere yet.</summary>
    public static async Task<bool> IsErasingAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT EXISTS (SELECT FROM privacy.forgotten WHERE erased AND key_gone_at IS NULL)", connection);
        return (bool)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Waits until nothing is being encrypted, and keeps it so until the transaction ends. To be taken before the audit's lock, and held for a moment only.</summary>
    public static async Task LockAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"SELECT pg_advisory_xact_lock({Lock})", connection);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Deletes the rows of persons and registers them as leaving, in a transaction that holds the lock.</summary>
    /// <param name="connection">The connection, in its transaction.</param>
    /// <param name="persons">Whom.</param>
    /// <param name="erased">Whether by right: then the register keeps them. Else nothing of them is left but their keys.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>How many rows there were.</returns>
    public async Task<int> RegisterAsync(NpgsqlConnection connection, IReadOnlyCollection<Guid> persons, bool erased, CancellationToken cancellation)
    {
        await using var batch = new NpgsqlBatch(connection);
        var delete = new NpgsqlBatchCommand("""
            WITH gone AS (DELETE FROM privacy.personal_data WHERE person = ANY($1) RETURNING event_id, path, person, keep_until),
            noted AS (INSERT INTO privacy.erased_part (event_id, path, person, keep_until) SELECT * FROM gone WHERE $2 ON CONFLICT DO NOTHING)
            SELECT count(*)::int FROM gone
            """);
        delete.Parameters.Add(new() { Value = persons.ToArray() });
        delete.Parameters.Add(new() { Value = erased });
        var register = new NpgsqlBatchCommand("""
            INSERT INTO privacy.forgotten (person, erased, at) SELECT person, $2, $3 FROM unnest($1) AS person
            ON CONFLICT (person) DO UPDATE SET key_gone_at = NULL, erased = privacy.forgotten.erased OR excluded.erased
            """);
        register.Parameters.Add(new() { Value = persons.ToArray() });
        register.Parameters.Add(new() { Value = erased });
        register.Parameters.Add(new() { Value = clock.GetUtcNow() });
        batch.BatchCommands.Add(delete);
        batch.BatchCommands.Add(register);
        batch.BatchCommands.Add(new($"NOTIFY {Channel}"));
        batch.BatchCommands.Add(new("INSERT INTO privacy.epoch (one, number) VALUES (true, 1) ON CONFLICT (one) DO UPDATE SET number = privacy.epoch.number + 1"));
        return (int)(await batch.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Brings it to its end: quarantine, then the keys.</summary>
    /// <param name="only">For these alone, as far as they are leaving; null for all who are.</param>
    /// <param name="cancellation">Gives up; it is gone on with by itself.</param>
    /// <returns>From how many contents of quarantine somebody was taken out.</returns>
    /// <exception cref="NpgsqlException">A database does not answer; it is tried again by itself.</exception>
    public async Task<int> FinishAsync(IReadOnlyCollection<Guid>? only, CancellationToken cancellation)
    {
        var leaving = await LeavingAsync(only, cancellation);
        var erased = leaving.Where(one => one.Erased).Select(one => one.Person).ToList();
        var pseudonyms = erased.Count == 0 ? new HashSet<Guid>() : await vault.PseudonymsAsync(erased, cancellation);
        var contents = pseudonyms.Count == 0 ? [] : await quarantined.EraseAsync(pseudonyms, cancellation);
        foreach (var page in erased.Concat(contents).Order().Chunk(Page))
        {
            await vault.RememberAsync(await PartsAsync("person = ANY($1)", cancellation, page), cancellation);
            await vault.DeleteAsync(page, erased: true, cancellation);
            await EndAsync("UPDATE privacy.forgotten SET key_gone_at = now()", page, cancellation);
        }

        foreach (var page in leaving.Where(one => !one.Erased).Select(one => one.Person).Chunk(Page))
        {
            await vault.DeleteAsync(page, erased: false, cancellation);
            await EndAsync("DELETE FROM privacy.forgotten", page, cancellation, "AND NOT erased");
        }

        return contents.Count;
    }

    /// <summary>The same; what cannot be done now is left to be done by itself.</summary>
    public async Task TryFinishAsync(IReadOnlyCollection<Guid> only)
    {
        try
        {
            if (only.Count > 0) await FinishAsync(only, CancellationToken.None);
        }
        catch (Exception e) when (e is NpgsqlException or CryptographicException or WrongKeysException)
        {
            LogUnavailable(e.Message);
        }
    }

    /// <summary>
    /// After either database was put back from an older copy: whom the hub has registered as erased loses the key again, and whom
    /// the vault remembers as erased loses the rows again.
    /// </summary>
    /// <returns>How many persons were erased again.</returns>
    public async Task<int> ReconcileAsync(CancellationToken cancellation)
    {
        await vault.PrepareAsync(cancellation);
        var again = 0;
        for (var (after, last) = (Guid.Empty, false); !last;)
        {
            // Not those who are leaving: by their pseudonyms what quarantine holds of them is still to be found.
            var registered = await PersonsAsync("SELECT person FROM privacy.forgotten WHERE erased AND key_gone_at IS NOT NULL AND person > $1 ORDER BY person LIMIT $2", after, cancellation);
            again += await vault.DeleteAsync(registered, erased: true, cancellation);
            (after, last) = (registered.Count > 0 ? registered[^1] : after, registered.Count < Page);
        }

        for (var (after, last) = (Guid.Empty, false); !last;)
        {
            // Whole events, so that none is cut in two by a page.
            var parts = await PartsAsync(
                "event_id IN (SELECT DISTINCT event_id FROM privacy.erased_part WHERE event_id > $1 ORDER BY event_id LIMIT $2) ORDER BY event_id", cancellation, after, Page);
            await vault.RememberAsync(parts, cancellation);
            (after, last) = (parts.Count > 0 ? parts[^1].EventId : after, parts.Count == 0);
        }

        for (var (after, last) = (Guid.Empty, false); !last;)
        {
            var erased = await vault.ErasedAsync(after, Page, cancellation);
            again += await EraseUnregisteredAsync(erased, cancellation);
            (after, last) = (erased.Count > 0 ? erased[^1] : after, erased.Count < Page);
        }

        await LookForOlderVaultAsync(cancellation);
        if (again > 0) await audit.AppendAsync(new("hub", "privacy.erasures-applied-again", Details: new JsonObject { ["persons"] = again }), cancellation);
        return again;
    }

    /// <summary>Forgets the erased parts of events that would be kept no longer by now.</summary>
    public async Task DropErasedPartsAsync(DateTimeOffset now, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("DELETE FROM privacy.erased_part WHERE keep_until <= $1");
        command.Parameters.Add(new() { Value = now.ToUniversalTime() });
        await command.ExecuteNonQueryAsync(cancellation);
        await vault.DropErasedPartsAsync(now, cancellation);
    }

    /// <summary>The register, the parts of events that were erased by right, and the number that changes with both.</summary>
    public static IEnumerable<Table> Schema()
    {
        var forgotten = new Table("privacy.forgotten");
        forgotten.AddColumn("person", "uuid").AsPrimaryKey();
        forgotten.AddColumn("erased", "boolean").NotNull();
        forgotten.AddColumn("at", "timestamptz").NotNull();
        forgotten.AddColumn("key_gone_at", "timestamptz");
        forgotten.Indexes.Add(new IndexDefinition("forgotten_leaving") { Columns = ["person"], Predicate = "key_gone_at IS NULL" });
        yield return forgotten;
        var part = new Table("privacy.erased_part");
        part.AddColumn("event_id", "uuid").AsPrimaryKey();
        part.AddColumn("path", "text").AsPrimaryKey();
        part.AddColumn("person", "uuid").NotNull();
        part.AddColumn("keep_until", "timestamptz").NotNull();
        part.Indexes.Add(new IndexDefinition("erased_part_person") { Columns = ["person"] });
        yield return part;
        var epoch = new Table("privacy.epoch");
        epoch.AddColumn("one", "boolean").AsPrimaryKey();
        epoch.AddColumn("number", "bigint").NotNull();
        yield return epoch;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (wrapping is MasterKey { Warning: { } warning }) LogMasterKey(warning);
        await schema.Applied.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        for (var untilReconciliation = 0; !stoppingToken.IsCancellationRequested; untilReconciliation--)
        {
            if (untilReconciliation <= 0 && await TryAsync(ReconcileAsync)) untilReconciliation = RoundsBetweenReconciliations;
            await TryAsync(token => FinishAsync(null, token));

            await Task.Delay(s_pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        async Task<bool> TryAsync(Func<CancellationToken, Task> act)
        {
            try
            {
                await act(stoppingToken);
                return true;
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogUnavailable(e.Message);
                return false;
            }
            catch (OperationCanceledException)
            {
                return false;
            }
        }
    }

    private async Task<int> EraseUnregisteredAsync(IReadOnlyList<Guid> erased, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT one FROM unnest($1) AS one WHERE NOT EXISTS (SELECT FROM privacy.forgotten WHERE person = one AND erased)");
        command.Parameters.Add(new() { Value = erased.ToArray() });
        var unknown = await command.ReadIdsAsync(cancellation);
        if (unknown.Count == 0) return 0;
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await LockAsync(connection, cancellation);
        await RegisterAsync(connection, unknown, erased: true, cancellation);
        await transaction.CommitAsync(cancellation);
        await FinishAsync(unknown, cancellation);
        return unknown.Count;
    }

    private async Task<IReadOnlyList<Guid>> PersonsAsync(string sql, Guid after, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = Page });
        return await command.ReadIdsAsync(cancellation);
    }

    private async Task<IReadOnlyList<(Guid Person, bool Erased)>> LeavingAsync(IReadOnlyCollection<Guid>? only, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"SELECT person, erased FROM privacy.forgotten WHERE key_gone_at IS NULL {(only is null ? "" : "AND person = ANY($1)")} ORDER BY person");
        if (only is not null) command.Parameters.Add(new() { Value = only.ToArray() });
        var leaving = new List<(Guid, bool)>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) leaving.Add((reader.GetGuid(0), reader.GetBoolean(1)));
        return leaving;
    }

    // In the order of ids, so that two nodes at the same do not wait for each other in turn.
    private async Task EndAsync(string how, Guid[] persons, CancellationToken cancellation, string but = "")
    {
        await using var command = database.CreateCommand($"{how} WHERE person IN (SELECT person FROM privacy.forgotten WHERE person = ANY($1) ORDER BY person FOR UPDATE) {but}");
        command.Parameters.Add(new() { Value = persons });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    private async Task<IReadOnlyList<ErasedPart>> PartsAsync(string condition, CancellationToken cancellation, params object[] parameters)
    {
        await using var command = database.CreateCommand($"SELECT event_id, path, keep_until FROM privacy.erased_part WHERE {condition}");
        foreach (var value in parameters) command.Parameters.Add(new() { Value = value });
        var parts = new List<ErasedPart>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) parts.Add(new(reader.GetGuid(0), reader.GetString(1), reader.GetFieldValue<DateTimeOffset>(2)));
        return parts;
    }

    // After a start all persons are looked through. From then on the newest ones, since ids grow with the time at which they were made, and who was
    // missing before.
    private async Task LookForOlderVaultAsync(CancellationToken cancellation)
    {
        var missing = new List<Guid>(await MissingAsync(_missing, cancellation));
        if (_hasLookedThrough)
        {
            missing.AddRange(await MissingAsync(await PersonsAsync(
                "SELECT DISTINCT person FROM privacy.personal_data WHERE person > $1 ORDER BY person DESC LIMIT $2", Guid.Empty, cancellation), cancellation));
        }
        else
        {
            for (var (after, last) = (Guid.Empty, false); !last && missing.Count < Page;)
            {
                var page = await PersonsAsync("SELECT DISTINCT person FROM privacy.personal_data WHERE person > $1 ORDER BY person LIMIT $2", after, cancellation);
                missing.AddRange(await MissingAsync(page, cancellation));
                (after, last) = (page.Count > 0 ? page[^1] : after, page.Count < Page);
            }

            _hasLookedThrough = true;
        }

        _missing = [.. missing.Distinct()];
        if (IsVaultOlder) LogVaultOlder();
    }

    // Asked again whether they are held, since one may have been forgotten in between.
    private async Task<IReadOnlyList<Guid>> MissingAsync(IReadOnlyCollection<Guid> persons, CancellationToken cancellation)
    {
        var missing = await vault.MissingAsync(persons, cancellation);
        if (missing.Count == 0) return [];
        await using var held = database.CreateCommand("SELECT DISTINCT person FROM privacy.personal_data WHERE person = ANY($1) AND keep_until > $2");
        held.Parameters.Add(new() { Value = missing.ToArray() });
        held.Parameters.Add(new() { Value = clock.GetUtcNow() });
        return await held.ReadIdsAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The keys' database is older than the hub's: persons stored since cannot be read. Stop the hub, and put a newer copy of the keys back.")]
    private partial void LogVaultOlder();

    [LoggerMessage(Level = LogLevel.Warning, Message = "Keys of forgotten persons could not be looked after; it is tried again. {Reason}")]
    private partial void LogUnavailable(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Warning}")]
    private partial void LogMasterKey(string warning);
}
