using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;

namespace Intercommunalite.Testing;

/// <summary>
/// A RabbitMQ virtual host of its own for one test class or one scenario, so that no consumer that another test left behind
/// takes its messages. Disposing deletes it with all its queues and closes its connections.
/// </summary>
public sealed class TestVirtualHost : IAsyncDisposable
{
    private readonly HttpClient management;

    private TestVirtualHost(HttpClient management, Uri server, string name)
    {
        this.management = management;
        Name = name;
        AmqpUri = new UriBuilder(server) { Path = name }.Uri;
    }

    /// <summary>
    /// The name of the virtual host.
    /// </summary>
    public string Name { get; }

    /// <summary>
    /// <c>amqp://user:password@host:port/name</c>, with all permissions on the virtual host.
    /// </summary>
    public Uri AmqpUri { get; }

    /// <summary>
    /// Creates an empty virtual host on the shared server.
    /// </summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static Task<TestVirtualHost> CreateAsync(CancellationToken cancellationToken = default) =>
        CreateAsync(TestServers.RabbitMq, TestServers.RabbitMqManagement, cancellationToken);

    /// <summary>
    /// Creates an empty virtual host.
    /// </summary>
    /// <param name="server">AMQP URI of an administrator.</param>
    /// <param name="managementApi">Base URL of the server's management API.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async Task<TestVirtualHost> CreateAsync(Uri server, Uri managementApi, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(server);
        var credentials = server.UserInfo.Split(':', 2).Select(Uri.UnescapeDataString).ToArray();
        var client = new HttpClient { BaseAddress = managementApi };
        client.DefaultRequestHeaders.Authorization =
            new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(string.Join(':', credentials))));
        try
        {
            var host = new TestVirtualHost(client, server, $"test-{Guid.NewGuid():N}");
            await host.Put($"api/vhosts/{host.Name}", new { }, cancellationToken);
            await host.Put(
                $"api/permissions/{host.Name}/{Uri.EscapeDataString(credentials[0])}",
                new { configure = ".*", write = ".*", read = ".*" },
                cancellationToken);
            return host;
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Closes every connection to the virtual host from the server's side, as a broker fail-over does. The connections of a
    /// client appear in the management API only some seconds after they were opened.
    /// </summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>How many connections were closed.</returns>
    public async Task<int> CloseConnectionsAsync(CancellationToken cancellationToken = default)
    {
        var closed = 0;
        foreach (var connection in await management.GetFromJsonAsync<Named[]>($"api/vhosts/{Name}/connections", cancellationToken) ?? [])
        {
            using var response = await management.DeleteAsync($"api/connections/{Uri.EscapeDataString(connection.Name)}", cancellationToken);
            if (response.IsSuccessStatusCode)
                closed++;
        }

        return closed;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using (management)
        {
            using var response = await management.DeleteAsync($"api/vhosts/{Name}");
            if (response.StatusCode is not System.Net.HttpStatusCode.NotFound)
                response.EnsureSuccessStatusCode();
        }
    }

    private async Task Put(string path, object body, CancellationToken cancellationToken)
    {
        using var response = await management.PutAsJsonAsync(path, body, cancellationToken);
        response.EnsureSuccessStatusCode();
    }

    private sealed record Named(string Name);
}
