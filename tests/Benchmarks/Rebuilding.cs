using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Cli;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Testing;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// How fast the civil-record indicators are rebuilt while the hub goes on: a store filled beforehand, a hub as a real process, events
/// that keep coming, and somebody who reads the figures all the while. In the end they are compared with what plain SQL counts.
/// </summary>
internal static class Rebuilding
{
    private const int ArrivingPerSecond = 1_000;
    private const int BatchSize = 10_000;

    private static readonly string[] s_communes = [.. Workload.Territory.Communes.Select(commune => commune.Code.ToString())];

    private sealed record Stored(string Stream, int Version, string Type, string Data);

    public static Command Command(Terminal terminal)
    {
        var events = new Argument<int>("EVENTS") { Description = "Civil-record events in the store.", DefaultValueFactory = _ => 1_000_000 };
        var command = new Command("rebuild", "Measures a rebuild of the civil-record indicators, beside 1,000 events a second that arrive.") { events };
        command.SetAction((parsed, cancellation) => RunAsync(terminal, parsed.GetValue(events), cancellation));
        return command;
    }

    private static async Task<int> RunAsync(Terminal terminal, int count, CancellationToken cancellation)
    {
        await using var servers = await PrivateServers.StartAsync(cancellation);
        await using var database = await TestDatabase.CreateAsync(servers.Postgres, cancellation);
        await using var hub = new ServiceProcess(ServiceProcess.Built("Hub"), new Dictionary<string, string?>
        {
            ["ConnectionStrings__Hub"] = database.ConnectionString,
            ["ConnectionStrings__Keys"] = database.KeysConnectionString,
            ["ConnectionStrings__Bus"] = servers.RabbitMq.ToString(),
            ["Privacy__MasterKey"] = TestDatabase.MasterKey,
            ["Access__TokenServer"] = "false",
            ["Access__Issuer"] = TestIssuer.Url.ToString().TrimEnd('/'),
            ["Hub__Territory"] = Workload.Territory.Siren,
            ["Hub__GrpcPort"] = $"{FreePorts.Take()}",
            ["Logging__LogLevel__Default"] = "Warning",
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = null,
        });
        await hub.StartAsync();
        await using var data = NpgsqlDataSource.Create(database.ConnectionString);
        using var http = new HttpClient { BaseAddress = hub.Address };
        http.DefaultRequestHeaders.Authorization = new("Bearer", TestIssuer.Token(["administrator"], client: "administrator"));

        terminal.Say($"Storing {count:N0} events.");
        await FillAsync(data, count, cancellation);
        var caughtUp = Stopwatch.StartNew();
        await Eventually.Is(() => ProjectionAsync(http, cancellation), projection => (long)projection["lag"]! == 0, TimeSpan.FromMinutes(10));

        terminal.Say($"Rebuilding them, while {ArrivingPerSecond:N0} a second arrive.");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var processes = new Processes(("hub", hub.ProcessId, false), ("PostgreSQL", servers.PostgresProcessId, true));
        var arriving = Task.Run(() => ArriveAsync(data, stop.Token), cancellation);
        var reading = Task.Run(() => ReadAsync(http, stop.Token), cancellation);
        var lags = new List<double>();
        var (cpu, machine, began) = (processes.Read(), Processes.MachineCpuSeconds(), Stopwatch.GetTimestamp());
        using (var asked = await http.PostAsync(
            new Uri("/api/v1/admin/projections/civil-records/rebuild", UriKind.Relative), JsonContent.Create(new { reason = "benchmark" }), cancellation)) asked.EnsureSuccessStatusCode();
        var built = TimeSpan.Zero;
        JsonNode rebuild;
        do
        {
            await Task.Delay(50, cancellation);
            var projection = await ProjectionAsync(http, cancellation);
            lags.Add((double)projection["lagSeconds"]!);
            rebuild = projection["rebuild"]!;
            if (built == TimeSpan.Zero && (string)rebuild["state"]! is "comparing" or "waiting" or "completed") built = Stopwatch.GetElapsedTime(began);
        }
        while ((string)rebuild["state"]! is "requested" or "running" or "comparing" or "waiting");

        var (seconds, used, others) = (Stopwatch.GetElapsedTime(began), processes.Read(), Processes.MachineCpuSeconds() - machine);
        await stop.CancelAsync();
        var (arrived, reads) = (await arriving, await reading);
        if ((string)rebuild["state"]! != "completed") throw new Failure($"The rebuild {rebuild["state"]}: {rebuild["error"]}");
        await Eventually.Is(() => ProjectionAsync(http, cancellation), projection => (long)projection["lag"]! == 0, TimeSpan.FromMinutes(1));
        await VerifyAsync(data, cancellation);

        var total = used.Zip(cpu, (after, before) => after.CpuSeconds - before.CpuSeconds).ToList();
        lags.Sort();
        terminal.Write(string.Create(CultureInfo.InvariantCulture, $"""
            {Environment.ProcessorCount} cores, {GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9:0} GB; the rest of the machine took {(others - total.Sum()) / seconds.TotalSeconds:0.00} cores meanwhile
            first projection of the same events, after they were stored: {caughtUp.Elapsed.TotalSeconds:0.0} s
            rebuild: {(long)rebuild["target"]!:N0} events built in {built.TotalSeconds:0.0} s, {(long)rebuild["target"]! / built.TotalSeconds:N0} events/s; compared and in service after {seconds.TotalSeconds:0.0} s, {rebuild["differences"]} differences
            CPU of hub {total[0] / seconds.TotalSeconds:0.00} cores, PostgreSQL {total[1] / seconds.TotalSeconds:0.00} cores: {total.Sum() * 1e6 / count:0.0} µs an event
            meanwhile {arrived:N0} events arrived ({arrived / seconds.TotalSeconds:N0}/s); lag of the figures in service: median {lags[lags.Count / 2] * 1000:N0} ms, at most {lags[^1] * 1000:N0} ms
            figures read {reads:N0} times: never empty, never fewer; in the end as plain SQL counts them
            """));
        return 0;
    }

    private static async Task<JsonNode> ProjectionAsync(HttpClient http, CancellationToken cancellation) =>
        (await http.GetFromJsonAsync<JsonNode>(new Uri("/api/v1/admin/projections/civil-records", UriKind.Relative), cancellation))!;

    // Acts of twenty years as they come, within some weeks of their day; of a hundred events two correct an act of any time before,
    // and one annuls one.
    private static async Task FillAsync(NpgsqlDataSource data, int count, CancellationToken cancellation)
    {
        var random = new Random(1);
        var acts = new List<(string Stream, ActKind Kind, PartialDate Date, int Version)>(count);
        var batch = new List<Stored>(BatchSize);
        for (var n = 0; n < count; n++)
        {
            var chance = random.Next(100);
            if (chance < 3 && acts.Count > 0)
            {
                var at = random.Next(acts.Count);
                var act = acts[at] with { Version = acts[at].Version + 1 };
                acts[at] = act;
                DomainEvent amendment = chance == 0 ? new ActAnnulled(act.Kind, act.Date) : new ActCorrected(act.Kind, act.Date, Day(random, random.NextDouble()), ResidenceCommune: Residence(random));
                batch.Add(Of(act.Stream, act.Version, amendment));
            }
            else
            {
                var (stream, date) = ($"{s_communes[random.Next(s_communes.Length)]}/civil-records/act/{n}", Day(random, (double)n / count));
                var (kind, registered) = chance < 55
                    ? (ActKind.Birth, (DomainEvent)new BirthRegistered(date, $"{n}", Residence(random)))
                    : (ActKind.Death, new DeathRegistered(date, $"{n}", Residence(random)));
                acts.Add((stream, kind, date, 1));
                batch.Add(Of(stream, 1, registered));
            }

            if (batch.Count < BatchSize && n + 1 < count) continue;
            await AppendAsync(data, batch, cancellation);
            batch.Clear();
        }
    }

    private static async Task<long> ArriveAsync(NpgsqlDataSource data, CancellationToken stop)
    {
        var (random, arrived, clock) = (new Random(2), 0L, Stopwatch.StartNew());
        try
        {
            while (true)
            {
                var due = (long)(clock.Elapsed.TotalSeconds * ArrivingPerSecond) - arrived;
                if (due >= 20)
                {
                    var first = arrived;
                    await AppendAsync(
                        data, [.. Enumerable.Range(0, (int)due).Select(n => Of(
                            $"{s_communes[random.Next(s_communes.Length)]}/civil-records/arriving/{first + n}", 1, new BirthRegistered(Day(random, 1), $"{first + n}", Residence(random))))], CancellationToken.None);
                    arrived += due;
                }

                await Task.Delay(10, stop);
            }
        }
        catch (OperationCanceledException)
        {
            return arrived;
        }
    }

    private static async Task<int> ReadAsync(HttpClient http, CancellationToken stop)
    {
        var (reads, before) = (0, 1L);
        while (!stop.IsCancellationRequested)
        {
            var items = (await http.GetFromJsonAsync<JsonNode>(new Uri("/api/v1/civil-records/indicators?by=commune", UriKind.Relative), CancellationToken.None))!["items"]!.AsArray();
            var births = items.Sum(item => (long)item!["births"]!);
            if (births < before) throw new Failure($"{births:N0} births were shown after {before:N0}.");
            (reads, before) = (reads + 1, births);
            await Task.Delay(25, CancellationToken.None);
        }

        return reads;
    }

    private static async Task VerifyAsync(NpgsqlDataSource data, CancellationToken cancellation)
    {
        await using var command = data.CreateCommand("""
            WITH act AS (
                SELECT stream_id, bool_or(type LIKE '%.birth-registered.%') AS birth, bool_or(type LIKE '%.act-annulled.%') AS annulled FROM hub.mt_events GROUP BY stream_id)
            SELECT (SELECT count(*) FROM act WHERE birth AND NOT annulled), (SELECT count(*) FROM act WHERE NOT birth AND NOT annulled),
                (SELECT sum(births) FROM civil_records.indicator WHERE basis = 'registration'), (SELECT sum(deaths) FROM civil_records.indicator WHERE basis = 'registration')
            """);
        command.CommandTimeout = 300;
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        await reader.ReadAsync(cancellation);
        if (reader.GetInt64(0) != reader.GetInt64(2) || reader.GetInt64(1) != reader.GetInt64(3))
            throw new Failure($"{reader.GetInt64(2):N0} births and {reader.GetInt64(3):N0} deaths are shown, {reader.GetInt64(0):N0} and {reader.GetInt64(1):N0} are in the store.");
    }

    private static Stored Of(string stream, int version, DomainEvent data)
    {
        var type = Catalogue.Of(data);
        return new(stream, version, type.Name, Encoding.UTF8.GetString(JsonSerializer.SerializeToUtf8Bytes(data, type.Record, ContractJson.Options)));
    }

    private static PartialDate Day(Random random, double way) => PartialDate.Parse(new DateOnly(2006, 1, 1).AddDays((int)(way * 7_300) + random.Next(30)).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture));

    private static CommuneCode? Residence(Random random) => random.Next(10) == 0 ? null : CommuneCode.Parse(s_communes[random.Next(s_communes.Length)]);

    // As the hub's own append would have written them, and under its lock, without their way through connector and bus.
    private static async Task AppendAsync(NpgsqlDataSource data, IReadOnlyList<Stored> events, CancellationToken cancellation)
    {
        await using var connection = await data.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await using (var turn = new NpgsqlCommand("SELECT pg_advisory_xact_lock(1870244)", connection)) await turn.ExecuteNonQueryAsync(cancellation);
        await using (var command = new NpgsqlCommand("""
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), gen_random_uuid(), stream, version, data, type, '*DEFAULT*', now() AT TIME ZONE 'utc', '', FALSE,
                jsonb_build_object('id', n, 'source', 'urn:insee:commune:' || split_part(stream, '/', 1), 'time', now(), 'journal', gen_random_uuid(), 'position', n)
            FROM (SELECT * FROM unnest($1::varchar[], $2::int[], $3::varchar[], $4::jsonb[]) WITH ORDINALITY AS given (stream, version, type, data, n) ORDER BY n) AS ordered
            """, connection))
        {
            command.CommandTimeout = 120;
            command.Parameters.Add(new() { Value = events.Select(e => e.Stream).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Varchar });
            command.Parameters.Add(new() { Value = events.Select(e => e.Version).ToArray() });
            command.Parameters.Add(new() { Value = events.Select(e => e.Type).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Varchar });
            command.Parameters.Add(new() { Value = events.Select(e => e.Data).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Jsonb });
            await command.ExecuteNonQueryAsync(cancellation);
        }

        await using (var notify = new NpgsqlCommand("NOTIFY mt_events_appended", connection)) await notify.ExecuteNonQueryAsync(cancellation);
        await transaction.CommitAsync(cancellation);
    }
}
