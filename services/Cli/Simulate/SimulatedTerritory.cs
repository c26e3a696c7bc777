using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>What the simulation decides once about a territory: who lives where, and where people go for what.</summary>
internal sealed class SimulatedTerritory
{
    private readonly double[] _populations;
    private readonly Commune[] _outside;
    private readonly Commune[] _france;

    public SimulatedTerritory(Epci epci, long seed)
    {
        (Epci, Seed) = (epci, seed);
        Key = new Key(0).With(seed).With(epci.Siren);
        Population = epci.Communes.Sum(commune => commune.Population);
        Centre = epci.Communes.MaxBy(commune => commune.Population)!;
        _populations = RunningTotals(epci.Communes.Select(commune => (double)commune.Population));
        _france = [.. Epci.All.Values.SelectMany(other => other.Communes).OrderBy(commune => commune.Code.ToString(), StringComparer.Ordinal)];
        var departements = epci.Communes.Select(commune => Departement(commune.Code)).ToHashSet();
        var members = epci.Communes.Select(commune => commune.Code).ToHashSet();
        _outside = [.. _france.Where(commune => departements.Contains(Departement(commune.Code)) && !members.Contains(commune.Code))];
        if (_outside.Length == 0) _outside = [.. _france.Where(commune => !members.Contains(commune.Code))];
        Schools = new SchoolMap(this);
    }

    public Epci Epci { get; }

    public long Seed { get; }

    public Key Key { get; }

    public int Population { get; }

    /// <summary>The most populous commune: it has the maternity and the hospital.</summary>
    public Commune Centre { get; }

    public SchoolMap Schools { get; }

    /// <summary>A commune of the territory, as often as it has inhabitants.</summary>
    public Commune Member(Dice dice) => Epci.Communes[dice.Weighted(_populations)];

    /// <summary>A commune of the same départements, but not of the territory.</summary>
    public Commune Outside(Dice dice) => dice.Of(_outside);

    /// <summary>Where someone who is at <paramref name="commune"/> for some act lives.</summary>
    public Commune Residence(Commune commune, double here, double outside, Dice dice) => dice.Unit() switch
    {
        var draw when draw < here => commune,
        var draw when draw < here + outside => Outside(dice),
        _ => Member(dice),
    };

    /// <summary>Where someone was born; null abroad.</summary>
    public Commune? BirthPlace(Dice dice) => dice.Unit() switch
    {
        < 0.45 => Member(dice),
        < 0.75 => Outside(dice),
        < 0.9 => dice.Of(_france),
        _ => null,
    };

    /// <summary>Two characters, or three overseas: <c>35</c>, <c>2A</c>, <c>974</c>.</summary>
    public static string Departement(CommuneCode commune)
    {
        var code = commune.ToString();
        return code.StartsWith("97", StringComparison.Ordinal) ? code[..3] : code[..2];
    }

    internal static double[] RunningTotals(IEnumerable<double> weights)
    {
        var total = 0.0;
        return [.. weights.Select(weight => total += weight)];
    }
}
