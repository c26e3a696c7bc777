using System.Globalization;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Hub.Territory;

/// <summary>The time of day in the territory: months, school years and what the screens say go by it, not by the server's zone.</summary>
internal sealed class TerritoryClock(Epci territory, TimeProvider time)
{
    /// <summary>What <see cref="Moment"/> takes, to be told to whoever gave something else.</summary>
    public const string MomentForm = "a day YYYY-MM-DD, or a time with its offset as in 2026-11-24T09:30:00Z, expected";

    private static readonly string[] s_times = ["yyyy-MM-dd'T'HH:mm:ss.FFFFFFFzzz", "yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'", "yyyy-MM-dd'T'HH:mm:sszzz", "yyyy-MM-dd'T'HH:mm:ss'Z'"];

    private readonly TimeZoneInfo _zone = TimeZoneInfo.FindSystemTimeZoneById(territory.Communes[0].Code.ToString()[..3] switch
    {
        "971" => "America/Guadeloupe",
        "972" => "America/Martinique",
        "973" => "America/Cayenne",
        "974" => "Indian/Reunion",
        "976" => "Indian/Mayotte",
        _ => "Europe/Paris",
    });

    /// <summary>Now.</summary>
    public DateTimeOffset Now => There(time.GetUtcNow());

    /// <summary>Today.</summary>
    public DateOnly Today => DayOf(time.GetUtcNow());

    /// <summary>The day that it was there at a time.</summary>
    public DateOnly DayOf(DateTimeOffset instant) => DateOnly.FromDateTime(There(instant).DateTime);

    /// <summary>A time as the clocks there showed it.</summary>
    public DateTimeOffset There(DateTimeOffset instant) => TimeZoneInfo.ConvertTime(instant, _zone);

    /// <summary>
    /// A day (<c>YYYY-MM-DD</c>, from midnight to midnight there) or a time with its offset (RFC 3339), as callers of the hub give them; null
    /// when it is neither.
    /// </summary>
    /// <param name="text">What was given.</param>
    /// <param name="isEnd">Of a day: its last moment that PostgreSQL tells from the next day, instead of its first.</param>
    public DateTimeOffset? Moment(string text, bool isEnd)
    {
        if (DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var day))
        {
            // The first and the last year have days that begin or end beyond what there is.
            return day.Year == DateOnly.MinValue.Year ? DateTimeOffset.MinValue
                : day.Year == DateOnly.MaxValue.Year ? DateTimeOffset.MaxValue
                : isEnd ? StartOf(day.AddDays(1)).AddMicroseconds(-1) : StartOf(day);
        }

        return DateTimeOffset.TryParseExact(AsMeant(text), s_times, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var parsed) ? parsed : null;
    }

    /// <summary>A day or time as its caller wrote it: a plus that was not escaped in an address is a space by now.</summary>
    public static string AsMeant(string text) => text.Replace(' ', '+');

    /// <summary>When a day begins there.</summary>
    public DateTimeOffset StartOf(DateOnly day)
    {
        var midnight = day.ToDateTime(TimeOnly.MinValue);
        return new(midnight, _zone.GetUtcOffset(midnight));
    }
}
