using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>
/// Forgets persons: their rows are deleted in the hub's database, then their keys in the vault. In between they stand in the
/// register as leaving, so that whatever is interrupted is brought to its end. Those erased by right stay in the register, by their
/// random ids: when an older copy of either database is put back, the other one tells it who was erased since.
/// </summary>
internal sealed partial class Forgetting(
    NpgsqlDataSource database, KeyVault vault, IKeyWrapping wrapping, AuditLog audit, StoreSchema schema, TimeProvider clock, ILogger<Forgetting> logger) : BackgroundService
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

    /// <summary>
    /// Keeps everybody from being forgotten until the transaction of the connection ends.
    /// </summary>
    /// <returns>The epoch, which changes whenever somebody is forgotten; and who is forgotten, though the keys may still be there.</returns>
    public static async Task<(long Epoch, HashSet<Guid> Leaving)> HoldAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                new($"SELECT pg_advisory_xact_lock_shared({Lock})"),
                new("SELECT coalesce((SELECT number FROM privacy.epoch), 0), ARRAY(SELECT person FROM privacy.forgotten WHERE key_gone_at IS NULL)"),
            },
        };
        await using var reader = await batch.ExecuteReaderAsync(cancellation);
        await reader.NextResultAsync(cancellation);
        await reader.ReadAsync(cancellation);
        return (reader.GetInt64(0), [.. reader.GetFieldValue<Guid[]>(1)]);
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
        var delete = new NpgsqlBatchCommand("DELETE FROM privacy.personal_data WHERE person = ANY($1)");
        delete.Parameters.Add(new() { Value = persons.ToArray() });
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
        await batch.ExecuteNonQueryAsync(cancellation);
        return (int)delete.RecordsAffected;
    }

    /// <summary>Deletes the keys of those who are leaving.</summary>
    /// <exception cref="NpgsqlException">A database does not answer; it is tried again by itself.</exception>
    public async Task FinishAsync(CancellationToken cancellation)
    {
        await using var leaving = database.CreateCommand("SELECT person, erased FROM privacy.forgotten WHERE key_gone_at IS NULL");
        var all = new List<(Guid Person, bool Erased)>();
        await using (var reader = await leaving.ExecuteReaderAsync(cancellation))
        {
            while (await reader.ReadAsync(cancellation)) all.Add((reader.GetGuid(0), reader.GetBoolean(1)));
        }

        foreach (var group in all.GroupBy(one => one.Erased))
        {
            foreach (var page in group.Select(one => one.Person).Chunk(Page))
            {
                await vault.DeleteAsync(page, group.Key, cancellation);
                await using var gone = database.CreateCommand(
                    group.Key ? "UPDATE privacy.forgotten SET key_gone_at = now() WHERE person = ANY($1)" : "DELETE FROM privacy.forgotten WHERE person = ANY($1) AND NOT erased");
                gone.Parameters.Add(new() { Value = page });
                await gone.ExecuteNonQueryAsync(cancellation);
            }
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
            var registered = await PersonsAsync("SELECT person FROM privacy.forgotten WHERE erased AND person > $1 ORDER BY person LIMIT $2", after, cancellation);
            var keys = await vault.FindAsync(registered, cancellation);
            if (keys.Count > 0) await vault.DeleteAsync([.. keys.Keys], erased: true, cancellation);
            again += keys.Count;
            (after, last) = (registered.Count > 0 ? registered[^1] : after, registered.Count < Page);
        }

        for (var (after, last) = (Guid.Empty, false); !last;)
        {
            var erased = await vault.ErasedAsync(after, Page, cancellation);
            again += await EraseUnregisteredAsync(erased, cancellation);
            (after, last) = (erased.Count > 0 ? erased[^1] : after, erased.Count < Page);
        }

        if (again > 0) await audit.AppendAsync(new("hub", "privacy.erasures-applied-again", Details: new JsonObject { ["persons"] = again }), cancellation);
        return again;
    }

    /// <summary>The register, and the number that changes with it.</summary>
    public static IEnumerable<Table> Schema()
    {
        var forgotten = new Table("privacy.forgotten");
        forgotten.AddColumn("person", "uuid").AsPrimaryKey();
        forgotten.AddColumn("erased", "boolean").NotNull();
        forgotten.AddColumn("at", "timestamptz").NotNull();
        forgotten.AddColumn("key_gone_at", "timestamptz");
        forgotten.Indexes.Add(new IndexDefinition("forgotten_leaving") { Columns = ["person"], Predicate = "key_gone_at IS NULL" });
        yield return forgotten;
        var epoch = new Table("privacy.epoch");
        epoch.AddColumn("one", "boolean").AsPrimaryKey();
        epoch.AddColumn("number", "bigint").NotNull();
        yield return epoch;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (wrapping is MasterKey { Warning: { } warning }) LogMasterKey(warning);
        await schema.Applied.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        for (var round = 0; !stoppingToken.IsCancellationRequested; round++)
        {
            try
            {
                await FinishAsync(stoppingToken);
                if (round % RoundsBetweenReconciliations == 0) await ReconcileAsync(stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                LogUnavailable(e.Message);
            }

            await Task.Delay(s_pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<int> EraseUnregisteredAsync(IReadOnlyList<Guid> erased, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT one FROM unnest($1) AS one WHERE NOT EXISTS (SELECT FROM privacy.forgotten WHERE person = one AND erased)");
        command.Parameters.Add(new() { Value = erased.ToArray() });
        var unknown = new List<Guid>();
        await using (var reader = await command.ExecuteReaderAsync(cancellation))
        {
            while (await reader.ReadAsync(cancellation)) unknown.Add(reader.GetGuid(0));
        }

        if (unknown.Count == 0) return 0;
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await LockAsync(connection, cancellation);
        await RegisterAsync(connection, unknown, erased: true, cancellation);
        await transaction.CommitAsync(cancellation);
        await FinishAsync(cancellation);
        return unknown.Count;
    }

    private async Task<IReadOnlyList<Guid>> PersonsAsync(string sql, Guid after, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = Page });
        var persons = new List<Guid>(Page);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) persons.Add(reader.GetGuid(0));
        return persons;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Keys of forgotten persons could not be looked after; it is tried again. {Reason}")]
    private partial void LogUnavailable(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Warning}")]
    private partial void LogMasterKey(string warning);
}
