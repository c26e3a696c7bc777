using System.Threading.Channels;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>A reader of a subscription at a node: what it is given is there to be taken, heartbeats apart.</summary>
internal sealed class PullReader : IAsyncDisposable
{
    private readonly AccessServer _node;
    private readonly string _name;
    private readonly string _token;
    private readonly AsyncServerStreamingCall<ConsumeResponse> _call;
    private readonly Channel<Delivery> _given = Channel.CreateUnbounded<Delivery>();
    private readonly Task _reading;
    private int _heartbeats;

    public PullReader(AccessServer node, string name, string token, int max = 0)
    {
        (_node, _name, _token) = (node, name, token);
        _call = node.Subscriptions.Consume(new ConsumeRequest { Subscription = name, MaxUnacknowledged = max }, AccessServer.Headers(token));
        _reading = ReadAsync();
    }

    public int Heartbeats => Volatile.Read(ref _heartbeats);

    /// <summary>The next delivery; a failure when none comes.</summary>
    /// <exception cref="TimeoutException">None came.</exception>
    public async Task<Delivery> NextAsync(TimeSpan? within = null)
    {
        using var limit = new CancellationTokenSource(within ?? Eventually.DefaultTimeout);
        try
        {
            return await _given.Reader.ReadAsync(limit.Token);
        }
        catch (OperationCanceledException e)
        {
            throw new TimeoutException("No delivery came.", e);
        }
    }

    public async Task<IReadOnlyList<Delivery>> NextAsync(int count)
    {
        var all = new List<Delivery>();
        while (all.Count < count) all.Add(await NextAsync());
        return all;
    }

    /// <summary>Whether something has come that was not taken.</summary>
    public bool HasMore => _given.Reader.TryPeek(out _);

    public async Task<int> AcknowledgeAsync(params Delivery[] deliveries) =>
        (await _node.Subscriptions.AcknowledgeAsync(new AcknowledgeRequest { Subscription = _name, Deliveries = { deliveries.Select(one => one.Delivery_) } }, AccessServer.Headers(_token))).Acknowledged;

    public async Task<bool> RejectAsync(Delivery delivery, string reason) =>
        (await _node.Subscriptions.RejectAsync(new RejectRequest { Subscription = _name, Delivery = delivery.Delivery_, Reason = reason }, AccessServer.Headers(_token))).Parked;

    /// <summary>How the hub ended the call.</summary>
    public async Task<RpcException> EndedAsync() => await Assert.ThrowsAsync<RpcException>(() => _reading.WaitAsync(Eventually.DefaultTimeout));

    public async ValueTask DisposeAsync()
    {
        _call.Dispose();
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task ReadAsync()
    {
        try
        {
            while (await _call.ResponseStream.MoveNext(default))
            {
                if (_call.ResponseStream.Current.Delivery is { } delivery) _given.Writer.TryWrite(delivery);
                else Interlocked.Increment(ref _heartbeats);
            }
        }
        finally
        {
            _given.Writer.TryComplete();
        }
    }
}
