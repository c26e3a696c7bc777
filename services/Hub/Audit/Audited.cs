using Intercommunalite.ServiceDefaults.Access;

namespace Intercommunalite.Hub.Audit;

/// <summary>Calls that are noted in the audit.</summary>
internal static class Audited
{
    /// <summary>
    /// Notes who calls, before the call is answered: what cannot be noted is not done. The subject is what the path names; what was
    /// asked for and refused is noted too, since it was asked for.
    /// </summary>
    /// <param name="route">The call.</param>
    /// <param name="act">Its name in the audit.</param>
    public static RouteHandlerBuilder Audit(this RouteHandlerBuilder route, string act) => route.AddEndpointFilter(async (invocation, next) =>
    {
        var context = invocation.HttpContext;
        var subject = context.Request.RouteValues.Count == 0 ? null : string.Join('/', context.Request.RouteValues.Values);
        await context.RequestServices.GetRequiredService<AuditLog>().AppendAsync(new(Caller.Of(context.User).Id, act, subject), context.RequestAborted);
        return await next(invocation);
    });
}
