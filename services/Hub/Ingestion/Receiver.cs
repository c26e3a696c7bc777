using Intercommunalite.Contracts.Bus;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>What a position of a journal is to the hub.</summary>
internal enum Reception
{
    /// <summary>Stored already: dropped.</summary>
    Duplicate,

    /// <summary>The next one: taken.</summary>
    Next,

    /// <summary>One before it is missing: not taken; the journal is asked for again from there (go-back-N).</summary>
    Gap,

    /// <summary>The hub has another event there, or before it: not taken; the connector learns from the receipt that its journal is an older copy.</summary>
    Forked,
}

/// <summary>How far the hub has a journal.</summary>
/// <param name="Through">Every position up to here is stored.</param>
/// <param name="LastEvent">The event at that position, where known.</param>
/// <param name="Forked">Whether what arrived just now is of a journal that went another way.</param>
internal readonly record struct JournalEnd(long Through, Guid? LastEvent, bool Forked = false);

/// <summary>A segment that has arrived and waits for its end.</summary>
internal sealed record Arrival(JournalSegment Segment, IncomingEvent[] Events)
{
    /// <summary>Ends when the segment may be acknowledged: it is stored, or dropped.</summary>
    public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The journal that it is of.</summary>
    public (string Commune, Guid Journal) Journal => (Segment.Commune, Segment.Journal);
}

/// <summary>What follows from what was stored.</summary>
/// <param name="Ended">Segments to be acknowledged.</param>
/// <param name="Receipts">What to tell the connectors.</param>
internal readonly record struct Settlement(IReadOnlyList<Arrival> Ended, IReadOnlyList<JournalReceipt> Receipts);

/// <summary>
/// The receiving side of the journal protocol, without I/O. Which events of a run are taken is decided by
/// <see cref="Take"/>, inside the transaction that stores them; what is then acknowledged, held, and said to the connectors by
/// <see cref="Settle"/>.
/// A segment that overtook another is held for a moment, since messages are handed out concurrently; then it is dropped and
/// the journal asked for again.
/// </summary>
internal sealed class Receiver
{
    /// <summary>How long a segment waits for the one before it.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly List<Arrival> _held = [];
    private readonly Dictionary<(string Commune, Guid Journal), (long Through, DateTimeOffset Since)> _gaps = [];
    private readonly ResendPace _resends = new(TimeSpan.FromSeconds(5));

    /// <summary>Segments that wait for one before them; to be tried again with what arrives next.</summary>
    public IReadOnlyList<Arrival> Held => _held;

    /// <summary>Decides on a position.</summary>
    /// <param name="end">How far the hub has the journal.</param>
    /// <param name="position">Position of the event at hand.</param>
    /// <param name="eventId">The event, where known.</param>
    /// <param name="before">The event before it in its journal, where known.</param>
    public static Reception Receive(JournalEnd end, long position, Guid? eventId, Guid? before) =>
        position == end.Through && Differ(eventId, end.LastEvent) ? Reception.Forked
        : position <= end.Through ? Reception.Duplicate
        : position > end.Through + 1 ? Reception.Gap
        : Differ(before, end.LastEvent) ? Reception.Forked
        : Reception.Next;

    /// <summary>The events of a run that are next in their journals, and how far that leaves the journals.</summary>
    /// <param name="run">Events, sorted by journal and position.</param>
    /// <param name="ends">How far the hub has each of their journals.</param>
    public static (IReadOnlyList<IncomingEvent> Next, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> Ends) Take(
        IEnumerable<IncomingEvent> run, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> ends)
    {
        var next = new List<IncomingEvent>();
        var after = new Dictionary<(string Commune, Guid Journal), JournalEnd>(ends);
        foreach (var incoming in run)
        {
            var end = after[incoming.JournalKey];
            if (end.Forked) continue;
            switch (Receive(end, incoming.Position, incoming.EventId, incoming.Before))
            {
                case Reception.Next:
                    next.Add(incoming);
                    after[incoming.JournalKey] = new(incoming.Position, incoming.EventId);
                    break;
                case Reception.Forked:
                    after[incoming.JournalKey] = end with { Forked = true };
                    break;
            }
        }

        return (next, after);
    }

    /// <summary>Decides what becomes of the segments whose events were offered to the store.</summary>
    /// <param name="together">All of them, those that were held included.</param>
    /// <param name="ends">How far the hub now has each of their journals.</param>
    /// <param name="now">The time.</param>
    public Settlement Settle(IReadOnlyCollection<Arrival> together, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> ends, DateTimeOffset now)
    {
        _held.Clear();
        var ended = new List<Arrival>(together.Count);
        var missing = new HashSet<(string Commune, Guid Journal)>();
        foreach (var arrival in together)
        {
            var end = ends[arrival.Journal];
            if (end.Forked || arrival.Segment.FirstPosition <= end.Through + 1)
            {
                ended.Add(arrival);
            }
            else if (IsNew(arrival.Journal, end.Through, now))
            {
                _held.Add(arrival);
            }
            else
            {
                missing.Add(arrival.Journal);
                ended.Add(arrival);
            }
        }

        foreach (var closed in ends.Keys.Where(journal => !missing.Contains(journal) && _held.TrueForAll(arrival => arrival.Journal != journal))) _gaps.Remove(closed);
        return new(ended, [.. ends.Select(end => new JournalReceipt(
            end.Key.Commune, end.Key.Journal, end.Value.Through,
            missing.Contains(end.Key) && _resends.MayAsk(end.Key.Commune, end.Key.Journal, end.Value.Through + 1, now), end.Value.LastEvent))]);
    }

    /// <summary>Takes what a run left behind into what the runs before it did; a fork that was seen stays seen.</summary>
    public static void Merge(Dictionary<(string Commune, Guid Journal), JournalEnd> ends, IReadOnlyDictionary<(string Commune, Guid Journal), JournalEnd> now)
    {
        foreach (var (journal, end) in now) ends[journal] = end with { Forked = end.Forked || (ends.TryGetValue(journal, out var before) && before.Forked) };
    }

    /// <summary>A receipt in place of an earlier one that was not said yet. A resend that was asked for stays asked for: from where the journal is received by now.</summary>
    public static JournalReceipt Merge(JournalReceipt unsaid, JournalReceipt receipt) => receipt with { Resend = receipt.Resend || unsaid.Resend };

    // The clock is the gap's, not the message's: once a gap has lasted, what is beyond it is dropped as it comes, so that it
    // does not keep the other communes' messages waiting.
    private bool IsNew((string Commune, Guid Journal) journal, long through, DateTimeOffset now)
    {
        if (!_gaps.TryGetValue(journal, out var gap) || gap.Through != through) _gaps[journal] = gap = (through, now);
        return now - gap.Since < Patience;
    }

    private static bool Differ(Guid? one, Guid? other) => one is not null && other is not null && one != other;
}

/// <summary>
/// How often a journal is asked for again: once for each missing position, and again when nothing has come of it for a while,
/// each time twice as long. What was asked for may have a full queue in front of it; asking for each message beyond the gap
/// would bring the journal many times.
/// </summary>
internal sealed class ResendPace(TimeSpan patience)
{
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(20);

    private readonly Dictionary<(string Commune, Guid Journal), (long Position, DateTimeOffset Next, TimeSpan Pause)> _asked = [];

    /// <summary>Whether to ask now for a journal from a position on.</summary>
    public bool MayAsk(string commune, Guid journal, long position, DateTimeOffset now)
    {
        var again = _asked.TryGetValue((commune, journal), out var last) && last.Position == position;
        if (again && now < last.Next) return false;
        var pause = !again ? patience : last.Pause * 2 < s_longest ? last.Pause * 2 : s_longest;
        _asked[(commune, journal)] = (position, now + pause, pause);
        return true;
    }
}
