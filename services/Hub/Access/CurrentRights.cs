using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Globalization;
using System.Security.Claims;
using System.Text.Json;
using Intercommunalite.ServiceDefaults.Access;
using Npgsql;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// What a client of this hub may be by now: a token says what was true when it was issued. Known for half a second, so that neither a
/// request nor a page of a stream costs the database a question, and a client that is suspended is out within a second.
/// </summary>
internal sealed class CurrentRights(NpgsqlDataSource database, AccessOptions options, TimeProvider clock)
{
    private static readonly TimeSpan s_fresh = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<string, (Client? Client, long ReadAt)> _known = new(StringComparer.Ordinal);

    /// <summary>Whether a caller whose token was taken is still to be served: the token has not run out, and its client is not suspended or deleted and has kept its roles.</summary>
    /// <remarks>For streams, which outlive the check at their beginning. Ask at least twice a second.</remarks>
    public async ValueTask<bool> StillHoldAsync(ClaimsPrincipal user, CancellationToken cancellation) =>
        long.TryParse(user.FindFirstValue("exp"), CultureInfo.InvariantCulture, out var until)
        && clock.GetUtcNow() < DateTimeOffset.FromUnixTimeSeconds(until)
        && (!options.TokenServer || (await FindAsync(Caller.Of(user).Id, cancellation) is { Suspended: false } client
            && user.FindAll(Caller.RolesClaim).All(role => client.Roles.Contains(role.Value))));

    /// <summary>Whether a client for which the hub works without a call of its own still has a role. Of clients of another issuer nothing else is known than that they had it.</summary>
    public async ValueTask<bool> StillMayAsync(string client, string role, CancellationToken cancellation) =>
        !options.TokenServer || (await FindAsync(client, cancellation) is { Suspended: false } found && found.Roles.Contains(role));

    /// <summary>A client; null when there is none of that id.</summary>
    public async ValueTask<Client?> FindAsync(string id, CancellationToken cancellation)
    {
        if (_known.TryGetValue(id, out var known) && clock.GetElapsedTime(known.ReadAt) < s_fresh) return known.Client;
        var readAt = clock.GetTimestamp();
        await using var command = database.CreateCommand("""SELECT "Properties" FROM access."OpenIddictApplications" WHERE "ClientId" = $1""");
        command.Parameters.Add(new() { Value = id });
        var properties = await command.ExecuteScalarAsync(cancellation) as string;
        var client = properties is null ? null : Client.Of(JsonSerializer.Deserialize<ImmutableDictionary<string, JsonElement>>(properties)!);
        // Whoever has no client gets no token, so that nobody can fill this; those deleted are as few as there were clients.
        _known[id] = (client, readAt);
        return client;
    }
}
