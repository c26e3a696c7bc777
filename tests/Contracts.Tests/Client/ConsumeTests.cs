using System.Collections.Concurrent;
using Grpc.Core;
using Intercommunalite.Contracts.Client;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Contracts.Tests.Client;

public sealed class ConsumeTests
{
    [Fact]
    public async Task Given_handlers_that_return_or_throw_Then_deliveries_are_acknowledged_or_rejected_without_what_an_exception_says()
    {
        var subscriptions = new FakeSubscriptions(4);
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);

        await ConsumeAsync(hub, 1, (delivery, _) => delivery.Event.Id switch
        {
            "2" => throw new DeliveryRejectedException("school unknown here"),
            "3" => throw new FormatException("NOM-DE-PERSONNE"),
            "4" => throw new DeliveryRejectedException("\0" + new string('x', 501)),
            _ => Task.CompletedTask,
        }, () => subscriptions.Rejected.Count == 3);

        Assert.Equal(["1"], subscriptions.Acknowledged);
        Assert.Equal(["school unknown here", "FormatException", new string('x', 500)], subscriptions.Rejected.Select(rejected => rejected.Reason));
        Assert.All(subscriptions.Rejected, rejected => Assert.Equal("canteen", rejected.Subscription));
        Assert.Equal(("canteen", 1), (subscriptions.Requests.Single().Subscription, subscriptions.Requests.Single().MaxUnacknowledged));
    }

    [Fact]
    public async Task Given_a_hub_that_sends_more_than_asked_for_Then_no_more_handlers_run_than_were_allowed()
    {
        var subscriptions = new FakeSubscriptions(20);
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);
        var (running, most) = (0, 0);

        await ConsumeAsync(hub, 3, async (_, cancellation) =>
        {
            InterlockedMax(ref most, Interlocked.Increment(ref running));
            await Task.Delay(10, cancellation);
            Interlocked.Decrement(ref running);
        }, () => subscriptions.Acknowledged.Count == 20);

        Assert.Equal(3, most);
    }

    [Fact]
    public async Task Given_a_stream_that_breaks_When_a_handler_still_runs_Then_it_is_waited_for_before_anything_comes_again()
    {
        var subscriptions = new FakeSubscriptions(2) { BreaksFirstAfter = 1 };
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);
        using var broken = new SemaphoreSlim(0);
        var running = new ConcurrentDictionary<string, bool>();
        var twice = false;

        await ConsumeAsync(hub, 5, async (delivery, cancellation) =>
        {
            if (!running.TryAdd(delivery.Event.Id, true)) twice = true;
            // Longer than the first pause: the stream would be open again, were it not waited for.
            if (delivery.Event.Id == "1") await Task.Delay(1500, cancellation);
            running.TryRemove(delivery.Event.Id, out _);
        }, () => subscriptions.Acknowledged.Contains("2"));

        Assert.False(twice);
        Assert.Equal(2, subscriptions.Requests.Count);
    }

    [Fact]
    public async Task Given_an_acknowledgement_that_does_not_arrive_Then_the_delivery_comes_again_at_once()
    {
        var subscriptions = new FakeSubscriptions(1) { FirstAcknowledgement = new(new Status(StatusCode.Unavailable, "away")) };
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);
        var handled = 0;

        await ConsumeAsync(hub, 1, (_, _) => Task.FromResult(Interlocked.Increment(ref handled)), () => subscriptions.Acknowledged.Count == 1);

        Assert.Equal((2, 2), (handled, subscriptions.Requests.Count));
    }

    [Fact]
    public async Task Given_an_answer_that_would_only_fail_again_Then_it_ends_and_says_why()
    {
        var subscriptions = new FakeSubscriptions(1) { FirstAcknowledgement = new(new Status(StatusCode.PermissionDenied, "not yours any more")) };
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);

        var refused = await Assert.ThrowsAsync<HubRefusedException>(
            () => new FeedClient(hub.Address, (_, _) => ValueTask.FromResult("token")).ConsumeAsync("canteen", (_, _) => Task.CompletedTask).WaitAsync(Eventually.DefaultTimeout));

        Assert.Contains("not yours any more", refused.Message, StringComparison.Ordinal);
        Assert.Single(subscriptions.Requests);
    }

    [Fact]
    public async Task Given_tokens_that_cannot_be_had_When_a_delivery_is_answered_Then_it_ends_with_that()
    {
        await using var hub = await FakeHub.SubscriptionsAsync(new FakeSubscriptions(1));
        var asked = 0;

        await Assert.ThrowsAsync<FileNotFoundException>(
            () => new FeedClient(hub.Address, (_, _) => Interlocked.Increment(ref asked) == 1 ? ValueTask.FromResult("token") : throw new FileNotFoundException())
                .ConsumeAsync("canteen", (_, _) => Task.CompletedTask).WaitAsync(Eventually.DefaultTimeout));
    }

    [Fact]
    public async Task Given_a_caller_that_ends_it_When_a_handler_runs_Then_what_it_finishes_is_acknowledged()
    {
        var subscriptions = new FakeSubscriptions(2);
        await using var hub = await FakeHub.SubscriptionsAsync(subscriptions);
        var begun = 0;
        var end = new TaskCompletionSource();

        await ConsumeAsync(hub, 2, async (delivery, cancellation) =>
        {
            Interlocked.Increment(ref begun);
            // One does not hear of it, the other does.
            if (delivery.Event.Id == "1") await end.Task;
            else await Task.Delay(Timeout.Infinite, cancellation);
        }, () => Volatile.Read(ref begun) == 2, () => end.SetResult());

        Assert.Equal(["1"], subscriptions.Acknowledged);
        Assert.Empty(subscriptions.Rejected);
    }

    // Consumes until a condition holds, then ends it.
    private static async Task ConsumeAsync(FakeHub hub, int atOnce, Func<Delivery, CancellationToken, Task> handler, Func<bool> until, Action? ending = null)
    {
        using var end = new CancellationTokenSource();
        var consuming = new FeedClient(hub.Address, (_, _) => ValueTask.FromResult("token")).ConsumeAsync("canteen", handler, atOnce, end.Token);
        await Eventually.Is(() => until() || consuming.IsCompleted, done => done);
        await end.CancelAsync();
        ending?.Invoke();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => consuming);
    }

    private static void InterlockedMax(ref int most, int value)
    {
        for (var seen = Volatile.Read(ref most); value > seen && Interlocked.CompareExchange(ref most, value, seen) != seen; seen = Volatile.Read(ref most))
        {
        }
    }
}
