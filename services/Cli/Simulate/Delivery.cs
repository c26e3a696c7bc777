using System.Net.Http.Headers;
using System.Text.Json;
using Intercommunalite.Contracts;

namespace Intercommunalite.Cli.Simulate;

/// <summary>Takes a batch of one commune's events where it belongs.</summary>
/// <returns>How many of them were there already.</returns>
internal delegate Task<int> Deliver(CommuneCode commune, IReadOnlyList<SimulatedEvent> batch, CancellationToken cancellation);

/// <summary>Delivers, and counts what was delivered.</summary>
internal sealed class Outbox(Deliver deliver)
{
    public Tally Tally { get; } = new();

    public async Task SendAsync(CommuneCode commune, IReadOnlyList<SimulatedEvent> batch, CancellationToken cancellation) =>
        Tally.Count(batch, await deliver(commune, batch, cancellation));
}

/// <summary>Where simulated events go.</summary>
internal static class Delivery
{
    /// <summary>Most events in a batch.</summary>
    internal const int MostEvents = 200;

    private sealed record Answer(IReadOnlyList<Position> Events);

    private sealed record Position(string Id, bool Duplicate);

    /// <summary>To the commune's connector, over HTTP.</summary>
    public static Deliver ToConnectors(Web web, IReadOnlyDictionary<string, Uri> connectors) => async (commune, batch, cancellation) =>
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(batch.Select(e => e.ToCloudEvent()), ContractJson.Options);
        var answer = await web.PostAsync<Answer>(connectors[commune.ToString()], $"/communes/{commune}/events", Content, cancellation);
        return answer.Events.Count(e => e.Duplicate);

        ByteArrayContent Content() => new(body) { Headers = { ContentType = new MediaTypeHeaderValue(CloudEvent.BatchMediaType) } };
    };

    /// <summary>To a file for each commune, one event a line.</summary>
    public static Deliver ToFiles(DirectoryInfo directory, IEnumerable<CommuneCode> communes)
    {
        directory.Create();
        foreach (var commune in communes) File.WriteAllBytes(PathOf(commune), []);
        return async (commune, batch, cancellation) =>
        {
            await using var file = new FileStream(PathOf(commune), FileMode.Append, FileAccess.Write);
            foreach (var e in batch)
            {
                await JsonSerializer.SerializeAsync(file, e.ToCloudEvent(), ContractJson.Options, cancellation);
                file.WriteByte((byte)'\n');
            }

            return 0;
        };

        string PathOf(CommuneCode commune) => Path.Combine(directory.FullName, $"{commune}.jsonl");
    }
}
