using System.Security.Claims;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>Asks at every request whether the person may still be in, and leads whoever may not see a page to what is to be done.</summary>
internal sealed class SessionCookie : CookieAuthenticationEvents
{
    /// <inheritdoc/>
    public override async Task ValidatePrincipal(CookieValidatePrincipalContext context)
    {
        if (await context.HttpContext.RequestServices.GetRequiredService<Sessions>().RecheckAsync(context.Principal!) is { } user)
        {
            context.ReplacePrincipal(user);
            return;
        }

        context.RejectPrincipal();
        await context.HttpContext.SignOutAsync(context.Scheme.Name);
    }

    /// <inheritdoc/>
    public override Task RedirectToLogin(RedirectContext<CookieAuthenticationOptions> context)
    {
        if (!IsPage(context.Request)) context.Response.StatusCode = StatusCodes.Status401Unauthorized;
        else context.Response.Redirect($"{SignInPages.SignIn}?{SignInPages.ReturnUrl}={Uri.EscapeDataString(context.Request.PathBase + context.Request.Path + context.Request.QueryString)}");
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public override async Task RedirectToAccessDenied(RedirectContext<CookieAuthenticationOptions> context)
    {
        if (!IsPage(context.Request))
        {
            context.Response.StatusCode = StatusCodes.Status403Forbidden;
            return;
        }

        var sessions = context.HttpContext.RequestServices.GetRequiredService<Sessions>();
        var todo = await sessions.AccountAsync(context.HttpContext.User) is { } account
            ? await sessions.TodoAsync(account, context.HttpContext.User.FindFirstValue(Sessions.HowClaim) ?? "")
            : Todo.Nothing;
        context.Response.Redirect(SignInPages.PageOf(todo) ?? SignInPages.Refused);
    }

    // Neither the connection of an open page nor a call can show a form.
    private static bool IsPage(HttpRequest request) =>
        !request.Path.StartsWithSegments("/_blazor", StringComparison.Ordinal) && !request.Path.StartsWithSegments("/api", StringComparison.Ordinal);
}
