using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.ServiceDefaults.Access;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Shows subscriptions: as they are asked for, and how far they are.</summary>
internal sealed class SubscriptionViews(
    NpgsqlDataSource database, SubscriptionActs acts, SubscriptionStates states, FeedPages pages, AgreementsInForce agreements, WebhookRegistration webhooks, SubscriptionOptions options,
    WebhookOptions webhookOptions)
{
    private const int MostFailing = 20;

    /// <summary>All that the caller may use.</summary>
    public async Task<IResult> ListAsync(HttpContext context)
    {
        var caller = Caller.Of(context.User);
        var now = await states.NowAsync(null, context.RequestAborted);
        var brought = await Webhook.AllAsync(database, context.RequestAborted);
        var items = new List<SubscriptionView>();
        foreach (var subscription in (await Subscription.AllAsync(database, context.RequestAborted)).Where(subscription => SubscriptionActs.MayUse(caller, subscription)))
        {
            if (now.TryGetValue(subscription.Name, out var state)) items.Add(await OfAsync(subscription, state, null, brought.GetValueOrDefault(subscription.Name), null, context.RequestAborted));
        }

        return TypedResults.Json(new { items }, ContractJson.Options);
    }

    /// <summary>One of them.</summary>
    /// <param name="name">The subscription.</param>
    /// <param name="context">The call.</param>
    /// <param name="status">Status of the answer.</param>
    /// <param name="secret">The secret of a webhook, only when it was made by the same call.</param>
    /// <param name="would">Makes of it what it would be by what is tried; null for as it is.</param>
    public async Task<IResult> ShowAsync(
        string name, HttpContext context, int status = StatusCodes.Status200OK, string? secret = null, Func<Subscription, Webhook?, (Subscription, Webhook?)>? would = null)
    {
        if (await acts.FindAsync(name, context) is not { } subscription || !(await states.NowAsync(name, context.RequestAborted)).TryGetValue(name, out var state)) return SubscriptionActs.Unknown();
        var webhook = await Webhook.FindAsync(database, name, context.RequestAborted);
        if (would is not null) (subscription, webhook) = would(subscription, webhook);
        var shown = await OfAsync(subscription, state, await FailingAsync(name, context.RequestAborted), webhook, secret, context.RequestAborted);
        return TypedResults.Json(shown, ContractJson.Options, statusCode: status);
    }

    /// <summary>One of which all is known.</summary>
    public async Task<SubscriptionView> OfAsync(
        Subscription subscription, SubscriptionState state, IReadOnlyList<FailingView>? failing, Webhook? webhook, string? secret, CancellationToken cancellation)
    {
        var isFull = state.OwnParked >= options.MostParked;
        return new(
            subscription.Name, subscription.Client, subscription.Agreement, subscription.Kind, subscription.Filter, subscription.IsSuspended ? "suspended" : isFull ? "full" : "active",
            subscription.IsSuspended || !isFull ? subscription.Reason : options.WhyFull, subscription.SuspendedBy,
            subscription.Agreement is not { } id ? null : agreements.Of(subscription.Client).Any(agreement => agreement.Id == id),
            (await pages.CursorsAsync(cancellation)).Of(await pages.LastAsync(state.Done, cancellation)), state.Lag, state.Unacknowledged, state.OldestUnacknowledged, state.Parked,
            state.Replaying.Count == 0 ? null : state.Replaying, subscription.MaxAttempts, subscription.Kind == Subscription.Webhook ? webhookOptions.AckTimeout : subscription.AckTimeout,
            subscription.CreatedAt, subscription.CreatedBy, webhook is null ? null : webhooks.View(webhook, subscription.IsSuspended, isFull, secret), failing);
    }

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
}

/// <summary>A subscription as it is shown.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Client">Whose it is.</param>
/// <param name="Agreement">Under which agreement.</param>
/// <param name="Kind"><c>pull</c> or <c>webhook</c>.</param>
/// <param name="Filter">What is asked for.</param>
/// <param name="State"><c>active</c>, <c>suspended</c>, or <c>full</c> while so much is parked that nothing more is given.</param>
/// <param name="Reason">Why it is suspended or full.</param>
/// <param name="SuspendedBy">Who suspended it; <c>hub</c> for the hub itself.</param>
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
    string Name, string Client, string? Agreement, string Kind, FeedFilter Filter, string State, string? Reason, string? SuspendedBy, bool? InForce, string Position, long Lag, long Unacknowledged,
    DateTimeOffset? OldestUnacknowledged, long Parked, IReadOnlyDictionary<string, long>? Replaying, int MaxAttempts, int AckTimeoutSeconds, DateTimeOffset CreatedAt, string CreatedBy,
    WebhookView? Webhook, IReadOnlyList<FailingView>? Failing);

/// <summary>A delivery that failed and comes again.</summary>
internal sealed record FailingView(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, int Failures, string? Reason, DateTimeOffset DueAt);
