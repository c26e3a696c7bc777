using Intercommunalite.Hub.Ingestion;

namespace Intercommunalite.Protocol.Tests;

/// <summary>
/// The rules of the protocol. All of them hold in the services; a test takes one away, to show that the check of
/// <see cref="World"/> would notice.
/// </summary>
internal sealed record Rules
{
    /// <summary>The hub drops positions that it has.</summary>
    public bool DropsKnownPositions { get; init; } = true;

    /// <summary>The hub drops events that it has from another journal.</summary>
    public bool DropsKnownEvents { get; init; } = true;

    /// <summary>The hub takes no position when the one before it is missing.</summary>
    public bool MindsGaps { get; init; } = true;

    /// <summary>Hub and connector notice when the connector's journal, an older copy, went another way.</summary>
    public bool MindsForks { get; init; } = true;

    /// <summary>The connector publishes again.</summary>
    public bool Resends { get; init; } = true;

    /// <summary>The connector deletes only what the hub has had for the retention.</summary>
    public bool KeepsForRetention { get; init; } = true;

    /// <summary>The services' own decision, or the same with a rule taken away.</summary>
    public (IReadOnlyList<IncomingEvent> Next, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> Ends) Take(
        IReadOnlyCollection<IncomingEvent> run, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> ends)
    {
        if (DropsKnownPositions && MindsGaps && MindsForks) return Receiver.Take(run, ends);
        var next = new List<IncomingEvent>();
        var after = new Dictionary<(string Commune, Guid Journal), JournalEnd>(ends);
        foreach (var incoming in run)
        {
            var end = after[incoming.JournalKey];
            var reception = Receiver.Receive(end, incoming.Position, MindsForks ? incoming.EventId : null, MindsForks ? incoming.Before : null);
            if (end.Forked) continue;
            if (reception == Reception.Forked)
            {
                after[incoming.JournalKey] = end with { Forked = true };
            }
            else if (reception == Reception.Next || (reception == Reception.Gap && !MindsGaps) || (reception == Reception.Duplicate && !DropsKnownPositions))
            {
                next.Add(incoming);
                after[incoming.JournalKey] = new(incoming.Position, incoming.EventId);
            }
        }

        return (next, after);
    }
}
