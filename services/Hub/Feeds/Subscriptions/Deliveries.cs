using System.Buffers.Binary;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Intercommunalite.Hub.Feeds.Webhooks;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>An event that was claimed for a reader, who holds it until it is acknowledged or rejected, or time runs out.</summary>
/// <param name="Replay">The replay by which it comes; empty for what comes by itself.</param>
/// <param name="Position">Its position in the store.</param>
/// <param name="Attempt">1 for the first time that it is given.</param>
internal readonly record struct Claimed(string Replay, long Position, int Attempt)
{
    private const int HeaderLength = 28;

    /// <summary>What the reader gives back to acknowledge or reject it: who holds it (a random id), for which time, and what. Base64url.</summary>
    public string Token(Guid holder)
    {
        var bytes = new byte[HeaderLength + Encoding.UTF8.GetByteCount(Replay)];
        holder.TryWriteBytes(bytes);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(16), Attempt);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(20), Position);
        Encoding.UTF8.GetBytes(Replay, bytes.AsSpan(HeaderLength));
        return Base64Url.EncodeToString(bytes);
    }

    /// <summary>Reads what a reader gives back; false when the hub never gave that out.</summary>
    public static bool TryRead(string token, out Guid holder, out Claimed claimed)
    {
        (holder, claimed) = (default, default);
        if (token.Length > 200 || !Base64Url.IsValid(token)) return false;
        var bytes = Base64Url.DecodeFromChars(token).AsSpan();
        if (bytes.Length < HeaderLength) return false;
        holder = new Guid(bytes[..16]);
        claimed = new(Encoding.UTF8.GetString(bytes[HeaderLength..]), BinaryPrimitives.ReadInt64BigEndian(bytes[20..]), BinaryPrimitives.ReadInt32BigEndian(bytes[16..]));
        return EventStore.Query.IsText(claimed.Replay);
    }
}

/// <summary>How a subscription is, for a reader who looks whether there is something to claim.</summary>
/// <param name="CreatedAt">When it was made: by it one that was made anew under the same name is told from the one before.</param>
/// <param name="IsSuspended">Whether it is suspended.</param>
/// <param name="Reason">Why.</param>
/// <param name="Fetched">Position up to which the store was looked through.</param>
/// <param name="Waiting">Rows of the window: what came by itself, is not done and not parked.</param>
/// <param name="Held">Rows that this reader holds.</param>
/// <param name="IsDue">Whether something can be claimed.</param>
/// <param name="HasLapsed">Whether something that was held is so no longer.</param>
/// <param name="IsFull">Whether so much is parked that nothing more is given, see <see cref="SubscriptionOptions.MostParked"/>.</param>
/// <param name="HasReplays">Whether a replay goes on.</param>
/// <param name="Next">After how long something else can be claimed, or may lapse; null when nothing is waiting for a time.</param>
internal sealed record Looked(
    DateTimeOffset CreatedAt, bool IsSuspended, string? Reason, long Fetched, int Waiting, int Held, bool IsDue, bool HasLapsed, bool IsFull, bool HasReplays, TimeSpan? Next);

/// <summary>The next stretch of the store, looked through for a subscription.</summary>
/// <param name="After">Position behind which it begins.</param>
/// <param name="Through">Position up to which it goes.</param>
/// <param name="Found">What of it is to be delivered.</param>
internal sealed record Stretch(long After, long Through, IReadOnlyList<(long Position, string Stream)> Found);

/// <summary>
/// Deliveries of durable subscriptions that are not done: a row for each, few at a time. Whoever changes rows of a subscription holds
/// the lock of the subscription's row meanwhile, so that what is decided on them is decided one after the other, on all nodes.
/// </summary>
/// <remarks>
/// <para>Order. Of a record (stream) and a replay only the first row that is not parked can be claimed. What stands behind a parked row of its
/// record is parked too: so all of it can be replayed in order.</para>
/// <para>Leases. A row is held by a reader: a random id, whose node says every two seconds that it is alive (<see cref="Readers"/>). A reader that
/// has not been heard of for ten seconds is gone, with its node: what it held is free again, and that is no failure. One that is alive
/// and has not acknowledged in time has failed; for that of a webhook, which is the hub itself, that does not count towards parking. Whether it is the one or the other cannot be told before it is heard of after that time.</para>
/// </remarks>
internal sealed class Deliveries(NpgsqlDataSource database, SubscriptionOptions options, WebhookOptions webhooks)
{
    /// <summary>Holds a subscription, $1, until the transaction ends: nobody else changes its deliveries meanwhile.</summary>
    public const string Lock = "SELECT FROM feeds.subscription WHERE name = $1 FOR UPDATE";

    /// <summary>Why a delivery is parked that has not failed itself.</summary>
    public const string Behind = "waits behind a parked event of the same record";

    private const string Gone = "interval '10 s'";

    // Seconds of a subscription s: a webhook's follow the settings as they are, since its requests do.
    private readonly string _lease = string.Create(CultureInfo.InvariantCulture, $"(CASE s.kind WHEN '{Subscription.Webhook}' THEN {webhooks.AckTimeout} ELSE s.ack_timeout END)");

    // 1 s, 2 s, 4 s, … 5 minutes, of which up to half as much again so that not all come at once.
    private static string Backoff(string before) => $"clock_timestamp() + least(300, power(2, least({before}, 9)) * (1 + random() / 2)) * interval '1 s'";

    private readonly ConcurrentDictionary<string, TaskCompletionSource> _changed = new(StringComparer.Ordinal);

    /// <summary>Done once something of a subscription has changed by this node since this was asked for.</summary>
    public Task Changed(string name) => _changed.GetOrAdd(name, _ => new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    /// <summary>Wakes those of this node who wait for a subscription.</summary>
    public void Wake(string name)
    {
        if (_changed.TryRemove(name, out var waiting)) waiting.TrySetResult();
    }

    /// <summary>Looks, without locking anything, whether there is something to claim; null when there is no such subscription.</summary>
    public async Task<Looked?> LookAsync(string name, Guid reader, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            WITH first AS (
                SELECT DISTINCT ON (replay, stream) due_at, holder, held_until FROM feeds.delivery
                WHERE subscription = $1 AND parked_at IS NULL ORDER BY replay, stream, position),
            state AS (
                SELECT coalesce(bool_or(holder IS NULL AND due_at <= clock_timestamp()), false) AS due,
                    coalesce(bool_or(holder IS NOT NULL AND (seen_at IS NULL OR seen_at < clock_timestamp() - {Gone} OR (held_until < clock_timestamp() AND seen_at >= held_until))), false) AS lapsed,
                    extract(epoch FROM min(CASE WHEN holder IS NULL THEN due_at ELSE held_until END) FILTER (WHERE CASE WHEN holder IS NULL THEN due_at ELSE held_until END > clock_timestamp())
                        - clock_timestamp())::float8 AS next
                FROM first LEFT JOIN feeds.reader ON id = holder)
            SELECT s.state = 'suspended', s.reason, s.fetched, due, lapsed, next,
                (SELECT count(*)::int FROM feeds.delivery WHERE subscription = $1 AND parked_at IS NULL AND replay = ''),
                (SELECT count(*)::int FROM feeds.delivery WHERE subscription = $1 AND parked_at IS NULL AND holder = $2), s.created_at,
                (SELECT count(*) FROM (SELECT FROM feeds.delivery WHERE subscription = $1 AND parked_at IS NOT NULL LIMIT $3) AS parked) = $3,
                EXISTS (SELECT FROM feeds.replay WHERE subscription = $1 AND state = '{Replay.Running}')
            FROM feeds.subscription s CROSS JOIN state WHERE s.name = $1
            """);
        command.Parameters.Add(new() { Value = name });
        command.Parameters.Add(new() { Value = reader });
        command.Parameters.Add(new() { Value = options.MostParked });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        if (!await row.ReadAsync(cancellation)) return null;
        return new(
            row.GetFieldValue<DateTimeOffset>(8), row.GetBoolean(0), row.IsDBNull(1) ? null : row.GetString(1), row.GetInt64(2), row.GetInt32(6), row.GetInt32(7), row.GetBoolean(3), row.GetBoolean(4),
            row.GetBoolean(9), row.GetBoolean(10), row.IsDBNull(5) ? null : TimeSpan.FromSeconds(row.GetDouble(5)));
    }

    /// <summary>
    /// In one transaction: what is held no longer is free, the window gets the next stretch of the store, and what is due is given to the
    /// reader. Nothing happens while the subscription is suspended.
    /// </summary>
    /// <param name="name">The subscription.</param>
    /// <param name="reader">The reader.</param>
    /// <param name="limit">Most to claim.</param>
    /// <param name="stretch">The stretch that was looked through, for a window that has room; passed over when another reader was first.</param>
    /// <param name="freshFirst">Whether what has never failed goes first.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<IReadOnlyList<Claimed>> ClaimAsync(string name, Guid reader, int limit, Stretch? stretch, bool freshFirst, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection);
        Add(batch, Lock, name);
        Add(batch, "INSERT INTO feeds.reader AS r (id, subscription, seen_at) VALUES ($2, $1, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at", name, reader);
        Add(batch, $"""
            UPDATE feeds.delivery SET holder = NULL, held_until = NULL, due_at = clock_timestamp()
            WHERE subscription = $1 AND parked_at IS NULL AND holder IS NOT NULL AND NOT EXISTS (SELECT FROM feeds.reader WHERE id = holder AND seen_at > clock_timestamp() - {Gone})
            """, name);
        Add(batch, Failing($"""
            f.subscription = $1 AND f.parked_at IS NULL AND f.holder IS NOT NULL AND f.held_until < clock_timestamp()
            AND EXISTS (SELECT FROM feeds.reader WHERE id = f.holder AND seen_at >= f.held_until)
            """, $"'not acknowledged within ' || {_lease} || ' s'", $"CASE s.kind WHEN '{Subscription.Webhook}' THEN 0 ELSE 1 END"), name);
        if (stretch is not null)
        {
            Add(
                batch, Adding("UPDATE feeds.subscription SET fetched = $3 WHERE name = $1 AND fetched = $2 AND state = 'active' RETURNING name AS subscription, '' AS replay"),
                name, stretch.After, stretch.Through, stretch.Found.Select(found => found.Position).ToArray(), stretch.Found.Select(found => found.Stream).ToArray());
        }

        Add(batch, $"""
            WITH first AS (
                SELECT DISTINCT ON (replay, stream) replay, position, due_at, holder, failed_at FROM feeds.delivery WHERE subscription = $1 AND parked_at IS NULL ORDER BY replay, stream, position),
            next AS (
                SELECT replay, position FROM first WHERE holder IS NULL AND due_at <= clock_timestamp() AND EXISTS (SELECT FROM feeds.subscription WHERE name = $1 AND state = 'active')
                ORDER BY CASE WHEN $4 AND failed_at IS NOT NULL THEN 1 ELSE 0 END, replay <> '', position, replay LIMIT $3)
            UPDATE feeds.delivery d
            SET holder = $2, held_until = clock_timestamp() + {_lease} * interval '1 s', attempts = attempts + 1, first_given_at = coalesce(first_given_at, clock_timestamp())
            FROM next, feeds.subscription s WHERE d.subscription = $1 AND s.name = $1 AND d.replay = next.replay AND d.position = next.position
            RETURNING d.replay, d.position, d.attempts
            """, name, reader, limit, freshFirst);
        var claimed = new List<Claimed>();
        await using var row = await batch.ExecuteReaderAsync(cancellation);
        // Of all these statements the last one alone and the first have rows.
        do
        {
            while (row.FieldCount == 3 && await row.ReadAsync(cancellation)) claimed.Add(new(row.GetString(0), row.GetInt64(1), row.GetInt32(2)));
        }
        while (await row.NextResultAsync(cancellation));
        // What is new before what is replayed.
        return [.. claimed.OrderBy(one => one.Replay.Length > 0).ThenBy(one => one.Position).ThenBy(one => one.Replay, StringComparer.Ordinal)];
    }

    /// <summary>Deliveries are done, those that are held no longer excepted.</summary>
    /// <returns>How many.</returns>
    public async Task<int> AcknowledgeAsync(string name, IReadOnlyCollection<(Guid Holder, Claimed Claimed)> done, CancellationToken cancellation)
    {
        var count = await ChangeAsync(name, $"WITH changed AS (DELETE FROM feeds.delivery d USING {Leases} WHERE {OfLease} RETURNING 1) SELECT count(*)::int FROM changed", Columns(done), cancellation);
        Wake(name);
        return count;
    }

    /// <summary>What a reader was not given after all is free again, as if it had not been claimed.</summary>
    public async Task GiveBackAsync(string name, Guid holder, IReadOnlyCollection<Claimed> claimed, CancellationToken cancellation)
    {
        if (claimed.Count == 0) return;
        await ChangeAsync(
            name, $"""
            WITH changed AS (
                UPDATE feeds.delivery d SET holder = NULL, held_until = NULL, attempts = attempts - 1, first_given_at = CASE WHEN attempts > 1 THEN first_given_at END
                FROM {Leases} WHERE {OfLease} RETURNING 1)
            SELECT count(*)::int FROM changed
            """, Columns([.. claimed.Select(one => (holder, one))]), cancellation);
        Wake(name);
    }

    /// <summary>What may not be given any more is not to be delivered: it goes.</summary>
    public Task DropAsync(string name, Guid holder, IReadOnlyCollection<Claimed> claimed, CancellationToken cancellation) =>
        claimed.Count == 0 ? Task.CompletedTask : AcknowledgeAsync(name, [.. claimed.Select(one => (holder, one))], cancellation);

    /// <summary>The reader is still being given these, or only just was: their time begins now.</summary>
    public Task ExtendAsync(string name, Guid holder, IReadOnlyCollection<Claimed> claimed, CancellationToken cancellation) =>
        claimed.Count == 0 ? Task.CompletedTask : ChangeAsync(
            name, $"""
            WITH changed AS (
                UPDATE feeds.delivery d SET held_until = clock_timestamp() + {_lease} * interval '1 s' FROM {Leases}, feeds.subscription s WHERE s.name = $1 AND {OfLease} RETURNING 1)
            SELECT count(*)::int FROM changed
            """, Columns([.. claimed.Select(one => (holder, one))]), cancellation);

    /// <summary>A delivery failed: it comes again after a while, or is parked with what follows of its record.</summary>
    /// <returns>Whether it is parked now; false also when it was held no longer and is not parked.</returns>
    public async Task<bool> RejectAsync(string name, Guid holder, Claimed claimed, string reason, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection);
        Add(batch, Lock, name);
        Add(batch, Failing("f.subscription = $1 AND f.parked_at IS NULL AND f.holder = $2 AND f.attempts = $3 AND f.replay = $4 AND f.position = $5", "$6::text"), name, holder, claimed.Attempt, claimed.Replay, claimed.Position, reason);
        Add(batch, "SELECT count(*)::int FROM feeds.delivery WHERE subscription = $1 AND replay = $2 AND position = $3 AND parked_at IS NOT NULL", name, claimed.Replay, claimed.Position);
        var parked = false;
        await using (var row = await batch.ExecuteReaderAsync(cancellation))
        {
            do
            {
                while (row.FieldCount == 1 && await row.ReadAsync(cancellation)) parked = row.GetInt32(0) > 0;
            }
            while (await row.NextResultAsync(cancellation));
        }

        Wake(name);
        return parked;
    }

    /// <summary>
    /// A delivery of a webhook failed. It counts towards parking when the endpoint refused this event, or has taken others since this
    /// one failed before: while an endpoint takes nothing at all, nothing is parked. When the endpoint was asked anew since it was sent, that tells
    /// nothing: the delivery has not failed, and comes again at once.
    /// </summary>
    /// <param name="webhook">The webhook, as it was when it was sent.</param>
    /// <param name="holder">Who held it.</param>
    /// <param name="claimed">The delivery.</param>
    /// <param name="reason">Why.</param>
    /// <param name="isRefused">Whether this event was refused.</param>
    /// <param name="notBefore">After what time it may come again at the earliest.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task FailAsync(Webhook webhook, Guid holder, Claimed claimed, string reason, bool isRefused, TimeSpan notBefore, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection);
        var name = webhook.Subscription;
        const string Held = "f.subscription = $1 AND f.parked_at IS NULL AND f.holder = $2 AND f.attempts = $3 AND f.replay = $4 AND f.position = $5";
        Add(batch, Lock, name);
        Add(
            batch, Failing(
                $"{Held} AND EXISTS (SELECT FROM feeds.webhook WHERE subscription = $1 AND asked_at = $9)", "$6::text",
                "CASE WHEN $7 OR EXISTS (SELECT FROM feeds.webhook w WHERE w.subscription = $1 AND w.succeeded_at > f.failed_at) THEN 1 ELSE 0 END",
                $"greatest(clock_timestamp() + $8, {Backoff("f.attempts - 1")})"),
            name, holder, claimed.Attempt, claimed.Replay, claimed.Position, reason, isRefused, notBefore, webhook.AskedAt.ToUniversalTime());
        // Held still when it has not failed.
        Add(batch, $"UPDATE feeds.delivery f SET holder = NULL, held_until = NULL, due_at = clock_timestamp() WHERE {Held}", name, holder, claimed.Attempt, claimed.Replay, claimed.Position);
        await batch.ExecuteNonQueryAsync(cancellation);
        Wake(name);
    }

    /// <summary>What waited because the endpoint of a webhook took nothing need wait no longer; what was refused by itself does.</summary>
    public async Task BackAsync(string name, CancellationToken cancellation)
    {
        await ChangeAsync(
            name, """
            WITH changed AS (
                UPDATE feeds.delivery SET due_at = clock_timestamp() WHERE subscription = $1 AND parked_at IS NULL AND holder IS NULL AND failures = 0 AND due_at > clock_timestamp() RETURNING 1)
            SELECT count(*)::int FROM changed
            """, [], cancellation);
        Wake(name);
    }

    /// <summary>Holds a subscription until the transaction of a connection ends: nobody else changes its deliveries meanwhile.</summary>
    /// <returns>False when there is none of this name.</returns>
    public static async Task<bool> HoldAsync(NpgsqlConnection connection, string name, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT name FROM feeds.subscription WHERE name = $1 FOR UPDATE", connection) { Parameters = { new() { Value = name } } };
        return await command.ExecuteScalarAsync(cancellation) is not null;
    }

    /// <summary>What waits for a later try need wait no longer, in the transaction of a connection that holds the subscription.</summary>
    public static async Task HurryAsync(NpgsqlConnection connection, string name, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("UPDATE feeds.delivery SET due_at = clock_timestamp() WHERE subscription = $1 AND parked_at IS NULL AND holder IS NULL", connection)
        {
            Parameters = { new() { Value = name } },
        };
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>The tables, with what says which readers are alive.</summary>
    public static IEnumerable<Table> Schema()
    {
        var delivery = new Table("feeds.delivery");
        delivery.AddColumn("subscription", "text").AsPrimaryKey();
        delivery.AddColumn("replay", "text").AsPrimaryKey();
        delivery.AddColumn("position", "bigint").AsPrimaryKey();
        delivery.AddColumn("stream", "text").NotNull();
        delivery.AddColumn("attempts", "integer").NotNull();
        delivery.AddColumn("failures", "integer").NotNull();
        delivery.AddColumn("due_at", "timestamptz").NotNull();
        delivery.AddColumn("holder", "uuid");
        delivery.AddColumn("held_until", "timestamptz");
        delivery.AddColumn("first_given_at", "timestamptz");
        delivery.AddColumn("failed_at", "timestamptz");
        delivery.AddColumn("parked_at", "timestamptz");
        delivery.AddColumn("reason", "text");
        delivery.Indexes.Add(new IndexDefinition("delivery_open") { Columns = ["subscription", "replay", "stream", "position"], Predicate = "parked_at IS NULL" });
        delivery.Indexes.Add(new IndexDefinition("delivery_parked") { Columns = ["subscription", "replay", "stream", "position"], Predicate = "parked_at IS NOT NULL" });
        yield return delivery;
        yield return Readers.Schema();
    }

    /// <summary>
    /// Adds what was found, of positions $4 and streams $5: it waits, or is parked where something of its record is.
    /// </summary>
    /// <param name="moved">Notes up to where was looked, and returns <c>subscription</c> and <c>replay</c>; nothing when somebody else was first.</param>
    public static string Adding(string moved) => $"""
        WITH moved AS ({moved})
        INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at, parked_at, reason)
        SELECT moved.subscription, moved.replay, given.position, given.stream, 0, 0, clock_timestamp(), CASE WHEN parked.behind THEN clock_timestamp() END, CASE WHEN parked.behind THEN '{Behind}' END
        FROM moved CROSS JOIN unnest($4::bigint[], $5::text[]) AS given (position, stream) CROSS JOIN LATERAL (
            SELECT EXISTS (SELECT FROM feeds.delivery d WHERE d.subscription = moved.subscription AND d.replay = moved.replay AND d.stream = given.stream AND d.parked_at IS NOT NULL) AS behind) AS parked
        ON CONFLICT DO NOTHING
        """;

    // Rows fail: they come again later, or are parked for good, and with one all that follows of its record.
    private static string Failing(string which, string reason, string counted = "1", string? dueAt = null) => $"""
        WITH failed AS (
            UPDATE feeds.delivery f
            SET holder = NULL, held_until = NULL, failures = failures + {counted}, failed_at = clock_timestamp(), reason = {reason}, due_at = {dueAt ?? Backoff("failures")},
                parked_at = CASE WHEN failures + {counted} >= max_attempts THEN clock_timestamp() END
            FROM feeds.subscription s WHERE s.name = $1 AND {which}
            RETURNING f.replay, f.stream, f.position, f.parked_at)
        UPDATE feeds.delivery d SET parked_at = clock_timestamp(), reason = '{Behind}'
        FROM failed WHERE failed.parked_at IS NOT NULL AND d.subscription = $1 AND d.replay = failed.replay AND d.stream = failed.stream AND d.position > failed.position AND d.parked_at IS NULL
        """;

    private const string Leases = "unnest($2::uuid[], $3::int[], $4::text[], $5::bigint[]) AS lease (holder, attempt, replay, position)";

    private const string OfLease =
        "d.subscription = $1 AND d.parked_at IS NULL AND d.replay = lease.replay AND d.position = lease.position AND d.holder = lease.holder AND d.attempts = lease.attempt";

    private static object[] Columns(IReadOnlyCollection<(Guid Holder, Claimed Claimed)> leases) =>
    [
        leases.Select(lease => lease.Holder).ToArray(), leases.Select(lease => lease.Claimed.Attempt).ToArray(), leases.Select(lease => lease.Claimed.Replay).ToArray(),
        leases.Select(lease => lease.Claimed.Position).ToArray(),
    ];

    private async Task<int> ChangeAsync(string name, string sql, object[] values, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection);
        Add(batch, Lock, name);
        Add(batch, sql, [name, .. values]);
        await using var row = await batch.ExecuteReaderAsync(cancellation);
        await row.NextResultAsync(cancellation);
        await row.ReadAsync(cancellation);
        return row.GetInt32(0);
    }

    private static void Add(NpgsqlBatch batch, string sql, params object[] values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        batch.BatchCommands.Add(command);
    }
}
