using System.Diagnostics;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>
/// A deployment of 25 communes on three connectors, and the software that sends to it while parts of it fail. It says how long
/// a recovery takes, and checks at the end that nothing is lost, doubled, reordered or put aside.
/// </summary>
internal sealed class Scenario : IAsyncDisposable
{
    /// <summary>The figures must hold all that was accepted so long after the part that failed is back.</summary>
    private static readonly TimeSpan s_recovery = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);

    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly ITestOutputHelper _output;

    private Scenario(PrivateServers servers, Deployment deployment, ITestOutputHelper output)
    {
        (Servers, Deployment, _output) = (servers, deployment, output);
        Sender = new Sender(deployment);
    }

    public PrivateServers Servers { get; }

    public Deployment Deployment { get; }

    public Sender Sender { get; }

    /// <summary>Starts everything, empty.</summary>
    /// <param name="servers">Servers that the scenario may stop.</param>
    /// <param name="output">Takes what it says.</param>
    /// <param name="prepare">Is done before the services start.</param>
    /// <param name="settings">Further settings of the services.</param>
    public static async Task<Scenario> StartAsync(
        PrivateServers servers, ITestOutputHelper output, Action<Deployment>? prepare = null, params (string Name, string Value)[] settings)
    {
        var connectors = Deployment.CommunesOf(Some.BretagneRomantique).Chunk(9).ToArray();
        var deployment = await Deployment.CreateAsync(
            servers, settings.ToDictionary(setting => setting.Name, setting => (string?)setting.Value), Some.BretagneRomantique, connectors);
        prepare?.Invoke(deployment);
        return new Scenario(servers, await deployment.StartAsync(), output);
    }

    /// <summary>
    /// The part that failed is back: all that was accepted up to now must be in the figures within 30 s, without anybody's help.
    /// </summary>
    /// <param name="what">What happened.</param>
    public async Task RecoversAsync(string what)
    {
        var accepted = Sender.AcceptedByCommune;
        var clock = Stopwatch.StartNew();
        try
        {
            await Eventually.Passes(
                async () =>
                {
                    var births = await BirthsAsync();
                    var behind = accepted.Where(commune => births.GetValueOrDefault(commune.Key) < commune.Value)
                        .Select(commune => $"{commune.Key}: {births.GetValueOrDefault(commune.Key)} of {commune.Value}");
                    Assert.True(!behind.Any(), $"{what}: after {clock.Elapsed.TotalSeconds:0} s the figures lack events: {string.Join(", ", behind)}");
                },
                s_patience);
        }
        catch (TimeoutException)
        {
            foreach (var service in Deployment.Connectors.Append(Deployment.Hub))
                _output.WriteLine($"{service.Name} at {service.Address} said last:\n{string.Join('\n', service.LastLines.TakeLast(30))}");
            throw;
        }

        _output.WriteLine($"{_clock.Elapsed:mm\\:ss} {what}: {accepted.Values.Sum()} events in the figures {clock.Elapsed.TotalSeconds:0.0} s after the part was back");
        Assert.True(clock.Elapsed <= s_recovery, $"{what}: recovery took {clock.Elapsed.TotalSeconds:0} s after the part was back, more than {s_recovery.TotalSeconds} s");
    }

    /// <summary>
    /// Waits until events that are accepted from now on are in the figures, and all before them; events must be on their way.
    /// </summary>
    /// <param name="what">What happened just now.</param>
    /// <param name="limit">How long it may take.</param>
    public async Task GoesOnAsync(string what, TimeSpan limit)
    {
        var clock = Stopwatch.StartNew();
        var accepted = Sender.Accepted;
        await Eventually.Is(async () => (await BirthsAsync()).Values.Sum(), births => births > accepted, s_patience, $"{what}: more than {accepted} events in the figures");
        _output.WriteLine($"{_clock.Elapsed:mm\\:ss} {what}: events accepted since in the figures after {clock.Elapsed.TotalSeconds:0.0} s");
        Assert.True(clock.Elapsed <= limit, $"{what}: it went on after {clock.Elapsed.TotalSeconds:0} s, more than {limit.TotalSeconds} s");
    }

    /// <summary>The software sends the rest; then everything is there, once, in order and nowhere else.</summary>
    public async Task EndsCompleteAsync(int total)
    {
        Sender.SendUpTo(total);
        await Sender.HasAcceptedAsync(total);
        await RecoversAsync("at the end");
        await Deployment.HasEventsAsync(total);

        var accepted = Sender.AcceptedByCommune;
        Assert.Equal(accepted, await BirthsAsync());
        Assert.Equal(0, await Deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine"));
        Assert.Equal(total, await Deployment.CountAsync("SELECT count(*) FROM hub.mt_events"));
        Assert.Equal(total, await Deployment.CountAsync("SELECT count(DISTINCT (headers->>'source', headers->>'id')) FROM hub.mt_events"));
        Assert.Equal(total, await Deployment.CountAsync("SELECT count(*) FROM privacy.personal_data JOIN hub.mt_events ON id = event_id"));
        Assert.Equal(total, await Deployment.CountAsync("SELECT count(*) FROM privacy.personal_data"));
        // The software numbers its births in the order in which it sends them, from 1: so are they stored, in one journal a commune.
        Assert.Equal(0, await Deployment.CountAsync("""
            SELECT count(*) FROM (
                SELECT headers->>'id' AS id, headers->>'position' AS position, row_number() OVER (PARTITION BY split_part(stream_id, '/', 1) ORDER BY seq_id) AS place
                FROM hub.mt_events) AS stored
            WHERE position <> place::text OR id <> 'birth-' || place
            """));
        Assert.Equal(accepted.Count, await Deployment.CountAsync("SELECT count(DISTINCT headers->>'journal') FROM hub.mt_events"));
        foreach (var (commune, count) in accepted)
        {
            Assert.Equal(count, await Deployment.CountAsync($"SELECT count(*) FROM hub.mt_events WHERE stream_id LIKE '{commune}/%'"));
            await Eventually.Equal($"{count} {count} {count}", () => JournalAsync(commune));
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Sender.DisposeAsync();
        // What is taken away at the end needs them, however the scenario ended.
        await Servers.StartPostgresAsync();
        await Servers.StartRabbitMqAsync();
        await Servers.UnblockRabbitMqAsync();
        await Deployment.DisposeAsync();
    }

    private async Task<SortedDictionary<string, int>> BirthsAsync() => new(
        (await Deployment.GetAsync("/api/v1/civil-records/indicators?by=commune"))["items"]!.AsArray()
            .ToDictionary(item => (string)item!["commune"]!, item => (int)item!["births"]!),
        StringComparer.Ordinal);

    private async Task<string> JournalAsync(string commune)
    {
        var connector = Deployment.Communes.ToList().FindIndex(served => served.Contains(commune));
        using var client = Deployment.ClientOf(Deployment.Connectors[connector]);
        var journal = JsonNode.Parse(await client.GetStringAsync(new Uri($"/communes/{commune}/journal", UriKind.Relative)))!;
        return $"{journal["lastPosition"]} {journal["publishedThrough"]} {journal["receivedThrough"]}";
    }
}
