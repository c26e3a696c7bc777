using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Brings what was stored before personal data was encrypted into its form of today. Needed once; then there is nothing to do.</summary>
internal static class ClearText
{
    private const int Page = 1_000;
    private const long Lock = 0x1C0_C1EA;

    /// <summary>Puts the table of then aside, before the one of today is made.</summary>
    public static async Task PutAsideAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            DO $$ BEGIN
                IF EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'privacy' AND table_name = 'personal_data' AND column_name = 'personal') THEN
                    ALTER TABLE privacy.personal_data RENAME TO personal_data_clear;
                END IF;
            END $$
            """);
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Encrypts what is in it, and the contents of quarantine; then the table goes. One node at a time: another waits, and finds nothing to do.</summary>
    public static async Task EncryptAsync(IServiceProvider services, CancellationToken cancellation)
    {
        var (database, store, clock) = (services.GetRequiredService<NpgsqlDataSource>(), services.GetRequiredService<PersonalDataStore>(), services.GetRequiredService<TimeProvider>());
        await using var one = await database.OpenConnectionAsync(cancellation);
        await using (var hold = new NpgsqlCommand($"SELECT pg_advisory_lock({Lock})", one) { CommandTimeout = 0 }) await hold.ExecuteNonQueryAsync(cancellation);
        try
        {
            await EncryptAllAsync(database, store, clock, cancellation);
        }
        finally
        {
            await using var release = new NpgsqlCommand($"SELECT pg_advisory_unlock({Lock})", one);
            await release.ExecuteNonQueryAsync(CancellationToken.None);
        }
    }

    private static async Task EncryptAllAsync(NpgsqlDataSource database, PersonalDataStore store, TimeProvider clock, CancellationToken cancellation)
    {
        while (await QuarantinedAsync(database, store, cancellation)) continue;
        await using var exists = database.CreateCommand("SELECT to_regclass('privacy.personal_data_clear') IS NOT NULL");
        if (!(bool)(await exists.ExecuteScalarAsync(cancellation))!) return;
        while (await StoredAsync(database, store, clock.GetUtcNow(), cancellation)) continue;
        await using var drop = database.CreateCommand("DROP TABLE IF EXISTS privacy.personal_data_clear");
        await drop.ExecuteNonQueryAsync(cancellation);
    }

    private static async Task<bool> StoredAsync(NpgsqlDataSource database, PersonalDataStore store, DateTimeOffset now, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await using var page = new NpgsqlCommand($"""
            WITH page AS (DELETE FROM privacy.personal_data_clear WHERE event_id IN (SELECT event_id FROM privacy.personal_data_clear LIMIT {Page}) RETURNING event_id, personal)
            SELECT e.type, e.data::text, p.personal::text, e.headers ->> 'id', e.headers ->> 'source', (e.headers ->> 'time')::timestamptz
            FROM page p LEFT JOIN hub.mt_events e ON e.id = p.event_id
            """, connection);
        var (events, rows) = (new List<CheckedEvent>(Page), 0);
        await using (var reader = await page.ExecuteReaderAsync(cancellation))
        {
            for (; await reader.ReadAsync(cancellation); rows++)
            {
                if (await reader.IsDBNullAsync(0, cancellation) || Catalogue.Find(reader.GetString(0)) is not { } type) continue;
                var data = JsonNode.Parse(reader.GetString(1))!.AsObject();
                data["personal"] = JsonNode.Parse(reader.GetString(2));
                var envelope = new CloudEvent(
                    "1.0", reader.GetString(3), EventSource.Parse(reader.GetString(4)), type.Name, "", reader.GetFieldValue<DateTimeOffset>(5), JsonSerializer.SerializeToElement(data));
                events.Add(new(envelope, type, (DomainEvent)data.Deserialize(type.Record, ContractJson.Options)!));
            }
        }

        await using var batch = new NpgsqlBatch(connection, transaction);
        (await store.SealAsync(connection, events, [], now, cancellation)).Store(batch);
        if (batch.BatchCommands.Count > 0) await batch.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        return rows > 0;
    }

    private static async Task<bool> QuarantinedAsync(NpgsqlDataSource database, PersonalDataStore store, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await using var next = new NpgsqlCommand("SELECT id, event FROM ingestion.quarantine WHERE event IS NOT NULL AND key IS NULL LIMIT 1 FOR UPDATE", connection);
        (long Id, byte[] Content)? found = null;
        await using (var reader = await next.ExecuteReaderAsync(cancellation))
        {
            if (await reader.ReadAsync(cancellation)) found = (reader.GetInt64(0), reader.GetFieldValue<byte[]>(1));
        }

        if (found is not { } entry) return false;
        var (key, content) = await store.SealAsync(entry.Content, cancellation);
        await using var update = new NpgsqlCommand(
            "UPDATE ingestion.quarantine SET event = $2, key = $3, keep_until = coalesce(keep_until, received_at + interval '12 months') WHERE id = $1", connection);
        foreach (var value in (object[])[entry.Id, content, key]) update.Parameters.Add(new() { Value = value });
        await update.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
        return true;
    }
}
