using Intercommunalite.Cli.Simulate;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Benchmarks;

/// <summary>An event as a commune's software would send it.</summary>
/// <param name="Commune">Whose it is.</param>
/// <param name="Time">When it happened.</param>
/// <param name="Json">The CloudEvent in UTF-8.</param>
/// <param name="Domain">First part of its type.</param>
/// <param name="Births">What it does to the number of births: 1, -1 for an annulment, else 0.</param>
internal readonly record struct Prepared(CommuneCode Commune, DateTimeOffset Time, byte[] Json, string Domain, int Births);

/// <summary>A request to a connector, its body made beforehand.</summary>
/// <param name="Commune">Whose events they are.</param>
/// <param name="Events">How many.</param>
/// <param name="Body">One CloudEvent, or an array of several.</param>
internal sealed record Batch(CommuneCode Commune, int Events, byte[] Body)
{
    public string MediaType => Events == 1 ? CloudEvent.MediaType : CloudEvent.BatchMediaType;

    private static Batch Of(CommuneCode commune, List<byte[]> events)
    {
        if (events.Count == 1) return new(commune, 1, events[0]);
        var body = new byte[events.Sum(json => json.Length + 1) + 1];
        var at = 0;
        foreach (var json in events)
        {
            body[at++] = (byte)(at == 1 ? '[' : ',');
            json.CopyTo(body, at);
            at += json.Length;
        }

        body[at] = (byte)']';
        return new(commune, events.Count, body);
    }

    /// <summary>Puts events together, each commune's in their order. The requests come in the order in which they are full.</summary>
    public static List<Batch> Of(IEnumerable<Prepared> events, int size)
    {
        var batches = new List<Batch>();
        var open = new Dictionary<CommuneCode, List<byte[]>>();
        foreach (var e in events)
        {
            if (!open.TryGetValue(e.Commune, out var waiting)) open[e.Commune] = waiting = new(size);
            waiting.Add(e.Json);
            if (waiting.Count < size) continue;
            batches.Add(Of(e.Commune, waiting));
            waiting.Clear();
        }

        batches.AddRange(open.Where(left => left.Value.Count > 0).Select(left => Of(left.Key, left.Value)));
        return batches;
    }
}

/// <summary>
/// The life of a territory, from the simulation behind <c>interco simulate</c>: civil records, schools, payments and
/// teleforms of all its communes in order of time. The same call gives the same events, and fewer are the first of more.
/// </summary>
internal static class Workload
{
    private const int EventsInAMonth = 7_000;

    // Recorded today, whenever it happened: the hub does not store persons whose time is over.
    private static readonly DateTimeOffset s_recorded = DateTimeOffset.UtcNow;

    public static Epci Territory { get; } = Epci.Find("243500733")!;

    /// <summary>The first events from a day on; the school year that runs on that day is played from its beginning.</summary>
    public static IReadOnlyList<Prepared> From(DateOnly day, int count)
    {
        for (var months = (count / EventsInAMonth) + 2; ; months += months / 2)
        {
            var through = day.AddMonths(months).AddDays(-1);
            var events = Play(new Period(day, through, FrenchTime.At(through.AddDays(1), 0).AddTicks(-1)));
            if (events.Length < count) continue;
            return [.. events.OrderBy(e => e.Time).Take(count)];
        }
    }

    /// <summary>Births that the hub must count once it has these events and nothing else.</summary>
    public static int Births(this IEnumerable<Prepared> events) => events.Sum(e => e.Births);

    private static Prepared[] Play(Period period)
    {
        var territory = new SimulatedTerritory(Territory, seed: 1);
        return [.. Territory.Communes.AsParallel().AsOrdered()
            .SelectMany(commune => new CommuneSoftware(territory, commune).Play(period))
            .Select(Prepare)];
    }

    private static Prepared Prepare(SimulatedEvent e) => new(
        e.Commune,
        e.Time,
        System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(e.ToCloudEvent() with { Time = s_recorded }, ContractJson.Options),
        Catalogue.Of(e.Data).Domain,
        e.Data switch { BirthRegistered => 1, ActAnnulled { Kind: ActKind.Birth } => -1, _ => 0 });
}
