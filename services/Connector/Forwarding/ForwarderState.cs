namespace Intercommunalite.Connector.Forwarding;

/// <summary>
/// The sending side of the journal protocol for one journal, without I/O: which position goes next, and when to go back.
/// It publishes in order, and goes back (go-back-N) when the broker refuses, when the hub asks, and when the hub turns out to
/// have less than was thought. When nothing is heard for a while it probes with a single event, whose receipt tells how far
/// the hub is.
/// </summary>
/// <param name="last">Last position in the journal.</param>
/// <param name="published">Every position up to here was confirmed by the broker.</param>
/// <param name="received">Every position up to here is stored by the hub.</param>
/// <param name="now">The time.</param>
internal sealed class ForwarderState(long last, long published, long received, DateTimeOffset now)
{
    /// <summary>Most messages that wait for the broker's confirm at once.</summary>
    public const int Window = 8;

    /// <summary>
    /// Most positions ahead of what the hub is known to have. The journal holds the rest: a broker without a hub does not fill
    /// up, and going back never means more than this.
    /// </summary>
    public const int MaxUnreceived = 4_000;

    private readonly List<long> _inFlight = [];
    private DateTimeOffset _heard = now;
    private long _next = Math.Max(published, received) + 1;
    private long _probe;

    /// <summary>Every position up to here was confirmed by the broker, or is with the hub.</summary>
    public long Published => Math.Max(Received, _inFlight.Append(_next).Min() - 1);

    /// <summary>Every position up to here is stored by the hub, as far as it has said.</summary>
    public long Received { get; private set; } = received;

    /// <summary>Last position in the journal.</summary>
    public long Last { get; private set; } = last;

    /// <summary>The position from which a message may be published now; null when there is none or a window is full.</summary>
    public long? Next => _next <= Last && _inFlight.Count < Window && _next <= Received + MaxUnreceived ? _next : null;

    /// <summary>The journal has grown.</summary>
    public void Appended(long last) => Last = Math.Max(Last, last);

    /// <summary>A message with the positions from <see cref="Next"/> to <paramref name="through"/> is on its way.</summary>
    public void Sent(long through)
    {
        _inFlight.Add(_next);
        _next = through + 1;
    }

    /// <summary>The broker has the message that begins at <paramref name="first"/>.</summary>
    public void Confirmed(long first) => _inFlight.Remove(first);

    /// <summary>The broker does not have the message that begins at <paramref name="first"/>: it goes again, and all after it.</summary>
    public void Failed(long first)
    {
        _inFlight.Remove(first);
        GoBackTo(first);
    }

    /// <summary>
    /// Whether this journal is an older copy of the one that the hub has: it ends before, or went another way. It must go on
    /// under a new id, else the hub would take its next events for those that it has at their positions.
    /// </summary>
    public bool IsOlderCopy { get; private set; }

    /// <summary>The hub says how far it has the journal.</summary>
    /// <param name="through">Every position up to here is stored.</param>
    /// <param name="resend">Whether it misses the next one though it saw later ones.</param>
    /// <param name="forked">Whether it has other events there.</param>
    /// <param name="at">The time.</param>
    public void Heard(long through, bool resend, bool forked, DateTimeOffset at)
    {
        _heard = at;
        if (forked || through > Last)
        {
            IsOlderCopy = true;
            return;
        }

        // A probe that the hub took as the next event, with nothing behind it, although more was published: the rest is lost.
        var lost = resend || through < Received || (_probe == through && _probe > Received);
        Received = through;
        if (through >= _probe) _probe = 0;
        if (lost) GoBackTo(through + 1);
        else _next = Math.Max(_next, through + 1);
    }

    /// <summary>
    /// Called every now and then. When nothing was heard for <paramref name="patience"/> since something was published, or for
    /// <paramref name="silence"/> in any case, gives the position of one event to publish alone: the first that the hub is not
    /// known to have, else the last. It is not followed by <see cref="Sent"/>.
    /// </summary>
    public long? Probe(DateTimeOffset at, TimeSpan patience, TimeSpan silence)
    {
        var waiting = _next > Received + 1;
        if (_inFlight.Count > 0 || Last == 0 || at - _heard < (waiting ? patience : silence)) return null;
        if (!waiting && Received < Last) return null;
        _heard = at;
        if (!waiting) return Last;
        return _probe = Received + 1;
    }

    // Never to what the hub has: it may be deleted by now.
    private void GoBackTo(long position) => _next = Math.Min(_next, Math.Max(position, Received + 1));
}
