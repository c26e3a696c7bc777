using System.Globalization;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>
/// A date of which the day, or the day and the month, may be unknown: <c>1970-12-10</c>, <c>1970-12</c> or <c>1970</c>
/// (ISO 8601, reduced precision). Civil records hold such dates.
/// </summary>
[JsonConverter(typeof(TextValueConverter<PartialDate>))]
public readonly record struct PartialDate : ITextValue<PartialDate>
{
    private PartialDate(int year, int? month, int? day) => (Year, Month, Day) = (year, month, day);

    /// <summary>1 to 9999.</summary>
    public int Year { get; }

    /// <summary>1 to 12, or null when unknown.</summary>
    public int? Month { get; }

    /// <summary>1 to 31, or null when unknown; never known without the month.</summary>
    public int? Day { get; }

    /// <summary>The period that the date counts under: <c>YYYY-MM</c>, or <c>YYYY</c> when the month is unknown.</summary>
    public string Period => Month is { } month ? $"{Year:D4}-{month:D2}" : Year.ToString("D4", CultureInfo.InvariantCulture);

    static string ITextValue<PartialDate>.Form => "a date (2026-11-24), a month (2026-11) or a year (2026)";

    static string ITextValue<PartialDate>.Pattern => "^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$";

    /// <summary>A whole date.</summary>
    public static PartialDate Of(DateOnly date) => new(date.Year, date.Month, date.Day);

    /// <summary>Puts a date together; false when no such day or month exists, or the day is known without the month.</summary>
    public static bool TryCreate(int year, int? month, int? day, out PartialDate result)
    {
        result = default;
        if (year is < 1 or > 9999 || month is < 1 or > 12 || (day is not null && month is null)) return false;
        if (day is { } d && (d < 1 || d > DateTime.DaysInMonth(year, month!.Value))) return false;
        result = new PartialDate(year, month, day);
        return true;
    }

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">The text has another form.</exception>
    public static PartialDate Parse(string s) =>
        TryParse(s, out var date) ? date : throw new FormatException($"'{s}' is not a date, a month or a year.");

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(string? s, out PartialDate result) => TryParse(s.AsSpan(), out result);

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(ReadOnlySpan<char> s, out PartialDate result)
    {
        result = default;
        if (s.Length is not (4 or 7 or 10) || !Number(s[..4], out var year)) return false;
        int? month = null, day = null;
        if (s.Length >= 7)
        {
            if (s[4] != '-' || !Number(s[5..7], out var m)) return false;
            month = m;
        }

        if (s.Length == 10)
        {
            if (s[7] != '-' || !Number(s[8..10], out var d)) return false;
            day = d;
        }

        return TryCreate(year, month, day, out result);
    }

    /// <summary>ISO 8601: <c>YYYY-MM-DD</c>, <c>YYYY-MM</c> or <c>YYYY</c>.</summary>
    public override string ToString() => Day is { } day ? $"{Period}-{day:D2}" : Period;

    private static bool Number(ReadOnlySpan<char> s, out int value) => int.TryParse(s, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
