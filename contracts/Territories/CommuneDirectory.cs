using System.Collections.Frozen;

namespace Intercommunalite.Contracts.Territories;

/// <summary>
/// Finds communes by what files say of them instead of a code: the SIREN number of the collectivity, or the last line of an
/// address. Former communes are found by their own names, and give the commune of today.
/// </summary>
/// <remarks>Names, SIREN numbers and postal codes come from the package @etalab/decoupage-administratif 6.0.0 (INSEE, DGCL, La Poste; Licence Ouverte).</remarks>
public static class CommuneDirectory
{
    private static readonly Lazy<FrozenDictionary<string, CommuneCode>> s_bySiren = new(() =>
        Epci.Rows("communes.csv").ToFrozenDictionary(row => row[4], row => CommuneCode.Parse(row[0])));

    private static readonly Lazy<FrozenDictionary<string, Named[]>> s_byName = new(ReadNames);

    /// <summary>The commune that is the legal person of that SIREN (nine digits), or null when no commune is.</summary>
    public static CommuneCode? OfSiren(string siren) => s_bySiren.Value.TryGetValue(siren, out var commune) ? commune : null;

    /// <summary>
    /// The commune of an address: the one of that name to which the postal code delivers, or else, since people write the postal
    /// code of the main town, the one of that name in the département of the postal code. (No département has two of a name.)
    /// </summary>
    /// <param name="postalCode">Five digits.</param>
    /// <param name="town">The name as addresses write it: case, accents, hyphens, <c>ST</c> for Saint, an arrondissement and CEDEX do not matter.</param>
    /// <returns>Null when the town is not known there, or could be more than one.</returns>
    public static CommuneCode? OfAddress(string postalCode, string town)
    {
        ArgumentNullException.ThrowIfNull(postalCode);
        if (!s_byName.Value.TryGetValue(Normal(town), out var named)) return null;
        return Only(named.Where(one => one.PostalCodes.Contains(postalCode))) ?? Only(named.Where(one => one.IsIn(postalCode)));
    }

    /// <summary>A town's name as it is compared: capitals without accents, single blanks, words in full, no arrondissement, no CEDEX.</summary>
    private static string Normal(string town)
    {
        var words = PlainLetters.Of(town).Split(' ', StringSplitOptions.RemoveEmptyEntries).ToList();
        if (words.IndexOf("CEDEX") is > 0 and var cedex) words.RemoveRange(cedex, words.Count - cedex);
        words.RemoveAll(word => word.StartsWith("ARRONDISSEMENT", StringComparison.Ordinal));
        if (words.Count > 1 && IsOrdinal(words[^1])) words.RemoveAt(words.Count - 1);
        return string.Join(' ', words.Select(word => word switch { "ST" => "SAINT", "STE" => "SAINTE", _ => word }));
    }

    private static CommuneCode? Only(IEnumerable<Named> named) => named.Select(one => one.Commune).Distinct().ToList() is [var only] ? only : null;

    // 12, 12E, 12EME, 1ER: an arrondissement, or the number of a postal office.
    private static bool IsOrdinal(string word) => char.IsAsciiDigit(word[0]) && word.TrimStart(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) is "" or "E" or "EME" or "ER";

    private static FrozenDictionary<string, Named[]> ReadNames()
    {
        var today = Epci.Rows("communes.csv").ToDictionary(row => row[0], row => new Named(CommuneCode.Parse(row[0]), row[5].Split(' ')));
        var former = Epci.Rows("former-communes.csv").Select(row => (Name: row[2], Named: today[row[1]]));
        return Epci.Rows("communes.csv").Select(row => (Name: row[1], Named: today[row[0]])).Concat(former)
            .GroupBy(row => Normal(row.Name), row => row.Named)
            .ToFrozenDictionary(same => same.Key, same => same.Distinct().ToArray());
    }

    private sealed record Named(CommuneCode Commune, string[] PostalCodes)
    {
        // The first two digits of a postal code are the département's, 20 for both of Corsica; three digits overseas.
        public bool IsIn(string postalCode) => Commune.ToString() switch
        {
            ['2', 'A' or 'B', ..] => postalCode.StartsWith("20", StringComparison.Ordinal),
            ['9', '7' or '8', ..] and var overseas => postalCode.StartsWith(overseas[..3], StringComparison.Ordinal),
            var code => postalCode.StartsWith(code[..2], StringComparison.Ordinal),
        };
    }
}
