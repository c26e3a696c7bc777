using System.Globalization;
using System.Text;

namespace Intercommunalite.Contracts;

/// <summary>Names as they are compared when each software writes them its own way.</summary>
public static class PlainLetters
{
    /// <summary>Capitals without accents; all that is neither letter nor digit is a single blank between words.</summary>
    public static string Of(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var letters = new StringBuilder();
        foreach (var c in text.Normalize(NormalizationForm.FormD))
        {
            if (CharUnicodeInfo.GetUnicodeCategory(c) == UnicodeCategory.NonSpacingMark) continue;
            letters.Append(c switch { 'œ' or 'Œ' => "OE", 'æ' or 'Æ' => "AE", _ => char.IsLetterOrDigit(c) ? char.ToUpperInvariant(c).ToString() : " " });
        }

        return string.Join(' ', letters.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }
}
