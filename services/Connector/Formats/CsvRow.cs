using System.Text;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// A line of a file whose fields are parted by semicolons, or commas, and may stand in double quotes (RFC 4180). A quoted
/// field ends on its line: none of the layouts read so has line breaks in a field, and a forgotten quote must not swallow the
/// lines behind it.
/// </summary>
internal static class CsvRow
{
    /// <summary>Cuts a line into its fields.</summary>
    /// <param name="line">The line.</param>
    /// <param name="separator">What parts the fields.</param>
    /// <returns>The fields, quotes taken off; null when a quote is not closed, or is followed by something else than a separator.</returns>
    public static IReadOnlyList<string>? Split(string line, char separator = ';')
    {
        var fields = new List<string>();
        var at = 0;
        while (true)
        {
            if (at < line.Length && line[at] == '"')
            {
                if (Quoted(line, ref at) is not { } field || (at < line.Length && line[at] != separator)) return null;
                fields.Add(field);
            }
            else
            {
                var end = line.IndexOf(separator, at) is >= 0 and var found ? found : line.Length;
                fields.Add(line[at..end]);
                at = end;
            }

            if (at == line.Length) return fields;
            at++;
        }
    }

    private static string? Quoted(string line, ref int at)
    {
        var field = new StringBuilder();
        while (true)
        {
            var begin = at + 1;
            var end = line.IndexOf('"', begin);
            if (end < 0) return null;
            field.Append(line, begin, end - begin);
            at = end + 1;
            if (at == line.Length || line[at] != '"') return field.ToString();
            field.Append('"');
        }
    }
}
