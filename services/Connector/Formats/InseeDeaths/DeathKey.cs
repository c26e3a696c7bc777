using System.Text;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>
/// What tells one death from another: the same for the same record in both layouts, in every file and at every connector.
/// </summary>
/// <remarks>
/// Place, date and act number do not: in real files two persons share them. So the subject ends with a hash of who died, and the
/// id is a hash of the whole record. Neither has a secret key, since a commune that has lost its journal must make the same ids
/// again. Nobody can read a record out of them; but whoever knows someone's name, sex, birth date and birth place can confirm
/// that an event is that person's death, which the public file says as well. The subject's hash is cut to 48 bits: ample within
/// a commune and a year.
/// </remarks>
internal static class DeathKey
{
    private const int SubjectHashLength = 12;
    private const int IdLength = 32;

    // The widths of the fixed-width layout, which cuts what is longer.
    private const int NameWidth = 80;
    private const int PlaceNameWidth = 30;
    private const int ActWidth = 9;

    /// <summary>Subject of the event: <c>death/{year}/{place code}/{act number or -}/{hash}</c>.</summary>
    /// <remarks>
    /// The names of the birth place and country are left out of the hash: their spelling changes between yearly files, and the
    /// death remains one.
    /// </remarks>
    public static string Subject(DeathRow row, int year)
    {
        var act = Cut(row.Act, ActWidth);
        var person = ContentHash.Of(SubjectHashLength, Cut(row.Name, NameWidth), row.Sex, row.BirthDate, row.BirthPlace, row.DeathDate, row.DeathPlace, act);
        return $"death/{year:D4}/{row.DeathPlace}/{(act.Length > 0 ? act : "-")}/{person}";
    }

    /// <summary>
    /// Where a death is looked for when a later file corrects it: among those of the day at the place, and, if it has an act number,
    /// under that number of the year. So either may be corrected, not both at once.
    /// </summary>
    /// <param name="row">The death.</param>
    /// <param name="year">Its year.</param>
    /// <param name="commune">The commune of today: later files may have its code in the place of a former one's.</param>
    public static IReadOnlyList<string> Places(DeathRow row, int year, CommuneCode commune)
    {
        var day = $"{row.DeathDate}/{commune}";
        var act = Cut(row.Act, ActWidth);
        return act.Length > 0 ? [day, $"{year:D4}/{commune}/{act.PadLeft(ActWidth)}"] : [day];
    }

    /// <summary>
    /// The same person: by the whole name, or by first names, sex and date of birth. (Twins who die on a day differ in their first
    /// names.) So the name may be corrected, or what is known of the birth, not both at once.
    /// </summary>
    public static IReadOnlyList<string> Likenesses(DeathRow row)
    {
        var name = Cut(row.Name, NameWidth).ToUpperInvariant();
        var firstNames = name[(name.IndexOf('*', StringComparison.Ordinal) + 1)..].Trim(' ', '/');
        return firstNames.Length > 0 ? [name, $"{firstNames}/{row.Sex}/{row.BirthDate}"] : [name];
    }

    /// <summary>Id of the event: equal when, and only when, all nine fields are.</summary>
    public static string Id(DeathRow row) => ContentHash.Of(
        IdLength, Cut(row.Name, NameWidth), row.Sex, row.BirthDate, row.BirthPlace, Cut(row.BirthCommune, PlaceNameWidth),
        Cut(row.BirthCountry, PlaceNameWidth), row.DeathDate, row.DeathPlace, Cut(row.Act, ActWidth));

    // Letters with accents come composed or not in UTF-8; latin-1 has them composed only.
    private static string Cut(string field, int width)
    {
        var composed = field.Normalize(NormalizationForm.FormC);
        return composed.Length > width ? Blanks.Trim(composed[..width]) : composed;
    }
}
