using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Audit;

/// <summary>Something that is noted for good. Persons appear in it by their pseudonymous ids alone.</summary>
/// <param name="Who">The caller's id, or <c>hub</c> for what it does by itself.</param>
/// <param name="Act">What was done, as <c>room.act</c>: <c>privacy.person-erased</c>.</param>
/// <param name="Subject">What it was done to.</param>
/// <param name="Why">The agreement or the reason.</param>
/// <param name="Details">Further facts.</param>
internal sealed record AuditEntry(string Who, string Act, string? Subject = null, string? Why = null, JsonObject? Details = null);

/// <summary>
/// The audit: a table to which rows are only ever added, each with a hash over itself and the hash before (SHA-256), so that a
/// change, a deletion or an insertion shows. The last hash, noted elsewhere, also shows a cut end.
/// </summary>
internal sealed class AuditLog(NpgsqlDataSource database, TimeProvider clock)
{
    // One writer at a time: a chain has one end. The key is arbitrary.
    private const long WriterLock = 0x1C0_A0D17;

    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Hash before the first entry.</summary>
    public static string Genesis { get; } = new('0', 64);

    /// <summary>Adds an entry.</summary>
    public Task AppendAsync(AuditEntry entry, CancellationToken cancellation) => AppendAllAsync([entry], cancellation);

    /// <summary>Adds entries, all or none of them.</summary>
    public async Task AppendAllAsync(IReadOnlyList<AuditEntry> entries, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        foreach (var entry in entries) await AppendAsync(connection, entry, cancellation);
        await transaction.CommitAsync(cancellation);
    }

    /// <summary>Adds an entry as part of the transaction that a connection is in: with what was done, or not at all. Other writers wait until it ends.</summary>
    public async Task AppendAsync(NpgsqlConnection inTransaction, AuditEntry entry, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(
            $"SELECT pg_advisory_xact_lock({WriterLock}); SELECT seq, hash FROM audit.entry ORDER BY seq DESC LIMIT 1", inTransaction);
        var (seq, previous) = (0L, Genesis);
        await using (var reader = await command.ExecuteReaderAsync(cancellation))
        {
            await reader.NextResultAsync(cancellation);
            if (await reader.ReadAsync(cancellation)) (seq, previous) = (reader.GetInt64(0), reader.GetString(1));
        }

        // PostgreSQL keeps microseconds: what is hashed must be what is read again.
        var now = clock.GetUtcNow();
        var row = new AuditRow(
            seq + 1, now.AddTicks(-(now.Ticks % TimeSpan.TicksPerMicrosecond)), entry.Who, entry.Act, entry.Subject, entry.Why, Activity.Current?.TraceId.ToString(),
            entry.Details?.ToJsonString(s_json), previous, "");
        await using var insert = new NpgsqlCommand(
            "INSERT INTO audit.entry (seq, at, who, act, subject, why, trace_id, details, previous, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", inTransaction);
        insert.Parameters.Add(new() { Value = row.Seq });
        insert.Parameters.Add(new() { Value = row.At });
        foreach (var text in (ReadOnlySpan<string?>)[row.Who, row.Act, row.Subject, row.Why, row.TraceId, row.Details, row.Previous, row.ComputeHash()])
            insert.Parameters.Add(new() { Value = (object?)text ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        await insert.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Entries after a number, in their order.</summary>
    /// <param name="after">0 for the first ones.</param>
    /// <param name="limit">Most entries.</param>
    /// <param name="filter">Which ones.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<IReadOnlyList<AuditRow>> ReadAsync(long after, int limit, AuditFilter filter, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            SELECT seq, at, who, act, subject, why, trace_id, details, previous, hash FROM audit.entry
            WHERE seq > $1 AND ($3::text IS NULL OR who = $3) AND ($4::text IS NULL OR act LIKE $4 || '%') AND ($5::text IS NULL OR subject = $5)
            ORDER BY seq LIMIT $2
            """);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = limit });
        foreach (var text in (ReadOnlySpan<string?>)[filter.Who, filter.Act?.Replace("%", "", StringComparison.Ordinal).Replace("_", "\\_", StringComparison.Ordinal), filter.Subject])
            command.Parameters.Add(new() { Value = (object?)text ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text });
        var rows = new List<AuditRow>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) rows.Add(Row(reader));
        return rows;
    }

    /// <summary>Goes through the whole chain.</summary>
    /// <param name="expected">A hash that was the last one once; null when none was noted.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<AuditCheck> VerifyAsync(string? expected, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT seq, at, who, act, subject, why, trace_id, details, previous, hash FROM audit.entry ORDER BY seq");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        var (seq, previous) = (0L, Genesis);
        var found = expected is null || expected == Genesis;
        while (await reader.ReadAsync(cancellation))
        {
            var row = Row(reader);
            var wrong = row.Seq != seq + 1 ? $"entry {seq + 1} is missing"
                : row.Previous != previous ? $"entry {row.Seq} does not follow entry {seq}"
                : row.Hash != row.ComputeHash() ? $"entry {row.Seq} was changed"
                : null;
            if (wrong is not null) return new(seq, previous, wrong);
            (seq, previous) = (row.Seq, row.Hash);
            found |= row.Hash == expected;
        }

        return new(seq, previous, found ? null : "the entry with the expected hash is missing: the end was cut off, or the whole was written anew");
    }

    /// <summary>
    /// SQL by which the table refuses to be changed: against mistakes. Who owns the database can take it away; the chain shows what was
    /// done then.
    /// </summary>
    public const string Guard = """
        CREATE OR REPLACE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the audit is only ever added to'; END $$;
        CREATE OR REPLACE TRIGGER only_added BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.entry FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
        """;

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("audit.entry");
        table.AddColumn("seq", "bigint").AsPrimaryKey();
        table.AddColumn("at", "timestamptz").NotNull();
        table.AddColumn("who", "text").NotNull();
        table.AddColumn("act", "text").NotNull();
        table.AddColumn("subject", "text");
        table.AddColumn("why", "text");
        table.AddColumn("trace_id", "text");
        // Text, not jsonb, which would order the members anew: what is read must be what was hashed.
        table.AddColumn("details", "text");
        table.AddColumn("previous", "text").NotNull();
        table.AddColumn("hash", "text").NotNull();
        return table;
    }

    private static AuditRow Row(NpgsqlDataReader reader) => new(
        reader.GetInt64(0), reader.GetFieldValue<DateTimeOffset>(1), reader.GetString(2), reader.GetString(3), Text(reader, 4), Text(reader, 5), Text(reader, 6), Text(reader, 7),
        reader.GetString(8), reader.GetString(9));

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);
}

/// <summary>Which entries are wanted; null lets everything pass.</summary>
/// <param name="Who">Of this caller.</param>
/// <param name="Act">Acts that begin so.</param>
/// <param name="Subject">On this subject.</param>
internal sealed record AuditFilter(string? Who = null, string? Act = null, string? Subject = null);

/// <summary>What going through the chain showed.</summary>
/// <param name="Entries">Entries that are as they were written, from the first.</param>
/// <param name="LastHash">Hash of the last of them: noted elsewhere, it shows later whether the end was cut off.</param>
/// <param name="Wrong">What is wrong after them; null when nothing is.</param>
internal sealed record AuditCheck(long Entries, string LastHash, string? Wrong);

/// <summary>An entry as it is kept.</summary>
internal sealed record AuditRow(
    long Seq, DateTimeOffset At, string Who, string Act, string? Subject, string? Why, string? TraceId, string? Details, string Previous, string Hash)
{
    /// <summary>SHA-256 in hexadecimal over the hash before and all fields, as a JSON array.</summary>
    public string ComputeHash()
    {
        string?[] fields =
        [
            Previous, Seq.ToString(CultureInfo.InvariantCulture), At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture), Who, Act, Subject, Why, TraceId, Details,
        ];
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(fields))));
    }
}
