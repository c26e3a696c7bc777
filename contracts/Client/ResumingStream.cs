using System.Security.Authentication;
using Grpc.Core;
using Grpc.Net.Client;

namespace Intercommunalite.Contracts.Client;

/// <summary>A stream of the hub that is opened again when it breaks. Each time on a new connection: a dead one says nothing of its death.</summary>
/// <param name="client">Whose it is.</param>
/// <param name="tokens">Gives tokens.</param>
/// <param name="open">Opens it; every time anew.</param>
/// <param name="ended">Waited for before it is opened again.</param>
internal sealed class ResumingStream<T>(
    FeedClient client, Func<string?, CancellationToken, ValueTask<string>> tokens, Func<CallInvoker, CallOptions, AsyncServerStreamingCall<T>> open, Func<Task>? ended = null)
    : IAsyncDisposable
{
    // RFC 9113, 7.
    private const long ProtocolError = 0x1;
    private const long Http11Required = 0xd;

    private static readonly TimeSpan s_firstPause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(30);

    private GrpcChannel? _channel;
    private CancellationTokenSource? _broken;
    private AsyncServerStreamingCall<T>? _call;
    private string _token = "";
    private RpcException? _refusal;
    private Exception? _brokenBy;
    private bool _wasOpen;
    private int _failures;

    /// <summary>The connection of the stream as it is now, for other calls beside it.</summary>
    public CallInvoker Connection => _channel!.CreateCallInvoker();

    /// <summary>Headers for such calls.</summary>
    public async ValueTask<Metadata> HeadersAsync(CancellationToken cancellation) => Headers(await tokens(null, cancellation));

    /// <summary>The next message, on this connection or on one that comes after it.</summary>
    /// <exception cref="HubRefusedException">There will be none.</exception>
    /// <exception cref="OperationCanceledException">The caller wants no more.</exception>
    public async Task<T> NextAsync(CancellationToken cancellation)
    {
        while (true)
        {
            Exception why;
            try
            {
                if (_call is null) await OpenAsync(cancellation);
                if (await _call!.ResponseStream.MoveNext(CancellationToken.None).WaitAsync(client.LongestSilence, cancellation))
                {
                    (_failures, _refusal, _wasOpen) = (0, null, true);
                    return _call.ResponseStream.Current;
                }

                why = new HttpRequestException("The hub ended the stream.");
            }
            catch (TimeoutException e)
            {
                why = new HttpRequestException($"Nothing came for {client.LongestSilence.TotalSeconds:F0} s, not even a sign of life.", e);
            }
            catch (Exception e) when (e is RpcException or HttpRequestException)
            {
                cancellation.ThrowIfCancellationRequested();
                why = e;
            }

            if (ended is not null) await ended();
            why = Interlocked.Exchange(ref _brokenBy, null) ?? why;
            Close();
            // What was refused was another token than the one that has failed otherwise now.
            if (why is not RpcException { StatusCode: StatusCode.Unauthenticated }) _refusal = null;
            if (why is RpcException error && IsToBeTriedAtOnce(error)) continue;
            var pause = s_firstPause * Math.Pow(2, Math.Min(_failures++, 10));
            pause = (pause < s_longestPause ? pause : s_longestPause) * (0.5 + (Random.Shared.NextDouble() / 2));
            client.Interrupted?.Invoke(why, pause);
            await Task.Delay(pause, client.Time, cancellation);
        }
    }

    /// <summary>Breaks the connection off, so that another is made, or that it ends if that would not help.</summary>
    /// <param name="why">What a call beside the stream failed with.</param>
    public void Break(Exception why)
    {
        Interlocked.CompareExchange(ref _brokenBy, why, null);
        _broken?.Cancel();
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Close();
        return default;
    }

    private static Metadata Headers(string token) => token.Length == 0 ? [] : new() { { "authorization", $"Bearer {token}" } };

    private async Task OpenAsync(CancellationToken cancellation)
    {
        var token = await tokens(_refusal is null ? null : _token, cancellation);
        if (token.Length > 0) ClientCredentials.RequireTls(client.Server);
        // The same again would be refused again.
        if (_refusal is not null && token == _token) throw Refused(_refusal);
        _token = token;
        _broken = new();
        _channel = GrpcChannel.ForAddress(client.Server, new() { HttpHandler = client.Handler?.Invoke(), DisposeHttpClient = client.Handler is not null });
        _call = open(_channel.CreateCallInvoker(), new(Headers(token), cancellationToken: _broken.Token));
    }

    private void Close()
    {
        _call?.Dispose();
        _channel?.Dispose();
        (_call, _channel) = (null, null);
    }

    private bool IsToBeTriedAtOnce(RpcException error)
    {
        if (error.StatusCode == StatusCode.Unauthenticated)
        {
            // A token runs out while the stream is open. One that was made just now does not.
            if (_refusal is not null || _token.Length == 0) throw Refused(error);
            _refusal = error;
            return true;
        }

        // A hub that stops, or a proxy before it, breaks calls off in one of these ways; one that was asked too much may still know the stream that broke.
        var mayComeBack = error.StatusCode is StatusCode.Unavailable or StatusCode.Internal or StatusCode.Cancelled or StatusCode.Unknown or StatusCode.DeadlineExceeded or StatusCode.Aborted
            || (error.StatusCode == StatusCode.ResourceExhausted && _wasOpen);
        return mayComeBack && !IsOtherProtocol(error) ? false : throw Refused(error);
    }

    // A certificate that is not trusted, or an address that speaks HTTP/1.1 alone: what answers is no HTTP/2. A stream that is reset is no such thing.
    private static bool IsOtherProtocol(RpcException error)
    {
        for (var cause = error.Status.DebugException; cause is not null; cause = cause.InnerException)
        {
            if (cause is AuthenticationException or HttpRequestException { HttpRequestError: HttpRequestError.VersionNegotiationError }
                or HttpProtocolException { ErrorCode: ProtocolError or Http11Required }) return true;
            if (cause is HttpIOException { HttpRequestError: HttpRequestError.HttpProtocolError or HttpRequestError.InvalidResponse } and not HttpProtocolException) return true;
        }

        return false;
    }

    private HubRefusedException Refused(RpcException error) => new(
        error.StatusCode switch
        {
            _ when IsOtherProtocol(error) => $"{client.Server} does not speak gRPC, or its certificate is not trusted here. Check the address. {error.Status.Detail}",
            StatusCode.Unauthenticated => $"The hub at {client.Server} does not know the caller: {error.Status.Detail} Check the client's id and secret, and that it is not suspended.",
            StatusCode.PermissionDenied => $"The hub at {client.Server} does not allow it: {error.Status.Detail}",
            StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange => $"The hub at {client.Server} does not accept the request: {error.Status.Detail}",
            StatusCode.NotFound => $"The hub at {client.Server} does not have it: {error.Status.Detail}",
            StatusCode.Unimplemented => $"There is no feed at {client.Server}. Check the address: it is that of the hub's gRPC.",
            _ => $"The hub at {client.Server} refuses ({error.StatusCode}): {error.Status.Detail}",
        },
        error);
}
