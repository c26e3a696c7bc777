using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using RabbitMQ.Client;

namespace Intercommunalite.Hub.Access;

/// <summary>Something on the broker that could not be brought up to date.</summary>
/// <param name="User">The broker user that it concerns; null when it concerns all of them.</param>
/// <param name="Reason">Why.</param>
internal sealed record BrokerFault(string? User, string Reason);

/// <summary>
/// The broker as its administrator sees it. Exchanges are made over AMQP, which the hub's user may; users over the management API
/// (<c>ConnectionStrings__BusManagement</c>, a URL with the credentials of an administrator). Without that setting somebody makes them by hand.
/// </summary>
internal sealed class Broker : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    private readonly ConnectionFactory _factory;
    private readonly HttpClient? _management;
    private IConnection? _connection;

    public Broker(IConfiguration configuration)
    {
        _factory = MessageBus.Factory(configuration);
        if (configuration.GetConnectionString("BusManagement") is { Length: > 0 } setting) _management = Management(setting);
    }

    /// <summary>The user that the hub connects as.</summary>
    public string User => _factory.UserName;

    /// <summary>Whether users are made by the hub.</summary>
    public bool IsManaged => _management is not null;

    /// <summary>The settings of a connector that connects as a user.</summary>
    /// <param name="user">The user.</param>
    /// <param name="password">Its password, or null for a place to put it.</param>
    public IReadOnlyDictionary<string, string> Settings(BusUser user, string? password)
    {
        var address = new UriBuilder(_factory.Uri) { UserName = user.Name, Password = password ?? "PASSWORD" };
        return new Dictionary<string, string>
        {
            ["ConnectionStrings__Bus"] = address.Uri.AbsoluteUri,
            ["Connector__OwnBusUser"] = "true",
            ["Connector__Communes"] = string.Join(',', user.Communes),
        };
    }

    /// <summary>What to run beside the broker to make a user, or give it other rights. The password is asked for, so that it is on no command line.</summary>
    public IReadOnlyList<string> Commands(BusUser user) =>
    [
        $"rabbitmqctl add_user {user.Name}    # asks for the password; if the user is there and the password is new: rabbitmqctl change_password {user.Name}",
        $"rabbitmqctl set_permissions -p '{_factory.VirtualHost}' {user.Name} '{user.Configurable}' '{user.Configurable}' '{user.Readable}'",
        $"rabbitmqctl close_all_user_connections {user.Name} 'rights have changed'",
    ];

    /// <summary>What to run beside the broker to be rid of a user.</summary>
    public static IReadOnlyList<string> RemovalCommands(string name) => [$"rabbitmqctl delete_user {name}"];

    /// <summary>Whether the broker has a user; false also where nobody can be asked.</summary>
    public async Task<bool> HasUserAsync(string name, CancellationToken cancellation)
    {
        if (_management is null) return false;
        using var response = await _management.GetAsync(new Uri($"api/users/{name}", UriKind.Relative), cancellation);
        return response.StatusCode != HttpStatusCode.NotFound && response.EnsureSuccessStatusCode().IsSuccessStatusCode;
    }

    /// <summary>
    /// Takes away what is there of the removed users, then makes what is missing of the others; all else stays. Each by itself: a user can
    /// break what is its own to declare, which must not keep another from coming in, or a removed one in.
    /// </summary>
    /// <returns>What failed.</returns>
    public async Task<IReadOnlyList<BrokerFault>> ApplyAsync(IReadOnlyCollection<BusUser> users, IReadOnlySet<string> removed, CancellationToken cancellation)
    {
        var faults = new List<BrokerFault>();
        if (users.Count + removed.Count == 0) return faults;
        Known? known = null;
        if (_management is not null) await TryAsync(null, async () => known = await KnownAsync(cancellation));
        foreach (var name in removed.Where(name => known?.PasswordHashes.ContainsKey(name) is true)) await TryAsync(name, () => RemoveAsync(name, cancellation));
        IConnection? connection = null;
        await TryAsync(null, async () => connection = await ConnectedAsync(cancellation));
        if (connection is null) return faults;
        foreach (var user in users)
        {
            await TryAsync(user.Name, async () =>
            {
                // First the way to the hub: what is published to an exchange that leads nowhere is lost.
                await DeclareAsync(connection, user, cancellation);
                if (known is not null) await MakeAsync(user, known, cancellation);
            });
        }

        return faults;

        async Task TryAsync(string? user, Func<Task> act)
        {
            try
            {
                await act();
            }
            catch (Exception e) when (!cancellation.IsCancellationRequested)
            {
                faults.Add(new(user, $"{e.GetType().Name}: {(e.InnerException ?? e).Message}"));
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        _management?.Dispose();
        if (_connection is not null) await _connection.DisposeAsync();
    }

    private async Task<Known> KnownAsync(CancellationToken cancellation) => new(
        (await GetAsync<KnownUser>("api/users", cancellation)).ToDictionary(user => user.Name, user => user.Password_Hash),
        (await GetAsync<Permissions>($"api/vhosts/{Uri.EscapeDataString(_factory.VirtualHost)}/permissions", cancellation)).ToDictionary(permission => permission.User));

    private async Task MakeAsync(BusUser user, Known known, CancellationToken cancellation)
    {
        var (hasUser, wanted) = (known.PasswordHashes.TryGetValue(user.Name, out var hash), new Permissions(user.Name, user.Configurable, user.Configurable, user.Readable));
        var (hasPassword, hasPermissions) = (hash == user.PasswordHash, known.Permissions.GetValueOrDefault(user.Name) == wanted);
        if (hasPassword && hasPermissions) return;
        if (!hasPassword)
            await PutAsync($"api/users/{user.Name}", new { password_hash = user.PasswordHash, hashing_algorithm = "rabbit_password_hashing_sha256", tags = "" }, cancellation);
        if (!hasPermissions)
            await PutAsync($"api/permissions/{Uri.EscapeDataString(_factory.VirtualHost)}/{user.Name}", new { wanted.Configure, wanted.Write, wanted.Read }, cancellation);
        // A channel remembers what it was allowed.
        if (hasUser) await DeleteAsync($"api/connections/username/{user.Name}", cancellation);
    }

    private async Task RemoveAsync(string name, CancellationToken cancellation)
    {
        // The user last: as long as it is there, what fails is tried again. Without permissions it does nothing meanwhile.
        await DeleteAsync($"api/permissions/{Uri.EscapeDataString(_factory.VirtualHost)}/{name}", cancellation);
        await DeleteAsync($"api/connections/username/{name}", cancellation);
        await DeleteAsync($"api/exchanges/{Uri.EscapeDataString(_factory.VirtualHost)}/{BusNames.ExchangeOf(name)}", cancellation);
        await DeleteAsync($"api/users/{name}", cancellation);
    }

    private async Task<IConnection> ConnectedAsync(CancellationToken cancellation)
    {
        if (_connection is { IsOpen: true }) return _connection;
        if (_connection is not null) await _connection.DisposeAsync();
        return _connection = await MessageBus.ConnectAsync(_factory, cancellation);
    }

    // Each time anew: a user may delete its own exchange. On a channel of its own, which an exchange of another kind in its place closes.
    private static async Task DeclareAsync(IConnection connection, BusUser user, CancellationToken cancellation)
    {
        await using var channel = await connection.CreateChannelAsync(cancellationToken: cancellation);
        await channel.ExchangeDeclareAsync(BusNames.SegmentExchange, ExchangeType.Fanout, durable: true, cancellationToken: cancellation);
        await channel.ExchangeDeclareAsync(BusNames.ExchangeOf(user.Name), ExchangeType.Fanout, durable: true, cancellationToken: cancellation);
        await channel.ExchangeBindAsync(BusNames.SegmentExchange, BusNames.ExchangeOf(user.Name), "", cancellationToken: cancellation);
    }

    private async Task<T[]> GetAsync<T>(string path, CancellationToken cancellation) => await _management!.GetFromJsonAsync<T[]>(new Uri(path, UriKind.Relative), cancellation) ?? [];

    private async Task PutAsync<T>(string path, T body, CancellationToken cancellation)
    {
        using var response = await _management!.PutAsJsonAsync(new Uri(path, UriKind.Relative), body, cancellation);
        response.EnsureSuccessStatusCode();
    }

    private async Task DeleteAsync(string path, CancellationToken cancellation)
    {
        using var response = await _management!.DeleteAsync(new Uri(path, UriKind.Relative), cancellation);
        if (response.StatusCode != HttpStatusCode.NotFound) response.EnsureSuccessStatusCode();
    }

    private static HttpClient Management(string setting)
    {
        // Not in the message: it holds a password.
        if (!Uri.TryCreate(setting, UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https") || !address.UserInfo.Contains(':', StringComparison.Ordinal))
            throw new InvalidOperationException("The setting ConnectionStrings:BusManagement is no URL of RabbitMQ's management API with user and password, such as https://admin:PASSWORD@rabbitmq:15671.");
        var credentials = string.Join(':', address.UserInfo.Split(':', 2).Select(Uri.UnescapeDataString));
        return new HttpClient
        {
            BaseAddress = new UriBuilder(address) { UserName = "", Password = "", Path = address.AbsolutePath.TrimEnd('/') + "/" }.Uri,
            Timeout = s_patience,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(credentials))) },
        };
    }

    private sealed record Known(IReadOnlyDictionary<string, string> PasswordHashes, IReadOnlyDictionary<string, Permissions> Permissions);

    private sealed record KnownUser(string Name, string Password_Hash);

    private sealed record Permissions(string User, string Configure, string Write, string Read);
}
