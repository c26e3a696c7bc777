using System.Text.Json.Nodes;
using Intercommunalite.ServiceDefaults.Access;

namespace Intercommunalite.Hub.Audit;

/// <summary>Calls that are noted in the audit.</summary>
internal static class Audited
{
    private const int LongestText = 1_000;

    /// <summary>
    /// Notes who calls, before the call is answered: what cannot be noted is not done. The subject is what the path names; what was
    /// asked for and refused is noted too, since it was asked for.
    /// </summary>
    /// <param name="route">The call.</param>
    /// <param name="act">Its name in the audit.</param>
    /// <param name="filters">Parameters of the query by which the call is narrowed, which are noted as they were given. None that may name a person.</param>
    /// <param name="why">Finds the reason among the arguments of the call; null where none is asked for.</param>
    /// <param name="details">Finds further facts among the arguments; null for none.</param>
    public static RouteHandlerBuilder Audit(
        this RouteHandlerBuilder route, string act, string[]? filters = null, Func<IList<object?>, string?>? why = null, Func<IList<object?>, JsonObject?>? details = null) =>
        route.AddEndpointFilter(async (invocation, next) =>
        {
            var context = invocation.HttpContext;
            var subject = context.Request.RouteValues.Count == 0 ? null : string.Join('/', context.Request.RouteValues.Values);
            var given = (filters ?? []).Where(context.Request.Query.ContainsKey).Select(name => KeyValuePair.Create(name, (JsonNode?)Text(context.Request.Query[name]))).ToList();
            await context.RequestServices.GetRequiredService<AuditLog>().AppendAsync(
                new(Caller.Of(context.User).Id, act, subject, why?.Invoke(invocation.Arguments) is { } reason ? Text(reason) : null, given.Count == 0 ? details?.Invoke(invocation.Arguments) : new JsonObject(given)),
                context.RequestAborted);
            return await next(invocation);
        });

    /// <summary>What a caller gave, as it can be noted: PostgreSQL's text cannot hold the character 0. What is longer is refused by the call.</summary>
    public static string Text(string? given) => (given ?? "").Replace("\0", "", StringComparison.Ordinal) is var text && text.Length > LongestText
        ? text[..(char.IsHighSurrogate(text[LongestText - 1]) ? LongestText - 1 : LongestText)] : text;
}
