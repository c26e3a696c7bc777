using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Cli;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Npgsql;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// The whole of it on this machine: private PostgreSQL and RabbitMQ, a hub and three connectors as real processes with the
/// settings that they are delivered with, except that they log warnings only. As with <c>deploy/up</c>, the two most populous
/// communes have a connector each and the others share one. Disposing ends all and deletes its data.
/// </summary>
internal sealed class Pipeline : IAsyncDisposable
{
    private static readonly TimeSpan s_standstill = TimeSpan.FromMinutes(1);

    private readonly string _data = Directory.CreateTempSubdirectory("hub-benchmark-").FullName;
    private readonly Dictionary<CommuneCode, Uri> _addresses = [];
    private readonly PrivateServers _servers;
    private readonly TestDatabase _database;
    private readonly ServiceProcess _hub;
    private readonly ServiceProcess[] _connectors;

    private Pipeline(PrivateServers servers, TestDatabase database)
    {
        (_servers, _database) = (servers, database);
        _hub = Service("Hub", new()
        {
            ["ConnectionStrings__Hub"] = database.ConnectionString,
            ["ConnectionStrings__Keys"] = database.KeysConnectionString,
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Hub__Territory"] = Workload.Territory.Siren,
            ["Hub__GrpcPort"] = $"{FreePorts.Take()}",
        });
        CommuneCode[] communes = [.. Workload.Territory.Communes.OrderByDescending(commune => commune.Population).Select(commune => commune.Code)];
        _connectors = [.. new[] { communes[..1], communes[1..2], communes[2..] }.Select((served, index) => Service("Connector", new()
        {
            ["Connector__Communes"] = string.Join(',', served),
            ["Connector__DataDirectory"] = Path.Combine(_data, $"{index + 1}"),
        }))];
        for (var i = 0; i < communes.Length; i++) _addresses[communes[i]] = new Uri(_connectors[Math.Min(i, 2)].Address, $"/communes/{communes[i]}/");
        DataSource = NpgsqlDataSource.Create(database.ConnectionString);
    }

    /// <summary>The hub's database.</summary>
    public NpgsqlDataSource DataSource { get; }

    /// <summary>The broker.</summary>
    public Uri Bus => _servers.RabbitMq;

    /// <summary>For calls to the services: one connection for each request that is under way, and a token.</summary>
    public HttpClient Http { get; } = new(new SocketsHttpHandler { UseProxy = false, UseCookies = false, ActivityHeadersPropagator = null })
    {
        DefaultRequestHeaders =
        {
            Authorization = new("Bearer", TestIssuer.Token(["connector", "administrator"], Workload.Territory.Communes.Select(commune => commune.Code.ToString()))),
        },
    };

    /// <summary>Names of the projections.</summary>
    public IReadOnlyList<string> Projections { get; private set; } = [];

    /// <summary>CPU time and memory of the servers and of this process; of the services too while they run.</summary>
    public Processes Processes { get; private set; } = new();

    /// <summary>Starts everything.</summary>
    public static async Task<Pipeline> StartAsync(CancellationToken cancellation)
    {
        var servers = await PrivateServers.StartAsync(cancellation);
        var pipeline = new Pipeline(servers, await TestDatabase.CreateAsync(servers.Postgres, cancellation));
        try
        {
            await Task.WhenAll(pipeline._connectors.Append(pipeline._hub).Select(service => service.StartAsync()));
            var projections = await pipeline.AskHubAsync("admin/projections", cancellation);
            pipeline.Projections = [.. projections.Select(projection => (string)projection!["name"]!)];
            pipeline.Processes = new(
            [
                ("hub", pipeline._hub.ProcessId, false),
                .. pipeline._connectors.Select((connector, index) => ($"connector {index + 1}", connector.ProcessId, false)),
                .. pipeline.Servers,
            ]);
            return pipeline;
        }
        catch
        {
            await pipeline.DisposeAsync();
            throw;
        }
    }

    /// <summary>Posts a request to its commune's connector.</summary>
    /// <returns>The answer, in UTF-8.</returns>
    /// <exception cref="Failure">It was not accepted.</exception>
    public Task<byte[]> PostAsync(Batch batch, CancellationToken cancellation) => PostAsync(new Uri(_addresses[batch.Commune], "events"), batch, cancellation);

    /// <summary>The same to another address.</summary>
    public async Task<byte[]> PostAsync(Uri address, Batch batch, CancellationToken cancellation)
    {
        using var body = new ByteArrayContent(batch.Body) { Headers = { ContentType = new MediaTypeHeaderValue(batch.MediaType) } };
        using var response = await Http.PostAsync(address, body, cancellation);
        var answer = await response.Content.ReadAsByteArrayAsync(cancellation);
        return response.StatusCode == System.Net.HttpStatusCode.Accepted
            ? answer
            : throw new Failure($"{address} answered {(int)response.StatusCode}: {System.Text.Encoding.UTF8.GetString(answer)}");
    }

    /// <summary>The id of a commune's journal.</summary>
    public async Task<Guid> JournalAsync(CommuneCode commune, CancellationToken cancellation) =>
        (Guid)(await Http.GetFromJsonAsync<JsonNode>(new Uri(_addresses[commune], "journal"), cancellation))!["journal"]!;

    /// <summary>The items of one of the hub's lists.</summary>
    public async Task<JsonArray> AskHubAsync(string path, CancellationToken cancellation) =>
        (await Http.GetFromJsonAsync<JsonNode>(new Uri(_hub.Address, $"/api/v1/{path}"), cancellation))!["items"]!.AsArray();

    /// <summary>Waits until the hub has so many events and every projection has them too.</summary>
    /// <param name="events">Events in the store.</param>
    /// <param name="watch">Looks at the positions.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>Position of the last event.</returns>
    /// <exception cref="Failure">Nothing has moved for a minute.</exception>
    public async Task<long> SettledAsync(long events, Watch watch, CancellationToken cancellation)
    {
        var (before, since) = (watch.Last, Stopwatch.GetTimestamp());
        while (true)
        {
            var stored = await CountAsync("SELECT coalesce(sum(events), 0)::bigint FROM ingestion.journal", cancellation);
            var last = await CountAsync("SELECT coalesce(max(seq_id), 0) FROM hub.mt_events", cancellation);
            var look = watch.Last;
            if (stored == events && look.Projected.Append(look.Stored).Min() >= last) return last;
            if (look.Stored != before.Stored || !look.Projected.SequenceEqual(before.Projected)) (before, since) = (look, Stopwatch.GetTimestamp());
            if (Stopwatch.GetElapsedTime(since) > s_standstill)
            {
                var positions = string.Join(", ", Projections.Zip(look.Projected, (name, position) => $"{name} {position}"));
                throw new Failure($"Nothing has moved for a minute: {stored} events stored, {events} expected, last position {last}; projections: {positions}.");
            }

            await Task.Delay(100, cancellation);
        }
    }

    /// <summary>One number from the hub's database.</summary>
    public async Task<long> CountAsync(string sql, CancellationToken cancellation)
    {
        await using var command = DataSource.CreateCommand(sql);
        return (long)(await command.ExecuteScalarAsync(cancellation))!;
    }

    /// <summary>Stops hub and connectors in good order; the servers stay.</summary>
    public async Task StopServicesAsync()
    {
        await Task.WhenAll(_connectors.Append(_hub).Select(service => service.StopAsync()));
        Processes = new([.. Servers]);
    }

    /// <summary>Where the services wrote something: at this level of logging each line is a complaint.</summary>
    public IReadOnlyList<string> Complaints() =>
        [.. _connectors.Append(_hub).Where(service => service.LastLines.Count > 0)
            .Select(service => $"{service.Name}: {service.LastLines[^1]} (all: {service.LogFile})")];

    public async ValueTask DisposeAsync()
    {
        foreach (var service in _connectors.Append(_hub)) await service.DisposeAsync();
        Http.Dispose();
        await DataSource.DisposeAsync();
        await _servers.DisposeAsync();
        Directory.Delete(_data, recursive: true);
    }

    private IEnumerable<(string Name, int Id, bool IsServer)> Servers =>
    [
        ("PostgreSQL", _servers.PostgresProcessId, true), ("RabbitMQ", _servers.RabbitMqProcessId, true), ("load generator", Environment.ProcessId, false),
    ];

    private ServiceProcess Service(string project, Dictionary<string, string?> settings)
    {
        settings["ConnectionStrings__Bus"] = _servers.RabbitMq.ToString();
        settings["Access__Issuer"] = TestIssuer.Url.ToString();
        settings["Logging__LogLevel__Default"] = "Warning";
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = null;
        return new ServiceProcess(ServiceProcess.Built(project), settings);
    }
}
