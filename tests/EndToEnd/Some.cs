using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>Events of nobody.</summary>
internal static class Some
{
    public const string BretagneRomantique = "243500733";
    public const string Combourg = "35085";
    public const string Tinteniac = "35337";

    // Of late, so that what names persons may still be kept.
    private static readonly DateTimeOffset s_time = new(DateTimeOffset.UtcNow.Date.AddDays(-4).AddHours(10), TimeSpan.Zero);

    /// <summary>The day on which these happened, as commands take it.</summary>
    public static string Day => s_time.ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Births of November 2026, numbered from one on; the same numbers are the same events.</summary>
    public static CloudEvent[] Births(string commune, int first, int count) => [.. Enumerable.Range(first, count).Select(number => CloudEvent.Create(
        new BirthRegistered(PartialDate.Parse("2026-11-20"), $"{number}", CommuneCode.Parse(Tinteniac)) { Personal = new BirthPersonal(new Person("NOM-DE-PERSONNE")) },
        $"birth-{number}", new EventSource(CommuneCode.Parse(commune), "test"), $"birth/2026/{number}", s_time))];
}
