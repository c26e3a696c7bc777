using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace Intercommunalite.Contracts.Territories;

/// <summary>A commune.</summary>
/// <param name="Code">INSEE code.</param>
/// <param name="Name">Name.</param>
/// <param name="Population">Inhabitants.</param>
public sealed record Commune(CommuneCode Code, string Name, int Population);

/// <summary>
/// A territory: an établissement public de coopération intercommunale with its own tax (métropole, communauté urbaine,
/// d'agglomération, de communes) and its member communes.
/// </summary>
/// <param name="Siren">SIREN number, nine digits.</param>
/// <param name="Name">Name.</param>
/// <param name="Kind"><c>CC</c>, <c>CA</c>, <c>CU</c>, <c>METRO</c> or <c>MET69</c>.</param>
/// <param name="Communes">Members, by code.</param>
/// <remarks>
/// The table of all of them ships with the contracts: EPCI and communes as of the code officiel géographique and the list of
/// the DGCL, from the package @etalab/decoupage-administratif 6.0.0 (INSEE, DGCL; Licence Ouverte).
/// </remarks>
public sealed record Epci(string Siren, string Name, string Kind, IReadOnlyList<Commune> Communes)
{
    private static readonly Lazy<FrozenDictionary<string, Epci>> s_all = new(ReadAll);
    private static readonly Lazy<FrozenDictionary<string, CommuneCode>> s_current = new(ReadCurrentCodes);

    private readonly Lazy<FrozenDictionary<CommuneCode, Commune>> _byCode = new(() => Communes.ToFrozenDictionary(commune => commune.Code));

    /// <summary>All territories, by SIREN.</summary>
    public static IReadOnlyDictionary<string, Epci> All => s_all.Value;

    /// <summary>The territory of that SIREN, or null when there is none.</summary>
    public static Epci? Find(string siren) => s_all.Value.GetValueOrDefault(siren);

    /// <summary>
    /// The commune that stands today for an INSEE code: for a commune déléguée or associée, or an arrondissement municipal,
    /// the commune that it is a part of. Corsica's codes from before 1976 (<c>20004</c>) count as those of today (<c>2A004</c>).
    /// </summary>
    /// <param name="code">A code of whatever time.</param>
    /// <param name="current">The commune's code today.</param>
    /// <returns>False when the code is that of no commune (a country, a commune unknown to the tables).</returns>
    public static bool TryResolve(string code, [MaybeNullWhen(false)] out CommuneCode current) =>
        s_current.Value.TryGetValue(code, out current)
        || (code is ['2', '0', ..] && (s_current.Value.TryGetValue($"2A{code[2..]}", out current) || s_current.Value.TryGetValue($"2B{code[2..]}", out current)));

    /// <summary>The member of that code, or null when it is not a member.</summary>
    public Commune? Member(CommuneCode code) => _byCode.Value.GetValueOrDefault(code);

    private static FrozenDictionary<string, Epci> ReadAll()
    {
        var members = Rows("communes.csv").ToLookup(
            row => row[2], row => new Commune(CommuneCode.Parse(row[0]), row[1], int.Parse(row[3], CultureInfo.InvariantCulture)));
        return Rows("epci.csv").Select(row => new Epci(row[0], row[1], row[2], [.. members[row[0]]])).ToFrozenDictionary(epci => epci.Siren);
    }

    private static FrozenDictionary<string, CommuneCode> ReadCurrentCodes()
    {
        var codes = Rows("communes.csv").ToDictionary(row => row[0], row => CommuneCode.Parse(row[0]));
        foreach (var row in Rows("former-communes.csv")) codes.TryAdd(row[0], codes[row[1]]);
        return codes.ToFrozenDictionary();
    }

    internal static IEnumerable<string[]> Rows(string file)
    {
        using var stream = typeof(Epci).Assembly.GetManifestResourceStream($"Intercommunalite.Contracts.Territories.{file}")!;
        using var reader = new StreamReader(stream);
        reader.ReadLine();
        while (reader.ReadLine() is { } line) yield return line.Split(';');
    }
}
