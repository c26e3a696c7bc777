using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Grpc.Net.Client;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Npgsql;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>Hub, connector, broker and database with certificates of one authority.</summary>
public sealed class TlsTests
{
    [Fact]
    public async Task Given_TLS_everywhere_When_an_event_goes_through_Then_nothing_went_without_And_who_has_no_right_certificate_is_kept_out()
    {
        using var authority = new TestAuthority();
        using var clients = new TestAuthority();
        using var others = new TestAuthority();
        await using var servers = await PrivateServers.StartAsync(authority);
        await using var database = await TestDatabase.CreateAsync(servers.Postgres);
        using var data = new Folder();
        await using var hub = Hub(authority, database, servers, authority.Server());
        await using var connector = Connector(authority, clients, servers, authority, data.Of("connector"), authority.Handler(clients.Client()));
        // Each trusts another authority than the one that the broker's certificate is of.
        await using var mistrustful = Connector(authority, clients, servers, others, data.Of("mistrustful"), authority.Handler(clients.Client()));
        await Task.WhenAll(hub.StartAsync(), connector.StartAsync(), mistrustful.StartAsync());

        using var software = Caller(connector.Address, authority.Handler(clients.Client()));
        using (var accepted = await PostAsync(software)) Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        await Eventually.Equal(1L, async () => (long)(await database.ScalarAsync("SELECT count(*) FROM hub.mt_events"))!, TimeSpan.FromMinutes(1));
        await Eventually.Equal(1, async () => (int)(await software.GetFromJsonAsync<JsonNode>(new Uri("/communes/35085/journal", UriKind.Relative)))!["receivedThrough"]!);
        await Eventually.Is(() => mistrustful.LastLines, lines => lines.Any(line => line.Contains("The broker does not take connections", StringComparison.Ordinal)));

        // The database has no port without; the broker has one, which nobody uses.
        Assert.Equal(0L, await database.ScalarAsync("""
            SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE NOT ssl AND backend_type = 'client backend'
            """));
        await Assert.ThrowsAsync<PostgresException>(() => ConnectAsync(new NpgsqlConnectionStringBuilder(database.ConnectionString) { SslMode = SslMode.Disable }));
        var connections = await Eventually.Is(() => ConnectionsAsync(servers), all => all.Count >= 2);
        Assert.All(connections, connection => Assert.True((bool)connection!["ssl"]!));

        // The feed, on its own port and on that of the pages.
        foreach (var port in (int[])[hub.Address.Port, GrpcPort(hub)])
        {
            using var caller = Caller(new Uri($"https://localhost:{port}"), authority.Handler());
            using var channel = GrpcChannel.ForAddress(caller.BaseAddress!, new GrpcChannelOptions { HttpClient = caller });
            Assert.NotNull(await new Feed.FeedClient(channel).ReadAsync(new ReadRequest { Limit = 1 }));
        }

        // Client certificates: none, of another authority, of the servers' authority, and one that is a server's.
        foreach (var handler in (HttpMessageHandler[])[authority.Handler(), authority.Handler(others.Client()), authority.Handler(authority.Client()), authority.Handler(clients.Client("1.3.6.1.5.5.7.3.1"))])
        {
            using var caller = Caller(connector.Address, handler);
            await Assert.ThrowsAsync<HttpRequestException>(() => caller.GetAsync(new Uri("/health/live", UriKind.Relative)));
        }

        // Who does not know the authority does not talk to the hub.
        using var stranger = Caller(hub.Address, new SocketsHttpHandler());
        await Assert.ThrowsAsync<HttpRequestException>(() => stranger.GetAsync(new Uri("/health/live", UriKind.Relative)));

        using var asked = Caller(hub.Address, authority.Handler());
        foreach (var (path, cache) in ((string, string)[])[("/api/v1/territory", "no-store"), ("/health/live", "no-store"), ("/nowhere", "no-store")])
        {
            using var answer = await asked.GetAsync(new Uri(path, UriKind.Relative));
            Assert.Equal(
                [
                    "default-src 'none'; frame-ancestors 'none'", "same-origin", "same-origin", "same-origin", "max-age=31536000", "nosniff",
                ],
                new[] { "Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options" }
                    .Select(name => answer.Headers.TryGetValues(name, out var values) ? string.Join(',', values) : $"no {name}"));
            Assert.Contains(cache, answer.Headers.CacheControl!.ToString(), StringComparison.Ordinal);
            Assert.False(answer.Headers.Contains("Server"));
        }

        await TooOftenAsync(asked, authority, hub);
        await NoSecretAsync(servers, hub, connector, mistrustful);
    }

    [Fact]
    public async Task Given_an_address_that_is_open_to_the_network_When_there_is_no_TLS_Then_nothing_starts_unless_a_proxy_is_said_to_have_it()
    {
        using var data = new Folder();
        var (port, openPort) = (FreePorts.Take(), FreePorts.Take());
        var settings = new Dictionary<string, string?>
        {
            ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{port};http://0.0.0.0:{openPort}",
            ["ConnectionStrings__Bus"] = "amqp://u:p@127.0.0.1:1/",
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Connector__Communes"] = Some.Combourg,
            ["Connector__DataDirectory"] = data.Of("open"),
        };
        await using var open = new ServiceProcess(ServiceProcess.Built("Connector"), settings);
        var refused = await Assert.ThrowsAsync<InvalidOperationException>(() => open.StartAsync());
        Assert.Contains($"http://0.0.0.0:{openPort} would be open to the network without TLS", refused.Message, StringComparison.Ordinal);

        await using var behind = new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>(settings) { ["Edge__BehindTlsProxy"] = "true" });
        await behind.StartAsync();
        Assert.True(await IsToldHttpsAsync(port));
        Assert.Contains("Edge__BehindTlsProxy is set without Edge__Proxies", await File.ReadAllTextAsync(behind.LogFile), StringComparison.Ordinal);
        await behind.StopAsync();

        // Whoever says so without being a proxy is not believed.
        await using var direct = new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>(settings) { ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{port}" });
        await direct.StartAsync();
        Assert.False(await IsToldHttpsAsync(port));
    }

    [Fact]
    public async Task Given_wrong_passwords_When_services_fail_on_them_Then_no_log_and_no_command_line_tells_them()
    {
        using var data = new Folder();
        var postgres = new NpgsqlConnectionStringBuilder(TestServers.Postgres) { Password = "MARKER-postgres", Database = "nowhere" }.ConnectionString;
        var bus = new UriBuilder(TestServers.RabbitMq) { UserName = "nobody", Password = "MARKER-bus" }.Uri.ToString();
        await using var hub = new ServiceProcess(ServiceProcess.Built("Hub"), new Dictionary<string, string?>
        {
            ["ConnectionStrings__Hub"] = postgres,
            ["ConnectionStrings__Keys"] = new NpgsqlConnectionStringBuilder(postgres) { Database = "keys" }.ConnectionString,
            ["ConnectionStrings__Bus"] = bus,
            ["ConnectionStrings__BusManagement"] = new UriBuilder(TestServers.RabbitMqManagement) { UserName = "nobody", Password = "MARKER-management" }.Uri.ToString(),
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Hub__Territory"] = Some.BretagneRomantique,
            ["Logging__LogLevel__Default"] = "Debug",
        });
        await using var connector = new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>
        {
            ["ConnectionStrings__Bus"] = bus,
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Connector__Communes"] = Some.Combourg,
            ["Connector__DataDirectory"] = data.Of("connector"),
            ["Logging__LogLevel__Default"] = "Debug",
        });
        hub.Start();
        connector.Start();

        foreach (var (service, said) in ((ServiceProcess, string)[])[(hub, "does not take connections"), (hub, "schema could not be brought up to date"), (connector, "does not take connections")])
            await Eventually.Is(() => File.ReadAllText(service.LogFile), log => log.Contains(said, StringComparison.Ordinal), TimeSpan.FromMinutes(1));

        Assert.All(new[] { hub, connector }, service => Assert.DoesNotContain("MARKER-", File.ReadAllText(service.LogFile), StringComparison.Ordinal));
        Assert.DoesNotContain(CommandLines(), line => line.Contains("MARKER-", StringComparison.Ordinal));
    }

    private static async Task TooOftenAsync(HttpClient asked, TestAuthority authority, ServiceProcess hub)
    {
        // Where secrets are tried, by address; then a caller of many requests, beside another.
        using var form = new FormUrlEncodedContent(new Dictionary<string, string> { ["grant_type"] = "client_credentials", ["client_id"] = "x", ["client_secret"] = "y" });
        await RefusedAsync(asked, 6, async () => await asked.PostAsync(new Uri("/connect/token", UriKind.Relative), new ByteArrayContent(await form.ReadAsByteArrayAsync()) { Headers = { ContentType = form.Headers.ContentType } }));
        await RefusedAsync(asked, 201, () => asked.GetAsync(new Uri("/api/v1/territory", UriKind.Relative)));
        using var other = Caller(hub.Address, authority.Handler(), "another");
        using var health = await asked.GetAsync(new Uri("/health/ready", UriKind.Relative));
        using var others = await other.GetAsync(new Uri("/api/v1/territory", UriKind.Relative));
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.OK), (health.StatusCode, others.StatusCode));
    }

    private static async Task RefusedAsync(HttpClient asked, int times, Func<Task<HttpResponseMessage>> ask)
    {
        for (var time = 0; time < times - 1; time++)
        {
            using var answer = await ask();
            if (answer.StatusCode == HttpStatusCode.TooManyRequests) break;
        }

        using var refused = await ask();
        Assert.Equal((HttpStatusCode.TooManyRequests, "application/problem+json"), (refused.StatusCode, refused.Content.Headers.ContentType?.MediaType));
        Assert.True(refused.Headers.RetryAfter!.Delta >= TimeSpan.FromSeconds(1));
    }

    // The passwords that are right are told as little.
    private static async Task NoSecretAsync(PrivateServers servers, params ServiceProcess[] services)
    {
        string[] secrets = [new NpgsqlConnectionStringBuilder(servers.Postgres).Password!, servers.RabbitMq.UserInfo.Split(':')[1]];
        foreach (var secret in secrets)
        {
            Assert.True(secret.Length >= 32);
            foreach (var service in services) Assert.DoesNotContain(secret, await File.ReadAllTextAsync(service.LogFile), StringComparison.Ordinal);
            Assert.DoesNotContain(CommandLines(), line => line.Contains(secret, StringComparison.Ordinal));
        }
    }

    private static IEnumerable<string> CommandLines()
    {
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(folder => int.TryParse(Path.GetFileName(folder), out _)))
        {
            string line;
            try
            {
                line = File.ReadAllText(Path.Combine(process, "cmdline"));
            }
            catch (IOException)
            {
                // Gone meanwhile.
                continue;
            }

            yield return line;
        }
    }

    private static async Task<bool> IsToldHttpsAsync(int port)
    {
        using var client = new HttpClient();
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://127.0.0.1:{port}/health/live") { Headers = { { "X-Forwarded-Proto", "https" } } };
        using var answer = await client.SendAsync(request);
        return answer.Headers.Contains("Strict-Transport-Security");
    }

    private static ServiceProcess Hub(TestAuthority authority, TestDatabase database, PrivateServers servers, (string Certificate, string Key) tls) =>
        new(ServiceProcess.Built("Hub"), new Dictionary<string, string?>
        {
            ["ASPNETCORE_URLS"] = $"https://localhost:{FreePorts.Take()}",
            ["Kestrel__Certificates__Default__Path"] = tls.Certificate,
            ["Kestrel__Certificates__Default__KeyPath"] = tls.Key,
            ["ConnectionStrings__Hub"] = Verified(database.ConnectionString, authority),
            ["ConnectionStrings__Keys"] = Verified(database.KeysConnectionString, authority),
            ["ConnectionStrings__Bus"] = servers.RabbitMqTls.ToString(),
            ["Tls__BusCa"] = authority.File,
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Hub__Territory"] = Some.BretagneRomantique,
            ["Hub__GrpcPort"] = $"{FreePorts.Take()}",
            ["RateLimits__TokensPerMinute"] = "5",
            ["RateLimits__RequestBurst"] = "200",
            ["RateLimits__RequestsPerSecond"] = "1",
        })
        { Handler = () => authority.Handler() };

    private static ServiceProcess Connector(
        TestAuthority authority, TestAuthority clients, PrivateServers servers, TestAuthority broker, string data, HttpMessageHandler handler)
    {
        var (certificate, key) = authority.Server();
        return new(ServiceProcess.Built("Connector"), new Dictionary<string, string?>
        {
            ["ASPNETCORE_URLS"] = $"https://127.0.0.1:{FreePorts.Take()}",
            ["Kestrel__Certificates__Default__Path"] = certificate,
            ["Kestrel__Certificates__Default__KeyPath"] = key,
            ["Tls__ClientCa"] = clients.File,
            ["ConnectionStrings__Bus"] = servers.RabbitMqTls.ToString(),
            ["Tls__BusCa"] = broker.File,
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Connector__Communes"] = Some.Combourg,
            ["Connector__DataDirectory"] = data,
        })
        { Handler = () => handler };
    }

    private static int GrpcPort(ServiceProcess hub) => int.Parse(hub.Environment["Hub__GrpcPort"]!, System.Globalization.CultureInfo.InvariantCulture);

    private static string Verified(string connection, TestAuthority authority) =>
        new NpgsqlConnectionStringBuilder(connection) { SslMode = SslMode.VerifyFull, RootCertificate = authority.File }.ConnectionString;

    private static HttpClient Caller(Uri address, HttpMessageHandler handler, string name = "test") => new(handler)
    {
        BaseAddress = address,
        DefaultRequestHeaders = { Authorization = new("Bearer", TestIssuer.Token(["connector", "administrator"], [Some.Combourg], name)) },
    };

    private static Task<HttpResponseMessage> PostAsync(HttpClient software) => software.PostAsync(
        new Uri($"/communes/{Some.Combourg}/events", UriKind.Relative),
        JsonContent.Create(Some.Births(Some.Combourg, 1, 1), new MediaTypeHeaderValue(CloudEvent.BatchMediaType), ContractJson.Options));

    private static async Task ConnectAsync(NpgsqlConnectionStringBuilder settings)
    {
        await using var connection = new NpgsqlConnection(settings.ConnectionString);
        await connection.OpenAsync();
    }

    private static async Task<JsonArray> ConnectionsAsync(PrivateServers servers)
    {
        using var client = new HttpClient { BaseAddress = servers.RabbitMqManagement };
        client.DefaultRequestHeaders.Authorization = new("Basic", Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(Uri.UnescapeDataString(servers.RabbitMq.UserInfo))));
        return (await client.GetFromJsonAsync<JsonArray>(new Uri("api/connections", UriKind.Relative)))!;
    }

    private sealed class Folder : IDisposable
    {
        private readonly string _path = Directory.CreateTempSubdirectory("tls-test-").FullName;

        public string Of(string name) => Path.Combine(_path, name);

        public void Dispose() => Directory.Delete(_path, recursive: true);
    }
}
