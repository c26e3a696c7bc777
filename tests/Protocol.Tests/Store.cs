using Intercommunalite.Hub.Ingestion;

namespace Intercommunalite.Protocol.Tests;

/// <summary>The hub's store: events in order, how far each journal is, and what was put aside. One call is one transaction.</summary>
internal sealed class Store
{
    private readonly HashSet<Guid> _known = [];

    public List<(string Commune, Guid Journal, long Position, Guid EventId)> Stored { get; private init; } = [];

    public HashSet<Guid> Quarantined { get; private init; } = [];

    public Dictionary<(string Commune, Guid Journal), JournalEnd> Ends { get; private init; } = [];

    public bool Has(Fact fact) => _known.Contains(fact.Checked.EventId) || Quarantined.Contains(fact.Checked.EventId);

    public Store Copy()
    {
        var copy = new Store { Stored = [.. Stored], Quarantined = [.. Quarantined], Ends = new(Ends) };
        copy._known.UnionWith(_known);
        return copy;
    }

    /// <summary>Stores a run as the hub does; false, and nothing stored, when an event in it is refused.</summary>
    public bool TryStore(IReadOnlyCollection<IncomingEvent> run, Rules rules, out IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> ends)
    {
        var before = run.Select(incoming => incoming.JournalKey).Distinct().ToDictionary(journal => journal, journal => Ends.GetValueOrDefault(journal));
        (var next, ends) = rules.Take(run, before);
        if (next.Any(incoming => incoming.Read is { } read && read.Envelope.Subject == Commune.Refused)) return false;
        foreach (var incoming in next)
        {
            if (incoming.Read is not { } read) Quarantined.Add(incoming.EventId!.Value);
            else if (_known.Add(read.EventId) || !rules.DropsKnownEvents) Stored.Add((incoming.Commune, incoming.Journal, incoming.Position, read.EventId));
        }

        foreach (var (journal, end) in ends)
        {
            if (end.Through < before[journal].Through) throw new BrokenPromiseException($"{journal.Commune}: the hub forgets what it has of a journal");
            Ends[journal] = end with { Forked = false };
        }

        return true;
    }

    /// <summary>Checks that each journal's events stand in its order.</summary>
    public void CheckOrder()
    {
        foreach (var journal in Stored.GroupBy(entry => entry.Journal))
        {
            if (journal.Zip(journal.Skip(1)).Any(pair => pair.First.Position >= pair.Second.Position))
                throw new BrokenPromiseException($"{journal.First().Commune}: a journal's events are not in its order");
        }
    }
}
