using System.Diagnostics.CodeAnalysis;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>How a death stands on a line.</summary>
internal interface IDeathLayout
{
    /// <summary>Reads a line.</summary>
    bool TryRead(string line, [NotNullWhen(true)] out DeathRow? row, [NotNullWhen(false)] out Fault? fault);
}

/// <summary>The layout with a header, semicolons and quotes.</summary>
internal sealed class CsvLayout : IDeathLayout
{
    /// <summary>The first line.</summary>
    public static string Header { get; } = string.Join(';', DeathRow.Fields);

    /// <summary>Whether a line is the header, in whatever case.</summary>
    public static bool IsHeader(string line) =>
        CsvRow.Split(line) is { } fields && fields.Select(Blanks.Trim).SequenceEqual(DeathRow.Fields, StringComparer.OrdinalIgnoreCase);

    public bool TryRead(string line, [NotNullWhen(true)] out DeathRow? row, [NotNullWhen(false)] out Fault? fault)
    {
        (row, fault) = (null, null);
        if (CsvRow.Split(line) is not { } fields) fault = Fault.Of("", Reason.OpenQuote);
        else if (fields.Count != DeathRow.Fields.Length) fault = Fault.Of("", Reason.FieldCount(fields.Count, DeathRow.Fields.Length));
        else row = DeathRow.Of(fields);
        return row is not null;
    }
}

/// <summary>The layout in which every field has its columns.</summary>
internal sealed class FixedWidthLayout : IDeathLayout
{
    /// <summary>A line ends with the death place at the least; the act number behind it may be cut off with its blanks.</summary>
    public const int MinLength = 167;

    // First column of each field, from 0, in the order of DeathRow.Fields; the last one is where the act number ends.
    private static readonly int[] s_columns = [0, 80, 81, 89, 94, 124, 154, 162, 167, 176];

    /// <summary>
    /// Whether a line looks like one of this layout: by its name, though it be cut short, or by its death date. A row of the other
    /// layout does not: it only lacks its header.
    /// </summary>
    public static bool IsLine(string line) => CsvRow.Split(line)?.Count != DeathRow.Fields.Length && HasNameOrDate(line);

    public bool TryRead(string line, [NotNullWhen(true)] out DeathRow? row, [NotNullWhen(false)] out Fault? fault)
    {
        (row, fault) = (null, null);
        if (line.Length < MinLength)
        {
            fault = Fault.Of("", new(
                $"{line.Length} caractères, {MinLength} au moins attendus", $"{line.Length} characters, {MinLength} or more expected", Advice.Correct));
            return false;
        }

        row = DeathRow.Of([.. s_columns.Zip(s_columns.Skip(1), (begin, end) => line[Math.Min(begin, line.Length)..Math.Min(end, line.Length)])]);
        return true;
    }

    private static bool HasNameOrDate(string line) =>
        line.AsSpan(0, Math.Min(line.Length, s_columns[1])).Contains('*')
        || (line.Length >= MinLength && !line.AsSpan(s_columns[6]..s_columns[7]).ContainsAnyExceptInRange('0', '9'));
}
