using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>An administrator has connectors send what the hub does not have of their journals, without waiting until they do so by themselves.</summary>
internal static class AskAgain
{
    private const int LongestReason = 1_000;

    /// <summary>Why, and of whom.</summary>
    /// <param name="Reason">Why.</param>
    /// <param name="Commune">INSEE code; null for all communes.</param>
    private sealed record Request(string Reason, string? Commune = null);

    public static RouteGroupBuilder MapAskAgain(this RouteGroupBuilder api)
    {
        api.MapPost("admin/ingestion/resend", async (Request request, Ingestion ingestion, CancellationToken cancellation) =>
            {
                if (request.Reason is not { Length: > 0 and <= LongestReason }) return (IResult)Query.Problem("reason", $"1 to {LongestReason} characters expected");
                if (request.Commune is { } commune && !CommuneCode.TryParse(commune, out _)) return Query.Problem("commune", "an INSEE commune code expected");
                var asked = await ingestion.AskAgainAsync(request.Commune, cancellation);
                return asked.Count == 0 && request.Commune is not null
                    ? TypedResults.Problem(title: "No such journal", detail: $"The hub knows no journal of commune {request.Commune}: nothing has come from it yet.", statusCode: StatusCodes.Status404NotFound)
                    : TypedResults.Accepted((string?)null, new { items = asked.Select(journal => new { journal.Commune, journal.Journal, from = journal.ReceivedThrough + 1 }) });
            })
            .RequireAuthorization(Rules.Administer).Audit("ingestion.resend", why: arguments => arguments.OfType<Request>().FirstOrDefault()?.Reason)
            .WithName("ResendJournals").WithSummary("Asks connectors for their journals again, from the first event that the hub does not have")
            .WithDescription("The answer says from which position each is asked for; GET ingestion shows what comes.");
        return api;
    }
}
