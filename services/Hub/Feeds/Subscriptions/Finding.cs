using Grpc.Core;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>What a reader found who looked for deliveries.</summary>
/// <param name="Claimed">What it holds now, in the order of the store.</param>
/// <param name="More">Done when it is worth while to look again, if nothing was claimed.</param>
/// <param name="Ended">Why there is nothing more to be given for now; null when there may be.</param>
internal sealed record Found(IReadOnlyList<Claimed> Claimed, Task More, RpcException? Ended);

/// <summary>Events at positions as they may be given, by position.</summary>
/// <param name="Page">When they may be given no longer.</param>
/// <param name="Events">The events; one that is missing may not be given any more.</param>
internal sealed record ReadEvents(FeedPage Page, IReadOnlyDictionary<long, FeedEvent> Events);

/// <summary>Looks for what a reader of a subscription can be given: the way from the store through the window to the reader, the same for calls and for webhooks.</summary>
internal sealed class Finding(Deliveries deliveries, Replays replays, FeedPages pages, Positions positions, SubscriptionOptions options)
{
    // What another node does is seen then at the latest.
    private static readonly TimeSpan s_poll = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(20);

    /// <summary>Claims what is due, as far as the reader has room.</summary>
    /// <param name="subscription">The subscription.</param>
    /// <param name="reader">The reader.</param>
    /// <param name="most">Most that the reader may hold.</param>
    /// <param name="batch">Most to claim at a time.</param>
    /// <param name="access">What may be read.</param>
    /// <param name="freshFirst">Whether what has never failed goes first, and not what is first in the store.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="RpcException">Nothing may be read now.</exception>
    public async Task<Found> NextAsync(Subscription subscription, Guid reader, int most, int batch, FeedAccess access, bool freshFirst, CancellationToken cancellation)
    {
        var name = subscription.Name;
        while (true)
        {
            // Before anything is looked up, so that nothing is missed.
            var (moved, changed) = (positions.Moved, deliveries.Changed(name));
            await positions.Known.WaitAsync(cancellation);
            if (await deliveries.LookAsync(name, reader, cancellation) is not { } looked || looked.CreatedAt != subscription.CreatedAt) return Ends(StatusCode.NotFound, "The subscription was deleted.", changed);
            if (looked.IsSuspended) return Ends(StatusCode.FailedPrecondition, $"The subscription is suspended: {looked.Reason}", changed);
            if (looked.IsFull) return Ends(StatusCode.FailedPrecondition, options.WhyFull, changed);
            var (isMore, soonest) = looked.HasReplays ? await replays.AdvanceAsync(subscription, access, cancellation) : (false, null);
            if (isMore) looked = await deliveries.LookAsync(name, reader, cancellation) ?? looked;
            var room = Math.Min(most - looked.Held, batch);
            var stretch = room > 0 && looked.Fetched < positions.HighWater && looked.Waiting <= options.Window * 9 / 10
                ? await StretchAsync(looked.Fetched, options.Window - looked.Waiting, access, cancellation)
                : null;
            if (stretch is not null || looked.HasLapsed || (looked.IsDue && room > 0))
            {
                var claimed = await deliveries.ClaimAsync(subscription, reader, Math.Max(room, 0), stretch, freshFirst, cancellation);
                if (claimed.Count > 0) return new(claimed, Task.CompletedTask, null);
                // Looked through in vain, or another one was first: on to the next stretch.
                if (stretch is not null) continue;
            }

            var next = looked.Next is { } soon && soon < s_poll ? soon : s_poll;
            if (soonest < next) next = soonest.Value;
            return new([], Task.WhenAny(moved, changed, Task.Delay(next > s_shortest ? next : s_shortest, cancellation)), null);
        }

        static Found Ends(StatusCode status, string why, Task changed) => new([], changed, new(new Status(status, why)));
    }

    /// <summary>Reads events as they may be given at this moment.</summary>
    /// <param name="claimed">Which.</param>
    /// <param name="access">What may be read.</param>
    /// <param name="withPersonal">Whether with the personal data that is allowed.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="RpcException">Nothing may be read now.</exception>
    public async Task<ReadEvents> ReadAsync(IEnumerable<Claimed> claimed, FeedAccess access, bool withPersonal, CancellationToken cancellation)
    {
        var page = await pages.AtAsync([.. claimed.Select(one => one.Position).Distinct()], access, cancellation, withPersonal);
        return new(page, page.Events.ToDictionary(read => read.Place.Position));
    }

    private async Task<Stretch> StretchAsync(long after, int limit, FeedAccess access, CancellationToken cancellation)
    {
        var (found, through) = await pages.FindAsync(after, access, limit, cancellation);
        return new(after, through, [.. found.Select(one => (one.Place.Position, one.Stream))]);
    }
}
