using System.Globalization;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Settings of durable subscriptions; section <c>Subscriptions</c>.</summary>
internal sealed record SubscriptionOptions
{
    /// <summary>Events of a subscription that are looked up ahead, those that wait for a record before them included: so many rows it has at most, and what is parked.</summary>
    public int Window { get; init; } = 1_000;

    /// <summary>
    /// Parked events of a subscription from which on nothing more is looked up or given, until some are replayed or discarded: a subscriber
    /// that refuses everything would else have a row for every event of the store. Nothing is lost. There may be more by those of one window.
    /// What a replay parks counts for that replay alone: it looks up nothing more then, and the subscription goes on.
    /// </summary>
    public int MostParked { get; init; } = 10_000;

    /// <summary>What is said then.</summary>
    public string WhyFull => string.Create(CultureInfo.InvariantCulture, $"{MostParked} events or more are parked: nothing more is given until some of them are replayed or discarded, see /api/v1/subscriptions/…/parked.");
}
