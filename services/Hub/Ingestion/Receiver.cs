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
/// How often a journal is asked for again: once for each missing position, and again when nothing has come of it for a while,
/// each time twice as long. What was asked for may have a full queue in front of it; asking for each message beyond the gap
/// would bring the journal many times.
/// </summary>
internal sealed class ResendPace(TimeSpan patience)
{
    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(2);

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
