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
}

/// <summary>The receiving side of the journal protocol, without I/O.</summary>
internal static class Receiver
{
    /// <summary>Decides on a position.</summary>
    /// <param name="receivedThrough">Every position up to here is stored.</param>
    /// <param name="position">Position of the event at hand.</param>
    public static Reception Receive(long receivedThrough, long position) =>
        position <= receivedThrough ? Reception.Duplicate
        : position == receivedThrough + 1 ? Reception.Next
        : Reception.Gap;
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
