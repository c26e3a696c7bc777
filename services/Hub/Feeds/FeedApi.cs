using System.Buffers;
using System.ComponentModel;
using System.Net.ServerSentEvents;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Territory;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace Intercommunalite.Hub.Feeds;

/// <summary>What is asked of the feed over HTTP.</summary>
/// <param name="Types">Types of events.</param>
/// <param name="Communes">Communes.</param>
/// <param name="Subjects">Subjects.</param>
/// <param name="Facts">Facts.</param>
/// <param name="Agreement">The agreement.</param>
/// <param name="After">The cursor.</param>
/// <param name="Since">The time.</param>
/// <param name="FromNow">Whether at the end.</param>
/// <param name="Limit">The most of a page.</param>
internal sealed record FeedQuery(
    [property: FromQuery(Name = "types"), Description("Types of events, with commas between or repeated: names, or beginnings with '*' behind")] string[]? Types = null,
    [property: FromQuery(Name = "communes"), Description("INSEE codes of communes")] string[]? Communes = null,
    [property: FromQuery(Name = "subjects"), Description("Subjects, or beginnings with '*' behind; repeated for several")] string[]? Subjects = null,
    [property: FromQuery(Name = "fact"), Description("field:value, or field:value,value of which one must hold; repeated, all must hold")] string[]? Facts = null,
    [property: FromQuery(Name = "agreement"), Description("Id of the agreement; needed when several are in force")] string? Agreement = null,
    [property: FromQuery(Name = "after"), Description("Cursor of the last event that the caller has; none for the beginning")] string? After = null,
    [property: FromQuery(Name = "since"), Description("Instead of after: a day of the territory, or a time, RFC 3339; what the hub stored then or later")] string? Since = null,
    [property: FromQuery(Name = "fromNow"), Description("Instead of after: what the hub stores from now on")] bool FromNow = false,
    [property: FromQuery(Name = "limit"), Description("Most events of a page: 1 to 1000")] int Limit = 100)
{
    /// <summary>The names of all parameters.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. typeof(FeedQuery).GetProperties().Select(parameter => parameter.GetCustomAttribute<FromQueryAttribute>()?.Name).OfType<string>()];

    /// <summary>The filter.</summary>
    /// <exception cref="RpcException">It has a wrong form.</exception>
    public FeedFilter Filter() => new FeedFilter(List(Types), List(Communes), Subjects ?? [], [.. (Facts ?? []).Select(Fact)]).Checked();

    /// <summary>The time to begin at; null for none.</summary>
    /// <exception cref="RpcException">It is none.</exception>
    public Timestamp? Time(TerritoryClock clock) =>
        Since is null ? null
        : clock.Moment(Since, isEnd: false) is { } time ? time.ToTimestamp()
        : throw FeedStreams.Invalid($"since: {TerritoryClock.MomentForm}.");

    private static string[] List(string[]? given) => [.. (given ?? []).SelectMany(part => part.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];

    private static AskedFact Fact(string text) => text.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon
        ? new(text[..colon], text[(colon + 1)..].Split(','))
        : throw FeedStreams.Invalid("fact: a field, ':' and a value expected, or several values with ',' between.");
}

/// <summary>
/// The feed over HTTP, for dashboards and scripts: by pages, or as server-sent events (WHATWG HTML, 9.2) when the caller accepts
/// <c>text/event-stream</c>. What may be read, and when a stream ends, is as over gRPC.
/// </summary>
internal static class FeedApi
{
    private const string EventStream = "text/event-stream";

    private static readonly JsonWriterOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("feed", GetAsync)
            .RequireAuthorization(Rules.ReadFeed)
            .WithName("Feed").WithSummary("Events of the territory behind a cursor: a page, or server-sent events for Accept: text/event-stream")
            .WithDescription("""
                A page is {"items":[…],"next":"…","caughtUp":true}: CloudEvents; the after of the next page, which also moves where nothing matched;
                whether that is the end for now. As server-sent events: event, and checkpoint, caught-up, fell-behind and heartbeat with a
                cursor; error, with a problem, before a stream that may not go on ends. Each has the cursor as its id, which Last-Event-ID takes up.
                """);
    }

    private static async Task<IResult> GetAsync(
        HttpContext context,
        FeedStreams feed,
        TerritoryClock clock,
        [AsParameters] FeedQuery query,
        [FromHeader(Name = "Last-Event-ID"), Description("Of server-sent events: as after, and before it")] string? lastEventId = null)
    {
        try
        {
            // A name that is written wrong would else give everything.
            if (context.Request.Query.Keys.FirstOrDefault(name => !FeedQuery.Names.Contains(name)) is { } unknown)
                throw FeedStreams.Invalid($"{(unknown.Length <= 50 ? unknown : unknown[..50])}: no parameter of the feed; they are {string.Join(", ", FeedQuery.Names)}.");
            if (query.Limit is < 1 or > FeedStreams.MaxLimit) throw FeedStreams.Invalid($"limit: 1 to {FeedStreams.MaxLimit} expected.");
            var streams = context.Request.GetTypedHeaders().Accept.Any(accepted => accepted.MediaType == EventStream);
            var access = feed.Access(context, query.Agreement ?? "", query.Filter());
            await access.NowAsync(context.RequestAborted);
            var resumes = streams && lastEventId is { Length: > 0 };
            var after = resumes ? await feed.BeginAsync(lastEventId!, null, false, context.RequestAborted)
                : await feed.BeginAsync(query.After ?? "", query.Time(clock), query.FromNow, context.RequestAborted);
            return streams ? Stream(context, feed, access, after, query.FromNow && !resumes) : await PageAsync(context, feed, access, after, query.Limit);
        }
        catch (RpcException e)
        {
            return Problem(e);
        }
    }

    /// <summary>A refusal of the feed as an answer over HTTP, with its reason, where it has one, as a member.</summary>
    /// <param name="e">The refusal.</param>
    /// <param name="ofBody">Whether what was asked for came as a body: what is wrong with it is named by field then (422).</param>
    public static ProblemHttpResult Problem(RpcException e, bool ofBody = false)
    {
        if (ofBody && e.StatusCode == StatusCode.InvalidArgument)
            return e.Status.Detail.Split(": ", 2) is [var field, var what] ? Body.Unprocessable(field, what) : Body.Unprocessable("$", e.Status.Detail);
        if (ofBody && e.StatusCode == StatusCode.Unauthenticated) return Body.Unprocessable("client", "no partner of this id is known, or it is suspended");
        var (status, title) = e.StatusCode switch
        {
            StatusCode.InvalidArgument => (StatusCodes.Status400BadRequest, "Query not understood"),
            StatusCode.Unauthenticated => (StatusCodes.Status401Unauthorized, "Not authenticated"),
            StatusCode.PermissionDenied => (StatusCodes.Status403Forbidden, "Not allowed"),
            StatusCode.NotFound => (StatusCodes.Status404NotFound, "Not found"),
            StatusCode.AlreadyExists or StatusCode.FailedPrecondition => (StatusCodes.Status409Conflict, "Not as it is now"),
            StatusCode.OutOfRange => (StatusCodes.Status410Gone, "No longer there"),
            StatusCode.ResourceExhausted => (StatusCodes.Status429TooManyRequests, "Too many streams"),
            StatusCode.Unavailable => (StatusCodes.Status503ServiceUnavailable, "Not now"),
            _ => throw e,
        };
        return TypedResults.Problem(
            title: title, detail: e.Status.Detail, statusCode: status,
            extensions: e.Trailers.GetValue("reason") is { } reason ? new Dictionary<string, object?> { ["reason"] = reason } : null);
    }

    private static async Task<IResult> PageAsync(HttpContext context, FeedStreams feed, FeedAccess access, Place after, int limit)
    {
        var page = await feed.ReadAsync(after, access, limit, context.RequestAborted);
        var next = await feed.CursorAsync(page.Through, context.RequestAborted);
        return TypedResults.Text(Json(json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("items");
            foreach (var read in page.Events) EventJson.Write(json, read.Message);
            json.WriteEndArray();
            json.WriteString("next", next);
            json.WriteBoolean("caughtUp", page.CaughtUp);
            json.WriteEndObject();
        }), "application/json");
    }

    private static ServerSentEventsResult<string> Stream(HttpContext context, FeedStreams feed, FeedAccess access, Place after, bool fromNow)
    {
        context.Response.RegisterForDispose(feed.Open(access));
        // A proxy that gathers an answer before it passes it on would hold the stream back.
        context.Response.Headers["X-Accel-Buffering"] = "no";
        return TypedResults.ServerSentEvents(ItemsAsync(context, feed, access, after, fromNow, context.RequestAborted));
    }

    private static async IAsyncEnumerable<SseItem<string>> ItemsAsync(
        HttpContext context, FeedStreams feed, FeedAccess access, Place after, bool fromNow, [EnumeratorCancellation] CancellationToken cancellation)
    {
        await using var messages = feed.MessagesAsync(after, fromNow, access, context, cancellation).GetAsyncEnumerator(cancellation);
        while (true)
        {
            SseItem<string>? item;
            var ended = false;
            try
            {
                item = await messages.MoveNextAsync() ? Item(messages.Current) : null;
            }
            catch (RpcException e)
            {
                (item, ended) = (Error(e), true);
            }

            if (item is null) yield break;
            yield return item.Value;
            if (ended) yield break;
        }
    }

    private static SseItem<string> Item(SubscribeResponse message) => message.MessageCase switch
    {
        SubscribeResponse.MessageOneofCase.Event => new(Json(json => EventJson.Write(json, message.Event)), "event") { EventId = message.Event.Cursor },
        SubscribeResponse.MessageOneofCase.Checkpoint => Sign("checkpoint", message.Checkpoint.Cursor),
        SubscribeResponse.MessageOneofCase.CaughtUp => Sign("caught-up", message.CaughtUp.Cursor),
        SubscribeResponse.MessageOneofCase.FellBehind => Sign("fell-behind", message.FellBehind.Cursor),
        SubscribeResponse.MessageOneofCase.Heartbeat => Sign("heartbeat", message.Heartbeat.Cursor),
        _ => throw new InvalidOperationException($"{message.MessageCase} is no message of the feed."),
    };

    private static SseItem<string> Sign(string what, string cursor) => new($$"""{"cursor":"{{cursor}}"}""", what) { EventId = cursor };

    private static SseItem<string> Error(RpcException e)
    {
        var problem = Problem(e).ProblemDetails;
        return new(Json(json =>
        {
            json.WriteStartObject();
            json.WriteString("title", problem.Title);
            json.WriteNumber("status", problem.Status ?? 0);
            json.WriteString("detail", problem.Detail);
            json.WriteEndObject();
        }), "error");
    }

    /// <summary>What is written, as text.</summary>
    public static string Json(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, s_json)) write(json);
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }
}
