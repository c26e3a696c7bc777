using MudBlazor;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>Colours and type. Every pair of text and background has a contrast of 4.5 or more (WCAG 2.2, 1.4.3).</summary>
internal static class Theme
{
    // The device's own font: nothing to fetch.
    private static readonly string[] s_systemFont = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif"];

    /// <summary>The theme of all pages.</summary>
    public static MudTheme Hub { get; } = new()
    {
        PaletteLight = new PaletteLight
        {
            Primary = "#1f4e8c",
            AppbarBackground = "#17365d",
            AppbarText = "#ffffff",
            Background = "#f4f6f9",
            Surface = "#ffffff",
            TextPrimary = "#1b2430",
            TextSecondary = "#4a5666",
            LinesDefault = "#d5dbe3",
            LinesInputs = "#6b7788",
            TableLines = "#dfe4ea",
            Divider = "#d5dbe3",
            Success = "#1a7f43",
            Warning = "#8a5300",
            Info = "#1f4e8c",
        },
        PaletteDark = new PaletteDark
        {
            Primary = "#8ab8f5",
            PrimaryContrastText = "#10161f",
            AppbarBackground = "#101a28",
            AppbarText = "#eef2f7",
            Background = "#131a24",
            Surface = "#1c2532",
            TextPrimary = "#eef2f7",
            TextSecondary = "#b4c0cf",
            LinesDefault = "#344154",
            LinesInputs = "#8794a6",
            TableLines = "#2f3b4c",
            Divider = "#344154",
            Success = "#5fd08a",
            Warning = "#f3b95f",
            Info = "#8ab8f5",
        },
        LayoutProperties = new LayoutProperties { DefaultBorderRadius = "8px" },
        Typography = new Typography
        {
            Default = new DefaultTypography { FontFamily = s_systemFont, LetterSpacing = "normal" },
            H1 = new H1Typography { FontFamily = s_systemFont, FontSize = "1.75rem", FontWeight = "650", LineHeight = "1.2", LetterSpacing = "normal" },
            H2 = new H2Typography { FontFamily = s_systemFont, FontSize = "1.05rem", FontWeight = "650", LineHeight = "1.35", LetterSpacing = "normal" },
            Body1 = new Body1Typography { FontFamily = s_systemFont, LetterSpacing = "normal" },
            Body2 = new Body2Typography { FontFamily = s_systemFont, LetterSpacing = "normal" },
        },
    };

    /// <summary>
    /// Colours of the charts' series: 3 or more against both surfaces (WCAG 2.2, 1.4.11), and apart for colour-blind eyes.
    /// </summary>
    public static string[] Series { get; } = ["#3c82c8", "#d9730d", "#808a96"];
}
