using System.Buffers;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Unicode;

namespace Intercommunalite.Connector.Formats;

/// <summary>A line of a file, without its end. Its bytes are there until the next line is asked for.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Bytes">As in the file; empty when the line is too long.</param>
/// <param name="TooLong">Whether the line was passed over, being longer than allowed.</param>
internal readonly record struct Line(long Number, ReadOnlyMemory<byte> Bytes, bool TooLong)
{
    private static readonly Encoding s_windows1252 = CodePagesEncodingProvider.Instance.GetEncoding(1252)!;

    /// <summary>Whether there is nothing but blanks, tabs and NUL.</summary>
    public bool IsBlank => !TooLong && !Bytes.Span.ContainsAnyExcept(" \t\0"u8);

    /// <summary>
    /// The text: UTF-8 where the bytes are that, else Windows-1252, of which latin-1 is a part. Each line is taken by itself, since
    /// files put together from several sources change in the middle.
    /// </summary>
    public string Text => (Utf8.IsValid(Bytes.Span) ? Encoding.UTF8 : s_windows1252).GetString(Bytes.Span);
}

/// <summary>Cuts files into lines, whatever ends them (LF, CR LF, CR) and however long they are.</summary>
internal static class Lines
{
    private const int BufferSize = 64 * 1024;

    private static readonly Reason s_utf16 = new(
        "le fichier est en UTF-16", "the file is in UTF-16",
        new("Enregistrez-le en UTF-8 et renvoyez-le.", "Save it in UTF-8 and send it again."));

    /// <summary>Reads the lines of a file; a UTF-8 byte order mark is passed over.</summary>
    /// <param name="file">The file from its first byte.</param>
    /// <param name="maxLength">Longest line that is kept, in bytes.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="FileRefusedException">The file is in UTF-16.</exception>
    public static async IAsyncEnumerable<Line> ReadLinesAsync(this Stream file, int maxLength, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var buffer = new byte[BufferSize];
        var begun = new BegunLine(maxLength);
        var number = 0L;
        var atStart = true;
        var afterReturn = false;
        while (await file.ReadAtLeastAsync(buffer, minimumBytes: 3, throwOnEndOfStream: false, cancellation) is > 0 and var read)
        {
            var rest = buffer.AsMemory(0, read);
            if (atStart) rest = WithoutMark(rest);
            if (afterReturn && rest.Span.StartsWith("\n"u8)) rest = rest[1..];
            (atStart, afterReturn) = (false, false);
            while (rest.Span.IndexOfAny((byte)'\r', (byte)'\n') is >= 0 and var end)
            {
                yield return begun.End(++number, rest[..end]);
                afterReturn = rest.Span[end] == '\r';
                rest = rest[(end + 1)..];
                if (!afterReturn || rest.IsEmpty) continue;
                afterReturn = false;
                if (rest.Span[0] == '\n') rest = rest[1..];
            }

            begun.Add(rest);
        }

        if (!begun.IsEmpty) yield return begun.End(++number, default);
    }

    private static Memory<byte> WithoutMark(Memory<byte> start)
    {
        if (start.Span.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) || start.Span.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]))
            throw new FileRefusedException(s_utf16);
        return start.Span.StartsWith("\uFEFF"u8) ? start[3..] : start;
    }

    /// <summary>What is known of a line whose end was not in the buffer.</summary>
    private sealed class BegunLine(int maxLength)
    {
        private readonly ArrayBufferWriter<byte> _kept = new();
        private bool _tooLong;

        public bool IsEmpty => _kept.WrittenCount == 0 && !_tooLong;

        public void Add(ReadOnlyMemory<byte> part)
        {
            if (_tooLong || _kept.WrittenCount + part.Length > maxLength) _tooLong = true;
            else _kept.Write(part.Span);
        }

        public Line End(long number, ReadOnlyMemory<byte> last)
        {
            // Most lines lie in the buffer whole and are not copied. The kept bytes stay in place until the next line begins.
            if (IsEmpty) return last.Length > maxLength ? new Line(number, default, true) : new Line(number, last, false);
            Add(last);
            var line = _tooLong ? new Line(number, default, true) : new Line(number, _kept.WrittenMemory, false);
            _kept.ResetWrittenCount();
            _tooLong = false;
            return line;
        }
    }
}
