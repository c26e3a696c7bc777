using System.Globalization;
using System.Text.Json;
using System.Threading.RateLimiting;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// The feed of events over gRPC, in the order of the store, never beyond its high-water mark: of it, what the caller may have when each
/// page is made.
/// </summary>
internal sealed class FeedService(
    NpgsqlDataSource database, Positions positions, AgreementsInForce agreements, CurrentRights rights, PersonalPages personal, PartitionedRateLimiter<string> streams,
    FeedOptions options) : Feed.FeedBase
{
    private const int PageSize = 500;
    private const int MaxLimit = 1000;
    private const int DefaultLimit = 100;

    /// <inheritdoc/>
    public override async Task<ReadResponse> Read(ReadRequest request, ServerCallContext context)
    {
        if (request.Limit is < 0 or > MaxLimit) throw Invalid($"limit: 1 to {MaxLimit} expected.");
        var after = Position(request.Cursor);
        var access = Access(request.Agreement, request.Filter, context);
        await access.NowAsync(context.CancellationToken);
        await CheckAsync(after, context.CancellationToken);
        Page page;
        do page = await PageAsync(after, access, request.Limit == 0 ? DefaultLimit : request.Limit, context.CancellationToken);
        while (page.Changed.IsCompleted || (page.Epoch is { } epoch && !access.IsNobodyForgottenSince(epoch)));
        return new ReadResponse { Events = { page.Events }, NextCursor = Cursor(page.Through), CaughtUp = page.CaughtUp };
    }

    /// <inheritdoc/>
    public override async Task Subscribe(SubscribeRequest request, IServerStreamWriter<SubscribeResponse> responseStream, ServerCallContext context)
    {
        var after = Position(request.Cursor);
        var access = Access(request.Agreement, request.Filter, context);
        await access.NowAsync(context.CancellationToken);
        using var stream = streams.AttemptAcquire(access.Who);
        if (!stream.IsAcquired)
            throw new RpcException(new Status(StatusCode.ResourceExhausted, $"{access.Who} has {options.StreamsPerClient} streams open here already, the most for one client (Feed__StreamsPerClient). End one of them first; one stream can carry all types and communes of an agreement."));
        await CheckAsync(after, context.CancellationToken);
        await using var watch = new Watch(access, context.GetHttpContext());
        bool? caughtUp = null;
        try
        {
            while (true)
            {
                var moved = positions.Moved;
                var making = PageAsync(after, access, PageSize, context.CancellationToken);
                await watch.WaitAsync(making, context.CancellationToken);
                var page = await making;
                if (caughtUp == true && !page.CaughtUp)
                {
                    await responseStream.WriteAsync(new SubscribeResponse { FellBehind = new FellBehind { Cursor = Cursor(after) } }, context.CancellationToken);
                    caughtUp = false;
                }

                var sent = 0;
                for (; sent < page.Events.Count; sent++)
                {
                    watch.ThrowIfOver();
                    // What was allowed when the page was made may be so no longer, or somebody in it was forgotten: the rest is read anew.
                    if (page.Changed.IsCompleted || !access.IsKnown || (page.Epoch is { } epoch && !access.IsNobodyForgottenSince(epoch))) break;
                    await responseStream.WriteAsync(new SubscribeResponse { Event = page.Events[sent] }, context.CancellationToken);
                }

                var lastSent = sent > 0 ? Position(page.Events[sent - 1].Cursor) : after;
                if (sent < page.Events.Count)
                {
                    after = lastSent;
                    continue;
                }

                if (page.Through > lastSent)
                    await responseStream.WriteAsync(new SubscribeResponse { Checkpoint = new Checkpoint { Cursor = Cursor(page.Through) } }, context.CancellationToken);
                after = page.Through;
                if (page.CaughtUp && caughtUp != true)
                    await responseStream.WriteAsync(new SubscribeResponse { CaughtUp = new CaughtUp { Cursor = Cursor(after) } }, context.CancellationToken);
                caughtUp = page.CaughtUp;
                if (page.CaughtUp) await watch.WaitAsync(moved, context.CancellationToken);
            }
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            // The subscriber went away.
        }
    }

    private FeedAccess Access(string agreement, Filter? filter, ServerCallContext context) =>
        new(context.GetHttpContext().User, agreement, filter, agreements, rights);

    // A cursor ahead of the store comes from another store, or from before a restore: waiting there would pass over events in silence.
    private async Task CheckAsync(long after, CancellationToken cancellation)
    {
        await positions.Known.WaitAsync(cancellation);
        if (after <= positions.HighWater) return;
        await using var command = database.CreateCommand($"SELECT {Positions.End}");
        var high = (long)(await command.ExecuteScalarAsync(cancellation))!;
        if (after > high) throw new RpcException(new Status(StatusCode.OutOfRange, $"cursor: ahead of this feed, which ends at {high}. The hub was restored, or it is another one: read again from an earlier cursor."));
    }

    /// <summary>Events after a position that are allowed, at most so many.</summary>
    private async Task<Page> PageAsync(long after, FeedAccess access, int limit, CancellationToken cancellation)
    {
        // Before anything is looked up, so that no change is missed.
        var changed = access.Changed;
        var allowed = await access.NowAsync(cancellation);
        var high = Math.Max(positions.HighWater, after);
        // A type that is rare is not looked for through the whole store at once: the cursor moves on all the same.
        var end = Math.Min(high, after + options.PositionsPerPage);
        var page = await EventsAsync(after, end, allowed, limit, cancellation);
        var epoch = allowed.Agreement is { HasPersonalData: true } agreement ? await personal.AddAsync(page, access.Who, agreement, cancellation) : null;
        var through = page.Count == limit ? Position(page[^1].Event.Cursor) : end;
        return new([.. page.Select(item => item.Event)], through, through >= high, changed, epoch);
    }

    private async Task<List<(Guid Id, Event Event)>> EventsAsync(long after, long high, Allowed allowed, int limit, CancellationToken cancellation)
    {
        var events = new List<(Guid Id, Event Event)>();
        await using var command = database.CreateCommand("""
            SELECT seq_id, stream_id, type, data::text, headers::text, id FROM hub.mt_events
            WHERE seq_id > $1 AND seq_id <= $2 AND ($3::text[] IS NULL OR type = ANY ($3)) AND ($4::text[] IS NULL OR split_part(stream_id, '/', 1) = ANY ($4))
            ORDER BY seq_id LIMIT $5
            """);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = high });
        command.Parameters.Add(new() { Value = (object?)allowed.Types ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = (object?)allowed.Communes ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
        command.Parameters.Add(new() { Value = limit });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) events.Add((reader.GetGuid(5), Item(reader, allowed.Agreement)));
        return events;
    }

    private static Event Item(NpgsqlDataReader reader, AgreementInForce? agreement)
    {
        var stream = reader.GetString(1).Split('/', 3);
        var (type, data) = (reader.GetString(2), reader.GetString(3));
        using var headers = JsonDocument.Parse(reader.GetString(4));
        return new Event
        {
            Cursor = Cursor(reader.GetInt64(0)),
            Id = headers.RootElement.GetProperty(EventHeaders.Id).GetString(),
            Source = headers.RootElement.GetProperty(EventHeaders.Source).GetString(),
            Type = type,
            Subject = stream[2],
            Time = headers.RootElement.GetProperty(EventHeaders.Time).GetString(),
            Data = agreement is null ? data : agreement.TrimData(type, data),
            Commune = stream[0],
            Traceparent = headers.RootElement.TryGetProperty(EventHeaders.TraceParent, out var trace) ? trace.GetString() : "",
        };
    }

    private static string Cursor(long position) => position.ToString(CultureInfo.InvariantCulture);

    private static long Position(string cursor) =>
        cursor.Length == 0 ? 0
        : long.TryParse(cursor, NumberStyles.None, CultureInfo.InvariantCulture, out var position) ? position
        : throw Invalid("cursor: not one of this feed. Leave it empty to read from the beginning.");

    private static RpcException Invalid(string detail) => new(new Status(StatusCode.InvalidArgument, detail));

    /// <summary>Events as they may be sent.</summary>
    /// <param name="Events">The events.</param>
    /// <param name="Through">The position that was looked through.</param>
    /// <param name="CaughtUp">Whether that is the end for now.</param>
    /// <param name="Changed">Done when what is allowed may be other than when they were read.</param>
    /// <param name="Epoch">The epoch under which personal data among them was read; null when there is none.</param>
    private sealed record Page(IReadOnlyList<Event> Events, long Through, bool CaughtUp, Task Changed, long? Epoch);
}
