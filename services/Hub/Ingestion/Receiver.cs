namespace Intercommunalite.Hub.Ingestion;

/// <summary>What the hub does with a run of events of a journal.</summary>
/// <param name="Skip">How many at its beginning are stored already.</param>
/// <param name="Take">How many after them are next.</param>
/// <param name="Gap">Whether events before the run are missing; then none is taken.</param>
internal readonly record struct Reception(int Skip, int Take, bool Gap);

/// <summary>
/// The receiving side of the journal protocol, without I/O. Positions at or below <c>ReceivedThrough</c> are duplicates; the
/// next ones are taken; a run that begins beyond the next position is dropped, and the journal asked for again from there
/// (go-back-N).
/// </summary>
internal static class Receiver
{
    /// <summary>Decides on a run.</summary>
    /// <param name="receivedThrough">Every position up to here is stored.</param>
    /// <param name="first">Position of the run's first event.</param>
    /// <param name="count">Events in the run.</param>
    public static Reception Receive(long receivedThrough, long first, int count)
    {
        if (first > receivedThrough + 1) return new Reception(0, 0, Gap: true);
        var skip = (int)Math.Min(count, receivedThrough + 1 - first);
        return new Reception(skip, count - skip, Gap: false);
    }
}

/// <summary>
/// How often a journal is asked for again: once for each missing position, and again when nothing has come of it for a while.
/// Many messages beyond the same gap are usually on their way; asking for each would bring the journal many times.
/// </summary>
internal sealed class ResendPace(TimeSpan patience)
{
    private readonly Dictionary<(string Commune, Guid Journal), (long Position, DateTimeOffset At)> _asked = [];

    /// <summary>Whether to ask now for a journal from a position on.</summary>
    public bool MayAsk(string commune, Guid journal, long position, DateTimeOffset now)
    {
        if (_asked.TryGetValue((commune, journal), out var last) && last.Position == position && now - last.At < patience) return false;
        _asked[(commune, journal)] = (position, now);
        return true;
    }
}
