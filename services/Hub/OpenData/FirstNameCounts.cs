using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.OpenData;

/// <summary>Births that the store says the same of.</summary>
/// <param name="Commune">Commune of registration.</param>
/// <param name="Held">Whether the child's name may still be used.</param>
/// <param name="Sex">As registered, or null.</param>
/// <param name="FirstNames">All first names, or null.</param>
/// <param name="Count">How many births.</param>
internal sealed record Births(string Commune, bool Held, Sex? Sex, string? FirstNames, long Count);

/// <summary>A row of the file.</summary>
internal sealed record FirstNameCount(string Commune, char Sex, string Name, long Count);

/// <summary>Births that are not in the file, by the reason. Together with the rows they are all births.</summary>
/// <param name="BelowThreshold">Of names that occur too rarely, and of reasons that do.</param>
/// <param name="NotExpressible">The schema cannot write the name.</param>
/// <param name="NotHeld">The personal data may be kept no longer, or was never sent.</param>
/// <param name="Incomplete">Without a first name or a sex.</param>
internal sealed record LeftOut(long BelowThreshold = 0, long NotExpressible = 0, long NotHeld = 0, long Incomplete = 0);

/// <summary>First names counted, and what protects those who bear rare ones.</summary>
internal static class FirstNameCounts
{
    private enum Fate
    {
        Named,
        NotExpressible,
        NotHeld,
        Incomplete,
    }

    /// <summary>Counts by commune, sex and name; the most frequent first within a commune and sex.</summary>
    /// <param name="births">Births of one year.</param>
    /// <param name="threshold">How often a name must occur in its commune to be told.</param>
    /// <remarks>
    /// That births were hidden singles nobody out: how many a commune had in a year is public, whatever is not in the rows is
    /// hidden, and the number does not say which names these have. The other reasons speak of the child, though: one name that
    /// French cannot write, one child without a registered sex, one family that had its data erased, in a village where all know
    /// who was born. So a reason is told of a commune under the same threshold as a name, and what is too rare counts among the
    /// hidden, where it cannot be told from rare names. Everything is decided commune by commune, so that the answer for the
    /// territory is the sum of those for its communes, and no difference between answers says more than they do; a higher
    /// threshold hides only what a lower one told.
    /// </remarks>
    public static (IReadOnlyList<FirstNameCount> Rows, LeftOut LeftOut) Count(IEnumerable<Births> births, int threshold)
    {
        var (rows, hidden, told) = (new List<FirstNameCount>(), 0L, new Dictionary<Fate, long>());
        foreach (var group in births.Select(Judged).GroupBy(birth => birth.Key))
        {
            var (commune, fate, sex, name) = group.Key;
            var count = group.Sum(birth => birth.Count);
            if (count < threshold) hidden += count;
            else if (fate == Fate.Named) rows.Add(new(commune, sex, name, count));
            else told[fate] = told.GetValueOrDefault(fate) + count;
        }

        return (
            [.. rows.OrderBy(row => row.Commune, StringComparer.Ordinal).ThenBy(row => row.Sex).ThenByDescending(row => row.Count).ThenBy(row => row.Name, StringComparer.Ordinal)],
            new LeftOut(hidden, told.GetValueOrDefault(Fate.NotExpressible), told.GetValueOrDefault(Fate.NotHeld), told.GetValueOrDefault(Fate.Incomplete)));
    }

    private static ((string Commune, Fate Fate, char Sex, string Name) Key, long Count) Judged(Births births)
    {
        var sex = births.Sex switch { Sex.Male => 'M', Sex.Female => 'F', _ => (char?)null };
        return births switch
        {
            { Held: false } => Without(Fate.NotHeld),
            _ when sex is null || births.FirstNames is null => Without(Fate.Incomplete),
            _ when FirstName.Of(births.FirstNames) is { } name => ((births.Commune, Fate.Named, sex.Value, name), births.Count),
            _ => Without(Fate.NotExpressible),
        };
        ((string, Fate, char, string), long) Without(Fate fate) => ((births.Commune, fate, ' ', ""), births.Count);
    }
}
