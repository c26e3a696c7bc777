using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>What a rebuild is asked to be.</summary>
/// <param name="AskedBy">The caller's id.</param>
/// <param name="Reason">Why; it stays in the audit.</param>
/// <param name="DryRun">Builds and compares alone: what is in service stays.</param>
/// <param name="Communes">Only the rows of these communes; null for all.</param>
internal sealed record RebuildRequest(string AskedBy, string Reason, bool DryRun = false, IReadOnlyList<string>? Communes = null);

/// <summary>The last rebuild of a projection: asked of any node, done by the one that projects.</summary>
/// <param name="State"><c>requested</c>, <c>running</c>, <c>comparing</c>, <c>waiting</c>, <c>completed</c>, <c>cancelled</c> or <c>failed</c>.</param>
/// <param name="Request">What was asked for.</param>
/// <param name="AskedAt">When.</param>
/// <param name="StartedAt">When the version that is built now was begun.</param>
/// <param name="EndedAt">When it ended.</param>
/// <param name="Position">Every event up to here is in the new version.</param>
/// <param name="Target">Where the one in service was when that was last looked at: the position to reach.</param>
/// <param name="Rate">Events of the store gone through a second, since this node is at it; 0 while unknown.</param>
/// <param name="Error">Why it failed.</param>
/// <param name="ComparedAt">Position at which both versions were compared; null when they were not.</param>
/// <param name="Differences">Rows that differed.</param>
/// <param name="WaitsFor">What it waits for, and how often it has tried; null while it does not wait.</param>
internal sealed record Rebuild(
    string State, RebuildRequest Request, DateTimeOffset AskedAt, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt, long Position, long Target, double Rate, string? Error,
    long? ComparedAt, long Differences, string? WaitsFor)
{
    /// <summary>Whether it was asked for and has not ended.</summary>
    public bool IsActive => State is "requested" or "running" or "comparing" or "waiting";
}

/// <summary>The rebuild that the projecting node is to go on with, and where it is.</summary>
/// <param name="Projection">Name of the projection.</param>
/// <param name="AskedAt">Tells it from an earlier one.</param>
/// <param name="State">As of <see cref="Rebuild"/>.</param>
/// <param name="Build">Which build of the hub began the new version; null when none has.</param>
/// <param name="Request">What was asked for.</param>
/// <param name="ComparedAt">As of <see cref="Rebuild"/>.</param>
/// <param name="Differences">As of <see cref="Rebuild"/>.</param>
/// <param name="Position">Position of the new version; null when there is none.</param>
/// <param name="InService">Position of the version in service.</param>
/// <param name="IsPaused">Whether the version in service stands still at an event.</param>
/// <param name="End">Last position in the store.</param>
/// <param name="Tries">How often it has waited since it was begun.</param>
internal sealed record CurrentRebuild(
    string Projection, DateTime AskedAt, string State, string? Build, RebuildRequest Request, long? ComparedAt, long Differences, long? Position, long InService, bool IsPaused, long End, int Tries);

/// <summary>The table of rebuilds, a row a projection.</summary>
internal static class Rebuilds
{
    private const string IsActive = "state IN ('requested', 'running', 'comparing', 'waiting')";

    /// <summary>SQL that changes when figures in service were replaced.</summary>
    public const string LastReplaced = "coalesce((SELECT extract(epoch FROM max(changed_at)) * 1000000 FROM replay.rebuild WHERE state = 'completed' AND NOT dry_run), 0)::bigint";

    public static Table Schema()
    {
        var table = new Table("replay.rebuild");
        table.AddColumn("projection", "text").AsPrimaryKey();
        table.AddColumn("state", "text").NotNull();
        table.AddColumn("target", "bigint").NotNull();
        table.AddColumn("error", "text");
        table.AddColumn("changed_at", "timestamptz").NotNull();
        table.AddColumn("asked_by", "text");
        table.AddColumn("reason", "text");
        table.AddColumn("dry_run", "boolean");
        table.AddColumn("communes", "text[]");
        table.AddColumn("asked_at", "timestamptz");
        table.AddColumn("build", "text");
        table.AddColumn("started_at", "timestamptz");
        table.AddColumn("position", "bigint");
        table.AddColumn("rate", "double precision");
        table.AddColumn("compared_at", "bigint");
        table.AddColumn("differences", "bigint");
        table.AddColumn("tries", "integer");
        table.AddColumn("waits_for", "text");
        table.AddColumn("next_try_at", "timestamptz");
        // Not jsonb, which would order the columns of a key anew.
        table.AddColumn("listed", "json");
        return table;
    }

    /// <summary>Asks for a rebuild; false when one is asked for or runs already.</summary>
    /// <param name="database">The database.</param>
    /// <param name="projection">What is to be rebuilt.</param>
    /// <param name="request">What is asked for.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <param name="insteadOfPart">Whether it takes the place of one that would leave figures as they are: a dry run, or one of some communes.</param>
    public static async Task<bool> AskAsync(NpgsqlDataSource database, string projection, RebuildRequest request, CancellationToken cancellation, bool insteadOfPart = false)
    {
        await using var ask = database.CreateCommand($"""
            INSERT INTO replay.rebuild AS r (projection, state, target, changed_at, asked_at, asked_by, reason, dry_run, communes)
            VALUES ($1, 'requested', 0, now(), now(), $2, $3, $4, $5)
            ON CONFLICT (projection) DO UPDATE SET state = 'requested', target = 0, changed_at = now(), asked_at = now(), asked_by = $2, reason = $3, dry_run = $4, communes = $5,
                error = NULL, build = NULL, started_at = NULL, position = NULL, rate = NULL, compared_at = NULL, differences = NULL, listed = NULL, tries = NULL, waits_for = NULL, next_try_at = NULL
            WHERE NOT r.{IsActive} OR ($6 AND (r.dry_run OR r.communes IS NOT NULL))
            """);
        ask.Parameters.Add(new() { Value = projection });
        ask.Parameters.Add(new() { Value = request.AskedBy });
        ask.Parameters.Add(new() { Value = request.Reason });
        ask.Parameters.Add(new() { Value = request.DryRun });
        ask.Parameters.Add(new() { Value = (object?)request.Communes?.ToArray() ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        ask.Parameters.Add(new() { Value = insteadOfPart });
        return await ask.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>Gives a rebuild up; false when none is asked for or runs. The projecting node drops what was built.</summary>
    public static async Task<bool> CancelAsync(NpgsqlDataSource database, string projection, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            UPDATE replay.rebuild r SET state = 'cancelled', changed_at = now(), position = {Position("r")} WHERE projection = $1 AND {IsActive}
            """);
        command.Parameters.Add(new() { Value = projection });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>
    /// The rebuilds to go on with now: those that have waited long enough, and the one that is built, in the order in which they were asked
    /// for. One that waits keeps no other one from being built.
    /// </summary>
    public static async Task<IReadOnlyList<CurrentRebuild>> DueAsync(NpgsqlConnection session, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"""
            WITH due AS (
                SELECT *, row_number() OVER (PARTITION BY state = 'waiting' ORDER BY state = 'requested', coalesce(asked_at, changed_at)) AS n
                FROM replay.rebuild WHERE {IsActive} AND (state <> 'waiting' OR next_try_at <= clock_timestamp()))
            SELECT r.projection, coalesce(r.asked_at, r.changed_at), r.state, r.build, coalesce(r.asked_by, 'hub'), coalesce(r.reason, ''), coalesce(r.dry_run, false), r.communes,
                r.compared_at, coalesce(r.differences, 0),
                (SELECT last_seq_id FROM hub.mt_event_progression WHERE name = r.projection || ':next'),
                coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = r.projection || ':All'), 0),
                EXISTS (SELECT FROM replay.pause p WHERE p.projection = r.projection), {Positions.End}, coalesce(r.tries, 0)
            FROM due r WHERE state = 'waiting' OR n = 1 ORDER BY state <> 'waiting', 2
            """, session);
        var due = new List<CurrentRebuild>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            var request = new RebuildRequest(reader.GetString(4), reader.GetString(5), reader.GetBoolean(6), reader.IsDBNull(7) ? null : reader.GetFieldValue<string[]>(7));
            due.Add(new(
                reader.GetString(0), reader.GetDateTime(1), reader.GetString(2), reader.IsDBNull(3) ? null : reader.GetString(3), request, reader.IsDBNull(8) ? null : reader.GetInt64(8),
                reader.GetInt64(9), reader.IsDBNull(10) ? null : reader.GetInt64(10), reader.GetInt64(11), reader.GetBoolean(12), reader.GetInt64(13), reader.GetInt32(14)));
        }

        return due;
    }

    /// <summary>A new version was begun by this build of the hub.</summary>
    public static Task StartAsync(NpgsqlConnection session, CurrentRebuild rebuild, string build, CancellationToken cancellation) => ChangeAsync(
        session, rebuild, "state = 'running', asked_at = coalesce(asked_at, changed_at), build = $3, started_at = now(), rate = NULL, target = $4, compared_at = NULL, differences = NULL, listed = NULL, tries = NULL", cancellation, build, rebuild.InService);

    /// <summary>It has waited long enough, and is being built again.</summary>
    public static Task GoOnAsync(NpgsqlConnection session, CurrentRebuild rebuild, CancellationToken cancellation) =>
        ChangeAsync(session, rebuild, "state = 'running', waits_for = NULL, next_try_at = NULL", cancellation);

    /// <summary>How fast it is, and how far it has to go.</summary>
    public static Task ReportAsync(NpgsqlConnection session, CurrentRebuild rebuild, double rate, long target, CancellationToken cancellation) =>
        ChangeAsync(session, rebuild, "rate = $3, target = $4", cancellation, rate, target);

    /// <summary>Both versions are being compared.</summary>
    public static Task CompareAsync(NpgsqlConnection session, CurrentRebuild rebuild, CancellationToken cancellation) => ChangeAsync(session, rebuild, "state = 'comparing'", cancellation);

    /// <summary>Both versions were compared.</summary>
    public static Task ComparedAsync(NpgsqlConnection session, CurrentRebuild rebuild, Differences found, CancellationToken cancellation) => ChangeAsync(
        session, rebuild, "compared_at = $3, differences = $4, listed = $5::json", cancellation,
        found.Position, found.Tables.Sum(table => table.Differences), JsonSerializer.Serialize(found, JsonSerializerOptions.Web));

    /// <summary>It cannot go on now, and tries again after a while, longer each time, up to half a minute.</summary>
    public static Task WaitAsync(NpgsqlConnection session, CurrentRebuild rebuild, string waitsFor, CancellationToken cancellation) => ChangeAsync(
        session, rebuild, "state = 'waiting', waits_for = $3, tries = coalesce(tries, 0) + 1, next_try_at = clock_timestamp() + least(power(2, least(coalesce(tries, 0), 5)), 30) * interval '1 s'",
        cancellation, waitsFor);

    /// <summary>It has ended; false when it was given up before.</summary>
    public static Task<bool> CompleteAsync(NpgsqlConnection session, CurrentRebuild rebuild, CancellationToken cancellation) =>
        ChangeAsync(session, rebuild, "state = 'completed', position = $3, target = $3", cancellation, rebuild.Position!);

    /// <summary>It has failed, if it was not given up before.</summary>
    public static Task FailAsync(NpgsqlConnection session, CurrentRebuild rebuild, string error, CancellationToken cancellation) => ChangeAsync(
        session, rebuild, $"state = 'failed', error = $3, position = {Position("r")}", cancellation, error);

    /// <summary>The last rebuild of each projection that had one.</summary>
    public static async Task<IReadOnlyDictionary<string, Rebuild>> AllAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        var found = new Dictionary<string, Rebuild>();
        await using var command = database.CreateCommand($"""
            SELECT projection, state, coalesce(asked_by, 'hub'), coalesce(reason, ''), coalesce(dry_run, false), communes, coalesce(asked_at, changed_at), started_at, changed_at,
                CASE WHEN {IsActive} THEN {Position("r")} ELSE coalesce(position, target) END, target, coalesce(rate, 0), error, compared_at, coalesce(differences, 0),
                CASE WHEN state = 'waiting' THEN format('waits for %s; tried %s times', waits_for, tries) END
            FROM replay.rebuild r
            """);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            var state = reader.GetString(1);
            var request = new RebuildRequest(reader.GetString(2), reader.GetString(3), reader.GetBoolean(4), reader.IsDBNull(5) ? null : reader.GetFieldValue<string[]>(5));
            var rebuild = new Rebuild(
                state, request, reader.GetFieldValue<DateTimeOffset>(6), reader.IsDBNull(7) ? null : reader.GetFieldValue<DateTimeOffset>(7), null,
                reader.GetInt64(9), reader.GetInt64(10), reader.GetDouble(11), reader.IsDBNull(12) ? null : reader.GetString(12), reader.IsDBNull(13) ? null : reader.GetInt64(13), reader.GetInt64(14),
                reader.IsDBNull(15) ? null : reader.GetString(15));
            found[reader.GetString(0)] = rebuild.IsActive ? rebuild : rebuild with { EndedAt = reader.GetFieldValue<DateTimeOffset>(8) };
        }

        return found;
    }

    /// <summary>What the last rebuild of a projection found when it compared; null when it has not.</summary>
    public static async Task<Differences?> DifferencesAsync(NpgsqlDataSource database, string projection, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT listed::text FROM replay.rebuild WHERE projection = $1");
        command.Parameters.Add(new() { Value = projection });
        return await command.ExecuteScalarAsync(cancellation) is string listed ? JsonSerializer.Deserialize<Differences>(listed, JsonSerializerOptions.Web) : null;
    }

    private static string Position(string row) => $"coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = {row}.projection || ':next'), 0)";

    // Only of the rebuild that is meant: it may have been given up, and another one asked for.
    private static async Task<bool> ChangeAsync(NpgsqlConnection session, CurrentRebuild rebuild, string set, CancellationToken cancellation, params object[] values)
    {
        await using var command = new NpgsqlCommand(
            $"UPDATE replay.rebuild r SET {set}, changed_at = now() WHERE projection = $1 AND coalesce(asked_at, changed_at) = $2 AND {IsActive}", session);
        command.Parameters.Add(new() { Value = rebuild.Projection });
        command.Parameters.Add(new() { Value = rebuild.AskedAt });
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }
}
