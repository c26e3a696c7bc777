using System.Security.Cryptography;
using Intercommunalite.Hub.Privacy;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>Where the hub brings what a subscription has, and how that goes.</summary>
/// <param name="Subscription">The subscription.</param>
/// <param name="Url">The endpoint.</param>
/// <param name="Secrets">Secrets that sign now, wrapped, the newest first.</param>
/// <param name="Rate">Most requests a minute that the endpoint allowed; null for as many as it takes.</param>
/// <param name="SucceededAt">When it took an event last.</param>
/// <param name="FailingSince">Since when it has taken nothing, whatever was brought; null when it took one since, when nothing waits, and for one that refuses single events.</param>
/// <param name="LastFailure">What it last answered when it took nothing, as a status code, or why there was no answer.</param>
/// <param name="AskedAt">When the endpoint was asked last and allowed the hub to deliver: when it was added, moved or resumed. What was sent before tells nothing of how it is since.</param>
/// <param name="Pause">How much longer it asked to be left alone, at the time at which this was looked up; null for not at all.</param>
internal sealed record Webhook(
    string Subscription, Uri Url, IReadOnlyList<byte[]> Secrets, int? Rate, DateTimeOffset? SucceededAt, DateTimeOffset? FailingSince, string? LastFailure, DateTimeOffset AskedAt, TimeSpan? Pause)
{
    private const string Columns = """
        subscription, url, secret, CASE WHEN previous_until > clock_timestamp() THEN previous END, rate, succeeded_at, failing_since, last_failure, asked_at,
        CASE WHEN not_before > clock_timestamp() THEN not_before - clock_timestamp() END
        """;

    /// <summary>Whether personal data that is allowed may go there: by TLS alone.</summary>
    public bool MayHavePersonal => Url.Scheme == Uri.UriSchemeHttps;

    /// <summary>Whether it has been failing for so long that somebody should know.</summary>
    public bool IsAlert(WebhookOptions options, DateTimeOffset now) => FailingSince is { } since && now - since >= options.AlertAfter;

    /// <summary>That of a subscription, or null.</summary>
    public static async Task<Webhook?> FindAsync(NpgsqlDataSource database, string subscription, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM feeds.webhook WHERE subscription = $1");
        command.Parameters.Add(new() { Value = subscription });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        return await row.ReadAsync(cancellation) ? Read(row) : null;
    }

    /// <summary>All of them, by subscription.</summary>
    public static async Task<IReadOnlyDictionary<string, Webhook>> AllAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM feeds.webhook");
        await using var row = await command.ExecuteReaderAsync(cancellation);
        var all = new Dictionary<string, Webhook>(StringComparer.Ordinal);
        while (await row.ReadAsync(cancellation)) all[row.GetString(0)] = Read(row);
        return all;
    }

    /// <summary>Names of the subscriptions that are webhooks and not suspended.</summary>
    public static async Task<IReadOnlyList<string>> ActiveAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT subscription FROM feeds.webhook JOIN feeds.subscription ON name = subscription WHERE state = 'active' ORDER BY subscription");
        await using var row = await command.ExecuteReaderAsync(cancellation);
        var names = new List<string>();
        while (await row.ReadAsync(cancellation)) names.Add(row.GetString(0));
        return names;
    }

    /// <summary>Notes of each whether there is an alert, as <see cref="IsAlert"/> has it and it is not suspended.</summary>
    /// <returns>Those of which that has changed, to one node alone: whether there is an alert now, and of one that began since when and why.</returns>
    public static async Task<IReadOnlyList<(string Subscription, bool IsAlert, DateTimeOffset? Since, string? Why)>> AlertsAsync(NpgsqlDataSource database, WebhookOptions options, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("""
            UPDATE feeds.webhook w SET alerted = NOT alerted FROM feeds.subscription s
            WHERE s.name = w.subscription AND alerted <> (s.state = 'active' AND failing_since IS NOT NULL AND failing_since <= clock_timestamp() - $1)
            RETURNING w.subscription, alerted, failing_since, last_failure
            """);
        command.Parameters.Add(new() { Value = options.AlertAfter });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        var changed = new List<(string, bool, DateTimeOffset?, string?)>();
        while (await row.ReadAsync(cancellation)) changed.Add((row.GetString(0), row.GetBoolean(1), row.IsDBNull(2) ? null : row.GetFieldValue<DateTimeOffset>(2), row.IsDBNull(3) ? null : row.GetString(3)));
        return changed;
    }

    /// <summary>Makes a node's reader the one that delivers, unless another one that is alive does; and keeps it so.</summary>
    public static async Task<bool> TakeAsync(NpgsqlDataSource database, string subscription, Guid reader, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                // What the second statement sees begins when this one is done: the reader of a node that was first is known to it.
                new("SELECT FROM feeds.webhook WHERE subscription = $1 FOR UPDATE") { Parameters = { new() { Value = subscription } } },
                new("""
                    WITH taken AS (
                        UPDATE feeds.webhook w SET holder = $2 WHERE subscription = $1
                            AND (holder IS NULL OR holder = $2 OR NOT EXISTS (SELECT FROM feeds.reader WHERE id = holder AND seen_at > clock_timestamp() - interval '10 s'))
                        RETURNING subscription)
                    INSERT INTO feeds.reader AS r (id, subscription, seen_at) SELECT $2, subscription, clock_timestamp() FROM taken
                    ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at RETURNING 1
                    """) { Parameters = { new() { Value = subscription }, new() { Value = reader } } },
            },
        };
        await using var row = await batch.ExecuteReaderAsync(cancellation);
        await row.NextResultAsync(cancellation);
        return await row.ReadAsync(cancellation);
    }

    /// <summary>The endpoint took an event; nothing is noted when it was asked anew since.</summary>
    public Task SucceededAsync(NpgsqlDataSource database, CancellationToken cancellation) =>
        RunAsync(database, "succeeded_at = clock_timestamp(), failing_since = NULL", cancellation);

    /// <summary>The endpoint answered, or nothing may be brought to it: it is not known that it takes nothing. Nothing is noted when it was asked anew since.</summary>
    public Task NotFailingAsync(NpgsqlDataSource database, CancellationToken cancellation) => RunAsync(database, "failing_since = NULL", cancellation);

    /// <summary>The endpoint takes nothing now, and is to be left alone for a while, by any node; nothing is noted when it was asked anew since.</summary>
    public Task AwayAsync(NpgsqlDataSource database, string why, TimeSpan pause, CancellationToken cancellation) => RunAsync(
        database, "failing_since = coalesce(failing_since, clock_timestamp()), last_failure = $3, not_before = greatest(not_before, clock_timestamp() + $4)", cancellation, why, pause);

    /// <summary>The endpoint is gone: its subscription is suspended by the hub, in the transaction of a connection that holds the subscription.</summary>
    /// <returns>False, with nothing changed, when it was asked anew since, was suspended before, or is another subscription of the same name.</returns>
    public async Task<bool> SuspendAsync(NpgsqlConnection connection, DateTimeOffset createdAt, string reason, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"""
            UPDATE feeds.subscription SET state = 'suspended', reason = $2, suspended_by = '{Subscriptions.Subscription.Hub}'
            WHERE name = $1 AND state = 'active' AND created_at = $3 AND EXISTS (SELECT FROM feeds.webhook WHERE subscription = $1 AND asked_at = $4)
            """, connection);
        foreach (var value in (ReadOnlySpan<object>)[Subscription, reason, createdAt.ToUniversalTime(), AskedAt.ToUniversalTime()]) command.Parameters.Add(new() { Value = value });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>Of an endpoint for which nothing waits any more it is not known that it takes nothing.</summary>
    public Task ForgetIfIdleAsync(NpgsqlDataSource database, CancellationToken cancellation) => RunAsync(
        database, "failing_since = CASE WHEN EXISTS (SELECT FROM feeds.delivery d WHERE d.subscription = $1 AND d.parked_at IS NULL) THEN failing_since END", cancellation);

    /// <summary>Wraps the secrets with the newest master key.</summary>
    /// <returns>How many were wrapped anew.</returns>
    /// <exception cref="CryptographicException">One is wrapped with a master key that is not among those given.</exception>
    public static async Task<int> RewrapAsync(NpgsqlDataSource database, IKeyWrapping master, CancellationToken cancellation)
    {
        var kept = new List<(string Subscription, string Column, byte[] Wrapped)>();
        await using (var command = database.CreateCommand("SELECT subscription, secret, CASE WHEN previous_until > clock_timestamp() THEN previous END FROM feeds.webhook"))
        {
            await using var row = await command.ExecuteReaderAsync(cancellation);
            while (await row.ReadAsync(cancellation))
            {
                kept.Add((row.GetString(0), "secret", row.GetFieldValue<byte[]>(1)));
                if (!row.IsDBNull(2)) kept.Add((row.GetString(0), "previous", row.GetFieldValue<byte[]>(2)));
            }
        }

        var rewrapped = 0;
        foreach (var (subscription, column, wrapped) in kept.Where(one => !master.IsNewest(one.Wrapped)))
        {
            // One that is replaced meanwhile is wrapped with the newest key by whoever replaces it.
            await using var command = database.CreateCommand($"UPDATE feeds.webhook SET {column} = $3 WHERE subscription = $1 AND {column} = $2");
            command.Parameters.Add(new() { Value = subscription });
            command.Parameters.Add(new() { Value = wrapped });
            command.Parameters.Add(new() { Value = master.Wrap(master.Unwrap(wrapped)) });
            rewrapped += await command.ExecuteNonQueryAsync(cancellation);
        }

        return rewrapped;
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("feeds.webhook");
        table.AddColumn("subscription", "text").AsPrimaryKey();
        table.AddColumn("url", "text").NotNull();
        table.AddColumn("secret", "bytea").NotNull();
        table.AddColumn("previous", "bytea");
        table.AddColumn("previous_until", "timestamptz");
        table.AddColumn("rate", "integer");
        table.AddColumn("holder", "uuid");
        table.AddColumn("succeeded_at", "timestamptz");
        table.AddColumn("failing_since", "timestamptz");
        table.AddColumn("last_failure", "text");
        table.AddColumn("asked_at", "timestamptz").NotNull().DefaultValueByExpression("now()");
        table.AddColumn("not_before", "timestamptz");
        table.AddColumn("alerted", "boolean").NotNull().DefaultValueByExpression("false");
        return table;
    }

    private static Webhook Read(NpgsqlDataReader row) => new(
        row.GetString(0), new Uri(row.GetString(1)), row.IsDBNull(3) ? [row.GetFieldValue<byte[]>(2)] : [row.GetFieldValue<byte[]>(2), row.GetFieldValue<byte[]>(3)],
        row.IsDBNull(4) ? null : row.GetInt32(4), row.IsDBNull(5) ? null : row.GetFieldValue<DateTimeOffset>(5), row.IsDBNull(6) ? null : row.GetFieldValue<DateTimeOffset>(6),
        row.IsDBNull(7) ? null : row.GetString(7), row.GetFieldValue<DateTimeOffset>(8), row.IsDBNull(9) ? null : row.GetFieldValue<TimeSpan>(9));

    private async Task RunAsync(NpgsqlDataSource database, string set, CancellationToken cancellation, params object[] values)
    {
        await using var command = database.CreateCommand($"UPDATE feeds.webhook SET {set} WHERE subscription = $1 AND asked_at = $2");
        foreach (var value in (ReadOnlySpan<object>)[Subscription, AskedAt.ToUniversalTime(), .. values]) command.Parameters.Add(new() { Value = value });
        await command.ExecuteNonQueryAsync(cancellation);
    }
}
