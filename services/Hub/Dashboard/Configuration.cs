using System.Globalization;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Access.SignIn;
using Microsoft.AspNetCore.Components.Endpoints;
using Microsoft.AspNetCore.Diagnostics;
using Microsoft.Extensions.FileProviders;
using MudBlazor.Services;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>Registers the dashboard: the pages that agents open in a browser, at the root of the hub's web address.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddDashboard(this WebApplicationBuilder builder)
    {
        FindAssetsBesideTheProgram(builder);
        builder.Services.AddRazorComponents().AddInteractiveServerComponents();
        builder.Services.AddMudServices();
        builder.Services.AddSingleton<SimulatedEvents>();
        builder.Services.AddSingleton<OverviewSource>();
        builder.Services.AddHostedService(services => services.GetRequiredService<OverviewSource>());
        return builder;
    }

    public static WebApplication MapDashboard(this WebApplication app)
    {
        app.UseStatusCodePages(TellOfUnknownAddressAsync);
        app.UseAntiforgery();
        app.Use(SpeakFrench);
        app.MapStaticAssets().AllowAnonymous();
        // Framing is refused by the pages' own policy: PageHeaders.
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(options => options.ContentSecurityFrameAncestorsPolicy = null)
            .RequireAuthorization(Rules.SeePages);
        return app;
    }

    // Whoever opens an address in a browser, and mistyped it, gets a page; programs get a problem, as from every call.
    private static Task TellOfUnknownAddressAsync(StatusCodeContext answer)
    {
        var (context, request) = (answer.HttpContext, answer.HttpContext.Request);
        var isPage = context.Response.StatusCode == StatusCodes.Status404NotFound && context.GetEndpoint() is null && HttpMethods.IsGet(request.Method)
            && !request.Path.StartsWithSegments("/api") && request.GetTypedHeaders().Accept.Any(accepted => accepted.MediaType == "text/html");
        return isPage ? SignInPages.NotFound(context).ExecuteAsync(context) : Task.CompletedTask;
    }

    // MudBlazor writes numbers in the culture of the request, then of the connection. The API keeps the server's.
    private static Task SpeakFrench(HttpContext context, RequestDelegate next)
    {
        var page = context.GetEndpoint()?.Metadata.GetMetadata<ComponentTypeMetadata>() is not null;
        var connection = context.Request.Path.StartsWithSegments("/_blazor");
        if (page || connection) CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = French.Culture;
        return next(context);
    }

    // Published, the assets are in wwwroot; as built, they are where the build's manifest says, whatever the environment. Both
    // are found from the program's own folder, so that the hub may be started from any other.
    private static void FindAssetsBesideTheProgram(WebApplicationBuilder builder)
    {
        var folder = Path.Combine(AppContext.BaseDirectory, "wwwroot");
        builder.Environment.WebRootPath = folder;
        builder.Environment.WebRootFileProvider = Directory.Exists(folder) ? new PhysicalFileProvider(folder) : new NullFileProvider();
        builder.WebHost.UseStaticWebAssets();
    }
}
