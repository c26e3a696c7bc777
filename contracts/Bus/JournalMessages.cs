namespace Intercommunalite.Contracts.Bus;

/// <summary>
/// A run of consecutive events of one journal, from connector to hub. The bus may lose, double or reorder these messages:
/// positions make it good.
/// </summary>
/// <param name="Commune">INSEE code.</param>
/// <param name="Journal">The commune's journal.</param>
/// <param name="FirstPosition">Position of the first event; the others follow without a gap.</param>
/// <param name="Before">
/// <see cref="CloudEvent.EventId"/> of the event before the first one, by which the hub knows that it has the same journal and
/// not one that went another way (restored from an older copy); null at the beginning, or when that event is deleted.
/// </param>
/// <param name="Events">CloudEvents as accepted, 1 to <see cref="MaxEvents"/>.</param>
/// <param name="Last">Last position of the journal when the message was published, by which the hub knows what is still to come; 0 when not said.</param>
/// <param name="AcceptedAt">When the connector accepted the first of the events; null when not said.</param>
public sealed record JournalSegment(
    string Commune, Guid Journal, long FirstPosition, Guid? Before, JournalEvents Events, long Last = 0, DateTimeOffset? AcceptedAt = null)
{
    /// <summary>Most events in a message.</summary>
    public const int MaxEvents = 200;

    /// <summary>Most bytes of events in a message, unless one event alone is larger.</summary>
    public const int MaxBytes = 256 * 1024;

    /// <summary>Says which run it is, never what it holds.</summary>
    public override string ToString() => $"{Commune} {Journal} {FirstPosition}..{FirstPosition + Events.Count - 1}";
}

/// <summary>How far the hub has a journal, from hub to connector. Sent after every change, on a duplicate, and at a hub's start.</summary>
/// <param name="Commune">INSEE code.</param>
/// <param name="Journal">The commune's journal.</param>
/// <param name="ReceivedThrough">Every event up to this position is stored; 0 when none is. May be less than said before, after a restore.</param>
/// <param name="Resend">True when the hub saw a later position without the next one: the connector goes back to <c>ReceivedThrough + 1</c>.</param>
/// <param name="LastEvent">
/// <see cref="CloudEvent.EventId"/> of the event at that position, where known. When the connector has another event there, its
/// journal is an older copy that went another way, and goes on as a new one.
/// </param>
public sealed record JournalReceipt(string Commune, Guid Journal, long ReceivedThrough, bool Resend = false, Guid? LastEvent = null);

/// <summary>Names on the broker.</summary>
public static class BusNames
{
    /// <summary>
    /// Exchange of journal segments: what is published there reaches <see cref="IngestionQueue"/>. Who publishes there holds every right on
    /// the broker; a connector with a broker user of its own publishes to <see cref="ExchangeOf"/>.
    /// </summary>
    public const string SegmentExchange = "journal-segments";

    /// <summary>Quorum queue of journal segments, read by the hub.</summary>
    public const string IngestionQueue = "hub-ingestion";

    /// <summary>Times that the broker delivers a message again before it drops it; the journal protocol makes that good.</summary>
    public const int DeliveryLimit = 20;

    /// <summary>
    /// Exchange to which a broker user of its own alone may publish; bound to <see cref="SegmentExchange"/> by the hub. To declare an exchange
    /// takes the right to delete it, so that none can be shared.
    /// </summary>
    public static string ExchangeOf(string user) => $"segments-{user}";

    /// <summary>Quorum queue of what the hub has for a commune, read by the commune's connector.</summary>
    public static string CommuneQueue(CommuneCode commune) => $"commune-{commune}";
}
