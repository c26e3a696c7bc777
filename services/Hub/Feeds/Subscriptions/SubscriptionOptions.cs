namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Settings of durable subscriptions; section <c>Subscriptions</c>.</summary>
internal sealed record SubscriptionOptions
{
    /// <summary>Events of a subscription that are looked up ahead, those that wait for a record before them included: so many rows it has at most, and what is parked.</summary>
    public int Window { get; init; } = 1_000;
}
