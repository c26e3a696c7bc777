using System.Collections.Concurrent;
using Intercommunalite.Contracts;

namespace Intercommunalite.Cli.Simulate;

/// <summary>What was sent, from any thread.</summary>
internal sealed class Tally
{
    private readonly ConcurrentDictionary<string, long> _byType = new(StringComparer.Ordinal);
    private long _events;
    private long _duplicates;

    public long Events => Volatile.Read(ref _events);

    public long Duplicates => Volatile.Read(ref _duplicates);

    /// <summary>Events by wire name, in the order of the catalogue.</summary>
    public IReadOnlyDictionary<string, long> ByType => Catalogue.All
        .Where(type => _byType.ContainsKey(type.Name)).ToDictionary(type => type.Name, type => _byType[type.Name]);

    public void Count(IReadOnlyList<SimulatedEvent> events, int duplicates)
    {
        foreach (var (type, count) in events.CountBy(e => Catalogue.Of(e.Data).Name)) _byType.AddOrUpdate(type, count, (_, sum) => sum + count);
        Interlocked.Add(ref _events, events.Count);
        Interlocked.Add(ref _duplicates, duplicates);
    }
}
