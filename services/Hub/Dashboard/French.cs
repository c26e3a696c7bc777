using System.Globalization;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>How the screens write numbers, money and dates, whatever culture the server runs in.</summary>
internal static class French
{
    /// <summary>fr-FR, with the thin no-break space between thousands that the Imprimerie nationale asks for.</summary>
    public static CultureInfo Culture { get; } = MakeCulture();

    /// <summary><c>12 345</c>.</summary>
    public static string Number(long number) => number.ToString("N0", Culture);

    /// <summary><c>12 345,67 €</c>.</summary>
    /// <param name="cents">Euro cents.</param>
    public static string Euros(long cents) => (cents / 100m).ToString("C2", Culture);

    /// <summary><c>12 k€</c>, <c>1,5 M€</c>, for axes.</summary>
    /// <param name="euros">Euros.</param>
    public static string ShortEuros(double euros) => euros switch
    {
        >= 1e6 => $"{(euros / 1e6).ToString("0.##", Culture)}\u00A0M€",
        >= 1e3 => $"{(euros / 1e3).ToString("0.##", Culture)}\u00A0k€",
        _ => euros.ToString("C0", Culture),
    };

    /// <summary><c>novembre 2026</c>.</summary>
    /// <param name="period">Month, <c>YYYY-MM</c>.</param>
    public static string Month(string period) => Date(period).ToString("MMMM yyyy", Culture);

    /// <summary><c>nov. 26</c>, for axes.</summary>
    /// <param name="period">Month, <c>YYYY-MM</c>.</param>
    public static string ShortMonth(string period) => Date(period).ToString("MMM yy", Culture);

    /// <summary><c>14:32:05</c>.</summary>
    public static string Time(DateTimeOffset time) => time.ToString("HH:mm:ss", Culture);

    /// <summary>A number and its noun: <c>1 commune</c>, <c>25 communes</c>; the singular up to 1.</summary>
    public static string Count(long number, string one, string many) => $"{Number(number)}\u00A0{(Math.Abs(number) < 2 ? one : many)}";

    /// <summary>Whether a text contains another, whatever the case and the accents.</summary>
    public static bool Contains(string text, string sought) =>
        Culture.CompareInfo.IndexOf(text, sought, CompareOptions.IgnoreCase | CompareOptions.IgnoreNonSpace) >= 0;

    private static DateOnly Date(string period) => DateOnly.ParseExact(period, "yyyy-MM", CultureInfo.InvariantCulture);

    private static CultureInfo MakeCulture()
    {
        var culture = (CultureInfo)CultureInfo.GetCultureInfo("fr-FR").Clone();
        var numbers = culture.NumberFormat;
        numbers.NumberGroupSeparator = numbers.CurrencyGroupSeparator = "\u202F";
        return CultureInfo.ReadOnly(culture);
    }
}
