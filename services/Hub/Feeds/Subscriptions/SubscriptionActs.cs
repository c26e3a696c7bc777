using System.Text.Json.Nodes;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>What is done with a subscription, for the audit.</summary>
/// <param name="Name">Its name in the audit.</param>
/// <param name="Why">The reason that was given; null for none.</param>
/// <param name="Details">Further facts; may be added to while it is done.</param>
internal sealed record Act(string Name, string? Why = null, JsonObject? Details = null);

/// <summary>Who may do something with a subscription, and doing it.</summary>
internal sealed class SubscriptionActs(NpgsqlDataSource database, Deliveries deliveries, AuditLog audit)
{
    private const int LongestReason = 500;

    /// <summary>Whether somebody may use one: whose it is, and administrators.</summary>
    public static bool MayUse(Caller caller, Subscription subscription) => subscription.Client == caller.Id || caller.Is(Roles.Administrator);

    /// <summary>One that the caller may use; null when there is none of this name.</summary>
    public async Task<Subscription?> FindAsync(string name, HttpContext context) =>
        await Subscription.FindAsync(database, name, context.RequestAborted) is { } found && MayUse(Caller.Of(context.User), found) ? found : null;

    /// <summary>
    /// One thing happens, with its entry in the audit, or not at all; what is decided on its deliveries meanwhile waits. Nothing happens when
    /// it is tried, or the change answers that it was refused.
    /// </summary>
    /// <param name="name">The subscription.</param>
    /// <param name="context">The call.</param>
    /// <param name="dryRun">Whether it is tried.</param>
    /// <param name="act">What it is.</param>
    /// <param name="change">Does it in the transaction of a connection, and says what is answered; null for the subscription as it is then.</param>
    /// <param name="found">The subscription, when it was found before: nothing happens to another one that has its name by now.</param>
    /// <returns>The answer; null as above.</returns>
    public async Task<IResult?> ActAsync(string name, HttpContext context, bool dryRun, Act act, Func<NpgsqlConnection, Task<IResult?>> change, Subscription? found = null)
    {
        found ??= await FindAsync(name, context);
        if (found is null) return Unknown();
        await using var connection = await database.OpenConnectionAsync(context.RequestAborted);
        await using var transaction = await connection.BeginTransactionAsync(context.RequestAborted);
        // One that was made anew under this name may be somebody else's.
        if (await Deliveries.HoldAsync(connection, name, context.RequestAborted) != found.CreatedAt) return Unknown();
        var result = await change(connection);
        if (dryRun || result is IStatusCodeHttpResult { StatusCode: >= 400 }) return result;
        await audit.AppendAsync(connection, new(Caller.Of(context.User).Id, act.Name, name, act.Why, act.Details), context.RequestAborted);
        await transaction.CommitAsync(context.RequestAborted);
        deliveries.Wake(name);
        return result;
    }

    /// <summary>What is posted, with a reason that can be put on record; else what is wrong.</summary>
    /// <param name="request">The call.</param>
    /// <param name="reason">Finds the reason.</param>
    /// <param name="isOptional">Whether none may be given.</param>
    public static async Task<(T? Asked, ProblemHttpResult? Problem)> ReasonAsync<T>(HttpRequest request, Func<T, string?> reason, bool isOptional = false)
        where T : class
    {
        var (asked, problem) = await Body.ReadAsync<T>(request);
        if (asked is null) return (null, problem);
        var given = reason(asked);
        return (given is null && isOptional) || (!string.IsNullOrWhiteSpace(given) && given.Length <= LongestReason && Query.IsText(given))
            ? (asked, null)
            : (null, Body.Unprocessable("reason", $"why, in {LongestReason} characters at most; it stays on record: name nobody"));
    }

    /// <summary>404.</summary>
    public static ProblemHttpResult Unknown() => TypedResults.Problem(
        title: "No such subscription", detail: "There is no subscription of this name that you may use. GET /api/v1/subscriptions lists yours.", statusCode: StatusCodes.Status404NotFound);
}
