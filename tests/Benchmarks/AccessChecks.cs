using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Cli;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// What it costs that a partner gets what its agreement allows: the same events are read from the feed of one hub, by turns as an
/// administrator, whom no agreement binds, and as partners.
/// </summary>
internal static class AccessChecks
{
    private static readonly DateOnly s_from = new(2010, 10, 1);
    private static readonly string[] s_roles = ["administrator", "partner"];

    private sealed record Reader(string Name, string Token)
    {
        public List<double> Seconds { get; } = [];

        public List<double> CpuSeconds { get; } = [];
    }

    public static Command Command(Terminal terminal)
    {
        var events = new Option<int>("--events") { Description = "Events in the feed.", HelpName = "N", DefaultValueFactory = _ => 60_000 };
        var rounds = new Option<int>("--rounds") { Description = "Times that each reads all of them.", HelpName = "N", DefaultValueFactory = _ => 15 };
        var command = new Command("access", "Measures what it costs to check tokens, and what agreements cost the feed: all fields, and some of them, beside no agreement.") { events, rounds };
        command.SetAction((parsed, cancellation) => RunAsync(terminal, parsed.GetValue(events), parsed.GetValue(rounds), cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, int count, int rounds, CancellationToken cancellation)
    {
        await IntakeChecks.RunAsync(terminal, rounds, cancellation);
        terminal.Say($"Preparing {count:N0} events.");
        var prepared = Workload.From(s_from, count);
        await using var servers = await PrivateServers.StartAsync(cancellation);
        await using var database = await TestDatabase.CreateAsync(servers.Postgres, cancellation);
        var grpc = FreePorts.Take();
        await using var hub = new ServiceProcess(ServiceProcess.Built("Hub"), new Dictionary<string, string?>
        {
            ["ConnectionStrings__Hub"] = database.ConnectionString,
            ["ConnectionStrings__Keys"] = database.KeysConnectionString,
            ["ConnectionStrings__Bus"] = servers.RabbitMq.ToString(),
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Access__Issuer"] = TestIssuer.Url.ToString().TrimEnd('/'),
            ["Hub__Territory"] = Workload.Territory.Siren,
            ["Hub__GrpcPort"] = $"{grpc}",
            ["Logging__LogLevel__Default"] = "Warning",
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = null,
        });
        await hub.StartAsync();
        await FillAsync(database.ConnectionString, prepared, cancellation);
        using var http = new HttpClient { BaseAddress = hub.Address };
        http.DefaultRequestHeaders.Authorization = new("Bearer", TestIssuer.Token([s_roles[0]], client: "administrator"));
        await ProjectedAsync(http, cancellation);
        await AgreeAsync(http, "whole", "{\"type\":\"fr.intercommunalite.*\"}", cancellation);
        await AgreeAsync(http, "trimmed", "{\"type\":\"fr.intercommunalite.*\",\"data\":[\"amount\",\"date\",\"level\",\"service\",\"issuedOn\",\"collectedOn\",\"school\"]}", cancellation);

        Reader[] readers =
        [
            new("no agreement (administrator)", TestIssuer.Token([s_roles[0]], client: "administrator")),
            new("agreement, all fields", TestIssuer.Token([s_roles[1]], client: "whole")),
            new("agreement, some fields", TestIssuer.Token([s_roles[1]], client: "trimmed")),
        ];
        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{grpc}");
        var feed = new Feed.FeedClient(channel);
        var processes = new Processes(("hub", hub.ProcessId, false), ("PostgreSQL", servers.PostgresProcessId, true));
        for (var warm = 0; warm < 3; warm++)
            foreach (var reader in readers) await ReadAsync(feed, reader.Token, count, cancellation);
        terminal.Say($"Reading {count:N0} events {rounds} times as each.");
        for (var round = 0; round < rounds; round++)
        {
            // Each begins as often as the others: what the machine does meanwhile hits all alike.
            for (var i = 0; i < readers.Length; i++)
            {
                var reader = readers[(round + i) % readers.Length];
                var (cpu, began) = (processes.Read().Sum(usage => usage.CpuSeconds), Stopwatch.GetTimestamp());
                await ReadAsync(feed, reader.Token, count, cancellation);
                reader.Seconds.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
                reader.CpuSeconds.Add(processes.Read().Sum(usage => usage.CpuSeconds) - cpu);
            }
        }

        foreach (var reader in readers)
        {
            // The best is what the machine does when nobody disturbs; the median of CPU time is told, too, which waits do not count in.
            var (median, best, cpu) = (Median(reader.Seconds), reader.Seconds.Min(), Median(reader.CpuSeconds));
            // Of each round by itself, since what disturbs lasts longer than a round.
            var (rates, costs) = (Spread(readers[0].Seconds, reader.Seconds), Spread(reader.CpuSeconds, readers[0].CpuSeconds));
            terminal.Write(string.Create(CultureInfo.InvariantCulture,
                $"{reader.Name}: events/s {count / median:N0} median ({rates} of that without), {count / best:N0} best ({readers[0].Seconds.Min() / best:0.000}); CPU of hub and PostgreSQL {cpu * 1e6 / count:0.0} µs an event ({costs})"));
        }

        return 0;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    // Median and quartiles of what the one is of the other, round by round.
    private static string Spread(List<double> values, List<double> of)
    {
        var ratios = values.Zip(of, (value, whole) => value / whole).Order().ToList();
        return string.Create(CultureInfo.InvariantCulture, $"{ratios[ratios.Count / 2]:0.000}, half of the rounds {ratios[ratios.Count / 4]:0.000} to {ratios[ratios.Count * 3 / 4]:0.000}");
    }

    private static async Task ReadAsync(Feed.FeedClient feed, string token, int expected, CancellationToken cancellation)
    {
        using var call = feed.Subscribe(new SubscribeRequest(), new Metadata { { "authorization", $"Bearer {token}" } }, cancellationToken: cancellation);
        var read = 0;
        while (await call.ResponseStream.MoveNext(cancellation) && call.ResponseStream.Current.CaughtUp is null)
        {
            if (call.ResponseStream.Current.Event is not null) read++;
        }

        if (read != expected) throw new Failure($"The feed gave {read:N0} events, {expected:N0} expected.");
    }

    // As the hub's own append would have written them, without their way through connector and bus.
    private static async Task FillAsync(string connectionString, IReadOnlyList<Prepared> events, CancellationToken cancellation)
    {
        await using var data = NpgsqlDataSource.Create(connectionString);
        await using var command = data.CreateCommand("""
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), gen_random_uuid(), stream, row_number() OVER (PARTITION BY stream ORDER BY n), (event -> 'data') - 'personal', event ->> 'type',
                '*DEFAULT*', now() AT TIME ZONE 'utc', '', FALSE,
                jsonb_build_object('id', event -> 'id', 'source', event -> 'source', 'time', event -> 'time', 'journal', gen_random_uuid(), 'position', n)
            FROM (
                SELECT event, n, concat_ws('/', split_part(event ->> 'source', ':', 4), split_part(event ->> 'type', '.', 3), event ->> 'subject') AS stream
                FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (event, n)) AS named
            ORDER BY n
            """);
        command.CommandTimeout = 120;
        command.Parameters.Add(new() { Value = events.Select(e => Encoding.UTF8.GetString(e.Json)).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Jsonb });
        await command.ExecuteNonQueryAsync(cancellation);
        await using var analyse = data.CreateCommand("VACUUM ANALYZE hub.mt_events");
        await analyse.ExecuteNonQueryAsync(cancellation);
    }

    private static async Task ProjectedAsync(HttpClient http, CancellationToken cancellation) => await Eventually.Is(
        async () => (await http.GetFromJsonAsync<System.Text.Json.Nodes.JsonNode>(new Uri("/api/v1/admin/projections", UriKind.Relative), cancellation))!["items"]!.AsArray(),
        projections => projections.All(projection => (long)projection!["lag"]! == 0), TimeSpan.FromMinutes(2));

    private static async Task AgreeAsync(HttpClient http, string id, string events, CancellationToken cancellation)
    {
        var agreement = $$$"""
            {"id":"{{{id}}}","terms":{"title":"Benchmark","partner":{"name":"Benchmark","clients":["{{{id}}}"]},"purpose":"measuring","legalGround":"none",
             "communes":["*"],"events":[{{{events}}}],"from":"2026-01-01",
             "signatures":[{"side":"territory","name":"A","on":"2026-01-01"},{"side":"partner","name":"B","on":"2026-01-01"}]}}
            """;
        foreach (var (path, body) in ((string, string)[])[("", agreement), ($"/{id}/activation", "{\"reason\":\"benchmark\"}")])
        {
            using var content = new StringContent(body, Encoding.UTF8, "application/json");
            using var answer = await http.PostAsync(new Uri($"/api/v1/agreements{path}", UriKind.Relative), content, cancellation);
            if (!answer.IsSuccessStatusCode) throw new Failure(await answer.Content.ReadAsStringAsync(cancellation));
        }
    }
}
