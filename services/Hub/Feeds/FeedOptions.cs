namespace Intercommunalite.Hub.Feeds;

/// <summary>How much of the feed one may have at once; section <c>Feed</c>.</summary>
internal sealed record FeedOptions
{
    /// <summary>Streams of a client that a node keeps open at a time.</summary>
    public int StreamsPerClient { get; init; } = 16;

    /// <summary>Durable subscriptions that a client may have.</summary>
    public int SubscriptionsPerClient { get; init; } = 50;

    /// <summary>Positions of the store that one page looks through.</summary>
    public int PositionsPerPage { get; init; } = 50_000;

    /// <summary>The newest events that a node keeps in memory for all its readers.</summary>
    public int TailEvents { get; init; } = 4_000;

    /// <summary>After how long a stream on which nothing was to be sent gives a sign of life.</summary>
    public TimeSpan Heartbeat { get; init; } = TimeSpan.FromSeconds(15);
}
