using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Intercommunalite.Cli;
using Intercommunalite.Testing;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Benchmarks;

/// <summary>A hub whose store is filled without connectors and bus, to measure what it does with what it has.</summary>
internal sealed class FilledHub : IAsyncDisposable
{
    /// <summary>An entry of an agreement that allows all types, and of their data some fields.</summary>
    public const string SomeFields = """{"type":"fr.intercommunalite.*","data":["amount","date","level","service","issuedOn","collectedOn","school"]}""";

    private readonly PrivateServers _servers;
    private readonly TestDatabase _database;
    private readonly ServiceProcess _hub;
    private readonly HttpClient _http;
    private int _stored;

    private FilledHub(PrivateServers servers, TestDatabase database, ServiceProcess hub, Uri grpc)
    {
        (_servers, _database, _hub, Grpc) = (servers, database, hub, grpc);
        _http = TestIssuer.Client(hub.Address, [], "administrator");
        Data = NpgsqlDataSource.Create(database.ConnectionString);
        Processes = new Processes(("hub", hub.ProcessId, false), ("PostgreSQL", servers.PostgresProcessId, true));
    }

    /// <summary>Address of its feed.</summary>
    public Uri Grpc { get; }

    /// <summary>Its database.</summary>
    public NpgsqlDataSource Data { get; }

    /// <summary>The hub and PostgreSQL.</summary>
    public Processes Processes { get; }

    /// <summary>Starts servers and a hub of the benchmark's own, and fills its store.</summary>
    public static async Task<FilledHub> StartAsync(IReadOnlyList<Prepared> events, CancellationToken cancellation)
    {
        var servers = await PrivateServers.StartAsync(cancellation);
        var database = await TestDatabase.CreateAsync(servers.Postgres, cancellation);
        var grpc = FreePorts.Take();
        var hub = new ServiceProcess(ServiceProcess.Built("Hub"), new Dictionary<string, string?>
        {
            ["ConnectionStrings__Hub"] = database.ConnectionString,
            ["ConnectionStrings__Keys"] = database.KeysConnectionString,
            ["ConnectionStrings__Bus"] = servers.RabbitMq.ToString(),
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Access__Issuer"] = TestIssuer.Url.ToString().TrimEnd('/'),
            ["Hub__Territory"] = Workload.Territory.Siren,
            ["Hub__GrpcPort"] = $"{grpc}",
            ["Feed__StreamsPerClient"] = "1000",
            ["Logging__LogLevel__Default"] = "Warning",
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = null,
        });
        await hub.StartAsync();
        var filled = new FilledHub(servers, database, hub, new Uri($"http://127.0.0.1:{grpc}"));
        await filled.FillAsync(events, cancellation);
        await using var analyse = filled.Data.CreateCommand("VACUUM ANALYZE hub.mt_events");
        await analyse.ExecuteNonQueryAsync(cancellation);
        return filled;
    }

    /// <summary>Stores events as the hub's own append would have written them, all at once. Nothing else may append meanwhile.</summary>
    public async Task FillAsync(IReadOnlyList<Prepared> events, CancellationToken cancellation)
    {
        await using var command = Data.CreateCommand("""
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), gen_random_uuid(), stream, $2 + n, (event -> 'data') - 'personal', event ->> 'type',
                '*DEFAULT*', now() AT TIME ZONE 'utc', '', FALSE,
                jsonb_build_object('id', event -> 'id', 'source', event -> 'source', 'time', event -> 'time', 'journal', gen_random_uuid(), 'position', $2 + n)
            FROM (
                SELECT event, n, concat_ws('/', split_part(event ->> 'source', ':', 4), split_part(event ->> 'type', '.', 3), event ->> 'subject') AS stream
                FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (event, n)) AS named
            ORDER BY n
            """);
        command.CommandTimeout = 300;
        command.Parameters.Add(new() { Value = events.Select(e => Encoding.UTF8.GetString(e.Json)).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Jsonb });
        command.Parameters.Add(new() { Value = (long)_stored });
        await command.ExecuteNonQueryAsync(cancellation);
        _stored += events.Count;
    }

    /// <summary>Waits until all events are in the figures.</summary>
    public async Task ProjectedAsync(CancellationToken cancellation) => await Eventually.Is(
        async () => (await _http.GetFromJsonAsync<JsonNode>(new Uri("/api/v1/admin/projections", UriKind.Relative), cancellation))!["items"]!.AsArray(),
        projections => projections.All(projection => (long)projection!["lag"]! == 0), TimeSpan.FromMinutes(5));

    /// <summary>Makes an agreement, under its partner's client of the same id, and puts it into force.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="events">Entries of its types, as JSON.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task AgreeAsync(string id, string events, CancellationToken cancellation)
    {
        var agreement = $$$"""
            {"id":"{{{id}}}","terms":{"title":"Benchmark","partner":{"name":"Benchmark","clients":["{{{id}}}"]},"purpose":"measuring","legalGround":"none",
             "communes":["*"],"events":[{{{events}}}],"from":"2026-01-01",
             "signatures":[{"side":"territory","name":"A","on":"2026-01-01"},{"side":"partner","name":"B","on":"2026-01-01"}]}}
            """;
        foreach (var (path, body) in ((string, string)[])[("", agreement), ($"/{id}/activation", "{\"reason\":\"benchmark\"}")])
        {
            using var content = new StringContent(body, Encoding.UTF8, "application/json");
            using var answer = await _http.PostAsync(new Uri($"/api/v1/agreements{path}", UriKind.Relative), content, cancellation);
            if (!answer.IsSuccessStatusCode) throw new Failure(await answer.Content.ReadAsStringAsync(cancellation));
        }
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await Data.DisposeAsync();
        await _hub.DisposeAsync();
        await _database.DisposeAsync();
        await _servers.DisposeAsync();
    }
}
