using Grpc.Core;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// Looks all the time whether a stream may go on, whatever the stream does meanwhile: waits for events, or for a reader that does not
/// read. It may not when its reader may no longer have it, or the node stops. One that does not end by itself soon after it must is broken off.
/// </summary>
internal sealed class Watch : IAsyncDisposable
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(200);

    // A database that says nothing is not waited for: what is not known to be allowed ends.
    private static readonly TimeSpan s_answer = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(300);

    private readonly CancellationTokenSource _done = new();
    private readonly TaskCompletionSource<RpcException> _over = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _watching;

    /// <summary>Begins to look.</summary>
    /// <param name="access">What may be read.</param>
    /// <param name="connection">The call.</param>
    /// <param name="stopping">The node stops.</param>
    public Watch(FeedAccess access, HttpContext connection, CancellationToken stopping) => _watching = WatchAsync(access, connection, stopping);

    /// <summary>Throws once the stream may not go on.</summary>
    /// <exception cref="RpcException">Why, and what to do.</exception>
    public void ThrowIfOver()
    {
        if (_over.Task.IsCompletedSuccessfully) throw _over.Task.Result;
    }

    /// <summary>Waits for something, as long as the stream may go on.</summary>
    /// <exception cref="RpcException">It may not.</exception>
    public async Task WaitAsync(Task something, CancellationToken cancellation)
    {
        await Task.WhenAny(something, _over.Task).WaitAsync(cancellation);
        ThrowIfOver();
    }

    /// <summary>The same, but not for longer than this; false when it did not come.</summary>
    /// <exception cref="RpcException">The stream may not go on.</exception>
    public async Task<bool> WaitAsync(Task something, TimeSpan longest, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(longest > TimeSpan.Zero ? longest : TimeSpan.Zero);
        try
        {
            await WaitAsync(something, limit.Token);
            return true;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _done.CancelAsync();
        await _watching;
        _done.Dispose();
    }

    private async Task WatchAsync(FeedAccess access, HttpContext connection, CancellationToken stopping)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(_done.Token, stopping);
        while (true)
        {
            try
            {
                either.Token.ThrowIfCancellationRequested();
                var changed = access.Changed;
                await access.NowAsync(either.Token).AsTask().WaitAsync(s_answer, either.Token);
                await Task.WhenAny(changed, Task.Delay(s_look, either.Token));
            }
            catch (OperationCanceledException) when (_done.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // What cannot be checked may not go on either.
                _over.SetResult(
                    stopping.IsCancellationRequested ? Unavailable("This node of the hub stops. Call again: another one, or this one after its start, goes on behind what you had.")
                    : e as RpcException ?? Unavailable("It cannot be checked now what you may read. Try again."));
                await Task.Delay(s_patience, _done.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (!_done.IsCancellationRequested) connection.Abort();
                return;
            }
        }
    }

    private static RpcException Unavailable(string why) => new(new Status(StatusCode.Unavailable, why));
}
