using System.Runtime.CompilerServices;
using System.Threading.RateLimiting;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// The feed as a reader is given it, by gRPC and by HTTP alike: pages, and streams of messages that end when the reader may no longer
/// have them. A stream holds one page; the next is made when the reader has taken it.
/// </summary>
internal sealed class FeedStreams(
    FeedPages pages, Positions positions, AgreementsInForce agreements, CurrentRights rights, PartitionedRateLimiter<string> streams, FeedOptions options, IHostApplicationLifetime lifetime,
    TimeProvider time)
{
    /// <summary>Most events of a page that is asked for.</summary>
    public const int MaxLimit = 1000;

    private const int PageSize = 500;

    // New events come several times a second; that they were looked at is told less often where they are none of the reader's.
    private static readonly TimeSpan s_betweenCheckpoints = TimeSpan.FromSeconds(1);

    /// <summary>The caller, who reads.</summary>
    public FeedAccess Access(HttpContext caller, string agreement, FeedFilter filter) => new(Reader.Of(caller.User, rights), agreement, filter, agreements);

    /// <summary>Where a reader begins.</summary>
    /// <param name="cursor">Its cursor; empty for none.</param>
    /// <param name="since">A time; null for none.</param>
    /// <param name="fromNow">Whether at the end of the store.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="RpcException">More than one was given, or the cursor is none of this store.</exception>
    public async Task<Place> BeginAsync(string cursor, Timestamp? since, bool fromNow, CancellationToken cancellation)
    {
        if ((cursor.Length > 0 ? 1 : 0) + (since is not null ? 1 : 0) + (fromNow ? 1 : 0) > 1) throw Invalid("At most one of cursor, since and from_now can be given.");
        await positions.Known.WaitAsync(cancellation);
        if (fromNow) return await pages.EndAsync(cancellation);
        if (since is null) return await pages.PlaceAsync(cursor, cancellation);
        if (since.Seconds is < -62135596800 or > 253402300799 || since.Nanos is < 0 or > 999_999_999 || since.ToDateTimeOffset() > time.GetUtcNow().AddMinutes(1))
            throw Invalid("since: a time that has passed expected.");
        return await pages.LastAsync(await positions.BeforeAsync(since.ToDateTimeOffset(), cancellation), cancellation);
    }

    /// <summary>One page.</summary>
    /// <exception cref="RpcException">The limit is wrong, or nothing may be read.</exception>
    public async Task<FeedPage> ReadAsync(Place after, FeedAccess access, int limit, CancellationToken cancellation)
    {
        FeedPage page;
        do page = await pages.AfterAsync(after, access, limit, cancellation);
        while (page.Changed.IsCompleted || (page.Epoch is { } epoch && !access.IsNobodyForgottenSince(epoch)));
        return page;
    }

    /// <summary>The cursor of a place.</summary>
    public async ValueTask<string> CursorAsync(Place place, CancellationToken cancellation) => (await pages.CursorsAsync(cancellation)).Of(place);

    /// <summary>A stream's part of what its client may have open here; to be disposed of at its end.</summary>
    /// <exception cref="RpcException">The client has as many open as it may.</exception>
    public RateLimitLease Open(FeedAccess access)
    {
        var stream = streams.AttemptAcquire(access.Who);
        if (stream.IsAcquired) return stream;
        stream.Dispose();
        throw new RpcException(new Status(StatusCode.ResourceExhausted, $"{access.Who} has {options.StreamsPerClient} streams open here already, the most for one client (Feed__StreamsPerClient). End one of them first; one stream can carry all types and communes of an agreement."));
    }

    /// <summary>Looks whether a stream may go on, until it is disposed of.</summary>
    public Watch Watch(FeedAccess access, HttpContext connection) => new(access, connection, lifetime.ApplicationStopping);

    /// <summary>Everything behind a place, then what is new as it comes, until the caller may no longer have it.</summary>
    /// <param name="after">The place.</param>
    /// <param name="fromNow">Whether that is where the store ended when the caller came: it is caught up there.</param>
    /// <param name="access">The caller.</param>
    /// <param name="connection">The call, which is broken off when it does not end by itself.</param>
    /// <param name="cancellation">The caller goes away.</param>
    /// <exception cref="RpcException">The caller may no longer.</exception>
    /// <exception cref="OperationCanceledException">The caller went away.</exception>
    public async IAsyncEnumerable<SubscribeResponse> MessagesAsync(Place after, bool fromNow, FeedAccess access, HttpContext connection, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var watch = Watch(access, connection);
        var cursors = await pages.CursorsAsync(cancellation);
        bool? caughtUp = null;
        var (said, told) = (time.GetTimestamp(), after);
        if (fromNow)
        {
            yield return new() { CaughtUp = new() { Cursor = cursors.Of(after) } };
            caughtUp = true;
        }

        while (true)
        {
            var moved = positions.Moved;
            var making = pages.AfterAsync(after, access, PageSize, cancellation);
            await watch.WaitAsync(making, cancellation);
            var page = await making;
            if (caughtUp == true && !page.CaughtUp)
            {
                yield return new() { FellBehind = new() { Cursor = cursors.Of(after) } };
                caughtUp = false;
            }

            var sent = 0;
            for (; sent < page.Events.Count; sent++)
            {
                watch.ThrowIfOver();
                // What was allowed when the page was made may be so no longer, or somebody in it was forgotten: the rest is read anew.
                if (page.IsStale(access)) break;
                yield return new() { Event = page.Events[sent].Message };
                (after, told, said) = (page.Events[sent].Place, page.Events[sent].Place, time.GetTimestamp());
            }

            if (sent < page.Events.Count) continue;
            after = page.Through;
            if (after != told && (caughtUp != true || time.GetElapsedTime(said) >= s_betweenCheckpoints))
            {
                yield return new() { Checkpoint = new() { Cursor = cursors.Of(after) } };
                (told, said) = (after, time.GetTimestamp());
            }

            if (page.CaughtUp && caughtUp != true) yield return new() { CaughtUp = new() { Cursor = cursors.Of(after) } };
            caughtUp = page.CaughtUp;
            if (!page.CaughtUp) continue;
            var silence = (after != told ? s_betweenCheckpoints : options.Heartbeat) - time.GetElapsedTime(said);
            if (await watch.WaitAsync(moved, silence, cancellation)) continue;
            if (after != told) yield return new() { Checkpoint = new() { Cursor = cursors.Of(after) } };
            else yield return new() { Heartbeat = new() { Cursor = cursors.Of(after) } };
            (told, said) = (after, time.GetTimestamp());
        }
    }

    /// <summary>The request has a wrong form.</summary>
    public static RpcException Invalid(string detail) => new(new Status(StatusCode.InvalidArgument, detail));
}
