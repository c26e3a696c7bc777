using System.Runtime.CompilerServices;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Contracts.Client;

/// <summary>
/// Reads a hub's feed and its durable subscriptions, for as long as the caller wants. When the connection breaks, the hub is away, or the
/// token has run out, it goes on by itself where it was. It ends with <see cref="HubRefusedException"/> when somebody has to do something.
/// </summary>
/// <param name="server">Address of the hub's gRPC, with TLS unless it is on this machine.</param>
/// <param name="tokens">
/// Gives a token for a call, as <see cref="ClientCredentials.TokenAsync"/> does: its argument is the token that the hub did not take, or
/// null. An empty one is a call without. <see cref="HttpRequestException"/> is taken for an issuer that is away for the time.
/// </param>
public sealed partial class FeedClient(Uri server, Func<string?, CancellationToken, ValueTask<string>> tokens)
{
    /// <summary>With tokens for a client's id and secret.</summary>
    public FeedClient(Uri server, ClientCredentials credentials)
        : this(server, credentials.TokenAsync)
    {
    }

    /// <summary>Told why reading was interrupted, and after what pause it is tried again. What it throws ends the reading.</summary>
    public Action<Exception, TimeSpan>? Interrupted { get; init; }

    /// <summary>How long a stream may be silent before it counts as dead: three times the hub's <c>Feed__Heartbeat</c>, whose default is 15 s.</summary>
    public TimeSpan LongestSilence { get; init; } = TimeSpan.FromSeconds(45);

    /// <summary>Makes what sends, anew for every connection: for an authority or a client certificate of your own. Null for the usual.</summary>
    public Func<HttpMessageHandler>? Handler { get; init; }

    /// <summary>The clock of the pauses.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    internal Uri Server => server;

    /// <summary>
    /// Every event that the request asks for, then every new one as it comes, with checkpoints in between; it does not end by itself.
    /// Each message is given once, and after an interruption those behind it. When the caller comes back after it had kept the
    /// <see cref="SubscribeResponse.Cursor"/> in one transaction with what it did, it has every event exactly once; when it kept the cursor
    /// afterwards, at least once (events are known by source and id).
    /// </summary>
    /// <param name="request">What to read. Its cursor is where to begin; without one, its <c>since</c>, <c>since_text</c> or <c>from_now</c>, else the beginning.</param>
    /// <param name="cancellation">Ends it, with <see cref="OperationCanceledException"/>.</param>
    /// <exception cref="HubRefusedException">It cannot go on: the message says what to do.</exception>
    public async IAsyncEnumerable<SubscribeResponse> SubscribeAsync(SubscribeRequest request, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        var next = request.Clone();
        GoOnFrom(next.Cursor);
        await using var stream = new ResumingStream<SubscribeResponse>(this, tokens, (invoker, options) => new Feed.V1.Feed.FeedClient(invoker).Subscribe(next, options));
        while (true)
        {
            var message = await stream.NextAsync(cancellation);
            yield return message;
            GoOnFrom(message.Cursor);
        }

        // Once there is a cursor, it says it all: the others are of the first beginning.
        void GoOnFrom(string cursor)
        {
            if (cursor.Length == 0) return;
            (next.Cursor, next.Since, next.SinceText, next.FromNow) = (cursor, null, "", false);
        }
    }

    /// <summary>
    /// Runs a handler for every event, one after the other, and keeps the cursor in a file after each has returned: at least once. After
    /// a crash those of which the cursor was not kept come again, so what the handler does must bear it.
    /// </summary>
    /// <param name="request">What to read; where to begin counts as long as the file holds no cursor.</param>
    /// <param name="kept">The cursor; of this filter and agreement, or none yet.</param>
    /// <param name="handler">Deals with an event. What it throws ends the reading before that event.</param>
    /// <param name="cancellation">Ends it, with <see cref="OperationCanceledException"/>.</param>
    /// <exception cref="HubRefusedException">It cannot go on: the message says what to do.</exception>
    /// <exception cref="IOException">The file is of another filter or agreement, or cannot be written.</exception>
    public async Task FollowAsync(SubscribeRequest request, CursorFile kept, Func<Event, CancellationToken, Task> handler, CancellationToken cancellation = default)
    {
        await foreach (var message in SubscribeAsync(kept.GoOn(request), cancellation))
        {
            if (message.Event is { } came) await handler(came, cancellation);
            kept.Keep(message.Cursor);
        }
    }
}
