using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.ServiceDefaults;
using MassTransit.Serialization;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// Keeps whole what the hub does not accept until somebody retries or discards it: events, and messages that cannot be read.
/// The content is encrypted with a key of its own, since it may hold personal data. When it ends, content and key are deleted: a
/// retried event is in the event store then, its personal data apart; the row stays, with the reason and the times.
/// </summary>
internal sealed partial class Quarantine : IDisposable
{
    private const int LongestReason = 500;

    // Enough to see what a broker user sends that it should not, little enough that it cannot fill the disk.
    private const int MostOfSender = 100;

    private static readonly TimeSpan s_full = TimeSpan.FromSeconds(1);

    /// <summary>How long content is kept of which the catalogue does not say it.</summary>
    private const int UnknownTypeMonths = 12;

    private static readonly Counter<long> s_quarantined = Telemetry.Meter.CreateCounter<long>(
        "hub.events.quarantined", "{event}", "Events, and undecipherable messages, put into quarantine, by commune where it can be told");

    private readonly NpgsqlDataSource _database;
    private readonly Journals _journals;
    private readonly PersonalDataStore _personalData;
    private readonly KeyVault _vault;
    private readonly Forgetting _forgetting;
    private readonly TimeProvider _clock;
    private readonly SemaphoreSlim _oneOfASender = new(1);
    private readonly Dictionary<string, DateTimeOffset> _fullUntil = [];

    public Quarantine(NpgsqlDataSource database, Journals journals, PersonalDataStore personalData, KeyVault vault, Forgetting forgetting, TimeProvider clock)
    {
        (_database, _journals, _personalData, _vault, _forgetting, _clock) = (database, journals, personalData, vault, forgetting, clock);
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

    private static string? Text(NpgsqlDataReader reader, int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

    private static T? Nullable<T>(NpgsqlDataReader reader, int column)
        where T : struct => reader.IsDBNull(column) ? null : reader.GetFieldValue<T>(column);
}
