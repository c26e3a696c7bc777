using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Grpc.Net.Client;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Testing;
using Npgsql;

// Three classes at a time, two of them the halves of the fault suite: whichever waits leaves the processors to those that work.
[assembly: Xunit.CollectionBehavior(MaxParallelThreads = 3)]

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>
/// A hub and its connectors as real processes, with a database and a virtual host of their own. Nothing is started before it
/// is asked for.
/// </summary>
internal sealed class Deployment : IAsyncDisposable
{
    private readonly TestDatabase _database;
    private readonly TestVirtualHost _virtualHost;
    private readonly string _data = Directory.CreateTempSubdirectory("hub-test-").FullName;

    private Deployment(string siren, TestDatabase database, TestVirtualHost virtualHost, string[][] communes, IReadOnlyDictionary<string, string?>? settings = null)
    {
        (_database, _virtualHost) = (database, virtualHost);
        Communes = communes;
        (Hub, GrpcPort) = Node("hub-1");
        (SecondHub, SecondGrpcPort) = Node("hub-2");
        AskedHub = Hub;
        Connectors = [.. communes.Select((served, index) => new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>(settings ?? new Dictionary<string, string?>())
        {
            ["ConnectionStrings__Bus"] = virtualHost.AmqpUri.ToString(),
            ["Access__Issuer"] = settings?.GetValueOrDefault("Access__Issuer") ?? TestIssuer.Url.ToString(),
            ["Connector__Communes"] = string.Join(',', served),
            ["Connector__DataDirectory"] = DataOf(index),
        }))];

        (ServiceProcess, int) Node(string name)
        {
            var port = FreePorts.Take();
            return (new ServiceProcess(ServiceProcess.Built("Hub"), new Dictionary<string, string?>(settings ?? new Dictionary<string, string?>())
            {
                ["ConnectionStrings__Hub"] = new NpgsqlConnectionStringBuilder(database.ConnectionString) { ApplicationName = name }.ConnectionString,
                ["ConnectionStrings__Keys"] = database.KeysConnectionString,
                ["Privacy__MasterKey"] = TestDatabase.MasterKey,
                ["ConnectionStrings__Bus"] = virtualHost.AmqpUri.ToString(),
                ["Access__TokenServer"] = "false",
                ["Access__Issuer"] = settings?.GetValueOrDefault("Access__Issuer") ?? TestIssuer.Url.ToString(),
                ["Hub__Territory"] = siren,
                ["Hub__GrpcPort"] = $"{port}",
            }), port);
        }
    }

    public ServiceProcess Hub { get; }

    public int GrpcPort { get; }

    /// <summary>Another node of the hub, on the same database and bus. It runs only where a test starts it.</summary>
    public ServiceProcess SecondHub { get; }

    /// <summary>The node that answers the test's questions; the first one, unless a test says otherwise.</summary>
    public ServiceProcess AskedHub { get; set; }

    /// <summary>Port of the second node's feed.</summary>
    public int SecondGrpcPort { get; }

    /// <summary>Codes of the communes that each connector serves.</summary>
    public IReadOnlyList<IReadOnlyList<string>> Communes { get; }

    public IReadOnlyList<ServiceProcess> Connectors { get; }

    public TestDatabase Database => _database;

    public TestVirtualHost VirtualHost => _virtualHost;

    /// <summary>Where a connector keeps its data.</summary>
    public string DataOf(int connector) => Path.Combine(_data, $"{connector}");

    /// <summary>A deployment on the shared test servers; nothing of it runs yet.</summary>
    public static Task<Deployment> CreateAsync(string siren, params string[][] communes) => CreateAsync(new Dictionary<string, string?>(), siren, communes);

    /// <summary>The same with further settings for every service.</summary>
    public static async Task<Deployment> CreateAsync(IReadOnlyDictionary<string, string?> settings, string siren, params string[][] communes)
    {
        var virtualHost = await TestVirtualHost.CreateAsync();
        return new Deployment(siren, await TestDatabase.CreateAsync(), virtualHost, communes, settings);
    }

    /// <summary>A deployment on servers that the test may stop; nothing of it runs yet.</summary>
    public static Task<Deployment> CreateAsync(PrivateServers servers, string siren, params string[][] communes) =>
        CreateAsync(servers, new Dictionary<string, string?>(), siren, communes);

    /// <summary>The same with further settings for every service.</summary>
    public static async Task<Deployment> CreateAsync(PrivateServers servers, IReadOnlyDictionary<string, string?> settings, string siren, params string[][] communes)
    {
        var virtualHost = await TestVirtualHost.EmptyDefaultAsync(servers.RabbitMq, servers.RabbitMqManagement);
        return new Deployment(siren, await TestDatabase.CreateAsync(servers.Postgres), virtualHost, communes, settings);
    }

    /// <summary>Codes of the communes of a territory.</summary>
    public static string[] CommunesOf(string siren) => [.. Epci.Find(siren)!.Communes.Select(commune => commune.Code.ToString())];

    /// <summary>Starts everything.</summary>
    public async Task<Deployment> StartAsync()
    {
        await Task.WhenAll(Connectors.Append(Hub).Select(service => service.StartAsync()));
        return this;
    }

    /// <summary>Runs the <c>interco</c> command to its end.</summary>
    /// <returns>What it wrote on standard output.</returns>
    public async Task<string> IntercoAsync(params string[] arguments)
    {
        var start = new System.Diagnostics.ProcessStartInfo("dotnet", [ServiceProcess.Built("Cli"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["INTERCO_TOKEN"] = Token;
        start.Environment["INTERCO_HUB"] = Hub.Address.ToString();
        start.Environment["INTERCO_GRPC"] = $"http://127.0.0.1:{GrpcPort}";
        start.Environment["INTERCO_CONNECTORS"] = string.Join(',', Connectors.Select(connector => connector.Address));
        using var process = System.Diagnostics.Process.Start(start)!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? await output : throw new InvalidOperationException($"interco {string.Join(' ', arguments)}: {process.ExitCode}. {await errors}");
    }

    /// <summary>Calls a service as somebody who may do everything that is not of persons.</summary>
    public HttpClient ClientOf(ServiceProcess service) => TestIssuer.Client(service.Address, Communes.SelectMany(served => served));

    /// <summary>The feed of the first node, read by such a caller.</summary>
    public GrpcChannel Feed()
    {
        var client = TestIssuer.Client(new Uri($"http://127.0.0.1:{GrpcPort}"), []);
        return GrpcChannel.ForAddress(client.BaseAddress!, new GrpcChannelOptions { HttpClient = client, DisposeHttpClient = true });
    }

    /// <summary>The token of such a caller.</summary>
    public string Token => TestIssuer.Token(["connector", "epci-agent", "administrator"], Communes.SelectMany(served => served));

    /// <summary>Posts events to the connector that serves their commune.</summary>
    public async Task<HttpResponseMessage> PostAsync(int connector, string commune, params IReadOnlyList<CloudEvent> events)
    {
        using var client = ClientOf(Connectors[connector]);
        var body = JsonContent.Create(events, new MediaTypeHeaderValue(CloudEvent.BatchMediaType), ContractJson.Options);
        return await client.PostAsync(new Uri($"/communes/{commune}/events", UriKind.Relative), body);
    }

    /// <summary>Asks the hub.</summary>
    public async Task<JsonNode> GetAsync(string path)
    {
        using var client = ClientOf(AskedHub);
        return (await client.GetFromJsonAsync<JsonNode>(new Uri(path, UriKind.Relative)))!;
    }

    /// <summary>Waits until the hub has so many events, and the figures too.</summary>
    public Task HasEventsAsync(long count, TimeSpan? timeout = null) => Eventually.Passes(
        async () =>
        {
            var stored = (await GetAsync("/api/v1/ingestion"))["items"]!.AsArray().Sum(journal => (long)journal!["events"]!);
            Xunit.Assert.Equal(count, stored);
            Xunit.Assert.All((await GetAsync("/api/v1/admin/projections"))["items"]!.AsArray(), projection =>
            {
                Xunit.Assert.Equal("running", (string)projection!["state"]!);
                Xunit.Assert.True((long)projection["highWater"]! >= count);
                Xunit.Assert.Equal(0, (long)projection["lag"]!);
            });
        },
        timeout ?? TimeSpan.FromMinutes(2));

    /// <summary>Single values of a query on the hub's database.</summary>
    public async Task<long> CountAsync(string sql) => Convert.ToInt64(await _database.ScalarAsync(sql), System.Globalization.CultureInfo.InvariantCulture);

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(Connectors.Append(Hub).Append(SecondHub).Select(service => service.DisposeAsync().AsTask()));
        await _database.DisposeAsync();
        await _virtualHost.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }
}
