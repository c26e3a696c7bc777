using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>An event off the bus, checked once: either read, or refused for a reason.</summary>
/// <param name="Commune">Commune of the journal that brought it.</param>
/// <param name="Journal">That journal.</param>
/// <param name="Position">Its position there.</param>
/// <param name="EventId">Its identity; null when not even that can be read.</param>
/// <param name="Before">Identity of the event before it in the journal, where known.</param>
/// <param name="Json">The CloudEvent as it came.</param>
/// <param name="Read">The event, when it is valid.</param>
/// <param name="Refused">Why it is not.</param>
internal sealed record IncomingEvent(
    string Commune, Guid Journal, long Position, Guid? EventId, Guid? Before, JsonElement Json, CheckedEvent? Read, string? Refused)
{
    /// <summary>Last position of the journal when the event's segment was published, as far as was said.</summary>
    public long Last { get; init; }

    /// <summary>When the first event of its segment was accepted, where known; this one not earlier.</summary>
    public DateTimeOffset? AcceptedAt { get; init; }

    /// <summary>The journal, as a key.</summary>
    public (string Commune, Guid Journal) JournalKey => (Commune, Journal);

    /// <summary>Checks the events of a segment.</summary>
    public static IncomingEvent[] Of(JournalSegment segment)
    {
        var commune = CommuneCode.Parse(segment.Commune);
        var events = new IncomingEvent[segment.Events.Count];
        var before = segment.Before;
        for (var index = 0; index < events.Length; index++)
        {
            var json = segment.Events[index];
            var refused = EventReader.TryRead(json, commune, out var read, out var errors) ? null : string.Join("; ", errors.Select(Named).Distinct());
            events[index] = new(segment.Commune, segment.Journal, segment.FirstPosition + index, read?.EventId ?? CloudEvent.EventIdOf(json), before, json, read, refused)
            {
                Last = segment.Last,
                AcceptedAt = segment.AcceptedAt,
            };
            before = events[index].EventId;
        }

        return events;
    }

    // Without the name of a field that the catalogue does not have: a sender may have put anything there.
    private static string Named(FieldError error) =>
        error.Reason.StartsWith("unknown field", StringComparison.Ordinal) ? $"{error.Field[..Math.Max(0, error.Field.LastIndexOf('.'))]}: unknown field" : $"{error.Field}: {error.Reason}";
}

/// <summary>
/// Events to be stored in runs: all at once as a rule, in ever smaller runs when the store refuses one, down to the single
/// event that is the cause.
/// </summary>
internal sealed class IncomingEvents
{
    private readonly IncomingEvent[] _events;
    private int _start;
    private int _size;

    /// <summary>Sorts the events by journal and position: the broker may have reordered them.</summary>
    public IncomingEvents(IEnumerable<IncomingEvent> events)
    {
        _events = [.. events.OrderBy(incoming => incoming.Commune, StringComparer.Ordinal).ThenBy(incoming => incoming.Journal).ThenBy(incoming => incoming.Position)];
        _size = _events.Length;
    }

    /// <summary>Whether every run is stored.</summary>
    public bool Done => _start >= _events.Length;

    /// <summary>The run to store now.</summary>
    public ArraySegment<IncomingEvent> Run => new(_events, _start, Math.Min(_size, _events.Length - _start));

    /// <summary>Whether the run is one event that is refused already: should the store refuse even that, it is not for the event's sake.</summary>
    public bool IsNarrowed => Run is [{ Refused: not null }];

    /// <summary>Trace contexts of the run.</summary>
    public IEnumerable<string?> TraceParents => Run.Select(incoming => incoming.Read?.Envelope.TraceParent);

    /// <summary>The run is stored; the next one is all that is left.</summary>
    public void Stored()
    {
        _start += Run.Count;
        _size = _events.Length;
    }

    /// <summary>The store refused the run: the next try is with half of it, or, when it is one event, without that event.</summary>
    /// <param name="reason">Why.</param>
    /// <returns>The event at fault, once it is found.</returns>
    public IncomingEvent? Narrow(string reason)
    {
        _size = Run.Count / 2;
        if (_size > 0) return null;
        _size = 1;
        return _events[_start] = _events[_start] with { Read = null, Refused = reason };
    }
}
