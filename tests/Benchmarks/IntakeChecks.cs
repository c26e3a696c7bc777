using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using Intercommunalite.Cli;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// What it costs a connector to check a token: CPU time of a request that needs none, with and without one, by turns, beside that of
/// requests with events.
/// </summary>
internal static class IntakeChecks
{
    private const int InBatch = 100;

    public static async Task RunAsync(Terminal terminal, int rounds, CancellationToken cancellation)
    {
        var data = Directory.CreateTempSubdirectory("hub-benchmark-").FullName;
        var commune = Workload.Territory.Communes[0].Code.ToString();
        await using var connector = new ServiceProcess(ServiceProcess.Built("Connector"), new Dictionary<string, string?>
        {
            // Nobody listens there.
            ["ConnectionStrings__Bus"] = "amqp://guest:guest@127.0.0.1:1/",
            ["Access__Issuer"] = TestIssuer.Url.ToString(),
            ["Connector__Communes"] = commune,
            ["Connector__DataDirectory"] = data,
            ["Intake__RequestsPerSecond"] = "1000000",
            ["Intake__RequestBurst"] = "1000000",
            ["Logging__LogLevel__Default"] = "Error",
        });
        await connector.StartAsync();
        using var known = TestIssuer.Client(connector.Address, [commune]);
        using var anyone = new HttpClient { BaseAddress = connector.Address };
        var processes = new Processes(("connector", connector.ProcessId, false));
        var next = 0;
        (string Name, int Requests, Func<Task> Ask, List<double> Micros)[] kinds =
        [
            ("without a token", 2_000, () => GetAsync(anyone), []),
            ("with a token", 2_000, () => GetAsync(known), []),
            ("one event", 500, () => PostAsync(1), []),
            ($"{InBatch} events", 50, () => PostAsync(InBatch), []),
        ];
        terminal.Say($"Asking a connector, {rounds} times each.");
        for (var round = -1; round < rounds; round++)
        {
            for (var i = 0; i < kinds.Length; i++)
            {
                var kind = kinds[(Math.Max(round, 0) + i) % kinds.Length];
                var before = processes.Read()[0].CpuSeconds;
                for (var request = 0; request < kind.Requests; request++) await kind.Ask();
                // The first round warms up.
                if (round >= 0) kind.Micros.Add((processes.Read()[0].CpuSeconds - before) * 1e6 / kind.Requests);
            }
        }

        var check = kinds[1].Micros.Average() - kinds[0].Micros.Average();
        foreach (var (name, _, _, micros) in kinds[2..])
        {
            terminal.Write(string.Create(CultureInfo.InvariantCulture,
                $"A request with {name}: {micros.Average():0} µs of CPU, of which {check:0.0} µs to check the token: {check / (micros.Average() - check):0.000} of the rest"));
        }

        Directory.Delete(data, recursive: true);

        async Task GetAsync(HttpClient client)
        {
            using var answer = await client.GetAsync(new Uri("/health/live", UriKind.Relative), cancellation);
            answer.EnsureSuccessStatusCode();
        }

        async Task PostAsync(int events)
        {
            var body = string.Join(',', Enumerable.Range(0, events).Select(_ => Event(commune, next++)));
            using var content = new StringContent($"[{body}]", Encoding.UTF8, MediaTypeHeaderValue.Parse(CloudEvent.BatchMediaType));
            using var answer = await known.PostAsync(new Uri($"/communes/{commune}/events", UriKind.Relative), content, cancellation);
            answer.EnsureSuccessStatusCode();
        }
    }

    private static string Event(string commune, int number) => $$$"""
        {"specversion":"1.0","id":"e{{{number}}}","source":"urn:insee:commune:{{{commune}}}","type":"fr.intercommunalite.civil-records.birth-registered.v1",
         "subject":"birth/2026/{{{number}}}","time":"2026-11-24T09:30:00+01:00","data":{"date":"2026-11-23","actNumber":"{{{number}}}"}}
        """;
}
