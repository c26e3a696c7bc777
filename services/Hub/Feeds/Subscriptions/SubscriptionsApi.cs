using System.ComponentModel;
using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>
/// <c>subscriptions</c>: a partner makes, watches and ends its own, administrators all. Whatever changes something can be tried
/// (<c>dryRun=true</c>): the answer is the same, and nothing is changed or noted.
/// </summary>
internal sealed class SubscriptionsApi(
    NpgsqlDataSource database, Deliveries deliveries, SubscriptionStates states, FeedStreams feed, FeedPages pages, AgreementsInForce agreements, CurrentRights rights, AuditLog audit,
    WebhookRegistration webhooks, TimeProvider time)
{
    private const int MostItems = 1_000;
    private const int MostFailing = 20;
    private const int LongestReason = 500;

    public static void Map(RouteGroupBuilder api)
    {
        api = api.MapGroup("subscriptions");
        Route(api.MapGet("", (SubscriptionsApi own, HttpContext context) => own.ListAsync(context)), "Subscriptions", "Durable subscriptions, how far each is, and what of it is not done");
        Route(api.MapPost("", (SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.CreateAsync(context, dryRun)), "CreateSubscription", "Makes one: start is beginning, now, a time (RFC 3339) or a cursor");
        Route(api.MapGet("{name}", (string name, SubscriptionsApi own, HttpContext context) => own.ShowAsync(name, context)), "Subscription", "One of them, with the deliveries that failed and are not parked");
        Route(api.MapPatch("{name}", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ChangeAsync(name, context, dryRun)), "ChangeSubscription", "Other limits; what is not given stays");
        Route(api.MapDelete("{name}", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.DeleteAsync(name, context, dryRun)), "DeleteSubscription", "Ends it for good; what is parked goes too");
        Route(api.MapPost("{name}/suspension", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.SuspendAsync(name, context, dryRun)), "SuspendSubscription", "Nothing is given until it is resumed; its place stays");
        Route(api.MapPost("{name}/resumption", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ResumeAsync(name, context, dryRun)), "ResumeSubscription", "It goes on where it was");
        Route(
            api.MapGet("{name}/parked", (string name, SubscriptionsApi own, HttpContext context, [Description("next of the page before")] string after = "", [Description("Most items: 1 to 1000")] int limit = 100) =>
                own.ParkedAsync(name, context, after, limit)),
            "ParkedDeliveries", "What is parked, in order; next is the after of the next page, or null");
        Route(api.MapPost("{name}/parked", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ParkAsync(name, context, dryRun)), "ParkDelivery", "Parks one that waits, with what follows of its record: the others go on");
        Route(api.MapPost("{name}/parked/replay", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ReplayAsync(name, context, dryRun)), "ReplayParked", "Gives them again: all, that of a cursor, or with record all of its record");
        Route(api.MapPost("{name}/parked/discard", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.DiscardAsync(name, context, dryRun)), "DiscardParked", "Gives them up for good, in the same way");

        Route(
            api.MapPost("{name}/webhook/secret", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.RenewSecretAsync(name, context, dryRun)),
            "RenewWebhookSecret", "Another secret, told this once; the one before signs too for a while");

        static void Route(RouteHandlerBuilder route, string name, string summary) => route.RequireAuthorization(Rules.UseSubscriptions).WithName(name).WithSummary(summary);
    }

    private async Task<IResult> ListAsync(HttpContext context)
    {
        var caller = Caller.Of(context.User);
        var now = await states.NowAsync(null, context.RequestAborted);
        var brought = await Webhook.AllAsync(database, context.RequestAborted);
        var items = new List<SubscriptionView>();
        foreach (var subscription in (await Subscription.AllAsync(database, context.RequestAborted)).Where(subscription => MayUse(caller, subscription)))
        {
            if (now.TryGetValue(subscription.Name, out var state)) items.Add(await ViewAsync(subscription, state, null, Brought(brought.GetValueOrDefault(subscription.Name), null), context.RequestAborted));
        }

        return Json(new { items });
    }

    private async Task<IResult> ShowAsync(string name, HttpContext context, int status = StatusCodes.Status200OK, string? secret = null) =>
        await FindAsync(name, context) is { } subscription && (await states.NowAsync(name, context.RequestAborted)).TryGetValue(name, out var state)
            ? Json(
                await ViewAsync(
                    subscription, state, await FailingAsync(name, context.RequestAborted), Brought(await Webhook.FindAsync(database, name, context.RequestAborted), secret), context.RequestAborted),
                status)
            : Unknown();

    private async Task<IResult> CreateAsync(HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<CreateAsked>(context.Request);
        if (asked is null) return problem!;
        var caller = Caller.Of(context.User);
        var client = asked.Client ?? caller.Id;
        if (client != caller.Id && !caller.Is(Roles.Administrator)) return Body.Unprocessable("client", "only an administrator makes subscriptions of others");
        if (client != caller.Id && asked.Agreement is null) return Body.Unprocessable("agreement", "required for another client's subscription");
        if (Limits(asked.MaxAttempts, asked.AckTimeoutSeconds) is { } wrong) return wrong;
        if (asked is { Webhook: not null, AckTimeoutSeconds: not null }) return Body.Unprocessable("ackTimeoutSeconds", "only for subscriptions that are read; a webhook has Webhooks__Timeout");
        try
        {
            var filter = (asked.Filter ?? new AskedFilter()).Filter().Checked();
            var access = new FeedAccess(Reader.OfClient(client, client == caller.Id && caller.Is(Roles.Administrator), rights), asked.Agreement ?? "", filter, agreements);
            var allowed = await access.NowAsync(context.RequestAborted);
            var start = await StartAsync(asked.Start, context.RequestAborted);
            // Last, since it asks somebody else.
            var (endpoint, refused) = asked.Webhook is null ? (null, null) : await webhooks.PrepareAsync(asked.Webhook, context.RequestAborted);
            if (refused is not null) return refused;
            var made = new Subscription(
                asked.Name.ToString(), client, allowed.Agreement?.Id, endpoint is null ? Subscription.Pull : Subscription.Webhook, filter, start.Position, asked.MaxAttempts ?? 10,
                endpoint is null ? asked.AckTimeoutSeconds ?? 60 : webhooks.AckTimeout, false, null, time.GetUtcNow(), caller.Id);
            await using var connection = await database.OpenConnectionAsync(context.RequestAborted);
            await using var transaction = await connection.BeginTransactionAsync(context.RequestAborted);
            if (!await made.AddAsync(connection, context.RequestAborted))
                return TypedResults.Problem(title: "There is one already", detail: "name: a subscription of this name is known here. Choose another one.", statusCode: StatusCodes.Status409Conflict);
            if (dryRun) return Json(await ViewAsync(made, SubscriptionState.New(made), null, null, context.RequestAborted));
            if (endpoint is not null) await webhooks.AddAsync(connection, made.Name, endpoint, context.RequestAborted);
            await audit.AppendAsync(
                connection, new(caller.Id, "subscriptions.created", made.Name, made.Agreement, new JsonObject { ["client"] = client, ["start"] = made.Fetched, ["filter"] = JsonSerializer.SerializeToNode(filter, ContractJson.Options), ["webhook"] = endpoint?.Url.Host }),
                context.RequestAborted);
            await transaction.CommitAsync(context.RequestAborted);
            context.Response.Headers.Location = $"/api/v1/subscriptions/{made.Name}";
            return await ShowAsync(made.Name, context, StatusCodes.Status201Created, endpoint is null ? null : WebhookSignature.Text(endpoint.Secret));
        }
        catch (RpcException e)
        {
            return Refused(e);
        }
    }

    private async Task<IResult> ChangeAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<ChangeAsked>(context.Request);
        if (asked is null) return problem!;
        if (Limits(asked.MaxAttempts, asked.AckTimeoutSeconds) is { } wrong) return wrong;
        if (await FindAsync(name, context) is not { } found) return Unknown();
        if (found.Kind == Subscription.Webhook && asked.AckTimeoutSeconds is not null) return Body.Unprocessable("ackTimeoutSeconds", "only for subscriptions that are read; a webhook has Webhooks__Timeout");
        if (found.Kind == Subscription.Pull && asked.Webhook is not null) return Body.Unprocessable("webhook", "only for a webhook: make another subscription");
        var (endpoint, refused) = asked.Webhook is null ? (null, null) : await webhooks.PrepareAsync(asked.Webhook, context.RequestAborted);
        if (refused is not null) return refused;
        var details = new JsonObject { ["maxAttempts"] = asked.MaxAttempts, ["ackTimeoutSeconds"] = asked.AckTimeoutSeconds, ["webhook"] = endpoint?.Url.Host };
        return await ActAsync(name, context, dryRun, new("subscriptions.changed", null, details), async connection =>
        {
            if (endpoint is not null) await WebhookRegistration.MoveAsync(connection, name, endpoint, context.RequestAborted);
            await RunAsync(
                connection, "UPDATE feeds.subscription SET max_attempts = coalesce($2, max_attempts), ack_timeout = coalesce($3, ack_timeout) WHERE name = $1", context,
                new() { Value = name }, Number(asked.MaxAttempts), Number(asked.AckTimeoutSeconds));
            return null;
        });
    }

    private Task<IResult> DeleteAsync(string name, HttpContext context, bool dryRun) => ActAsync(name, context, dryRun, new("subscriptions.deleted"), async connection =>
    {
        await RunAsync(connection, "DELETE FROM feeds.delivery WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        await RunAsync(connection, "DELETE FROM feeds.webhook WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        await RunAsync(connection, "DELETE FROM feeds.replay WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        await RunAsync(connection, "DELETE FROM feeds.subscription WHERE name = $1", context, new NpgsqlParameter { Value = name });
        return TypedResults.NoContent();
    });

    private async Task<IResult> SuspendAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await ReasonAsync<Reasoned>(context.Request, asked => asked.Reason);
        return asked is null ? problem! : await ActAsync(name, context, dryRun, new("subscriptions.suspended", asked.Reason), async connection =>
        {
            await Subscription.SuspendAsync(connection, name, asked.Reason, context.RequestAborted);
            return null;
        });
    }

    private async Task<IResult> ResumeAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await ReasonAsync<Reasoned>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        if (await FindAsync(name, context) is not { } found) return Unknown();
        // It may have been suspended because the endpoint was gone.
        if (found.Kind == Subscription.Webhook && await webhooks.AskAgainAsync(name, context.RequestAborted) is { } refused) return refused;
        return await ActAsync(name, context, dryRun, new("subscriptions.resumed", asked.Reason), async connection =>
        {
            await RunAsync(connection, "UPDATE feeds.subscription SET state = 'active', reason = NULL WHERE name = $1", context, new NpgsqlParameter { Value = name });
            // What waited for a later try need not wait any longer.
            await RunAsync(connection, "UPDATE feeds.delivery SET due_at = clock_timestamp() WHERE subscription = $1 AND parked_at IS NULL AND holder IS NULL", context, new NpgsqlParameter { Value = name });
            return null;
        });
    }

    private async Task<IResult> RenewSecretAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<SecretAsked>(context.Request);
        if (asked is null) return problem!;
        if (await FindAsync(name, context) is not { } found) return Unknown();
        if (found.Kind != Subscription.Webhook) return Body.Unprocessable("$", "only a webhook has a secret");
        var secret = asked.Secret is null ? WebhookSignature.NewSecret() : WebhookSignature.Read(asked.Secret);
        if (secret is null) return WebhookRegistration.WrongSecret("secret");
        return await ActAsync(name, context, dryRun, new("subscriptions.secret-renewed"), async connection => Json(new
        {
            secret = dryRun ? null : WebhookSignature.Text(secret),
            previousUntil = await webhooks.RenewAsync(connection, name, secret, context.RequestAborted),
        }));
    }

    private async Task<IResult> ParkedAsync(string name, HttpContext context, string after, int limit)
    {
        if (limit is < 1 or > MostItems) return Query.Problem("limit", $"1 to {MostItems} expected");
        if (await FindAsync(name, context) is null) return Unknown();
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
            return Refused(e);
        }
    }

    private async Task<IResult> ParkAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await ReasonAsync<ParkAsked>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        return await OfCursorAsync(asked.Cursor, context, position => ActAsync(
            name, context, dryRun, new("subscriptions.delivery-parked", asked.Reason, new JsonObject { ["position"] = position }),
            async connection => await Parked.ParkAsync(connection, name, position, asked.Replay ?? "", asked.Reason, context.RequestAborted) is > 0 and var parked
                ? Json(new { parked })
                : TypedResults.Problem(
                    title: "Not waiting", detail: "cursor: this event does not wait in the subscription: it is done, or parked already, or not looked up yet.", statusCode: StatusCodes.Status404NotFound)));
    }

    private async Task<IResult> ReplayAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<ParkedAsked>(context.Request);
        if (asked is null) return problem!;
        return await WhichAsync(asked, context, which => ActAsync(
            name, context, dryRun, new("subscriptions.parked-replayed", null, Details(which)), async connection =>
            {
                // In order, also of those that are given again.
                if (which is { Position: { } position, Record: false } && await Parked.FirstOfRecordAsync(connection, name, position, which.Replay, context.RequestAborted) is { } first && first < position)
                {
                    return TypedResults.Problem(
                        title: "Not the first of its record", detail: $"Position {first} of the same record is parked before it. Replay the record (\"record\": true), or discard that one first.",
                        statusCode: StatusCodes.Status409Conflict);
                }

                return await Parked.ReplayAsync(connection, name, which, context.RequestAborted) is var replayed && (replayed > 0 || which.Position is null) ? Json(new { replayed }) : NotParked();
            }));
    }

    private async Task<IResult> DiscardAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await ReasonAsync<ParkedAsked>(context.Request, asked => asked.Reason ?? "");
        if (asked is null) return problem!;
        return await WhichAsync(asked, context, which => ActAsync(
            name, context, dryRun, new("subscriptions.parked-discarded", asked.Reason, Details(which)),
            async connection => await Parked.DiscardAsync(connection, name, which, context.RequestAborted) is var discarded && (discarded > 0 || which.Position is null) ? Json(new { discarded }) : NotParked()));
    }

    // One thing happens, with its entry in the audit, or not at all; what is decided on the rows meanwhile waits.
    private async Task<IResult> ActAsync(string name, HttpContext context, bool dryRun, Act act, Func<NpgsqlConnection, Task<IResult?>> change)
    {
        if (await FindAsync(name, context) is null) return Unknown();
        await using var connection = await database.OpenConnectionAsync(context.RequestAborted);
        await using (var transaction = await connection.BeginTransactionAsync(context.RequestAborted))
        {
            await RunAsync(connection, "SELECT FROM feeds.subscription WHERE name = $1 FOR UPDATE", context, new NpgsqlParameter { Value = name });
            var result = await change(connection);
            if (result is IStatusCodeHttpResult { StatusCode: >= 400 }) return result;
            if (!dryRun)
            {
                await audit.AppendAsync(connection, new(Caller.Of(context.User).Id, act.Name, name, act.Why, act.Details), context.RequestAborted);
                await transaction.CommitAsync(context.RequestAborted);
                deliveries.Wake(name);
            }

            if (result is not null) return result;
        }

        return await ShowAsync(name, context);
    }

    private async Task<Subscription?> FindAsync(string name, HttpContext context) =>
        await Subscription.FindAsync(database, name, context.RequestAborted) is { } found && MayUse(Caller.Of(context.User), found) ? found : null;

    private static bool MayUse(Caller caller, Subscription subscription) => subscription.Client == caller.Id || caller.Is(Roles.Administrator);

    private async Task<Place> StartAsync(string start, CancellationToken cancellation) =>
        start == "now" ? await feed.BeginAsync("", null, true, cancellation)
        : start == "beginning" ? default
        : JsonSerializer.SerializeToElement(start).TryGetDateTimeOffset(out var time) ? await feed.BeginAsync("", Timestamp.FromDateTimeOffset(time), false, cancellation)
        : start.Length == 0 ? throw FeedStreams.Invalid("start: beginning, now, a time such as 2026-11-24T09:30:00+01:00, or a cursor expected.")
        : await feed.BeginAsync(start, null, false, cancellation);

    private async Task<IResult> OfCursorAsync(string cursor, HttpContext context, Func<long, Task<IResult>> act)
    {
        try
        {
            return cursor.Length == 0 ? Body.Unprocessable("cursor", "the cursor of a delivery expected") : await act((await pages.PlaceAsync(cursor, context.RequestAborted)).Position);
        }
        catch (RpcException e)
        {
            return Refused(e);
        }
    }

    private async Task<IResult> WhichAsync(ParkedAsked asked, HttpContext context, Func<ParkedOnes, Task<IResult>> act) =>
        asked.All == true == asked.Cursor is not null ? Body.Unprocessable("cursor", "either a cursor or \"all\": true expected")
        : !Query.IsText(asked.Replay) ? Body.Unprocessable("replay", "the id of a replay expected")
        : asked.Cursor is { } cursor ? await OfCursorAsync(cursor, context, position => act(new(position, asked.Replay ?? "", asked.Record ?? false)))
        : await act(new());

    private WebhookView? Brought(Webhook? webhook, string? secret) => webhook is null ? null : webhooks.View(webhook, secret);

    private async Task<SubscriptionView> ViewAsync(
        Subscription subscription, SubscriptionState state, IReadOnlyList<FailingView>? failing, WebhookView? webhook, CancellationToken cancellation) => new(
        subscription.Name, subscription.Client, subscription.Agreement, subscription.Kind, subscription.Filter, subscription.IsSuspended ? "suspended" : "active", subscription.Reason,
        subscription.Agreement is not { } id ? null : agreements.Of(subscription.Client).Any(agreement => agreement.Id == id),
        (await pages.CursorsAsync(cancellation)).Of(await pages.LastAsync(state.Done, cancellation)), state.Lag, state.Unacknowledged, state.OldestUnacknowledged, state.Parked,
        state.Replaying.Count == 0 ? null : state.Replaying, subscription.MaxAttempts, subscription.AckTimeout, subscription.CreatedAt, subscription.CreatedBy, webhook, failing);

    private async Task<IReadOnlyList<FailingView>> FailingAsync(string name, CancellationToken cancellation)
    {
        var cursors = await pages.CursorsAsync(cancellation);
        await using var command = database.CreateCommand($"""
            SELECT d.position, e.id, d.replay, e.type, d.stream, d.attempts, d.failures, d.reason, d.due_at FROM feeds.delivery d JOIN hub.mt_events e ON e.seq_id = d.position
            WHERE d.subscription = $1 AND d.parked_at IS NULL AND d.failures > 0 ORDER BY d.failures DESC, d.position LIMIT {MostFailing}
            """);
        command.Parameters.Add(new() { Value = name });
        await using var row = await command.ExecuteReaderAsync(cancellation);
        var failing = new List<FailingView>();
        while (await row.ReadAsync(cancellation))
        {
            var record = row.GetString(4).Split('/', 3);
            failing.Add(new(
                cursors.Of(new(row.GetInt64(0), row.GetGuid(1))), row.GetString(2), row.GetString(3), record[0], record[2], row.GetInt32(5), row.GetInt32(6),
                row.IsDBNull(7) ? null : row.GetString(7), row.GetFieldValue<DateTimeOffset>(8)));
        }

        return failing;
    }

    /// <summary>What is posted, with a reason that can be put on record; else what is wrong.</summary>
    public static async Task<(T? Asked, ProblemHttpResult? Problem)> ReasonAsync<T>(HttpRequest request, Func<T, string> reason)
        where T : class
    {
        var (asked, problem) = await Body.ReadAsync<T>(request);
        return asked is not null && (string.IsNullOrWhiteSpace(reason(asked)) || reason(asked).Length > LongestReason || !Query.IsText(reason(asked)))
            ? (null, Body.Unprocessable("reason", $"why, in {LongestReason} characters at most; it stays on record: name nobody"))
            : (asked, problem);
    }

    private static ProblemHttpResult? Limits(int? maxAttempts, int? ackTimeout) =>
        maxAttempts is < 1 or > 100 ? Body.Unprocessable("maxAttempts", "1 to 100 expected")
        : ackTimeout is < 1 or > 3600 ? Body.Unprocessable("ackTimeoutSeconds", "1 to 3600 expected")
        : null;

    private static async Task RunAsync(NpgsqlConnection connection, string sql, HttpContext context, params NpgsqlParameter[] values)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        command.Parameters.AddRange(values);
        await command.ExecuteNonQueryAsync(context.RequestAborted);
    }

    private static NpgsqlParameter Number(int? value) => new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Integer };

    private static JsonObject Details(ParkedOnes which) => which.Position is { } position ? new JsonObject { ["position"] = position, ["record"] = which.Record } : new JsonObject { ["all"] = true };

    private static JsonHttpResult<T> Json<T>(T value, int status = StatusCodes.Status200OK) => TypedResults.Json(value, ContractJson.Options, statusCode: status);

    /// <summary>404.</summary>
    public static ProblemHttpResult Unknown() => TypedResults.Problem(
        title: "No such subscription", detail: "There is no subscription of this name that you may use. GET /api/v1/subscriptions lists yours.", statusCode: StatusCodes.Status404NotFound);

    private static ProblemHttpResult NotParked() => TypedResults.Problem(
        title: "Not parked", detail: "cursor: this event is not parked in the subscription. GET …/parked lists what is.", statusCode: StatusCodes.Status404NotFound);

    /// <summary>The feed says no in the words of gRPC, of a part of what was sent.</summary>
    public static ProblemHttpResult Refused(RpcException e) => e.StatusCode switch
    {
        StatusCode.InvalidArgument => e.Status.Detail.Split(": ", 2) is [var field, var reason] ? Body.Unprocessable(field, reason) : Body.Unprocessable("$", e.Status.Detail),
        StatusCode.Unauthenticated => Body.Unprocessable("client", "no partner of this id is known, or it is suspended"),
        _ => FeedApi.Problem(e),
    };

    /// <summary>What is done, for the audit.</summary>
    private sealed record Act(string Name, string? Why = null, JsonObject? Details = null);
}

/// <summary>What is posted to make a subscription.</summary>
/// <param name="Name">Its name, one for the whole hub.</param>
/// <param name="Start"><c>beginning</c>, <c>now</c>, a time or a cursor.</param>
/// <param name="Agreement">The agreement under which; may be left out while only one of the client's is in force.</param>
/// <param name="Filter">What is asked for; all that is allowed without it.</param>
/// <param name="Client">Whose it is to be; an administrator names another client here.</param>
/// <param name="MaxAttempts">Failures after which a delivery is parked: 10.</param>
/// <param name="AckTimeoutSeconds">Time to acknowledge: 60 s.</param>
/// <param name="Webhook">Where the hub is to bring it; without it, readers come for it.</param>
internal sealed record CreateAsked(
    Slug Name, string Start, string? Agreement = null, AskedFilter? Filter = null, string? Client = null, int? MaxAttempts = null, int? AckTimeoutSeconds = null, WebhookAsked? Webhook = null);

/// <summary>A filter as it is posted.</summary>
internal sealed record AskedFilter(
    IReadOnlyList<string>? Types = null, IReadOnlyList<string>? Communes = null, IReadOnlyList<string>? Subjects = null, IReadOnlyList<AskedFact>? Facts = null)
{
    /// <summary>The same as the feed takes it.</summary>
    public FeedFilter Filter() => new([.. Types ?? []], [.. Communes ?? []], [.. Subjects ?? []], [.. Facts ?? []]);
}

/// <summary>What is to be changed.</summary>
internal sealed record ChangeAsked(int? MaxAttempts = null, int? AckTimeoutSeconds = null, WebhookAsked? Webhook = null);

/// <summary>A delivery that is to be parked.</summary>
internal sealed record ParkAsked(string Cursor, string Reason, string? Replay = null);

/// <summary>Which parked deliveries are meant: all, that of a cursor, or with <c>record</c> all of its record.</summary>
internal sealed record ParkedAsked(string? Cursor = null, string? Replay = null, bool? Record = null, bool? All = null, string? Reason = null);

/// <summary>A subscription as it is shown.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Client">Whose it is.</param>
/// <param name="Agreement">Under which agreement.</param>
/// <param name="Kind"><c>pull</c> or <c>webhook</c>.</param>
/// <param name="Filter">What is asked for.</param>
/// <param name="State"><c>active</c> or <c>suspended</c>.</param>
/// <param name="Reason">Why it is suspended.</param>
/// <param name="InForce">Whether the agreement allows something now; while it does not, nothing is given and the place stays.</param>
/// <param name="Position">Cursor up to which all is done or parked.</param>
/// <param name="Lag">Events that may still come, see <see cref="SubscriptionState.Lag"/>.</param>
/// <param name="Unacknowledged">Given and neither acknowledged nor parked.</param>
/// <param name="OldestUnacknowledged">Since when the oldest of them.</param>
/// <param name="Parked">Parked.</param>
/// <param name="Replaying">Events still to be given, by replay.</param>
/// <param name="MaxAttempts">Failures after which a delivery is parked.</param>
/// <param name="AckTimeoutSeconds">Time to acknowledge.</param>
/// <param name="CreatedAt">When it was made.</param>
/// <param name="CreatedBy">By whom.</param>
/// <param name="Webhook">Where the hub brings it, and how that goes.</param>
/// <param name="Failing">Some of the deliveries that failed and come again; not in lists.</param>
internal sealed record SubscriptionView(
    string Name, string Client, string? Agreement, string Kind, FeedFilter Filter, string State, string? Reason, bool? InForce, string Position, long Lag, long Unacknowledged,
    DateTimeOffset? OldestUnacknowledged, long Parked, IReadOnlyDictionary<string, long>? Replaying, int MaxAttempts, int AckTimeoutSeconds, DateTimeOffset CreatedAt, string CreatedBy,
    WebhookView? Webhook, IReadOnlyList<FailingView>? Failing);

/// <summary>A delivery that failed and comes again.</summary>
internal sealed record FailingView(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, int Failures, string? Reason, DateTimeOffset DueAt);

/// <summary>A parked delivery.</summary>
internal sealed record ParkedView(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, string Reason, DateTimeOffset Since)
{
    public static ParkedView Of(ParkedDelivery parked, Cursors cursors)
    {
        var record = parked.Stream.Split('/', 3);
        return new(cursors.Of(parked.Place), parked.Replay, parked.Type, record[0], record[2], parked.Attempts, parked.Reason, parked.Since);
    }
}
