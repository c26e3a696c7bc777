using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Contracts.Client;

/// <summary>Ends a handler of <see cref="FeedClient.ConsumeAsync"/>: the delivery failed, and comes again later.</summary>
/// <param name="reason">Why, for those who look at what is parked; without personal data.</param>
public sealed class DeliveryRejectedException(string reason) : Exception(reason);

/// <content>Durable subscriptions.</content>
public sealed partial class FeedClient
{
    private const int LongestReason = 500;
    private static readonly TimeSpan s_longestAnswer = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Runs a handler for each delivery of a durable subscription; it does not end by itself. A delivery is acknowledged when its handler
    /// returns, and rejected when it throws: with the reason of a <see cref="DeliveryRejectedException"/>, of any other exception with the
    /// name of its type alone, since its text may hold what nobody else should read. At least once: after an interruption what was not
    /// acknowledged comes again. Of a record the hub gives one event at a time, in order.
    /// </summary>
    /// <param name="subscription">Name of the subscription, made before.</param>
    /// <param name="handler">Deals with a delivery. When <paramref name="cancellation"/> stops it, the delivery is neither acknowledged nor rejected.</param>
    /// <param name="atOnce">How many handlers may run at a time, 1 to 1000; no more deliveries are taken.</param>
    /// <param name="cancellation">Ends it, with <see cref="OperationCanceledException"/>, once the handlers that run have ended.</param>
    /// <exception cref="HubRefusedException">It cannot go on: the message says what to do.</exception>
    public async Task ConsumeAsync(string subscription, Func<Delivery, CancellationToken, Task> handler, int atOnce = 1, CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(atOnce, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(atOnce, 1000);
        var running = new HashSet<Task>();
        // What is still being dealt with would come again on the next connection: of a record two handlers would run.
        await using var stream = new ResumingStream<ConsumeResponse>(
            this, tokens,
            (invoker, options) => new Subscriptions.SubscriptionsClient(invoker).Consume(new() { Subscription = subscription, MaxUnacknowledged = atOnce }, options),
            () => Task.WhenAll(running));
        try
        {
            while (true)
            {
                var message = await stream.NextAsync(cancellation);
                foreach (var handling in running.Where(handling => handling.IsCompleted).ToList()) await EndAsync(handling);
                if (message.Delivery is not { } delivery) continue;
                while (running.Count >= atOnce) await EndAsync(await Task.WhenAny(running).WaitAsync(cancellation));
                running.Add(Task.Run(() => DealWithAsync(delivery), CancellationToken.None));
            }
        }
        finally
        {
            await Task.WhenAll(running);
        }

        // What went wrong with the answer, beyond the hub being away, ends it: a token that cannot be had, for one.
        async Task EndAsync(Task handling)
        {
            running.Remove(handling);
            await handling;
        }

        async Task DealWithAsync(Delivery delivery)
        {
            string? reason = null;
            try
            {
                await handler(delivery, cancellation);
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                return;
            }
            catch (DeliveryRejectedException e)
            {
                reason = Short(e.Message);
            }
            catch (Exception e)
            {
                reason = e.GetType().Name;
            }

            try
            {
                var hub = new Subscriptions.SubscriptionsClient(stream.Connection);
                var options = new CallOptions(await stream.HeadersAsync(CancellationToken.None), DateTime.UtcNow + s_longestAnswer);
                if (reason is null) await hub.AcknowledgeAsync(new() { Subscription = subscription, Deliveries = { delivery.Delivery_ } }, options);
                else await hub.RejectAsync(new() { Subscription = subscription, Delivery = delivery.Delivery_, Reason = reason }, options);
            }
            catch (Exception e) when (e is RpcException or HttpRequestException or HubRefusedException)
            {
                // The hub does not know. On a new connection it gives the delivery again, unless that would only fail again.
                stream.Break(e);
            }
        }
    }

    // As the hub takes it.
    private static string Short(string reason)
    {
        var text = reason.Replace("\0", "", StringComparison.Ordinal);
        return text.Length <= LongestReason ? text : text[..(char.IsHighSurrogate(text[LongestReason - 1]) ? LongestReason - 1 : LongestReason)];
    }
}
