using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>Unité administrative immatriculée, the national number of a school: seven digits and a capital letter, <c>0350122T</c>.</summary>
[JsonConverter(typeof(TextValueConverter<Uai>))]
public readonly record struct Uai : ITextValue<Uai>
{
    private readonly string? _number;

    private Uai(string number) => _number = number;

    static string ITextValue<Uai>.Form => "a UAI (seven digits and a capital letter, 0350122T)";

    static string ITextValue<Uai>.Pattern => "^[0-9]{7}[A-Z]$";

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">The text has another form.</exception>
    public static Uai Parse(string s) =>
        TryParse(s, out var uai) ? uai : throw new FormatException($"'{s}' is not a UAI.");

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(string? s, out Uai result) => TryParse(s.AsSpan(), out result);

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(ReadOnlySpan<char> s, out Uai result)
    {
        result = default;
        if (s.Length != 8 || s[..7].ContainsAnyExceptInRange('0', '9') || !char.IsAsciiLetterUpper(s[7])) return false;
        result = new Uai(s.ToString());
        return true;
    }

    /// <summary>The eight characters.</summary>
    public override string ToString() => _number ?? "";
}
