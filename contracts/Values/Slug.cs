using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>
/// A short code in lower case for things that each territory names itself (a service, a procedure): <c>canteen</c>,
/// <c>after-school-care</c>. Being a code it cannot hold a name or an address by accident.
/// </summary>
[JsonConverter(typeof(TextValueConverter<Slug>))]
public readonly record struct Slug : ITextValue<Slug>
{
    private readonly string? _code;

    private Slug(string code) => _code = code;

    static string ITextValue<Slug>.Form => "a code of 1 to 40 lower-case letters, digits and hyphens that begins with a letter";

    static string ITextValue<Slug>.Pattern => "^[a-z][a-z0-9-]{0,39}$";

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">The text has another form.</exception>
    public static Slug Parse(string s) =>
        TryParse(s, out var slug) ? slug : throw new FormatException($"'{s}' is not a code.");

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(string? s, out Slug result) => TryParse(s.AsSpan(), out result);

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(ReadOnlySpan<char> s, out Slug result)
    {
        result = default;
        if (s.Length is < 1 or > 40 || !char.IsAsciiLetterLower(s[0])) return false;
        foreach (var c in s)
        {
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-') return false;
        }

        result = new Slug(s.ToString());
        return true;
    }

    /// <summary>The code.</summary>
    public override string ToString() => _code ?? "";
}
