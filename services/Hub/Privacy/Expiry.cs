using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Ingestion;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>When what is past its time is deleted; section <c>Privacy</c>.</summary>
internal sealed class ExpiryOptions
{
    /// <summary>Hour of the day in Paris from which on the nightly run begins, 0 to 23.</summary>
    public int RetentionHour { get; init; } = 3;
}

/// <summary>What a run would delete.</summary>
/// <param name="Type">Type of the events; <c>quarantine</c> for what is in quarantine.</param>
/// <param name="Commune">INSEE code; null where it cannot be told.</param>
/// <param name="Events">How many events lose personal data.</param>
/// <param name="Parts">How many parts of them: one for each person.</param>
internal sealed record Due(string Type, string? Commune, long Events, long Parts);

/// <summary>What a run deleted.</summary>
/// <param name="Parts">Parts of events, one for each person.</param>
/// <param name="Persons">Persons of whom nothing is left: their keys are deleted.</param>
/// <param name="Quarantined">Contents in quarantine.</param>
internal sealed record ExpiryRun(long Parts, long Persons, long Quarantined);

/// <summary>
/// Deletes personal data whose time is over, unless a legal hold stands, and the keys of persons of whom nothing is left. Every night
/// on one node, and when it is asked for.
/// </summary>
internal sealed partial class Expiry(
    NpgsqlDataSource database, Forgetting forgetting, Quarantine quarantine, AuditLog audit, StoreSchema schema, ExpiryOptions options, TimeProvider clock, ILogger<Expiry> logger)
    : BackgroundService
{
    private const int Page = 5_000;

    // Held by the node that runs it; the number is arbitrary.
    private const int RunLock = 1_870_247;
    private const string IsDue = "personal_data.keep_until <= $1 AND NOT EXISTS (SELECT FROM privacy.hold h WHERE h.person = personal_data.person AND h.ended_at IS NULL)";

    private static readonly TimeSpan s_pause = TimeSpan.FromMinutes(1);
    private static readonly TimeZoneInfo s_zone = TimeZoneInfo.FindSystemTimeZoneById("Europe/Paris");

    /// <summary>What would go, by type and commune.</summary>
    public async Task<IReadOnlyList<Due>> DueAsync(CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            SELECT type, commune, count(DISTINCT event_id), count(*) FROM privacy.personal_data WHERE {IsDue} GROUP BY 1, 2
            UNION ALL SELECT 'quarantine', commune, count(*), count(*) FROM ingestion.quarantine WHERE state = 'kept' AND keep_until <= $1 GROUP BY 2
            ORDER BY 1, 2
            """);
        command.Parameters.Add(new() { Value = clock.GetUtcNow() });
        var due = new List<Due>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
            due.Add(new(reader.GetString(0), await reader.IsDBNullAsync(1, cancellation) ? null : reader.GetString(1), reader.GetInt64(2), reader.GetInt64(3)));
        return due;
    }

    /// <summary>Deletes it. What is deleted when it is given up stays deleted.</summary>
    /// <param name="who">The caller's id, or <c>hub</c>.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<ExpiryRun> RunAsync(string who, CancellationToken cancellation)
    {
        var now = clock.GetUtcNow();
        var (parts, persons, quarantined) = (0L, 0L, 0L);
        while (await DeleteAsync(who, now, cancellation) is var (more, forgotten)) (parts, persons) = (parts + more, persons + forgotten);
        await forgetting.FinishAsync(null, cancellation);
        await forgetting.DropErasedPartsAsync(now, cancellation);
        for (var page = -1; page != 0; quarantined += page) page = await quarantine.DiscardPastTheirTimeAsync(now, cancellation);
        var run = new ExpiryRun(parts, persons, quarantined);
        var details = new JsonObject { ["parts"] = run.Parts, ["persons"] = run.Persons, ["quarantined"] = run.Quarantined };
        await audit.AppendAsync(new(who, "privacy.retention-run", Details: details), cancellation);
        return run;
    }

    /// <summary>The table of the nights that are done.</summary>
    public static Table Schema()
    {
        var table = new Table("privacy.retention_run");
        table.AddColumn("day", "date").AsPrimaryKey();
        table.AddColumn("ended_at", "timestamptz").NotNull();
        return table;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await schema.Applied.WaitAsync(stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                var local = TimeZoneInfo.ConvertTime(clock.GetUtcNow(), s_zone);
                if (local.Hour >= options.RetentionHour) await RunOnceAsync(DateOnly.FromDateTime(local.DateTime), stoppingToken);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                LogFailed(e.Message);
            }

            await Task.Delay(s_pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // The lock is the session's: a node that dies frees it, and another one does the rest of the night's work.
    private async Task RunOnceAsync(DateOnly day, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var take = new NpgsqlCommand($"SELECT NOT EXISTS (SELECT FROM privacy.retention_run WHERE day = $1) AND pg_try_advisory_lock({RunLock})", connection);
        take.Parameters.Add(new() { Value = day });
        if (!(bool)(await take.ExecuteScalarAsync(cancellation))!) return;
        try
        {
            var run = await RunAsync("hub", cancellation);
            await using var done = new NpgsqlCommand("INSERT INTO privacy.retention_run VALUES ($1, now()) ON CONFLICT DO NOTHING", connection);
            done.Parameters.Add(new() { Value = day });
            await done.ExecuteNonQueryAsync(cancellation);
            LogRun(run.Parts, run.Persons, run.Quarantined);
        }
        finally
        {
            await using var free = new NpgsqlCommand($"SELECT pg_advisory_unlock({RunLock})", connection);
            await free.ExecuteNonQueryAsync(CancellationToken.None);
        }
    }

    // One page, noted in the audit; null when nothing is due. It is looked for before the lock, which keeps events waiting, and
    // what was held or moved in between is left.
    private async Task<(int Parts, int Persons)?> DeleteAsync(string who, DateTimeOffset now, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var look = new NpgsqlCommand($"SELECT event_id, path FROM privacy.personal_data WHERE {IsDue} LIMIT {Page}", connection);
        look.Parameters.Add(new() { Value = now });
        var (events, paths) = (new List<Guid>(Page), new List<string>(Page));
        await using (var reader = await look.ExecuteReaderAsync(cancellation))
        {
            while (await reader.ReadAsync(cancellation))
            {
                events.Add(reader.GetGuid(0));
                paths.Add(reader.GetString(1));
            }
        }

        if (events.Count == 0) return null;
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Forgetting.LockAsync(connection, cancellation);
        await using var delete = new NpgsqlCommand($"""
            DELETE FROM privacy.personal_data USING unnest($2, $3) AS due (event_id, path)
            WHERE personal_data.event_id = due.event_id AND personal_data.path = due.path AND {IsDue} RETURNING person
            """, connection);
        delete.Parameters.Add(new() { Value = now });
        delete.Parameters.Add(new() { Value = events.ToArray() });
        delete.Parameters.Add(new() { Value = paths.ToArray() });
        var gone = await delete.ReadIdsAsync(cancellation);
        await using var left = new NpgsqlCommand("SELECT one FROM unnest($1) AS one WHERE NOT EXISTS (SELECT FROM privacy.personal_data WHERE person = one)", connection);
        left.Parameters.Add(new() { Value = gone.Distinct().ToArray() });
        var forgotten = await left.ReadIdsAsync(cancellation);
        await forgetting.RegisterAsync(connection, forgotten, erased: false, cancellation);
        await audit.AppendAsync(connection, new(who, "privacy.expired", Details: new JsonObject { ["parts"] = gone.Count, ["persons"] = forgotten.Count }), cancellation);
        await transaction.CommitAsync(cancellation);
        return (gone.Count, forgotten.Count);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Personal data past its time: {Parts} parts deleted, {Persons} persons forgotten, {Quarantined} contents of quarantine discarded.")]
    private partial void LogRun(long parts, long persons, long quarantined);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Personal data past its time could not be deleted; it is tried again. {Reason}")]
    private partial void LogFailed(string reason);
}
