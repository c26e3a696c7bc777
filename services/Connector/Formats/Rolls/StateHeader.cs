namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>The first line of a state file, by which it is known.</summary>
/// <param name="columns">The columns expected, in their order.</param>
/// <param name="separator">What parts them.</param>
internal sealed class StateHeader(IReadOnlyList<string> columns, char separator)
{
    private const int MaxColumnLength = 40;
    private const int MaxNamed = 10;

    /// <summary>Whether a line is the header: the same names in the same order; case and blanks around them do not matter.</summary>
    public bool Is(string line) => CsvRow.Split(line, separator) is { } fields && fields.Select(Cells.Trim).SequenceEqual(columns, StringComparer.OrdinalIgnoreCase);

    /// <summary>
    /// Why a line is not the header. Its names are told only where most are the expected ones: a line that is no header at all
    /// may name a person.
    /// </summary>
    public Reason Refuse(string line)
    {
        var found = CsvRow.Split(line, separator)?.Select(Cells.Trim).ToList() ?? [];
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

    private static string Told(string what, List<string> names)
    {
        if (names.Count == 0) return "";
        var told = names.Take(MaxNamed).Select(name => name.Length > MaxColumnLength ? $"{name[..MaxColumnLength]}…" : name);
        return $"{what}{string.Join(", ", told)}{(names.Count > MaxNamed ? "…" : "")}.";
    }
}
