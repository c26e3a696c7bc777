using System.Diagnostics.CodeAnalysis;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>How a state file is laid out: a header, by which it is known, and a line for each pupil.</summary>
/// <param name="columns">The columns expected, in their order.</param>
/// <param name="separator">What parts them.</param>
internal sealed class StateLayout(IReadOnlyList<string> columns, char separator)
{
    /// <summary>Longest line in bytes. Sound ones have some 400.</summary>
    public const int MaxLineLength = 16 * 1024;

    private const int MaxColumnLength = 40;
    private const int MaxNamed = 10;

    /// <summary>Whether a file that begins so has the header.</summary>
    public bool Begins(string start) => Is(start.TrimStart('\uFEFF').TrimStart().Split('\r', '\n')[0]);

    /// <summary>Whether a line is the header: the same names in the same order; case and blanks around them do not matter.</summary>
    public bool Is(string line) => CsvRow.Split(line, separator) is { } fields && fields.Select(Blanks.Trim).SequenceEqual(columns, StringComparer.OrdinalIgnoreCase);

    /// <summary>
    /// Why a line is not the header. Its names are told only where most are the expected ones: a line that is no header at all
    /// may name a person.
    /// </summary>
    public Reason Refuse(string line)
    {
        var found = CsvRow.Split(line, separator)?.Select(Blanks.Trim).ToList() ?? [];
        var missing = columns.Except(found, StringComparer.OrdinalIgnoreCase).ToList();
        var surplus = found.Except(columns, StringComparer.OrdinalIgnoreCase).Where(name => name.Length > 0).ToList();
        if (missing.Count > columns.Count / 2)
        {
            return new(
                $"La première ligne n'est pas l'en-tête attendu : {string.Join(separator, columns)}.",
                $"The first line is not the header expected: {string.Join(separator, columns)}.", Advice.OtherFile);
        }

        if (missing.Count == 0 && surplus.Count == 0)
        {
            return new(
                $"Les colonnes sont répétées ou dans un autre ordre que celui attendu : {string.Join(separator, columns)}.",
                $"The columns are repeated or in another order than expected: {string.Join(separator, columns)}.", Advice.OtherFile);
        }

        return new(
            $"L'en-tête n'est pas celui attendu.{Told(" Colonnes manquantes : ", missing)}{Told(" Colonnes inconnues : ", surplus)}",
            $"The header is not the one expected.{Told(" Columns missing: ", missing)}{Told(" Columns not known: ", surplus)}", Advice.OtherFile);
    }

    /// <summary>Cuts a line into its cells.</summary>
    /// <param name="line">The line.</param>
    /// <param name="day">The day on which the file was taken.</param>
    /// <param name="cells">The cells.</param>
    /// <param name="fault">Why it has no such cells.</param>
    public bool TryRead(Line line, DateOnly day, [NotNullWhen(true)] out Cells? cells, [NotNullWhen(false)] out Fault? fault)
    {
        (cells, fault) = (null, null);
        if (line.TooLong) fault = Fault.Of("", Reason.LongerThan(MaxLineLength, "octets", "bytes"));
        else if (CsvRow.Split(line.Text, separator) is not { } values) fault = Fault.Of("", Reason.OpenQuote);
        else if (values.Count != columns.Count) fault = Fault.Of("", Reason.FieldCount(values.Count, columns.Count));
        else cells = new Cells(columns, values, day);
        return cells is not null;
    }

    private static string Told(string what, List<string> names)
    {
        if (names.Count == 0) return "";
        var told = names.Take(MaxNamed).Select(name => name.Length > MaxColumnLength ? $"{name[..MaxColumnLength]}…" : name);
        return $"{what}{string.Join(", ", told)}{(names.Count > MaxNamed ? "…" : "")}.";
    }
}
