using System.Globalization;
using System.Text.RegularExpressions;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>
/// The cells of a pupil's line, read and checked as both formats need it; what is wrong is gathered, so that one report names all.
/// </summary>
/// <param name="columns">Names of the columns.</param>
/// <param name="values">The cells, as many.</param>
/// <param name="day">The day on which the file was taken: no pupil is born after it.</param>
internal sealed partial class Cells(IReadOnlyList<string> columns, IReadOnlyList<string> values, DateOnly day)
{
    private const int MaxTextLength = 200;
    private const int MaxAge = 30;
    private const int PostalCodeLength = 5;

    private static readonly Reason s_noLevel = new(
        "ce n'est pas un niveau du premier degré : PS, MS, GS, CP, CE1, CE2, CM1, CM2 ou ULIS attendu",
        "not a level of the first degree: PS, MS, GS, CP, CE1, CE2, CM1, CM2 or ULIS expected", Advice.Correct);

    private static readonly Reason s_noIne = new(
        "ce n'est pas un INE : neuf chiffres et deux lettres, ou dix chiffres et une lettre, attendus",
        "not an INE: nine digits and two letters, or ten digits and a letter, expected", Advice.Correct);

    private static readonly Reason s_unborn = new("dans le futur", "in the future", Advice.Correct);

    private static readonly Reason s_tooOld = new(
        $"la date de naissance remonte à plus de {MaxAge} ans, ou serait dans le futur",
        $"the birth date is more than {MaxAge} years ago, or would be in the future", Advice.Correct);

    private static readonly Reason s_abroad = new(
        "l'élève habite à l'étranger : le hub ne compte que par commune de résidence",
        "the pupil lives abroad: the hub only counts by commune of residence",
        new(
            "Rien à corriger si c'est exact : l'élève n'est pas compté.",
            "Nothing to correct if that is so: the pupil is not counted."));

    private static readonly Reason s_noTown = new(
        "aucune commune de ce nom n'est connue pour ce code postal, ou il y en a plusieurs",
        "no commune of that name is known for that postal code, or there are several",
        new(
            "Corrigez le code postal et le nom de la commune dans le logiciel d'origine, puis renvoyez le fichier entier.",
            "Correct the postal code and the name of the commune in the software that wrote the file, then send the whole file again."));

    private static readonly Reason s_noPostalCode = new("cinq chiffres attendus", "five digits expected", Advice.Correct);

    private static readonly Reason s_noAddress = new(
        "l'adresse ne finit pas par un code postal et une commune", "the address does not end with a postal code and a commune", Advice.Correct);

    private static readonly Reason s_noAmount = new(
        "ce n'est pas un montant (1160,00) ; sans effet, car les montants ne sont pas repris",
        "not an amount (1160,00); of no effect, since amounts are not taken over", Advice.Correct);

    private readonly List<Fault> _faults = [];

    /// <summary>For a remark: a level that the hub does not have.</summary>
    public static Reason Toddlers { get; } = new(
        "les élèves de toute petite section sont comptés en petite section",
        "pupils of toute petite section are counted as petite section",
        new("Rien à faire.", "Nothing to do."));

    /// <summary>What is wrong with the cells read so far.</summary>
    public IReadOnlyList<Fault> Faults => _faults;

    /// <summary>Whom the line is about (<see cref="PupilKey.Identity(Person)"/>); null when one of the columns that say it is faulty.</summary>
    public string? About(Person person, params ReadOnlySpan<string> columns)
    {
        foreach (var column in columns)
        {
            if (_faults.Exists(fault => fault.Field == column)) return null;
        }

        return PupilKey.Identity(person);
    }

    /// <summary>The text of a cell; null when it is empty.</summary>
    public string? Text(string column)
    {
        var text = this[column];
        if (text.Any(char.IsControl)) Wrong(column, Reason.ControlCharacters);
        else if (text.Length > MaxTextLength) Wrong(column, Reason.LongerThan(MaxTextLength));
        return text.Length == 0 ? null : text;
    }

    /// <summary>The text of a cell that must not be empty.</summary>
    public string TextOf(string column)
    {
        if (Text(column) is { } text) return text;
        Wrong(column, Reason.Missing);
        return "";
    }

    /// <summary>A level. Case, blanks, dots and hyphens do not matter.</summary>
    /// <param name="column">The column.</param>
    /// <param name="isToddlers">Whether it is TPS, which the hub counts as PS.</param>
    public SchoolLevel Level(string column, out bool isToddlers)
    {
        var word = string.Concat(this[column].Where(char.IsLetterOrDigit)).ToUpperInvariant();
        isToddlers = word == "TPS";
        if (isToddlers) return SchoolLevel.PS;
        if (word is "ULISECOLE" or "ULISÉCOLE") return SchoolLevel.ULIS;
        foreach (var level in Enum.GetValues<SchoolLevel>())
        {
            if (word == level.ToString()) return level;
        }

        Wrong(column, word.Length == 0 ? Reason.Missing : s_noLevel);
        return default;
    }

    /// <summary>The national number, in capitals; null when the cell is empty.</summary>
    public string? Ine(string column)
    {
        var ine = this[column].ToUpperInvariant();
        if (ine.Length == 0) return null;
        if (!IneForm().IsMatch(ine)) Wrong(column, s_noIne);
        return ine;
    }

    /// <summary>The sex; null when the cell is empty.</summary>
    /// <param name="column">The column.</param>
    /// <param name="male">The word for a boy.</param>
    /// <param name="female">The word for a girl.</param>
    public Sex? Sex(string column, string male, string female)
    {
        var word = this[column];
        if (word.Length == 0) return null;
        if (word.Equals(male, StringComparison.OrdinalIgnoreCase)) return Contracts.Sex.Male;
        if (word.Equals(female, StringComparison.OrdinalIgnoreCase)) return Contracts.Sex.Female;
        Wrong(column, new($"{male} ou {female} attendu", $"{male} or {female} expected", Advice.Correct));
        return null;
    }

    /// <summary><c>JJ/MM/AAAA</c>.</summary>
    public PartialDate BirthDate(string column) => Born(column, this[column], "JJ/MM/AAAA");

    /// <summary>
    /// <c>JJ/MM/AA</c>, or with four digits. Of the dates that two digits may mean it is the last one not after the file: the
    /// sample's children of 98 and 01 are of 1998 and 2001.
    /// </summary>
    public PartialDate ShortBirthDate(string column)
    {
        var text = this[column];
        if (!ShortDate().IsMatch(text)) return Born(column, text, "JJ/MM/AA");
        var (century, rest) = (day.Year / 100, (Begin: text[..6], Year: text[6..]));
        var last = $"{rest.Begin}{century}{rest.Year}";
        return Born(column, TryDate(last, out var date) && date <= day ? last : $"{rest.Begin}{century - 1}{rest.Year}", "JJ/MM/AA");
    }

    /// <summary>The commune of an address whose parts have a column each; without a country it is in France.</summary>
    public CommuneCode Residence(string postalCode, string town, string country)
    {
        if (this[country] is { Length: > 0 } named && !named.StartsWith("FRANCE", StringComparison.OrdinalIgnoreCase))
        {
            Wrong(country, s_abroad);
            return default;
        }

        var name = TextOf(town);
        var code = this[postalCode];
        if (code.Length == 0) Wrong(postalCode, Reason.Missing);
        else if (!IsPostalCode(code)) _faults.Add(Fault.OfCode(postalCode, code, s_noPostalCode));
        else if (name.Length is > 0 and <= MaxTextLength) return Commune(postalCode, code, name);
        return default;
    }

    /// <summary>The commune of an address in one cell: <c>10  RUE DU CENTRE 93000 DRANCY</c>.</summary>
    public CommuneCode Residence(string column)
    {
        var words = TextOf(column).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var at = words.Length == 0 ? -1 : Array.FindLastIndex(words, words.Length - 1, IsPostalCode);
        if (at >= 0 && at < words.Length - 1) return Commune(column, words[at], string.Join(' ', words[(at + 1)..]));
        if (words.Length > 0) Wrong(column, s_noAddress);
        return default;
    }

    /// <summary>What is wrong with an amount: a decimal comma, blanks anywhere, perhaps nothing. Null when it is one.</summary>
    public Fault? Amount(string column)
    {
        var amount = string.Concat(this[column].Where(c => !Blanks.Is(c)));
        return amount.Length == 0 || AmountForm().IsMatch(amount) ? null : Fault.Of(column, s_noAmount);
    }

    /// <summary>Whether a cell is empty.</summary>
    public bool IsEmpty(string column) => this[column].Length == 0;

    /// <summary>Notes a fault of a cell whose value is not to be shown.</summary>
    public void Wrong(string column, Reason reason) => _faults.Add(Fault.Of(column, reason));

    /// <summary>A fixed word: the cells name a person.</summary>
    public override string ToString() => "[pupil]";

    private string this[string column]
    {
        get
        {
            for (var i = 0; i < columns.Count; i++)
            {
                if (columns[i] == column) return Blanks.Trim(values[i]);
            }

            throw new ArgumentException($"There is no column {column}.", nameof(column));
        }
    }


    private static bool IsPostalCode(string word) => word.Length == PostalCodeLength && !word.AsSpan().ContainsAnyExceptInRange('0', '9');

    private static bool TryDate(string text, out DateOnly date) => DateOnly.TryParseExact(text, "dd/MM/yyyy", CultureInfo.InvariantCulture, DateTimeStyles.None, out date);

    private PartialDate Born(string column, string text, string form)
    {
        // A birth date is personal: it is not shown.
        if (text.Length == 0) Wrong(column, Reason.Missing);
        else if (!TryDate(text, out var date)) Wrong(column, Reason.NoDate(form));
        else if (date > day) Wrong(column, s_unborn);
        else if (date < day.AddYears(-MaxAge)) Wrong(column, s_tooOld);
        else return PartialDate.Of(date);
        return default;
    }

    private CommuneCode Commune(string column, string postalCode, string town)
    {
        if (CommuneDirectory.OfAddress(postalCode, town) is { } commune) return commune;
        _faults.Add(Fault.OfCode(column, postalCode, s_noTown));
        return default;
    }

    [GeneratedRegex("^([0-9]{9}[A-Z]{2}|[0-9]{10}[A-Z])$", RegexOptions.CultureInvariant)]
    private static partial Regex IneForm();

    [GeneratedRegex("^[0-9]{2}/[0-9]{2}/[0-9]{2}$", RegexOptions.CultureInvariant)]
    private static partial Regex ShortDate();

    [GeneratedRegex("^-?[0-9]{1,9}([,.][0-9]{1,4})?$", RegexOptions.CultureInvariant)]
    private static partial Regex AmountForm();
}
