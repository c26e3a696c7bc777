using System.Buffers;
using System.Globalization;
using System.Text;

namespace Intercommunalite.ServiceDefaults;

/// <summary>
/// Writes CSV as spreadsheets open it (RFC 4180, UTF-8 with a byte order mark, lines end with CR LF). A text that a spreadsheet
/// would run as a formula gets an apostrophe before it, so that whatever a sender put into a field stays text
/// (OWASP, CSV injection).
/// </summary>
public sealed class SpreadsheetCsv : IAsyncDisposable
{
    /// <summary>The media type of what is written.</summary>
    public const string MediaType = "text/csv; charset=utf-8";

    // What a formula begins with; where the keyboard writes wide characters, wide ones too.
    private static readonly SearchValues<char> s_formula = SearchValues.Create("=+-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20");

    private static readonly UTF8Encoding s_withMark = new(encoderShouldEmitUTF8Identifier: true);

    private readonly StreamWriter _writer;
    private readonly char _separator;
    private readonly StringBuilder _row = new();
    private bool _isBegun;

    /// <summary>Begins a file.</summary>
    /// <param name="target">Where it goes; closed with the writer.</param>
    /// <param name="separator">Between fields: <c>;</c>, as spreadsheets in French expect it, or <c>,</c>.</param>
    /// <param name="withMark">Whether a byte order mark is written; not where a file is continued, nor where a schema forbids it.</param>
    public SpreadsheetCsv(Stream target, char separator = ';', bool withMark = true)
    {
        _writer = new StreamWriter(target, withMark ? s_withMark : new UTF8Encoding(false)) { NewLine = "\r\n" };
        _separator = separator;
    }

    /// <summary>Adds a text to the row; null and empty are the same.</summary>
    public SpreadsheetCsv Text(string? value)
    {
        value ??= "";
        return Raw(value.Length > 0 && s_formula.Contains(value[0]) ? $"'{value}" : value);
    }

    /// <summary>Adds a whole number; null leaves the field empty.</summary>
    public SpreadsheetCsv Number(long? value) => Raw(value?.ToString(CultureInfo.InvariantCulture) ?? "");

    /// <summary>Adds an amount in euros with two decimals, after a comma where fields are parted by semicolons, after a point elsewhere.</summary>
    /// <param name="cents">The amount in cents; null leaves the field empty.</param>
    public SpreadsheetCsv Euros(long? cents)
    {
        var euros = cents is null ? "" : (cents.Value / 100m).ToString("0.00", CultureInfo.InvariantCulture);
        return Raw(_separator == ';' ? euros.Replace('.', ',') : euros);
    }

    /// <summary>Ends the row.</summary>
    public async ValueTask EndRowAsync(CancellationToken cancellation = default)
    {
        await _writer.WriteLineAsync(_row, cancellation);
        _row.Clear();
        _isBegun = false;
    }

    /// <summary>Writes a row of texts.</summary>
    public ValueTask RowAsync(IEnumerable<string?> texts, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        foreach (var text in texts) Text(text);
        return EndRowAsync(cancellation);
    }

    /// <summary>Hands what was written to the target.</summary>
    public Task FlushAsync(CancellationToken cancellation = default) => _writer.FlushAsync(cancellation);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _writer.DisposeAsync();

    private SpreadsheetCsv Raw(string field)
    {
        if (_isBegun) _row.Append(_separator);
        _isBegun = true;
        if (field.AsSpan().ContainsAny([_separator, '"', '\r', '\n'])) _row.Append('"').Append(field.Replace("\"", "\"\"", StringComparison.Ordinal)).Append('"');
        else _row.Append(field);
        return this;
    }
}
