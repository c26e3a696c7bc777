using System.Text.Json;
using Intercommunalite.Cli.Simulate;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Tests.Simulate;

/// <summary>Pasts of a small and of a larger territory, played once for all tests.</summary>
internal static class Played
{
    public const string BretagneRomantique = "243500733";

    private static readonly Lazy<IReadOnlyList<SimulatedEvent>> s_bretagne = new(() => Events(BretagneRomantique, 1, 14, new DateOnly(2026, 9, 30)));

    /// <summary>Fourteen months of CC Bretagne Romantique, commune after commune.</summary>
    public static IReadOnlyList<SimulatedEvent> Bretagne => s_bretagne.Value;

    public static IReadOnlyList<SimulatedEvent> Events(string siren, long seed, int months, DateOnly through, params string[] communes)
    {
        var epci = Epci.Find(siren)!;
        var territory = new SimulatedTerritory(epci, seed);
        var period = Period.Months(months, through, FrenchTime.At(through.AddDays(1), 0).AddTicks(-1));
        return [.. epci.Communes
            .Where(commune => communes.Length == 0 || communes.Contains(commune.Code.ToString()))
            .SelectMany(commune => new CommuneSoftware(territory, commune).Play(period))];
    }

    public static string Json(SimulatedEvent e) => JsonSerializer.Serialize(e.ToCloudEvent(), ContractJson.Options);

    public static IEnumerable<(SimulatedEvent Event, T Data)> Of<T>(this IEnumerable<SimulatedEvent> events)
        where T : DomainEvent => events.Where(e => e.Data is T).Select(e => (e, (T)e.Data));
}
