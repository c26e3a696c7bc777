using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>INSEE code of a commune (code officiel géographique): five characters such as <c>35085</c> or <c>2A004</c>.</summary>
[JsonConverter(typeof(TextValueConverter<CommuneCode>))]
public readonly record struct CommuneCode : ITextValue<CommuneCode>
{
    private readonly string? _code;

    private CommuneCode(string code) => _code = code;

    static string ITextValue<CommuneCode>.Form => "an INSEE commune code (five characters such as 35085 or 2A004)";

    static string ITextValue<CommuneCode>.Pattern => "^([013-8][0-9]|2[1-9AB]|9[0-8])[0-9]{3}$";

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">The text has another form.</exception>
    public static CommuneCode Parse(string s) =>
        TryParse(s, out var code) ? code : throw new FormatException($"'{s}' is not an INSEE commune code.");

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(string? s, out CommuneCode result) => TryParse(s.AsSpan(), out result);

    /// <summary>Reads it; false when the text has another form.</summary>
    /// <remarks>Country codes (<c>99…</c>) and the former Corsican codes (<c>20…</c>) are not commune codes.</remarks>
    public static bool TryParse(ReadOnlySpan<char> s, out CommuneCode result)
    {
        result = default;
        if (s.Length != 5 || !char.IsAsciiDigit(s[0]) || s[2..].ContainsAnyExceptInRange('0', '9')) return false;
        var second = s[0] == '2' ? s[1] is (>= '1' and <= '9') or 'A' or 'B' : char.IsAsciiDigit(s[1]);
        if (!second || s.StartsWith("99")) return false;
        result = new CommuneCode(s.ToString());
        return true;
    }

    /// <summary>The five characters.</summary>
    public override string ToString() => _code ?? "";
}
