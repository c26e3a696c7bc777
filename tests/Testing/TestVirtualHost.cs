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
    private readonly string user;

    private TestVirtualHost(HttpClient management, Uri server, string user, string name)
    {
        this.management = management;
        this.user = user;
        Name = name;
        AmqpUri = name == "/" ? server : new UriBuilder(server) { Path = name }.Uri;
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
    public static Task<TestVirtualHost> CreateAsync(Uri server, Uri managementApi, CancellationToken cancellationToken = default) =>
        CreateAsync(server, managementApi, $"test-{Guid.NewGuid():N}", cancellationToken);

    /// <summary>
    /// The virtual host <c>/</c> of a server of the test's own, emptied: the one that a broker without data makes by itself.
    /// </summary>
    /// <param name="server">AMQP URI of an administrator.</param>
    /// <param name="managementApi">Base URL of the server's management API.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static Task<TestVirtualHost> EmptyDefaultAsync(Uri server, Uri managementApi, CancellationToken cancellationToken = default) =>
        CreateAsync(server, managementApi, "/", cancellationToken);

    private static async Task<TestVirtualHost> CreateAsync(Uri server, Uri managementApi, string name, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(server);
        var credentials = server.UserInfo.Split(':', 2).Select(Uri.UnescapeDataString).ToArray();
        var client = new HttpClient { BaseAddress = managementApi };
        client.DefaultRequestHeaders.Authorization =
            new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(string.Join(':', credentials))));
        try
        {
            var host = new TestVirtualHost(client, server, credentials[0], name);
            await host.Delete(cancellationToken);
            await host.Put(host.Path, new { }, cancellationToken);
            await host.Put(
                $"api/permissions/{Uri.EscapeDataString(name)}/{Uri.EscapeDataString(credentials[0])}",
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
        foreach (var connection in await management.GetFromJsonAsync<Named[]>($"{Path}/connections", cancellationToken) ?? [])
        {
            using var response = await management.DeleteAsync($"api/connections/{Uri.EscapeDataString(connection.Name)}", cancellationToken);
            if (response.IsSuccessStatusCode)
                closed++;
        }

        return closed;
    }

    /// <summary>Empties every queue; messages that a consumer holds unacknowledged stay with it.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task PurgeQueuesAsync(CancellationToken cancellationToken = default) => ForEachQueue(queue => $"{queue}/contents", cancellationToken);

    /// <summary>Deletes every queue, with its bindings and messages, whoever consumes from it.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task DeleteQueuesAsync(CancellationToken cancellationToken = default) => ForEachQueue(queue => queue, cancellationToken);

    /// <summary>
    /// Puts a message of the administrator's, byte by byte, into a queue, past every client library.
    /// </summary>
    /// <param name="queue">Its name.</param>
    /// <param name="body">The message.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task PublishAsync(string queue, byte[] body, CancellationToken cancellationToken = default)
    {
        using var response = await management.PostAsJsonAsync(
            $"api/exchanges/{Uri.EscapeDataString(Name)}/amq.default/publish",
            new { properties = new { delivery_mode = 2, user_id = user }, routing_key = queue, payload = Convert.ToBase64String(body), payload_encoding = "base64" },
            cancellationToken);
        var answer = await response.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<Routed>(cancellationToken);
        if (answer is not { IsRouted: true })
            throw new InvalidOperationException($"There is no queue {queue}.");
    }

    /// <summary>The queues, each as its name and how many messages are in it, as the server counted them some seconds ago.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task<IReadOnlyList<string>> QueuesAsync(CancellationToken cancellationToken = default) =>
        [.. (await management.GetFromJsonAsync<Counted[]>($"api/queues/{Uri.EscapeDataString(Name)}", cancellationToken) ?? []).Select(queue => $"{queue.Name} {queue.Messages}").Order()];

    /// <summary>Where the server writes its log, as it names the files on its machine.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task<IReadOnlyList<string>> LogFilesAsync(CancellationToken cancellationToken = default) =>
        [.. (await management.GetFromJsonAsync<Node[]>("api/nodes", cancellationToken) ?? []).SelectMany(node => node.LogFiles)];

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        using (management)
            await Delete(CancellationToken.None);
    }

    private string Path => $"api/vhosts/{Uri.EscapeDataString(Name)}";

    private async Task ForEachQueue(Func<string, string> delete, CancellationToken cancellationToken)
    {
        var queues = $"api/queues/{Uri.EscapeDataString(Name)}";
        foreach (var queue in await management.GetFromJsonAsync<Named[]>(queues, cancellationToken) ?? [])
        {
            using var response = await management.DeleteAsync(delete($"{queues}/{Uri.EscapeDataString(queue.Name)}"), cancellationToken);
            response.EnsureSuccessStatusCode();
        }
    }

    private async Task Delete(CancellationToken cancellationToken)
    {
        using var response = await management.DeleteAsync(Path, cancellationToken);
        if (response.StatusCode is not System.Net.HttpStatusCode.NotFound)
            response.EnsureSuccessStatusCode();
    }

    private async Task Put(string path, object body, CancellationToken cancellationToken)
    {
        using var response = await management.PutAsJsonAsync(path, body, cancellationToken);
        response.EnsureSuccessStatusCode();
    }

    private sealed record Named(string Name);

    private sealed record Counted(string Name, long? Messages);

    private sealed record Node([property: System.Text.Json.Serialization.JsonPropertyName("log_files")] string[] LogFiles);

    private sealed record Routed([property: System.Text.Json.Serialization.JsonPropertyName("routed")] bool IsRouted);
}
