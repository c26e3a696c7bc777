using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Hub.Territory;

/// <summary>The time of day in the territory: months, school years and what the screens say go by it, not by the server's zone.</summary>
internal sealed class TerritoryClock(Epci territory, TimeProvider time)
{
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
    public DateTimeOffset Now => TimeZoneInfo.ConvertTime(time.GetUtcNow(), _zone);

    /// <summary>Today.</summary>
    public DateOnly Today => DayOf(time.GetUtcNow());

    /// <summary>The day that it was there at a time.</summary>
    public DateOnly DayOf(DateTimeOffset instant) => DateOnly.FromDateTime(TimeZoneInfo.ConvertTime(instant, _zone).DateTime);

    /// <summary>When a day begins there.</summary>
    public DateTimeOffset StartOf(DateOnly day)
    {
        var midnight = day.ToDateTime(TimeOnly.MinValue);
        return new(midnight, _zone.GetUtcOffset(midnight));
    }
}
