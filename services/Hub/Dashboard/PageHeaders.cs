namespace Intercommunalite.Hub.Dashboard;

/// <summary>HTTP headers of the dashboard's pages, beside those of every answer (<see cref="ServiceDefaults.Edges.Edge"/>).</summary>
internal static class PageHeaders
{
    /// <summary>The browser's colour preference, where it says so (https://wicg.github.io/user-preference-media-features-headers/).</summary>
    public const string PrefersColorScheme = "Sec-CH-Prefers-Color-Scheme";

    // Nothing from elsewhere, no inline script, no framing. MudBlazor sets its theme and its charts in style elements and attributes.
    private const string ContentSecurityPolicy =
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; "
        + "form-action 'self'; frame-ancestors 'none'";

    /// <summary>Adds them to a page's answer.</summary>
    public static void Apply(HttpResponse response)
    {
        var headers = response.Headers;
        headers.ContentSecurityPolicy = ContentSecurityPolicy;
        headers["Accept-CH"] = PrefersColorScheme;
        headers["Critical-CH"] = PrefersColorScheme;
        headers.Vary = PrefersColorScheme;
    }
}
