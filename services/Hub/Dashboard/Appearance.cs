namespace Intercommunalite.Hub.Dashboard;

/// <summary>Light or dark, as the first HTML shows it.</summary>
/// <param name="Dark">Whether dark.</param>
/// <param name="Chosen">
/// Whether the person chose it here; else it follows the device: as far as the request says at first, then as the connected
/// browser says.
/// </param>
public sealed record Appearance(bool Dark, bool Chosen)
{
    /// <summary>Cookie that keeps the choice: <c>dark</c> or <c>light</c>. wwwroot/dashboard.js writes it.</summary>
    public const string Cookie = "appearance";

    internal static Appearance Of(HttpRequest request) => request.Cookies[Cookie] switch
    {
        "dark" => new(Dark: true, Chosen: true),
        "light" => new(Dark: false, Chosen: true),
        _ => new(Dark: request.Headers[PageHeaders.PrefersColorScheme].ToString().Trim('"') == "dark", Chosen: false),
    };
}
