using System.Globalization;
using System.Text;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Writes the rejected lines of an import as a spreadsheet opens them: CSV in UTF-8 with a byte order mark, semicolons, a row for
/// each fault. A cell that a spreadsheet would take for a formula gets an apostrophe before it.
/// </summary>
internal sealed class Rejects : IDisposable
{
    private static readonly UTF8Encoding s_withMark = new(encoderShouldEmitUTF8Identifier: true);

    private readonly StreamWriter _writer;

    private Rejects(string path)
    {
        _writer = new StreamWriter(path, append: false, s_withMark) { NewLine = "\r\n" };
        _writer.WriteLine("line;field;value;reason");
    }

    /// <summary>Begins the list anew.</summary>
    public static Rejects Create(string path) => new(path);

    /// <summary>Adds the faults of a line.</summary>
    public void Add(long line, IReadOnlyList<Fault> faults)
    {
        foreach (var fault in faults) Write(line.ToString(CultureInfo.InvariantCulture), fault.Field, fault.Value ?? "", fault.Reason);
    }

    /// <summary>Adds why the file as a whole was refused.</summary>
    public void AddRefusal(string reason) => Write("", "", "", reason);

    /// <summary>Makes what was added readable to others.</summary>
    public void Flush() => _writer.Flush();

    public void Dispose() => _writer.Dispose();

    private void Write(params ReadOnlySpan<string> cells)
    {
        var separator = "";
        foreach (var cell in cells)
        {
            _writer.Write(separator);
            _writer.Write(Quoted(Harmless(cell)));
            separator = ";";
        }

        _writer.WriteLine();
    }

    private static string Harmless(string cell) => cell.Length > 0 && cell[0] is '=' or '+' or '-' or '@' or '\t' or '\r' ? $"'{cell}" : cell;

    private static string Quoted(string cell) =>
        cell.AsSpan().ContainsAny(";\"\r\n") ? $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : cell;
}
