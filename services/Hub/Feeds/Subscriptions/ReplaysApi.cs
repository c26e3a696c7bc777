using System.ComponentModel;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary><c>admin/replays</c>: administrators have a subscription given events again, see how far that is, and cancel it.</summary>
internal sealed class ReplaysApi(
    NpgsqlDataSource database, Deliveries deliveries, FeedPages pages, Positions positions, AgreementsInForce agreements, CurrentRights rights, AuditLog audit, TerritoryClock clock, TimeProvider time)
{
    private const int MostRate = 10_000;
    private const int UsualRate = 100;
    private const int MostItems = 1_000;
    private const int MostCounted = 100_000;

    public static void Map(RouteGroupBuilder api)
    {
        api = api.MapGroup("admin/replays");
        Route(
            api.MapGet("", (ReplaysApi own, HttpContext context, [Description("Of this subscription")] string? subscription = null, [Description("Most items: 1 to 1000")] int limit = 100) =>
                own.ListAsync(subscription, limit, context)),
            "Replays", "Replays, the newest first, and how far each is");
        Route(
            api.MapPost("", (ReplaysApi own, HttpContext context, bool dryRun = false) => own.BeginAsync(context, dryRun)),
            "BeginReplay", "A subscription is given events again, marked, beside what comes by itself: of a period, of types, of communes, or of one record")
            .WithDescription("""
                {"subscription","reason","from","to","types","communes","record","rate"}: from and to are days of the territory or times (RFC 3339), by when the hub stored the events;
                record is commune/domain/subject; rate is most events a second, 100 without it. Of these, the subscription gets what it asks for and its agreement allows.
                """);
        Route(api.MapGet("{id}", (string id, ReplaysApi own, HttpContext context) => own.ShowAsync(id, context)), "Replay", "One of them");
        Route(api.MapDelete("{id}", (string id, ReplaysApi own, HttpContext context) => own.CancelAsync(id, context)), "CancelReplay", "It gives nothing more; with a body {\"reason\"}, why, for the audit");

        static RouteHandlerBuilder Route(RouteHandlerBuilder route, string name, string summary) => route.RequireAuthorization(Rules.Administer).WithName(name).WithSummary(summary);
    }

    private async Task<IResult> ListAsync(string? subscription, int limit, HttpContext context)
    {
        if (limit is < 1 or > MostItems) return Query.Problem("limit", $"1 to {MostItems} expected");
        if (subscription is not null && !Slug.TryParse(subscription, out _)) return SubscriptionActs.Unknown();
        return Json(new { items = (await Replay.ListAsync(database, subscription, limit, context.RequestAborted)).Select(ReplayView.Of) });
    }

    private async Task<IResult> ShowAsync(string id, HttpContext context, int status = StatusCodes.Status200OK) =>
        await Replay.FindAsync(database, id, context.RequestAborted) is { } found ? Json(ReplayView.Of(found), status) : NoReplay();

    private async Task<IResult> BeginAsync(HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<ReplayAsked>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        if (await Subscription.FindAsync(database, asked.Subscription.ToString(), context.RequestAborted) is not { } subscription) return SubscriptionActs.Unknown();
        if (WhatIsWrong(asked) is { } wrong) return wrong;
        if (!TryTime(asked.From, isEnd: false, out var from)) return Body.Unprocessable("from", TerritoryClock.MomentForm);
        if (!TryTime(asked.To, isEnd: true, out var to)) return Body.Unprocessable("to", TerritoryClock.MomentForm);
        if (from >= to || from > time.GetUtcNow()) return Body.Unprocessable("from", "a time that has passed, and is before to, expected");
        try
        {
            var selection = new Selection(
                asked.Types is null ? null : [.. asked.Types.SelectMany(TypePattern.Types).Select(type => type.Name).Distinct()], asked.Communes is null ? null : [.. asked.Communes], asked.Record);
            var access = new FeedAccess(
                Reader.OfClient(subscription.Client, subscription.Agreement is null, rights), subscription.Agreement ?? "", subscription.Filter, agreements);
            var allowed = await access.NowAsync(context.RequestAborted);
            await positions.Known.WaitAsync(context.RequestAborted);
            var after = from is { } begin ? await positions.BeforeAsync(begin, context.RequestAborted) : 0;
            // What it has not had yet comes by itself.
            var through = Math.Min(to is { } end ? await positions.AtAsync(end, context.RequestAborted) : long.MaxValue, subscription.Fetched);
            // Where there is an event: between them are positions that were never given.
            through = (await pages.LastAsync(through, context.RequestAborted)).Position;
            var events = await CountAsync(subscription.Filter, allowed, selection, after, through, context.RequestAborted);
            if (dryRun) return Json(new { subscription = subscription.Name, events, orMore = events == MostCounted });
            if (events == 0) return Body.Unprocessable("from, to, types, communes, record", "none of what the subscription has been given falls under these");
            var made = new Replay(
                $"replay-{RandomNumberGenerator.GetHexString(10, lowercase: true)}", subscription.Name, selection, after, Math.Max(after, through), after, asked.Rate ?? UsualRate, 0, 0, 0, Replay.Running,
                asked.Reason, Caller.Of(context.User).Id, time.GetUtcNow(), null);
            await using (var connection = await database.OpenConnectionAsync(context.RequestAborted))
            await using (var transaction = await connection.BeginTransactionAsync(context.RequestAborted))
            {
                // It may have been deleted meanwhile, and another one made under its name.
                if (await Deliveries.HoldAsync(connection, subscription.Name, context.RequestAborted) != subscription.CreatedAt) return SubscriptionActs.Unknown();
                await made.AddAsync(connection, context.RequestAborted);
                await audit.AppendAsync(
                    connection, new(made.AskedBy, "replays.begun", made.Id, made.Reason, new JsonObject
                    {
                        ["subscription"] = subscription.Name,
                        ["client"] = subscription.Client,
                        ["from"] = asked.From,
                        ["to"] = asked.To,
                        ["types"] = asked.Types is null ? null : new JsonArray([.. asked.Types.Select(type => (JsonNode)type)]),
                        ["communes"] = asked.Communes is null ? null : new JsonArray([.. asked.Communes.Select(commune => (JsonNode)commune)]),
                        ["record"] = asked.Record,
                        ["events"] = events == MostCounted ? null : events,
                    }), context.RequestAborted);
                await transaction.CommitAsync(context.RequestAborted);
            }

            deliveries.Wake(subscription.Name);
            context.Response.Headers.Location = $"/api/v1/admin/replays/{made.Id}";
            return await ShowAsync(made.Id, context, StatusCodes.Status201Created);
        }
        catch (RpcException e)
        {
            return FeedApi.Problem(e, ofBody: true);
        }
    }

    private async Task<IResult> CancelAsync(string id, HttpContext context)
    {
        var (asked, problem) = context.Request.ContentType is null ? (null, null) : await SubscriptionActs.ReasonAsync<CancelAsked>(context.Request, asked => asked.Reason, isOptional: true);
        if (problem is not null) return problem;
        if (await Replay.FindAsync(database, id, context.RequestAborted) is not { } replay) return NoReplay();
        await using (var connection = await database.OpenConnectionAsync(context.RequestAborted))
        await using (var transaction = await connection.BeginTransactionAsync(context.RequestAborted))
        {
            await Deliveries.HoldAsync(connection, replay.Subscription, context.RequestAborted);
            if (!await replay.CancelAsync(connection, context.RequestAborted))
                return TypedResults.Problem(title: "Ended already", detail: $"This replay is {replay.State}.", statusCode: StatusCodes.Status409Conflict);
            await audit.AppendAsync(connection, new(Caller.Of(context.User).Id, "replays.cancelled", id, asked?.Reason, new JsonObject { ["subscription"] = replay.Subscription, ["found"] = replay.Found }), context.RequestAborted);
            await transaction.CommitAsync(context.RequestAborted);
        }

        return await ShowAsync(id, context);
    }

    // No more than can be counted while somebody waits.
    private async Task<long> CountAsync(FeedFilter filter, Allowed allowed, Selection selection, long after, long through, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand();
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = through });
        command.Parameters.Add(Query.Text(selection.Record));
        command.CommandText = $"""
            SELECT count(*) FROM (
                SELECT FROM hub.mt_events WHERE seq_id > $1 AND seq_id <= $2{(selection.Record is null ? "" : " AND stream_id = $3")}
                {filter.Where(command, allowed.Types, allowed.Communes)}{FeedFilter.All.Where(command, selection.Types, selection.Communes)} LIMIT {MostCounted}) AS counted
            """;
        return (long)(await command.ExecuteScalarAsync(cancellation))!;
    }

    private static ProblemHttpResult? WhatIsWrong(ReplayAsked asked) =>
        asked.Rate is < 1 or > MostRate ? Body.Unprocessable("rate", $"1 to {MostRate} events a second expected")
        : asked.Types?.All(type => type is not null && TypePattern.TryParse(type, out _)) == false ? Body.Unprocessable("types", TypePattern.Form)
        // It would give again less than was meant, without a word.
        : asked.Types?.FirstOrDefault(type => !TypePattern.Types(type).Any()) is { } unknown ? Body.Unprocessable("types", TypePattern.Unknown(unknown))
        : asked.Communes?.All(commune => CommuneCode.TryParse(commune, out _)) == false ? Body.Unprocessable("communes", "INSEE commune codes expected")
        : asked.Record is { } record && (!Query.IsText(record) || record.Split('/', 3) is not [var commune, _, _] || !CommuneCode.TryParse(commune, out _)) ? Body.Unprocessable("record", "commune/domain/subject expected, as 35085/civil-records/birth/2026/1")
        : null;

    private bool TryTime(string? text, bool isEnd, out DateTimeOffset? time)
    {
        time = text is null ? null : clock.Moment(text, isEnd);
        return text is null || time is not null;
    }

    private static JsonHttpResult<T> Json<T>(T value, int status = StatusCodes.Status200OK) => TypedResults.Json(value, ContractJson.Options, statusCode: status);

    private static ProblemHttpResult NoReplay() => TypedResults.Problem(
        title: "No such replay", detail: "There is no replay of this id. GET /api/v1/admin/replays lists them.", statusCode: StatusCodes.Status404NotFound);
}

/// <summary>What is to be given again; see <see cref="ReplaysApi"/>.</summary>
internal sealed record ReplayAsked(
    Slug Subscription, string Reason, string? From = null, string? To = null, IReadOnlyList<string>? Types = null, IReadOnlyList<string>? Communes = null, string? Record = null, int? Rate = null);

/// <summary>Why a replay is cancelled.</summary>
internal sealed record CancelAsked(string Reason);

/// <summary>A replay as it is shown.</summary>
/// <param name="Id">Its id, which its deliveries bear.</param>
/// <param name="Subscription">The subscription.</param>
/// <param name="State"><c>running</c>, <c>completed</c> or <c>cancelled</c>.</param>
/// <param name="Percent">How much of its part of the store it has looked through.</param>
/// <param name="Found">Events found so far; of one that was cancelled, those that were done by then.</param>
/// <param name="Delivered">Of them, those that are done.</param>
/// <param name="Waiting">Of them, those that are to be given or acknowledged.</param>
/// <param name="Parked">Of them, those that are parked.</param>
/// <param name="Rate">Most events a second.</param>
/// <param name="Types">Names of types; null for all.</param>
/// <param name="Communes">INSEE codes; null for all.</param>
/// <param name="Record">The record; null for all.</param>
/// <param name="Reason">Why.</param>
/// <param name="AskedBy">Who asked.</param>
/// <param name="AskedAt">When.</param>
/// <param name="EndedAt">When it ended.</param>
internal sealed record ReplayView(
    string Id, string Subscription, string State, double Percent, long Found, long Delivered, long Waiting, long Parked, int Rate, IReadOnlyList<string>? Types, IReadOnlyList<string>? Communes,
    string? Record, string Reason, string AskedBy, DateTimeOffset AskedAt, DateTimeOffset? EndedAt)
{
    public static ReplayView Of(Replay replay) => new(
        replay.Id, replay.Subscription, replay.State, replay.Through == replay.After ? 100 : Math.Round(100.0 * (replay.Position - replay.After) / (replay.Through - replay.After), 1), replay.Found,
        replay.Found - replay.Waiting - replay.Parked, replay.Waiting, replay.Parked, replay.Rate, replay.Selection.Types, replay.Selection.Communes,
        replay.Selection.Record, replay.Reason, replay.AskedBy, replay.AskedAt, replay.EndedAt);
}
