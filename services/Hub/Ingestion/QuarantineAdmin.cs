using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// <c>admin/quarantine</c>: lists, shows, retries and discards what the hub did not accept. No
/// call gives out what may name a person: lists hold no content, an event is shown as <see cref="ShownEvent"/> lets it be, a
/// message only as its size and SHA-256.
/// </summary>
internal static class QuarantineAdmin
{
    private const int LongestEndReason = 500;
    private const int MostItems = 1_000;

    public static RouteGroupBuilder MapQuarantine(this RouteGroupBuilder api)
    {
        api.MapGet("admin/quarantine", ListAsync)
            .RequireAuthorization(Rules.Administer).WithName("Quarantine")
            .WithSummary("What is in quarantine (or was: state=retried|discarded|all), by arrival; next is the after of the next page, or null");
        api.MapGet("admin/quarantine/reasons", async (Quarantine quarantine, CancellationToken cancellation) =>
                new { items = await quarantine.ReasonsAsync(cancellation) })
            .RequireAuthorization(Rules.Administer).WithName("QuarantineReasons").WithSummary("How many are in quarantine, by reason and commune");
        api.MapGet("admin/quarantine/{id:long}", ShowAsync)
            .RequireAuthorization(Rules.Administer).WithName("QuarantineItem").WithSummary("One of them; of its event, no value that may name a person");
        api.MapPost("admin/quarantine/{id:long}/retry", RetryAsync)
            .RequireAuthorization(Rules.Administer).Audit("quarantine.retry").AddEndpointFilter(NotDuringErasureAsync).WithName("RetryQuarantined").WithSummary("Checks an event again and stores it, after all that is in the store by now");
        api.MapPost("admin/quarantine/retry", RetryAllAsync)
            .RequireAuthorization(Rules.Administer).Audit("quarantine.retry-all", ["reason", "commune"]).AddEndpointFilter(NotDuringErasureAsync)
            .WithName("RetryAllQuarantined").WithSummary("The same for all events that are kept for exactly this reason");
        api.MapPost("admin/quarantine/{id:long}/discard", DiscardAsync)
            .RequireAuthorization(Rules.Discard).Audit("quarantine.discard", why: arguments => arguments.OfType<Discard>().FirstOrDefault()?.Reason)
            .WithName("DiscardQuarantined").WithSummary("Erases the content; the row stays, with the reason given");
        return api;
    }

    private static async Task<IResult> ListAsync(
        Quarantine quarantine, CancellationToken cancellation, string? commune = null, string? reason = null, string state = "kept", long after = 0, int limit = 100)
    {
        if (!IsCommune(commune)) return Query.Problem("commune", "an INSEE commune code expected");
        if (!Query.IsText(reason)) return Query.Problem("reason", "a text expected");
        if (state is not ("kept" or "retried" or "discarded" or "all")) return Query.Problem("state", "kept, retried, discarded or all expected");
        if (limit is < 1 or > MostItems) return Query.Problem("limit", $"1 to {MostItems} expected");
        var items = await quarantine.ListAsync(commune, reason, state == "all" ? null : state, after, limit + 1, cancellation);
        return TypedResults.Ok(new { items = items.Take(limit), next = items.Count > limit ? items[limit - 1].Id : (long?)null });
    }

    private static async Task<IResult> ShowAsync(long id, Quarantine quarantine, CancellationToken cancellation)
    {
        if (await quarantine.FindAsync(id, cancellation) is not var (item, content)) return Unknown(id);
        return TypedResults.Ok(new Shown(
            item,
            content is null ? null : Convert.ToHexStringLower(SHA256.HashData(content)),
            content is null || item.Journal is null ? null : ShownEvent.Of(Quarantine.Json(content))));
    }

    private static async Task<IResult> RetryAsync(long id, Quarantine quarantine, CancellationToken cancellation)
    {
        if (await quarantine.FindAsync(id, cancellation) is not var (before, _)) return Unknown(id);
        if (before.State == "kept" && before.Journal is null) return Undecipherable();
        var retried = await quarantine.RetryAsync(id, cancellation);
        if (await quarantine.FindAsync(id, cancellation) is not var (item, _)) return Unknown(id);
        return retried switch
        {
            true => TypedResults.Ok(item),
            false => TypedResults.Problem(
                title: "Refused again", detail: $"{item.Reason}. It stays in quarantine.", statusCode: StatusCodes.Status422UnprocessableEntity),
            null => Ended(item),
        };
    }

    private static async Task<IResult> RetryAllAsync(Quarantine quarantine, CancellationToken cancellation, string? reason = null, string? commune = null)
    {
        if (string.IsNullOrEmpty(reason) || !Query.IsText(reason)) return Query.Problem("reason", "the reason for which the events are kept, exactly as listed, expected");
        if (!IsCommune(commune)) return Query.Problem("commune", "an INSEE commune code expected");
        if (await quarantine.IsOfMessagesAsync(reason, cancellation)) return Undecipherable();
        return TypedResults.Ok(await quarantine.RetryAllAsync(reason, commune, cancellation));
    }

    private static async Task<IResult> DiscardAsync(long id, Discard? discard, Quarantine quarantine, CancellationToken cancellation)
    {
        if (string.IsNullOrWhiteSpace(discard?.Reason) || discard.Reason.Length > LongestEndReason || !Query.IsText(discard.Reason))
        {
            return TypedResults.Problem(
                title: "No reason given",
                detail: $"""Say why it is discarded: {"{"}"reason": "…"{"}"}, {LongestEndReason} characters at most. Name nobody there: it stays in the audit.""",
                statusCode: StatusCodes.Status400BadRequest);
        }

        var discarded = await quarantine.DiscardAsync(id, discard.Reason, cancellation);
        if (await quarantine.FindAsync(id, cancellation) is not var (item, _)) return Unknown(id);
        return discarded ? TypedResults.Ok(item) : Ended(item);
    }

    private static async ValueTask<object?> NotDuringErasureAsync(EndpointFilterInvocationContext context, EndpointFilterDelegate next)
    {
        try
        {
            return await next(context);
        }
        catch (ErasureUnderWayException)
        {
            context.HttpContext.Response.Headers.RetryAfter = "30";
            return TypedResults.Problem(
                title: "An erasure is under way", detail: "Somebody is being erased, in quarantine too, and the keys' database does not answer: retry once it does.",
                statusCode: StatusCodes.Status503ServiceUnavailable);
        }
    }

    private static ProblemHttpResult Unknown(long id) => TypedResults.Problem(
        title: "Not in quarantine", detail: $"Nothing in quarantine has ever had the id {id}.", statusCode: StatusCodes.Status404NotFound);

    private static ProblemHttpResult Ended(QuarantineItem item) => TypedResults.Problem(
        title: $"Already {item.State}", detail: $"{item.Id} was {item.State} at {item.EndedAt:O}: {item.EndReason}.", statusCode: StatusCodes.Status409Conflict);

    private static ProblemHttpResult Undecipherable() => TypedResults.Problem(
        title: "Not to be retried",
        detail: "It is a message that cannot be read, not an event: it can only be discarded. What a connector has still to send, it sends again by itself.",
        statusCode: StatusCodes.Status409Conflict);

    private static bool IsCommune(string? text) => text is null || CommuneCode.TryParse(text, out _);

    private sealed record Discard(string? Reason);

    private sealed record Shown(QuarantineItem Item, string? Sha256, JsonNode? Event);
}
