using System.Buffers;
using System.Runtime.CompilerServices;

namespace Intercommunalite.Connector.Formats.PayFip;

/// <summary>
/// Cuts a file into answers. Objects are cut at their braces, whatever lies between them, so that one line may hold all of them and
/// one of them may take several lines. An answer has no object inside, so a brace at the beginning of a line or behind a comma begins
/// the next: one that is cut off does not take those behind it along.
/// </summary>
internal static class PayFipAnswers
{
    /// <summary>Longest answer, in bytes.</summary>
    public const int MaxLength = 64 * 1024;

    /// <summary>Reads the answers of a file; a UTF-8 byte order mark is passed over.</summary>
    /// <returns>The text of each, sound or not, with the number of the line that it begins on.</returns>
    public static async IAsyncEnumerable<Line> SplitAsync(Stream file, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var buffer = new byte[MaxLength];
        var cut = new Cut();
        var isAtStart = true;
        while (await file.ReadAtLeastAsync(buffer, minimumBytes: 3, throwOnEndOfStream: false, cancellation) is > 0 and var read)
        {
            var begin = isAtStart && buffer.AsSpan(0, read).StartsWith("\uFEFF"u8) ? 3 : 0;
            isAtStart = false;
            for (var at = begin + cut.Pass(buffer.AsSpan(begin, read - begin)); at < read; at += 1 + cut.Pass(buffer.AsSpan(at + 1, read - at - 1)))
            {
                if (cut.Take(buffer[at]) is { } answer) yield return answer;
            }
        }

        if (cut.End() is { } last) yield return last;
    }

    /// <summary>What is known of the answer that has begun.</summary>
    private sealed class Cut
    {
        private static readonly SearchValues<byte> s_lineEnds = SearchValues.Create("\r\n"u8);
        private static readonly SearchValues<byte> s_outside = SearchValues.Create("{\r\n"u8);
        private static readonly SearchValues<byte> s_inObject = SearchValues.Create("{}\",\r\n"u8);
        private static readonly SearchValues<byte> s_inString = SearchValues.Create("\"\\\r\n"u8);
        private static readonly SearchValues<byte> s_blanks = SearchValues.Create(" \t\r\n\0"u8);

        private readonly ArrayBufferWriter<byte> _kept = new();
        private bool? _isJson;
        private bool _isInObject;
        private bool _isInString;
        private bool _isEscaped;
        private bool _isTooLong;
        private bool _isToBeCleared;
        private bool _mayBegin;
        private byte _previous;
        private long _line = 1;
        private long _beganOn;

        private bool IsEmpty => _kept.WrittenCount == 0 && !_isTooLong;

        /// <summary>Takes the bytes that end nothing and begin nothing, all at once.</summary>
        /// <returns>How many.</returns>
        public int Pass(ReadOnlySpan<byte> bytes)
        {
            if (_isToBeCleared || IsEmpty || _isEscaped) return 0;
            var stops = _isJson == false ? s_lineEnds : _isInString ? s_inString : _isInObject ? s_inObject : s_outside;
            var count = bytes.IndexOfAny(stops) is >= 0 and var stop ? stop : bytes.Length;
            if (count == 0) return 0;
            Keep(bytes[..count]);
            if (bytes[..count].ContainsAnyExcept(s_blanks)) _mayBegin = false;
            _previous = bytes[count - 1];
            return count;
        }

        /// <summary>Takes a byte. The answer that it ends is there until the next byte is taken.</summary>
        public Line? Take(byte next)
        {
            if (_isToBeCleared) Clear();
            if (_isJson is null && !s_blanks.Contains(next)) _isJson = next is (byte)'{' or (byte)'[';
            var ended = _isJson switch { true => TakeJson(next), false => TakeForm(next), null => null };
            if (next is (byte)'\r' or (byte)'\n' or (byte)',') _mayBegin = true;
            else if (!s_blanks.Contains(next)) _mayBegin = false;
            if (next == '\r' || (next == '\n' && _previous != '\r')) _line++;
            _previous = next;
            return ended;
        }

        /// <summary>What is left at the end of the file.</summary>
        public Line? End()
        {
            if (_isToBeCleared) Clear();
            return Ended();
        }

        private Line? TakeForm(byte next)
        {
            if (next is (byte)'\r' or (byte)'\n') return Ended();
            if (!IsEmpty || !s_blanks.Contains(next)) Keep([next]);
            return null;
        }

        private Line? TakeJson(byte next)
        {
            if (_isInString && next is not ((byte)'\r' or (byte)'\n'))
            {
                Keep([next]);
                if (!_isEscaped && next == '"') _isInString = false;
                _isEscaped = !_isEscaped && next == '\\';
                return null;
            }

            // No string goes on over the end of a line.
            (_isInString, _isEscaped) = (false, false);
            if (next == '{' && (!_isInObject || _mayBegin))
            {
                // What has begun is broken; it ends here, and this brace begins the next. Its bytes are still needed then.
                var broken = Ended();
                if (broken is { } ended) broken = ended with { Bytes = ended.Bytes.ToArray() };
                Clear();
                _isInObject = true;
                Keep([next]);
                return broken;
            }

            if (_isInObject)
            {
                Keep([next]);
                _isInString = next == '"';
                return next == '}' ? Ended() : null;
            }

            if (next is (byte)'\r' or (byte)'\n') return Ended();
            if (!IsEmpty || !(s_blanks.Contains(next) || next is (byte)',' or (byte)'[' or (byte)']')) Keep([next]);
            return null;
        }

        private void Keep(ReadOnlySpan<byte> bytes)
        {
            if (IsEmpty) _beganOn = _line;
            if (_kept.WrittenCount + bytes.Length > MaxLength) _isTooLong = true;
            if (!_isTooLong) _kept.Write(bytes);
        }

        private Line? Ended()
        {
            if (IsEmpty) return null;
            _isToBeCleared = true;
            return new Line(_beganOn, _kept.WrittenMemory, _isTooLong);
        }

        private void Clear()
        {
            _kept.ResetWrittenCount();
            (_isToBeCleared, _isTooLong, _isInObject, _isInString, _isEscaped) = (false, false, false, false, false);
        }
    }
}
