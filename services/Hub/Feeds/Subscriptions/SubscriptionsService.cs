using System.Diagnostics;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Npgsql;
using Contract = Intercommunalite.Contracts.Feed.V1.Subscriptions;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>
/// Durable subscriptions over gRPC. Of a subscription nothing is kept in memory: any node gives it out, and takes what is acknowledged of
/// another.
/// </summary>
internal sealed class SubscriptionsService(NpgsqlDataSource database, Deliveries deliveries, Readers readers, Finding finding, FeedStreams feed, FeedOptions options) : Contract.SubscriptionsBase
{
    private const int DefaultUnacknowledged = 100;
    private const int MostUnacknowledged = 1000;
    private const int MostDeliveries = 10_000;
    private const int LongestReason = 500;

    // A reader that takes long over one delivery is not given more for now: others may have the rest.
    private const int Batch = 100;
    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(200);

    /// <inheritdoc/>
    public override async Task Consume(ConsumeRequest request, IServerStreamWriter<ConsumeResponse> responseStream, ServerCallContext context)
    {
        var most = request.MaxUnacknowledged == 0 ? DefaultUnacknowledged : request.MaxUnacknowledged;
        if (most is < 1 or > MostUnacknowledged) throw FeedStreams.Invalid($"max_unacknowledged: 1 to {MostUnacknowledged} expected.");
        var subscription = await FindAsync(request.Subscription, context);
        if (subscription.Kind != Subscription.Pull) throw NotNow("This subscription is a webhook: the hub brings what it has. Make another one to read it here.");
        var access = feed.Access(context.GetHttpContext(), subscription.Agreement ?? "", subscription.Filter);
        await access.NowAsync(context.CancellationToken);
        using var stream = feed.Open(access);
        await using var watch = feed.Watch(access, context.GetHttpContext());
        var reader = readers.Begin(subscription.Name);
        try
        {
            await GiveAsync(new(subscription, reader, most, access, watch), responseStream, context.CancellationToken);
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            // The reader went away.
        }
        finally
        {
            await readers.EndAsync(reader);
        }
    }

    /// <inheritdoc/>
    public override async Task<AcknowledgeResponse> Acknowledge(AcknowledgeRequest request, ServerCallContext context)
    {
        if (request.Deliveries.Count > MostDeliveries) throw FeedStreams.Invalid($"deliveries: {MostDeliveries} at most.");
        var subscription = await FindAsync(request.Subscription, context);
        return new() { Acknowledged = await deliveries.AcknowledgeAsync(subscription.Name, [.. request.Deliveries.Select(Read).Distinct()], context.CancellationToken) };
    }

    /// <inheritdoc/>
    public override async Task<RejectResponse> Reject(RejectRequest request, ServerCallContext context)
    {
        if (request.Reason.Length > LongestReason || !Query.IsText(request.Reason)) throw FeedStreams.Invalid($"reason: a text of {LongestReason} characters at most expected, without NUL.");
        var subscription = await FindAsync(request.Subscription, context);
        var (holder, claimed) = Read(request.Delivery);
        var reason = string.IsNullOrWhiteSpace(request.Reason) ? "rejected without a reason" : request.Reason;
        return new() { Parked = await deliveries.RejectAsync(subscription.Name, holder, claimed, reason, context.CancellationToken) };
    }

    private async Task GiveAsync(Giving giving, IServerStreamWriter<ConsumeResponse> to, CancellationToken cancellation)
    {
        var said = Stopwatch.GetTimestamp();
        while (true)
        {
            var found = await UnlessOverAsync(giving.Watch, finding.NextAsync(giving.Subscription, giving.Reader, giving.Most, Batch, giving.Access, false, cancellation), cancellation);
            if (found.Ended is { } why) throw why;
            if (found.Claimed.Count > 0)
            {
                if (await GiveAsync(giving, found.Claimed, to, cancellation)) said = Stopwatch.GetTimestamp();
                continue;
            }

            var silence = options.Heartbeat - Stopwatch.GetElapsedTime(said);
            if (silence <= TimeSpan.Zero)
            {
                await to.WriteAsync(new() { Heartbeat = new() }, cancellation);
                said = Stopwatch.GetTimestamp();
                continue;
            }

            await giving.Watch.WaitAsync(found.More, silence, cancellation);
        }
    }

    // Whether any was given.
    private async Task<bool> GiveAsync(Giving giving, IReadOnlyList<Claimed> claimed, IServerStreamWriter<ConsumeResponse> to, CancellationToken cancellation)
    {
        var left = new List<Claimed>(claimed);
        try
        {
            var page = await UnlessOverAsync(giving.Watch, finding.ReadAsync(claimed, giving.Access, true, cancellation), cancellation);
            var (begun, any) = (Stopwatch.GetTimestamp(), false);
            var gone = new List<Claimed>();
            foreach (var one in claimed)
            {
                if (!page.Events.TryGetValue(one.Position, out var read))
                {
                    gone.Add(one);
                    continue;
                }

                giving.Watch.ThrowIfOver();
                // What was allowed when it was read may be so no longer, or somebody in it was forgotten: it is read anew.
                if (page.Page.IsStale(giving.Access) || !left.Contains(one) || Stopwatch.GetElapsedTime(begun) > s_slow) break;
                // What has begun to go out may have arrived, however the call ends.
                left.Remove(one);
                await WriteAsync(giving, left, one, to.WriteAsync(new() { Delivery = new() { Delivery_ = one.Token(giving.Reader), Event = read.Message, Attempt = one.Attempt, Replay = one.Replay } }, cancellation), cancellation);
                any = true;
            }

            if (!page.Page.IsStale(giving.Access))
            {
                await deliveries.DropAsync(giving.Subscription.Name, giving.Reader, gone, cancellation);
                left.RemoveAll(gone.Contains);
            }

            return any;
        }
        finally
        {
            // Also when the call has ended.
            await readers.TryAsync(() => deliveries.GiveBackAsync(giving.Subscription.Name, giving.Reader, left, CancellationToken.None));
        }
    }

    // A reader that is slow to take a delivery has as long for that as it has to acknowledge it, which begins when it has taken it. One that
    // takes longer has failed, though its call stands: the delivery goes to another one. The rest is not kept from others meanwhile.
    private async Task WriteAsync(Giving giving, List<Claimed> left, Claimed one, Task writing, CancellationToken cancellation)
    {
        if (!writing.IsCompleted) await Task.WhenAny(writing, Task.Delay(s_slow, cancellation));
        if (!writing.IsCompleted)
        {
            var name = giving.Subscription.Name;
            await deliveries.GiveBackAsync(name, giving.Reader, left, cancellation);
            left.Clear();
            // Before its time is over in the store too, so that it is known why.
            var over = Task.Delay(TimeSpan.FromSeconds(giving.Subscription.AckTimeout), cancellation);
            await deliveries.ExtendAsync(name, giving.Reader, [one], cancellation);
            await Task.WhenAny(writing, over);
            if (writing.IsCompleted) await deliveries.ExtendAsync(name, giving.Reader, [one], cancellation);
            else if (!cancellation.IsCancellationRequested) await deliveries.RejectAsync(name, giving.Reader, one, $"not taken by its reader within {giving.Subscription.AckTimeout} s", cancellation);
        }

        await writing;
    }

    // What was begun comes to its end all the same, lest something is claimed after the reader has ended.
    private static async Task<T> UnlessOverAsync<T>(Watch watch, Task<T> making, CancellationToken cancellation)
    {
        try
        {
            await watch.WaitAsync(making, cancellation);
        }
        catch
        {
            await ((Task)making.WaitAsync(s_patience, CancellationToken.None)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }

        return await making;
    }

    // What is another client's is not there, for a reader.
    private async Task<Subscription> FindAsync(string name, ServerCallContext context) =>
        await Subscription.FindAsync(database, name, context.CancellationToken) is { } found && found.Client == Caller.Of(context.GetHttpContext().User).Id
            ? found
            : throw new RpcException(new Status(StatusCode.NotFound, "You have no subscription of this name. GET /api/v1/subscriptions lists yours."));

    private static (Guid Holder, Claimed Claimed) Read(string token) =>
        Claimed.TryRead(token, out var holder, out var claimed) ? (holder, claimed) : throw FeedStreams.Invalid("delivery: not one that was given out; take it from the delivery as it is.");

    private static RpcException NotNow(string why) => new(new Status(StatusCode.FailedPrecondition, why));

    /// <summary>A call in which deliveries are given.</summary>
    private sealed record Giving(Subscription Subscription, Guid Reader, int Most, FeedAccess Access, Watch Watch);
}
