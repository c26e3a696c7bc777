using System.Text.Json;
using Intercommunalite.Contracts;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Which events are given again; of them, those that the subscription asks for and its agreement allows.</summary>
/// <param name="Types">Names of types; null for all.</param>
/// <param name="Communes">INSEE codes; null for all.</param>
/// <param name="Record">The record alone: <c>{commune}/{domain}/{subject}</c>; null for all.</param>
internal sealed record Selection(string[]? Types = null, string[]? Communes = null, string? Record = null);

/// <summary>
/// A replay: events of the store that a subscription is given again, marked, beside what comes by itself, no faster than so many a second.
/// It has rows only for what is to be given next, like the subscription itself.
/// </summary>
/// <param name="Id">Its id, which marks what it gives.</param>
/// <param name="Subscription">The subscription.</param>
/// <param name="Selection">Which events.</param>
/// <param name="After">Position behind which it begins.</param>
/// <param name="Through">Last position.</param>
/// <param name="Position">Position up to which it has looked through the store.</param>
/// <param name="Rate">Most events a second.</param>
/// <param name="Found">Events that it has found so far; once it is cancelled, those that were done by then.</param>
/// <param name="Waiting">Of them, those that are neither done nor parked.</param>
/// <param name="Parked">Of them, those that are parked.</param>
/// <param name="State"><c>running</c>, <c>completed</c> once it has found all and none waits any more, or <c>cancelled</c>.</param>
/// <param name="Reason">Why it was asked for.</param>
/// <param name="AskedBy">Who asked.</param>
/// <param name="AskedAt">When.</param>
/// <param name="EndedAt">When it was completed or cancelled.</param>
internal sealed record Replay(
    string Id, string Subscription, Selection Selection, long After, long Through, long Position, int Rate, long Found, long Waiting, long Parked, string State, string Reason, string AskedBy,
    DateTimeOffset AskedAt, DateTimeOffset? EndedAt)
{
    /// <summary>How long ago it last found something.</summary>
    public TimeSpan SinceFound { get; init; }

    /// <summary>It goes on.</summary>
    public const string Running = "running";

    private const string Select = """
        SELECT r.id, r.subscription, r.selection, r.after, r.through, r.position, r.rate, r.found, coalesce(d.waiting, 0), coalesce(d.parked, 0), r.state, r.reason, r.asked_by, r.asked_at, r.ended_at,
            extract(epoch FROM clock_timestamp() - r.filled_at)::float8
        FROM feeds.replay r LEFT JOIN LATERAL (
            SELECT count(*) FILTER (WHERE parked_at IS NULL) AS waiting, count(parked_at) AS parked FROM feeds.delivery d WHERE d.subscription = r.subscription AND d.replay = r.id) d ON TRUE
        """;

    /// <summary>The newest ones, or those of a subscription.</summary>
    public static async Task<IReadOnlyList<Replay>> ListAsync(NpgsqlDataSource database, string? subscription, int limit, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"{Select} WHERE $1::text IS NULL OR r.subscription = $1 ORDER BY r.asked_at DESC, r.id LIMIT $2");
        command.Parameters.Add(EventStore.Query.Text(subscription));
        command.Parameters.Add(new() { Value = limit });
        return await ReadAsync(command, cancellation);
    }

    /// <summary>One of them, or null.</summary>
    public static async Task<Replay?> FindAsync(NpgsqlDataSource database, string id, CancellationToken cancellation)
    {
        // No other text is an id, and not all of it is text for PostgreSQL.
        if (!Slug.TryParse(id, out _)) return null;
        await using var command = database.CreateCommand($"{Select} WHERE r.id = $1");
        command.Parameters.Add(new() { Value = id });
        return (await ReadAsync(command, cancellation)).SingleOrDefault();
    }

    /// <summary>Those of a subscription that go on.</summary>
    public static async Task<IReadOnlyList<Replay>> RunningAsync(NpgsqlDataSource database, string subscription, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"{Select} WHERE r.subscription = $1 AND r.state = '{Running}' ORDER BY r.asked_at, r.id");
        command.Parameters.Add(new() { Value = subscription });
        return await ReadAsync(command, cancellation);
    }

    /// <summary>Adds it, as part of the transaction that a connection is in.</summary>
    public async Task AddAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"""
            INSERT INTO feeds.replay (id, subscription, selection, after, through, position, rate, found, filled_at, state, reason, asked_by, asked_at)
            VALUES ($1, $2, $3, $4, $5, $4, $6, 0, clock_timestamp(), '{Running}', $7, $8, $9)
            """, connection);
        foreach (var value in (ReadOnlySpan<object>)[Id, Subscription, JsonSerializer.Serialize(Selection, ContractJson.Options), After, Through, Rate, Reason, AskedBy, AskedAt.ToUniversalTime()])
            command.Parameters.Add(new() { Value = value });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>
    /// Ends it, in the transaction of a connection that holds the lock of the subscription: what it would still have given is given no
    /// more, what is parked of it neither. What a reader has already it may do; there is nothing left to acknowledge.
    /// </summary>
    /// <returns>False when it had ended.</returns>
    public async Task<bool> CancelAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"""
            WITH gone AS (
                DELETE FROM feeds.delivery d USING feeds.replay r WHERE r.id = $1 AND r.state = '{Running}' AND d.subscription = r.subscription AND d.replay = r.id RETURNING 1),
            cancelled AS (
                UPDATE feeds.replay SET state = 'cancelled', ended_at = clock_timestamp(), found = found - (SELECT count(*) FROM gone) WHERE id = $1 AND state = '{Running}' RETURNING 1)
            SELECT count(*)::int FROM cancelled
            """, connection);
        command.Parameters.Add(new() { Value = Id });
        return (int)(await command.ExecuteScalarAsync(cancellation))! == 1;
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("feeds.replay");
        table.AddColumn("id", "text").AsPrimaryKey();
        table.AddColumn("subscription", "text").NotNull();
        table.AddColumn("selection", "text").NotNull();
        table.AddColumn("after", "bigint").NotNull();
        table.AddColumn("through", "bigint").NotNull();
        table.AddColumn("position", "bigint").NotNull();
        table.AddColumn("rate", "integer").NotNull();
        table.AddColumn("found", "bigint").NotNull();
        table.AddColumn("filled_at", "timestamptz").NotNull();
        table.AddColumn("state", "text").NotNull();
        table.AddColumn("reason", "text").NotNull();
        table.AddColumn("asked_by", "text").NotNull();
        table.AddColumn("asked_at", "timestamptz").NotNull();
        table.AddColumn("ended_at", "timestamptz");
        table.Indexes.Add(new("replay_running") { Columns = ["subscription"], Predicate = "state = 'running'" });
        return table;
    }

    private static async Task<IReadOnlyList<Replay>> ReadAsync(NpgsqlCommand command, CancellationToken cancellation)
    {
        var found = new List<Replay>();
        await using var row = await command.ExecuteReaderAsync(cancellation);
        while (await row.ReadAsync(cancellation))
        {
            found.Add(new(
                row.GetString(0), row.GetString(1), JsonSerializer.Deserialize<Selection>(row.GetString(2), ContractJson.Options)!, row.GetInt64(3), row.GetInt64(4), row.GetInt64(5), row.GetInt32(6),
                row.GetInt64(7), row.GetInt64(8), row.GetInt64(9), row.GetString(10), row.GetString(11), row.GetString(12), row.GetFieldValue<DateTimeOffset>(13),
                row.IsDBNull(14) ? null : row.GetFieldValue<DateTimeOffset>(14))
            {
                SinceFound = TimeSpan.FromSeconds(Math.Max(0, row.GetDouble(15))),
            });
        }

        return found;
    }
}
