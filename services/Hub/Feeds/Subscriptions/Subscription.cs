using System.Text.Json;
using Intercommunalite.Contracts;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>A durable subscription: the hub keeps how far it is, and what was given of it and is not done.</summary>
/// <param name="Name">Its name, one for the whole hub.</param>
/// <param name="Client">The client that reads it.</param>
/// <param name="Agreement">The agreement under which; null for an administrator's own.</param>
/// <param name="Kind"><c>pull</c>: readers come for it (gRPC); <c>webhook</c>: the hub brings it.</param>
/// <param name="Filter">What is asked for.</param>
/// <param name="Fetched">Position of the store up to which it was looked through. What is behind has no rows yet, however far the subscription is behind.</param>
/// <param name="MaxAttempts">Failures after which a delivery is parked.</param>
/// <param name="AckTimeout">Seconds within which a delivery is to be acknowledged.</param>
/// <param name="IsSuspended">Whether nothing is given until it is resumed.</param>
/// <param name="Reason">Why it is suspended.</param>
/// <param name="SuspendedBy">Who suspended it; null when it is not, or that was not noted.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="CreatedBy">By whom.</param>
internal sealed record Subscription(
    string Name, string Client, string? Agreement, string Kind, FeedFilter Filter, long Fetched, int MaxAttempts, int AckTimeout, bool IsSuspended, string? Reason, string? SuspendedBy,
    DateTimeOffset CreatedAt, string CreatedBy)
{
    /// <summary>Readers come for it.</summary>
    public const string Pull = "pull";

    /// <summary>The hub brings it.</summary>
    public const string Webhook = "webhook";

    /// <summary>Who suspends one whose endpoint is gone.</summary>
    public const string Hub = "hub";

    private const string Columns = "name, client, agreement, kind, filter, fetched, max_attempts, ack_timeout, state, reason, suspended_by, created_at, created_by";

    /// <summary>One of this name, or null.</summary>
    public static async Task<Subscription?> FindAsync(NpgsqlDataSource database, string name, CancellationToken cancellation)
    {
        // No other text is a name, and not all of it is text for PostgreSQL.
        if (!Slug.TryParse(name, out _)) return null;
        await using var command = database.CreateCommand($"SELECT {Columns} FROM feeds.subscription WHERE name = $1");
        command.Parameters.Add(new() { Value = name });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        return await reader.ReadAsync(cancellation) ? Read(reader) : null;
    }

    /// <summary>All of them, by name.</summary>
    public static async Task<IReadOnlyList<Subscription>> AllAsync(NpgsqlDataSource database, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"SELECT {Columns} FROM feeds.subscription ORDER BY name");
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        var all = new List<Subscription>();
        while (await reader.ReadAsync(cancellation)) all.Add(Read(reader));
        return all;
    }

    /// <summary>Adds it, as part of the transaction that a connection is in; false when there is one of this name.</summary>
    public async Task<bool> AddAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand($"INSERT INTO feeds.subscription ({Columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active', NULL, NULL, $9, $10) ON CONFLICT DO NOTHING", connection);
        command.Parameters.Add(new() { Value = Name });
        command.Parameters.Add(new() { Value = Client });
        command.Parameters.Add(EventStore.Query.Text(Agreement));
        command.Parameters.Add(new() { Value = Kind });
        command.Parameters.Add(new() { Value = JsonSerializer.Serialize(Filter, ContractJson.Options) });
        command.Parameters.Add(new() { Value = Fetched });
        command.Parameters.Add(new() { Value = MaxAttempts });
        command.Parameters.Add(new() { Value = AckTimeout });
        command.Parameters.Add(new() { Value = CreatedAt.ToUniversalTime() });
        command.Parameters.Add(new() { Value = CreatedBy });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>
    /// Counts those of a client, as part of the transaction that a connection is in: until that ends nobody else counts them, so that two
    /// who make one at a time do not both see room. Null while somebody else does: to wait for them would keep a connection from others.
    /// </summary>
    public static async Task<long?> CountAsync(NpgsqlConnection connection, string client, CancellationToken cancellation)
    {
        await using var batch = new NpgsqlBatch(connection)
        {
            BatchCommands =
            {
                new("SELECT pg_try_advisory_xact_lock(hashtextextended('feeds.subscription ' || $1, 0))") { Parameters = { new() { Value = client } } },
                // Counted behind it, so that what was made under the lock is seen.
                new("SELECT count(*) FROM feeds.subscription WHERE client = $1") { Parameters = { new() { Value = client } } },
            },
        };
        await using var row = await batch.ExecuteReaderAsync(cancellation);
        await row.ReadAsync(cancellation);
        if (!row.GetBoolean(0)) return null;
        await row.NextResultAsync(cancellation);
        await row.ReadAsync(cancellation);
        return row.GetInt64(0);
    }

    /// <summary>Suspends one for somebody, as part of the transaction that a connection is in.</summary>
    /// <returns>False, with nothing changed, when an administrator suspended it already and this is none.</returns>
    public static Task<bool> SuspendAsync(NpgsqlConnection connection, string name, string reason, string by, bool isAdministrator, CancellationToken cancellation) =>
        DecideAsync(connection, "UPDATE feeds.subscription SET state = 'suspended', reason = $3, suspended_by = $4", cancellation, name, isAdministrator, reason, by);

    /// <summary>Resumes one for somebody, in the same way; what waits comes at once.</summary>
    /// <returns>False, with nothing changed, when an administrator suspended it and this is none.</returns>
    public static async Task<bool> ResumeAsync(NpgsqlConnection connection, string name, bool isAdministrator, CancellationToken cancellation)
    {
        if (!await DecideAsync(connection, "UPDATE feeds.subscription SET state = 'active', reason = NULL, suspended_by = NULL", cancellation, name, isAdministrator)) return false;
        await Deliveries.HurryAsync(connection, name, cancellation);
        return true;
    }

    /// <summary>Ends one for somebody, in the same way; its deliveries, replays and webhook are not touched.</summary>
    /// <returns>False, with nothing changed, when an administrator suspended it and this is none: to make it anew would resume it.</returns>
    public static Task<bool> DeleteAsync(NpgsqlConnection connection, string name, bool isAdministrator, CancellationToken cancellation) =>
        DecideAsync(connection, "DELETE FROM feeds.subscription", cancellation, name, isAdministrator);

    // Who suspends what is not theirs is an administrator, or the hub.
    private static async Task<bool> DecideAsync(NpgsqlConnection connection, string what, CancellationToken cancellation, params object[] values)
    {
        await using var command = new NpgsqlCommand($"{what} WHERE name = $1 AND ($2 OR suspended_by IS NULL OR suspended_by IN (client, '{Hub}'))", connection);
        foreach (var value in values) command.Parameters.Add(new() { Value = value });
        return await command.ExecuteNonQueryAsync(cancellation) == 1;
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("feeds.subscription");
        table.AddColumn("name", "text").AsPrimaryKey();
        table.AddColumn("client", "text").NotNull();
        table.AddColumn("agreement", "text");
        table.AddColumn("kind", "text").NotNull();
        table.AddColumn("filter", "text").NotNull();
        table.AddColumn("fetched", "bigint").NotNull();
        table.AddColumn("max_attempts", "integer").NotNull();
        table.AddColumn("ack_timeout", "integer").NotNull();
        table.AddColumn("state", "text").NotNull();
        table.AddColumn("reason", "text");
        table.AddColumn("suspended_by", "text");
        table.AddColumn("created_at", "timestamptz").NotNull();
        table.AddColumn("created_by", "text").NotNull();
        return table;
    }

    private static Subscription Read(NpgsqlDataReader reader) => new(
        reader.GetString(0), reader.GetString(1), reader.IsDBNull(2) ? null : reader.GetString(2), reader.GetString(3),
        JsonSerializer.Deserialize<FeedFilter>(reader.GetString(4), ContractJson.Options)!, reader.GetInt64(5), reader.GetInt32(6), reader.GetInt32(7),
        reader.GetString(8) == "suspended", reader.IsDBNull(9) ? null : reader.GetString(9), reader.IsDBNull(10) ? null : reader.GetString(10),
        reader.GetFieldValue<DateTimeOffset>(11), reader.GetString(12));
}
