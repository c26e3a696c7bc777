using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Territory;

namespace Intercommunalite.Hub.Feeds;

/// <summary>The feed of events over gRPC.</summary>
internal sealed class FeedService(FeedStreams feed, TerritoryClock clock) : Feed.FeedBase
{
    private const int DefaultLimit = 100;

    /// <inheritdoc/>
    public override async Task<ReadResponse> Read(ReadRequest request, ServerCallContext context)
    {
        if (request.Limit is < 0 or > FeedStreams.MaxLimit) throw FeedStreams.Invalid($"limit: 1 to {FeedStreams.MaxLimit} expected.");
        var access = feed.Access(context.GetHttpContext(), request.Agreement, FeedFilter.Of(request.Filter));
        await access.NowAsync(context.CancellationToken);
        var after = await feed.BeginAsync(request.Cursor, Since(request.Since, request.SinceText), false, context.CancellationToken);
        var page = await feed.ReadAsync(after, access, request.Limit == 0 ? DefaultLimit : request.Limit, context.CancellationToken);
        return new ReadResponse
        {
            Events = { page.Events.Select(read => read.Message) },
            NextCursor = await feed.CursorAsync(page.Through, context.CancellationToken),
            CaughtUp = page.CaughtUp,
        };
    }

    /// <inheritdoc/>
    public override async Task Subscribe(SubscribeRequest request, IServerStreamWriter<SubscribeResponse> responseStream, ServerCallContext context)
    {
        var access = feed.Access(context.GetHttpContext(), request.Agreement, FeedFilter.Of(request.Filter));
        await access.NowAsync(context.CancellationToken);
        var after = await feed.BeginAsync(request.Cursor, Since(request.Since, request.SinceText), request.FromNow, context.CancellationToken);
        using var stream = feed.Open(access);
        try
        {
            await foreach (var message in feed.MessagesAsync(after, request.FromNow, access, context.GetHttpContext(), context.CancellationToken))
                await responseStream.WriteAsync(message, context.CancellationToken);
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            // The subscriber went away.
        }
    }

    private Timestamp? Since(Timestamp? since, string text) => text.Length == 0 ? since
        : since is null ? new FeedQuery(Since: text).Time(clock)
        : throw FeedStreams.Invalid("since_text: not beside since.");
}
