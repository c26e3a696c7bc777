using System.Globalization;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>Dates as INSEE writes them.</summary>
internal static class DeathDate
{
    /// <summary>
    /// Reads <c>AAAAMMJJ</c>, <c>AAAAMM</c> or <c>AAAA</c>, where zeros stand for what is unknown. A day of an unknown month says
    /// nothing: the year alone is kept.
    /// </summary>
    /// <param name="text">The field.</param>
    /// <param name="date">The date; null when it is wholly unknown: no text, or no year.</param>
    /// <returns>False when there is no such date, or the text has another form.</returns>
    public static bool TryRead(string text, out PartialDate? date)
    {
        date = null;
        if (text.Length == 0) return true;
        if (text.Length is not (4 or 6 or 8) || text.AsSpan().ContainsAnyExceptInRange('0', '9')) return false;
        var (year, month, day) = (Part(text, 0, 4), Part(text, 4, 2), Part(text, 6, 2));
        if (year == 0) return true;
        if (!PartialDate.TryCreate(year, month == 0 ? null : month, month == 0 || day == 0 ? null : day, out var read)) return false;
        date = read;
        return true;
    }

    /// <summary>The first day that a date may mean, at 00:00 UTC.</summary>
    public static DateTimeOffset Start(this PartialDate date) => new(date.Year, date.Month ?? 1, date.Day ?? 1, 0, 0, 0, TimeSpan.Zero);

    private static int Part(string text, int at, int length) =>
        at < text.Length ? int.Parse(text.AsSpan(at, length), NumberStyles.None, CultureInfo.InvariantCulture) : 0;
}
