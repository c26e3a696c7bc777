using System.Text;
using System.Text.RegularExpressions;

namespace Intercommunalite.Hub.OpenData;

/// <summary>The first of a child's first names as the SCDL schema writes it.</summary>
internal static class FirstName
{
    // ENFANT_PRENOM of the schema "prénoms des nouveau-nés", v1.1.6. It has no time for names made to keep a matcher busy.
    private static readonly Regex s_pattern = new(
        "^'?[A-ZÉÀÈÙÄËÏÖÜŸÂÊÎÔÛŶÇŒÆ][a-zéàèùäëïüöÿâêîôûŷçæœ]*(|'|(('[A-ZÉÀÈÙÄËÏÖÜŸÂÊÎÔÛŶÇŒÆa-zéàèùäëïüöÿâêîôûŷçæœ][a-zéàèùäëïüöÿâêîôûŷçæœ]*'?){1,2}"
        + @"|(-[A-ZÉÀÈÙÄËÏÖÜŸÂÊÎÔÛŶÇŒÆ][a-zéàèùäëïüöÿâêîôûŷçæœ]*'?){1,2}){1,5})\z",
        RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);

    /// <summary>
    /// The first word (a name with a hyphen is one), with a capital at its beginning and behind each hyphen and apostrophe:
    /// <c>JEAN-PIERRE Louis</c> is <c>Jean-Pierre</c>, <c>n’deye</c> is <c>N'Deye</c>. So spellings that differ by case alone are one name.
    /// </summary>
    /// <param name="firstNames">All first names, in the order of the act.</param>
    /// <returns>Null when the schema cannot express it: letters that French does not write, digits, dots.</returns>
    public static string? Of(string firstNames)
    {
        var words = firstNames.Normalize(NormalizationForm.FormC).Replace(',', ' ').Split(default(char[]), StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0) return null;
        var name = new StringBuilder(words[0].Length);
        var capital = true;
        foreach (var c in words[0].Select(Plain))
        {
            name.Append(capital ? char.ToUpperInvariant(c) : char.ToLowerInvariant(c));
            capital = c is '-' or '\'';
        }

        return s_pattern.IsMatch(name.ToString()) ? name.ToString() : null;
    }

    // The apostrophes and hyphens that word processors put in place of the plain ones.
    private static char Plain(char c) => c switch
    {
        '\u2019' or '\u2018' or '\u02BC' => '\'',
        '\u2010' or '\u2011' => '-',
        _ => c,
    };
}
