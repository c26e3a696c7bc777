using System.Collections.Frozen;
using Intercommunalite.Contracts;

namespace Intercommunalite.Cli.Simulate;

/// <summary>An event that a commune's software would have sent.</summary>
internal sealed record SimulatedEvent(CommuneCode Commune, string Id, string Subject, DateTimeOffset Time, DomainEvent Data)
{
    private static readonly FrozenDictionary<Type, string> s_facts =
        Catalogue.All.ToFrozenDictionary(type => type.Record, type => $"{type.Name.Split('.')[3]}.v{type.Version}");

    /// <summary>The id of a record's event: the same seed gives the same. A record has one event of a type.</summary>
    public static string IdOf(long seed, string subject, DomainEvent data) => $"{seed}:{subject}:{s_facts[data.GetType()]}";

    public CloudEvent ToCloudEvent() => CloudEvent.Create(Data, Id, new EventSource(Commune, EventSource.Simulated), Subject, Time);
}

/// <summary>What the software of a commune will send, by time. Events come out in order, however they went in.</summary>
internal sealed class Agenda(CommuneCode commune, long seed, DateTimeOffset until)
{
    private readonly PriorityQueue<SimulatedEvent, (DateTimeOffset Time, long Added)> _events = new();
    private long _added;

    /// <summary>Notes an event; one that is later than the end of the period is left out.</summary>
    public void Add(DateTimeOffset time, string subject, DomainEvent data)
    {
        if (time > until) return;
        _events.Enqueue(new(commune, SimulatedEvent.IdOf(seed, subject, data), subject, time, data), (time, _added++));
    }

    /// <summary>Takes out what comes before an instant.</summary>
    public IEnumerable<SimulatedEvent> Before(DateTimeOffset limit)
    {
        while (_events.TryPeek(out _, out var at) && at.Time < limit) yield return _events.Dequeue();
    }
}
