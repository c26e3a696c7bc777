using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using MassTransit;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Access;

/// <summary>A broker user of one connector.</summary>
/// <param name="Name">Lower-case letters, digits and hyphens.</param>
/// <param name="Communes">INSEE codes of the communes for which it speaks.</param>
/// <param name="PasswordHash">RabbitMQ's own salted hash, so that the user can be made anew; the password itself is kept nowhere.</param>
/// <param name="CreatedAt">When it was first made.</param>
internal sealed record BusUser(string Name, IReadOnlyList<string> Communes, string PasswordHash, DateTimeOffset CreatedAt)
{
    /// <summary>What it may declare and delete, and where it may publish: its own exchange, and the queue and exchange of its communes.</summary>
    public string Configurable => $"^(segments-{Name}|commune-({string.Join('|', Communes)}))$";

    /// <summary>What it may read: the queue of its communes, bound to the exchange of the same name.</summary>
    public string Readable => $"^commune-({string.Join('|', Communes)})$";
}

/// <summary>What came of making or changing a broker user.</summary>
/// <param name="User">As it is now; null when it was refused.</param>
/// <param name="Password">Told this once; null when it stays what it was.</param>
/// <param name="Conflict">Why it was refused.</param>
/// <param name="Created">Whether it is new.</param>
internal sealed record BusUserChange(BusUser? User, string? Password, string? Conflict, bool Created);

/// <summary>
/// The broker users of connectors: which there are, for which communes each may speak, and that the broker has them. RabbitMQ lets nobody
/// send under another user's name, so that an event of a commune counts only when its user may speak for it. The
/// hub's own user is trusted: it has every right on the broker anyway. What the broker lost, a whole disk included, is made again.
/// </summary>
internal sealed partial class BusUsers(
    NpgsqlDataSource database, StoreSchema schema, Broker broker, AuditLog audit, TimeProvider clock, ILogger<BusUsers> logger) : BackgroundService
{
    /// <summary>Most characters of a name.</summary>
    public const int LongestName = 64;

    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(5);

    private readonly SemaphoreSlim _oneAtATime = new(1);
    private readonly TaskCompletionSource _known = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile FrozenDictionary<string, FrozenSet<string>> _rights = FrozenDictionary<string, FrozenSet<string>>.Empty;

    /// <summary>The user that the hub itself connects as.</summary>
    public string HubsOwn => broker.User;

    /// <summary>Their table. A row that was removed stays, so that the broker can be rid of the user later too.</summary>
    public static Table Schema()
    {
        var table = new Table("access.bus_user");
        table.AddColumn("name", "text").AsPrimaryKey();
        table.AddColumn("communes", "text[]").NotNull();
        table.AddColumn("password_hash", "text").NotNull();
        table.AddColumn("created_at", "timestamptz").NotNull();
        table.AddColumn("removed_at", "timestamptz");
        return table;
    }

    /// <summary>Whether a text can be a user's name.</summary>
    public static bool IsName(string? text) => text is { Length: <= LongestName } && Name().IsMatch(text);

    /// <summary>The broker user that sent a message; the broker saw to it that it is the one. Null when none is named.</summary>
    public static string? SenderOf(ReceiveContext message) =>
        message.TryGetPayload<RabbitMqBasicConsumeContext>(out var delivery) && delivery.Properties.UserId is { Length: > 0 } user ? user : null;

    /// <summary>Why a sender may not speak for a commune; null when it may. Names the user, which the broker has vouched for, and no other value.</summary>
    public async ValueTask<string?> RefusalAsync(string? sender, string commune, CancellationToken cancellation)
    {
        if (sender == HubsOwn) return null;
        if (sender is null) return "message: sent without the name of a broker user";
        await _known.Task.WaitAsync(cancellation);
        return _rights.TryGetValue(sender, out var communes) && communes.Contains(commune) ? null : $"message: the broker user {sender} may not speak for this commune";
    }

    /// <summary>All of them, by name.</summary>
    public async Task<IReadOnlyList<BusUser>> AllAsync(CancellationToken cancellation) => (await ReadAsync(cancellation)).Active;

    /// <summary>
    /// Makes a user, or gives it other communes. Takes effect at once at this node, within seconds at the others; connections of a user whose
    /// rights have changed are closed.
    /// </summary>
    /// <param name="name">Its name.</param>
    /// <param name="communes">All communes for which it may speak from now on.</param>
    /// <param name="newPassword">Whether it gets another password, if it is not new.</param>
    /// <param name="who">Who says so.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="HttpRequestException">The broker's management API cannot be asked whether the name is free.</exception>
    public async Task<BusUserChange> SetAsync(string name, IReadOnlyList<string> communes, bool newPassword, string who, CancellationToken cancellation)
    {
        if (name == HubsOwn) return new(null, null, $"{name} is the hub's own broker user.", false);
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        // Of two who give a commune away at the same time, the second one sees what the first one did.
        await using (var gate = new NpgsqlCommand("LOCK TABLE access.bus_user IN SHARE ROW EXCLUSIVE MODE", connection)) await gate.ExecuteNonQueryAsync(cancellation);
        var rows = await ReadAsync(connection, cancellation);
        var before = rows.Active.FirstOrDefault(user => user.Name == name);
        if (rows.Active.FirstOrDefault(user => user.Name != name && user.Communes.Intersect(communes).Any()) is { } other)
            return new(null, null, $"{string.Join(", ", other.Communes.Intersect(communes))}: served by the broker user {other.Name}. Two connectors would take each other's receipts.", false);
        if (before is null && !rows.Removed.Contains(name) && await broker.HasUserAsync(name, cancellation))
            return new(null, null, $"The broker has a user {name} that the hub did not make. Choose another name.", false);

        var password = before is null || newPassword ? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(24)) : null;
        var user = new BusUser(
            name, [.. communes.Distinct().Order(StringComparer.Ordinal)], password is null ? before!.PasswordHash : Hash(password), before?.CreatedAt ?? clock.GetUtcNow());
        await using (var set = new NpgsqlCommand("""
            INSERT INTO access.bus_user VALUES ($1, $2, $3, $4, NULL)
            ON CONFLICT (name) DO UPDATE SET communes = $2, password_hash = $3, created_at = $4, removed_at = NULL
            """, connection))
        {
            set.Parameters.Add(new() { Value = user.Name });
            set.Parameters.Add(new() { Value = user.Communes.ToArray() });
            set.Parameters.Add(new() { Value = user.PasswordHash });
            set.Parameters.Add(new() { Value = user.CreatedAt });
            await set.ExecuteNonQueryAsync(cancellation);
        }

        var details = new JsonObject { ["communes"] = new JsonArray([.. user.Communes.Select(code => (JsonNode)code)]), ["newPassword"] = password is not null };
        await audit.AppendAsync(connection, new(who, before is null ? "access.bus-user-created" : "access.bus-user-changed", name, Details: details), cancellation);
        await transaction.CommitAsync(cancellation);
        return new(user, password, null, before is null);
    }

    /// <summary>Takes a user's rights away; the broker is rid of it as soon as it can be reached.</summary>
    /// <returns>False when there is no such user.</returns>
    public async Task<bool> RemoveAsync(string name, string who, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await using var remove = new NpgsqlCommand("UPDATE access.bus_user SET removed_at = $2 WHERE name = $1 AND removed_at IS NULL", connection);
        remove.Parameters.Add(new() { Value = name });
        remove.Parameters.Add(new() { Value = clock.GetUtcNow() });
        if (await remove.ExecuteNonQueryAsync(cancellation) == 0) return false;
        await audit.AppendAsync(connection, new(who, "access.bus-user-removed", name), cancellation);
        await transaction.CommitAsync(cancellation);
        return true;
    }

    /// <summary>Brings rights and broker up to what the table says.</summary>
    /// <returns>What of the broker is not; nothing of its users where it is the administrator who makes them.</returns>
    public async Task<IReadOnlyList<BrokerFault>> ApplyAsync(CancellationToken cancellation)
    {
        await _oneAtATime.WaitAsync(cancellation);
        try
        {
            var rows = await ReadAsync(cancellation);
            _rights = rows.Active.ToFrozenDictionary(user => user.Name, user => user.Communes.ToFrozenSet());
            _known.TrySetResult();
            return await broker.ApplyAsync(rows.Active, rows.Removed, cancellation);
        }
        finally
        {
            _oneAtATime.Release();
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            using var timer = new PeriodicTimer(s_interval, clock);
            IReadOnlyList<BrokerFault> told = [];
            do
            {
                var faults = await TryAsync(stoppingToken);
                foreach (var fault in faults.Except(told)) LogNotApplied(fault.User ?? "all", fault.Reason);
                told = faults;
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task<IReadOnlyList<BrokerFault>> TryAsync(CancellationToken stopping)
    {
        try
        {
            return await ApplyAsync(stopping);
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            // The database: until it is back, the rights are what they were.
            return [new(null, e.Message)];
        }
    }

    private async Task<(IReadOnlyList<BusUser> Active, IReadOnlySet<string> Removed)> ReadAsync(CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        return await ReadAsync(connection, cancellation);
    }

    private static async Task<(IReadOnlyList<BusUser> Active, IReadOnlySet<string> Removed)> ReadAsync(NpgsqlConnection connection, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT name, communes, password_hash, created_at, removed_at IS NOT NULL FROM access.bus_user ORDER BY name", connection);
        var (active, removed) = (new List<BusUser>(), new HashSet<string>());
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            if (reader.GetBoolean(4)) removed.Add(reader.GetString(0));
            else active.Add(new(reader.GetString(0), reader.GetFieldValue<string[]>(1), reader.GetString(2), reader.GetFieldValue<DateTimeOffset>(3)));
        }

        return (active, removed);
    }

    // https://www.rabbitmq.com/docs/passwords#computing-password-hash
    private static string Hash(string password)
    {
        var salt = RandomNumberGenerator.GetBytes(4);
        return Convert.ToBase64String([.. salt, .. SHA256.HashData([.. salt, .. Encoding.UTF8.GetBytes(password)])]);
    }

    [GeneratedRegex("^[a-z0-9][a-z0-9-]*$")]
    private static partial Regex Name();

    [LoggerMessage(Level = LogLevel.Warning, Message = "Broker users of connectors could not be brought up to date ({User}); it is tried again. {Reason}")]
    private partial void LogNotApplied(string user, string reason);
}
