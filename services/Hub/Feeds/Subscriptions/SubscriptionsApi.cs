using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
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
    NpgsqlDataSource database, SubscriptionActs acts, SubscriptionViews views, SubscriptionStates states, FeedStreams feed, AgreementsInForce agreements, CurrentRights rights, AuditLog audit, WebhookRegistration webhooks,
    WebhookOptions webhookOptions, FeedOptions options, TimeProvider time)
{
    public static void Map(RouteGroupBuilder api)
    {
        api = api.MapGroup("subscriptions");
        Route(api.MapGet("", (SubscriptionViews views, HttpContext context) => views.ListAsync(context)), "Subscriptions", "Durable subscriptions, how far each is, and what of it is not done");
        Route(api.MapPost("", (SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.CreateAsync(context, dryRun)), "CreateSubscription", "Makes one: start is beginning, now, a time (RFC 3339) or a cursor");
        Route(api.MapGet("{name}", (string name, SubscriptionViews views, HttpContext context) => views.ShowAsync(name, context)), "Subscription", "One of them, with the deliveries that failed and are not parked");
        Route(api.MapPatch("{name}", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ChangeAsync(name, context, dryRun)), "ChangeSubscription", "Other limits; what is not given stays");
        Route(api.MapDelete("{name}", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.DeleteAsync(name, context, dryRun)), "DeleteSubscription", "Ends it for good; what is parked goes too");
        Route(api.MapPost("{name}/suspension", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.SuspendAsync(name, context, dryRun)), "SuspendSubscription", "Nothing is given until it is resumed; its place stays");
        Route(api.MapPost("{name}/resumption", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.ResumeAsync(name, context, dryRun)), "ResumeSubscription", "It goes on where it was");
        Route(
            api.MapPost("{name}/webhook/secret", (string name, SubscriptionsApi own, HttpContext context, bool dryRun = false) => own.RenewSecretAsync(name, context, dryRun)),
            "RenewWebhookSecret", "Another secret, told this once; the one before signs too for a while");

        static void Route(RouteHandlerBuilder route, string name, string summary) => route.RequireAuthorization(Rules.UseSubscriptions).WithName(name).WithSummary(summary);
    }

    private async Task<IResult> CreateAsync(HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<CreateAsked>(context.Request, asked => asked.Reason, isOptional: true);
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
                endpoint is null ? asked.AckTimeoutSeconds ?? 60 : webhookOptions.AckTimeout, false, null, null, time.GetUtcNow(), caller.Id);
            // What shows it needs connections of its own: it is shown when that of the transaction is given back.
            if (await AddAsync(made, endpoint, asked.Reason, caller, context, dryRun) is { } why) return why;
            if (dryRun) return Json(await views.OfAsync(made, await states.NewAsync(made, context.RequestAborted), null, endpoint?.Of(made.Name), null, context.RequestAborted));
            context.Response.Headers.Location = $"/api/v1/subscriptions/{made.Name}";
            return await views.ShowAsync(made.Name, context, StatusCodes.Status201Created, endpoint is null ? null : WebhookSignature.Text(endpoint.Secret));
        }
        catch (RpcException e)
        {
            return FeedApi.Problem(e, ofBody: true);
        }
    }

    // Null when it was added, or would be; else why not.
    private async Task<ProblemHttpResult?> AddAsync(Subscription made, AllowedEndpoint? endpoint, string? reason, Caller caller, HttpContext context, bool dryRun)
    {
        await using var connection = await database.OpenConnectionAsync(context.RequestAborted);
        await using var transaction = await connection.BeginTransactionAsync(context.RequestAborted);
        if (await Subscription.CountAsync(connection, made.Client, context.RequestAborted) is not { } count)
        {
            context.Response.Headers.RetryAfter = "1";
            return TypedResults.Problem(
                title: "Another one is being made", detail: $"Subscriptions of {made.Client} are made one after the other. Nothing was changed: send it again in a second.", statusCode: StatusCodes.Status429TooManyRequests);
        }

        if (count >= options.SubscriptionsPerClient)
        {
            return TypedResults.Problem(
                title: "Too many subscriptions", detail: $"{made.Client} has as many subscriptions as a client may ({options.SubscriptionsPerClient}). Delete one that is not needed, or let one ask for what two do. The limit is Feed__SubscriptionsPerClient.",
                statusCode: StatusCodes.Status409Conflict);
        }

        if (!await made.AddAsync(connection, context.RequestAborted))
            return TypedResults.Problem(title: "There is one already", detail: "name: a subscription of this name is known here. Choose another one.", statusCode: StatusCodes.Status409Conflict);
        if (dryRun) return null;
        if (endpoint is not null) await webhooks.AddAsync(connection, made.Name, endpoint, context.RequestAborted);
        var details = new JsonObject
        {
            ["client"] = made.Client,
            ["agreement"] = made.Agreement,
            ["kind"] = made.Kind,
            ["start"] = made.Fetched,
            ["filter"] = JsonSerializer.SerializeToNode(made.Filter, ContractJson.Options),
            ["webhook"] = endpoint?.Url.Host,
        };
        await audit.AppendAsync(connection, new(caller.Id, "subscriptions.created", made.Name, reason, details), context.RequestAborted);
        await transaction.CommitAsync(context.RequestAborted);
        return null;
    }

    private async Task<IResult> ChangeAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<ChangeAsked>(context.Request);
        if (asked is null) return problem!;
        if (Limits(asked.MaxAttempts, asked.AckTimeoutSeconds) is { } wrong) return wrong;
        if (await acts.FindAsync(name, context) is not { } found) return SubscriptionActs.Unknown();
        if (found.Kind == Subscription.Webhook && asked.AckTimeoutSeconds is not null) return Body.Unprocessable("ackTimeoutSeconds", "only for subscriptions that are read; a webhook has Webhooks__Timeout");
        if (found.Kind == Subscription.Pull && asked.Webhook is not null) return Body.Unprocessable("webhook", "only for a webhook: make another subscription");
        var (endpoint, refused) = asked.Webhook is null ? (null, null) : await webhooks.PrepareAsync(asked.Webhook, context.RequestAborted);
        if (refused is not null) return refused;
        var details = new JsonObject { ["maxAttempts"] = asked.MaxAttempts, ["ackTimeoutSeconds"] = asked.AckTimeoutSeconds, ["webhook"] = endpoint?.Url.Host, ["secret"] = asked.Webhook?.Secret is null ? null : "renewed" };
        return await acts.ActAsync(name, context, dryRun, new("subscriptions.changed", null, details), async connection =>
        {
            if (endpoint is not null) await WebhookRegistration.MoveAsync(connection, name, endpoint, context.RequestAborted);
            if (endpoint is not null && asked.Webhook!.Secret is not null) await webhooks.RenewAsync(connection, name, endpoint.Secret, context.RequestAborted);
            await RunAsync(
                connection, "UPDATE feeds.subscription SET max_attempts = coalesce($2, max_attempts), ack_timeout = coalesce($3, ack_timeout) WHERE name = $1", context,
                new() { Value = name }, Number(asked.MaxAttempts), Number(asked.AckTimeoutSeconds));
            return null;
        }, found) ?? await views.ShowAsync(name, context, would: !dryRun ? null : (was, webhook) => (
            was with { MaxAttempts = asked.MaxAttempts ?? was.MaxAttempts, AckTimeout = asked.AckTimeoutSeconds ?? was.AckTimeout }, endpoint?.Of(name) ?? webhook));
    }

    private Task<IResult?> DeleteAsync(string name, HttpContext context, bool dryRun) => acts.ActAsync(name, context, dryRun, new("subscriptions.deleted"), async connection =>
    {
        if (!await Subscription.DeleteAsync(connection, name, Caller.Of(context.User).Is(Roles.Administrator), context.RequestAborted)) return NotTheirs();
        await RunAsync(connection, "DELETE FROM feeds.delivery WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        await RunAsync(connection, "DELETE FROM feeds.replay WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        await RunAsync(connection, "DELETE FROM feeds.webhook WHERE subscription = $1", context, new NpgsqlParameter { Value = name });
        return TypedResults.NoContent();
    });

    private async Task<IResult> SuspendAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<Reasoned>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        var caller = Caller.Of(context.User);
        return await acts.ActAsync(
            name, context, dryRun, new("subscriptions.suspended", asked.Reason),
            async connection => await Subscription.SuspendAsync(connection, name, asked.Reason, caller.Id, caller.Is(Roles.Administrator), context.RequestAborted) ? null : NotTheirs())
            ?? await views.ShowAsync(name, context, would: !dryRun ? null : (was, webhook) => (was with { IsSuspended = true, Reason = asked.Reason, SuspendedBy = caller.Id }, webhook));
    }

    private async Task<IResult> ResumeAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await SubscriptionActs.ReasonAsync<Reasoned>(context.Request, asked => asked.Reason);
        if (asked is null) return problem!;
        if (await acts.FindAsync(name, context) is not { } found) return SubscriptionActs.Unknown();
        // It may have been suspended because the endpoint was gone.
        var (allowed, refused) = found.Kind == Subscription.Webhook ? await webhooks.AskAgainAsync(name, context.RequestAborted) : (null, null);
        if (refused is not null) return refused;
        return await acts.ActAsync(name, context, dryRun, new("subscriptions.resumed", asked.Reason), async connection =>
        {
            if (!await Subscription.ResumeAsync(connection, name, Caller.Of(context.User).Is(Roles.Administrator), context.RequestAborted)) return NotTheirs();
            if (allowed is not null) await WebhookRegistration.ResumeAsync(connection, allowed, context.RequestAborted);
            return null;
        }, found) ?? await views.ShowAsync(name, context, would: !dryRun ? null : (was, _) => (was with { IsSuspended = false, Reason = null, SuspendedBy = null }, allowed is null ? null : allowed with { FailingSince = null }));
    }

    private async Task<IResult> RenewSecretAsync(string name, HttpContext context, bool dryRun)
    {
        var (asked, problem) = await Body.ReadAsync<SecretAsked>(context.Request);
        if (asked is null) return problem!;
        if (await acts.FindAsync(name, context) is not { } found) return SubscriptionActs.Unknown();
        if (found.Kind != Subscription.Webhook) return Body.Unprocessable("$", "only a webhook has a secret");
        var secret = asked.Secret is null ? WebhookSignature.NewSecret() : WebhookSignature.Read(asked.Secret);
        if (secret is null) return WebhookRegistration.WrongSecret("secret");
        return (await acts.ActAsync(name, context, dryRun, new("subscriptions.secret-renewed"), async connection => Json(new
        {
            secret = dryRun ? null : WebhookSignature.Text(secret),
            previousUntil = await webhooks.RenewAsync(connection, name, secret, context.RequestAborted),
        }), found))!;
    }

    private async Task<Place> StartAsync(string start, CancellationToken cancellation) =>
        start == "now" ? await feed.BeginAsync("", null, true, cancellation)
        : start == "beginning" ? default
        : JsonSerializer.SerializeToElement(start).TryGetDateTimeOffset(out var time) ? await feed.BeginAsync("", Timestamp.FromDateTimeOffset(time), false, cancellation)
        : start.Length == 0 ? throw FeedStreams.Invalid("start: beginning, now, a time such as 2026-11-24T09:30:00+01:00, or a cursor expected.")
        : await feed.BeginAsync(start, null, false, cancellation);

    private static ProblemHttpResult? Limits(int? maxAttempts, int? ackTimeout) =>
        maxAttempts is < 1 or > 100 ? Body.Unprocessable("maxAttempts", "1 to 100 expected")
        : ackTimeout is < 1 or > 3600 ? Body.Unprocessable("ackTimeoutSeconds", "1 to 3600 expected")
        : null;

    private static ProblemHttpResult NotTheirs() => TypedResults.Problem(
        title: "Suspended by an administrator", detail: "An administrator of the hub suspended this subscription; reason and suspendedBy of GET /api/v1/subscriptions/{name} say why and who. Ask them: they resume or delete it.",
        statusCode: StatusCodes.Status409Conflict);

    private static async Task RunAsync(NpgsqlConnection connection, string sql, HttpContext context, params NpgsqlParameter[] values)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        command.Parameters.AddRange(values);
        await command.ExecuteNonQueryAsync(context.RequestAborted);
    }

    private static NpgsqlParameter Number(int? value) => new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Integer };

    private static JsonHttpResult<T> Json<T>(T value, int status = StatusCodes.Status200OK) => TypedResults.Json(value, ContractJson.Options, statusCode: status);
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
/// <param name="Reason">What for, for the audit; may be left out.</param>
internal sealed record CreateAsked(
    Slug Name, string Start, string? Agreement = null, AskedFilter? Filter = null, string? Client = null, int? MaxAttempts = null, int? AckTimeoutSeconds = null, WebhookAsked? Webhook = null,
    string? Reason = null);

/// <summary>A filter as it is posted.</summary>
internal sealed record AskedFilter(
    IReadOnlyList<string>? Types = null, IReadOnlyList<string>? Communes = null, IReadOnlyList<string>? Subjects = null, IReadOnlyList<AskedFact>? Facts = null)
{
    /// <summary>The same as the feed takes it.</summary>
    public FeedFilter Filter() => new([.. Types ?? []], [.. Communes ?? []], [.. Subjects ?? []], [.. Facts ?? []]);
}

/// <summary>What is to be changed.</summary>
internal sealed record ChangeAsked(int? MaxAttempts = null, int? AckTimeoutSeconds = null, WebhookAsked? Webhook = null);
