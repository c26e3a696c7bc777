using System.ComponentModel;
using System.Text.Json.Nodes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary><c>subscriptions/{name}/parked</c>: what is parked of a subscription, and what is done with it.</summary>
internal sealed class ParkedApi(NpgsqlDataSource database, SubscriptionActs acts, FeedPages pages)
{
    private const int MostItems = 1_000;

    public static void Map(RouteGroupBuilder api)
    {
        api = api.MapGroup("subscriptions");
        Route(
            api.MapGet("{name}/parked", (string name, ParkedApi own, HttpContext context, [Description("next of the page before")] string after = "", [Description("Most items: 1 to 1000")] int limit = 100) =>
                own.ListAsync(name, context, after, limit)),
            "ParkedDeliveries", "What is parked, in order; next is the after of the next page, or null");
        Route(api.MapPost("{name}/parked", (string name, ParkedApi own, HttpContext context, bool dryRun = false) => own.ParkAsync(name, context, dryRun)), "ParkDelivery", "Parks one that waits, with what follows of its record: the others go on");
        Route(api.MapPost("{name}/parked/replay", (string name, ParkedApi own, HttpContext context, bool dryRun = false) => own.ReplayAsync(name, context, dryRun)), "ReplayParked", "Gives them again: all, that of a cursor, or with record all of its record");
        Route(api.MapPost("{name}/parked/discard", (string name, ParkedApi own, HttpContext context, bool dryRun = false) => own.DiscardAsync(name, context, dryRun)), "DiscardParked", "Gives them up for good, in the same way");

        static void Route(RouteHandlerBuilder route, string name, string summary) => route.RequireAuthorization(Rules.UseSubscriptions).WithName(name).WithSummary(summary);
    }

    private async Task<IResult> ListAsync(string name, HttpContext context, string after, int limit)
    {
        if (limit is < 1 or > MostItems) return Query.Problem("limit", $"1 to {MostItems} expected");
        if (await acts.FindAsync(name, context) is null) return SubscriptionActs.Unknown();
        var (cursor, replay) = after.Split('~', 2) is [var first, var second] ? (first, second) : (after, "");
        if (!Query.IsText(replay)) return Query.Problem("after", "next of the page before expected");
        try
        {
            var cursors = await pages.CursorsAsync(context.RequestAborted);
            var parked = await Parked.ListAsync(database, name, cursors.Read(cursor).Position, replay, limit + 1, context.RequestAborted);
            return Json(new
            {
                items = parked.Take(limit).Select(one => ParkedView.Of(one, cursors)),
                next = parked.Count <= limit ? null : cursors.Of(parked[limit - 1].Place) + (parked[limit - 1].Replay.Length > 0 ? $"~{parked[limit - 1].Replay}" : ""),
            });
        }
        catch (RpcException e)
        {
            return FeedApi.Problem(e);
        }
    }

    private async Task<IResult> ParkAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<ParkAsked>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        return await OfCursorAsync(asked.Cursor, context, position => acts.ActAsync(
            name, context, dryRun, new("subscriptions.delivery-parked", asked.Reason, new JsonObject { ["position"] = position }),
            async connection => await Parked.ParkAsync(connection, name, position, asked.Replay ?? "", asked.Reason, context.RequestAborted) is > 0 and var parked
                ? Json(new { parked })
                : TypedResults.Problem(
                    title: "Not waiting", detail: "cursor: this event does not wait in the subscription: it is done, or parked already, or not looked up yet.", statusCode: StatusCodes.Status404NotFound)));
    }

    private async Task<IResult> ReplayAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<ParkedAsked>(context.Request, asked => asked.Reason, isOptional: true);
        if (asked is null) return problem!;
        return await WhichAsync(asked, context, async which =>
        {
            long? before = null;
            var act = new Act("subscriptions.parked-replayed", asked.Reason, Details(which));
            var result = await acts.ActAsync(name, context, dryRun, act, async connection =>
            {
                // In order, also of those that are given again.
                if (which is { Position: { } position, Record: false } && await Parked.FirstOfRecordAsync(connection, name, position, which.Replay, context.RequestAborted) is { } first && first < position)
                {
                    before = first;
                    return TypedResults.Conflict();
                }

                var replayed = await Parked.ReplayAsync(connection, name, which, context.RequestAborted);
                act.Details!["events"] = replayed;
                return replayed > 0 || which.Position is null ? Json(new { replayed }) : NotParked();
            });
            if (before is null) return result;
            // Looked up when the lock and its connection are given back: it needs one of its own.
            var cursor = (await pages.CursorsAsync(context.RequestAborted)).Of(await pages.LastAsync(before.Value, context.RequestAborted));
            return TypedResults.Problem(
                title: "Not the first of its record", detail: $"The event of cursor {cursor}, of the same record, is parked before it. Replay the record (\"record\": true), or discard that one first.",
                statusCode: StatusCodes.Status409Conflict);
        });
    }

    private async Task<IResult> DiscardAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<ParkedAsked>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        return await WhichAsync(asked, context, which =>
        {
            var act = new Act("subscriptions.parked-discarded", asked.Reason, Details(which));
            return acts.ActAsync(name, context, dryRun, act, async connection =>
            {
                var discarded = await Parked.DiscardAsync(connection, name, which, context.RequestAborted);
                act.Details!["events"] = discarded;
                return discarded > 0 || which.Position is null ? Json(new { discarded }) : NotParked();
            });
        });
    }

    private async Task<IResult> OfCursorAsync(string cursor, HttpContext context, Func<long, Task<IResult?>> act)
    {
        try
        {
            return cursor.Length == 0 ? Body.Unprocessable("cursor", "the cursor of a delivery expected") : (await act((await pages.PlaceAsync(cursor, context.RequestAborted)).Position))!;
        }
        catch (RpcException e)
        {
            return FeedApi.Problem(e, ofBody: true);
        }
    }

    private async Task<IResult> WhichAsync(ParkedAsked asked, HttpContext context, Func<ParkedOnes, Task<IResult?>> act) =>
        asked.All == true == asked.Cursor is not null ? Body.Unprocessable("cursor", "either a cursor or \"all\": true expected")
        : !Query.IsText(asked.Replay) ? Body.Unprocessable("replay", "the id of a replay expected")
        : asked.Cursor is { } cursor ? await OfCursorAsync(cursor, context, position => act(new(position, asked.Replay ?? "", asked.Record ?? false)))
        : (await act(new()))!;

    private static JsonObject Details(ParkedOnes which) => which.Position is { } position
        ? new JsonObject { ["position"] = position, ["replay"] = which.Replay.Length > 0 ? which.Replay : null, ["record"] = which.Record }
        : new JsonObject { ["all"] = true };

    private static JsonHttpResult<T> Json<T>(T value) => TypedResults.Json(value, ContractJson.Options);

    private static ProblemHttpResult NotParked() => TypedResults.Problem(
        title: "Not parked", detail: "cursor: this event is not parked in the subscription. GET …/parked lists what is.", statusCode: StatusCodes.Status404NotFound);
}

/// <summary>A delivery that is to be parked.</summary>
internal sealed record ParkAsked(string Cursor, string Reason, string? Replay = null);

/// <summary>Which parked deliveries are meant: all, that of a cursor, or with <c>record</c> all of its record.</summary>
internal sealed record ParkedAsked(string? Cursor = null, string? Replay = null, bool? Record = null, bool? All = null, string? Reason = null);

/// <summary>A parked delivery.</summary>
internal sealed record ParkedView(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, string Reason, DateTimeOffset Since)
{
    public static ParkedView Of(ParkedDelivery parked, Cursors cursors)
    {
        var record = parked.Stream.Split('/', 3);
        return new(cursors.Of(parked.Place), parked.Replay, parked.Type, record[0], record[2], parked.Attempts, parked.Reason, parked.Since);
    }
}
