using System.Buffers;
using System.Runtime.CompilerServices;

namespace Intercommunalite.Connector.Formats.PayFip;

/// <summary>
/// Cuts a file into answers. Objects are cut at their braces, whatever lies between them, so that one line may hold all of them and
/// one of them may take several lines. An answer has no object inside, so a brace that opens another begins the next: one that is
/// cut off does not take those behind it along.
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
            for (var at = begin; at < read; at++)
            {
                if (cut.Take(buffer[at]) is { } answer) yield return answer;
            }
        }

        if (cut.End() is { } last) yield return last;
    }

    /// <summary>What is known of the answer that has begun.</summary>
    private sealed class Cut
    {
        private readonly ArrayBufferWriter<byte> _kept = new();
        private bool? _isJson;
        private bool _isInObject;
        private bool _isInString;
        private bool _isEscaped;
        private bool _isTooLong;
        private bool _isToBeCleared;
        private byte _previous;
        private long _line = 1;
        private long _beganOn;

        private bool IsEmpty => _kept.WrittenCount == 0 && !_isTooLong;

        /// <summary>Takes a byte. The answer that it ends is there until the next byte is taken.</summary>
        public Line? Take(byte next)
        {
            if (_isToBeCleared) Clear();
            if (_isJson is null && !IsBlank(next)) _isJson = next is (byte)'{' or (byte)'[';
            var ended = _isJson switch { true => TakeJson(next), false => TakeForm(next), null => null };
            if (next == '\r' || (next == '\n' && _previous != '\r')) _line++;
            _previous = next;
            return ended;
        }

        /// <summary>What is left at the end of the file.</summary>
        public Line? End()
        {
            if (_isToBeCleared) Clear();
            return IsEmpty ? null : new Line(_beganOn, _kept.WrittenMemory, _isTooLong);
        }

        private Line? TakeForm(byte next)
        {
            if (next is (byte)'\r' or (byte)'\n') return Ended();
            if (!IsEmpty || !IsBlank(next)) Keep(next);
            return null;
        }

        private Line? TakeJson(byte next)
        {
            if (_isInString && next is not ((byte)'\r' or (byte)'\n'))
            {
                Keep(next);
                if (!_isEscaped && next == '"') _isInString = false;
                _isEscaped = !_isEscaped && next == '\\';
                return null;
            }

            // No string goes on over the end of a line.
            (_isInString, _isEscaped) = (false, false);
            if (next == '{')
            {
                // What has begun is broken; it ends here, and this brace begins the next. Its bytes are still needed then.
                var broken = Ended();
                if (broken is { } ended) broken = ended with { Bytes = ended.Bytes.ToArray() };
                Clear();
                _isInObject = true;
                Keep(next);
                return broken;
            }

            if (_isInObject)
            {
                Keep(next);
                _isInString = next == '"';
                return next == '}' ? Ended() : null;
            }

            if (next is (byte)'\r' or (byte)'\n') return Ended();
            if (!IsEmpty || !(IsBlank(next) || next is (byte)',' or (byte)'[' or (byte)']')) Keep(next);
            return null;
        }

        private void Keep(byte next)
        {
            if (IsEmpty) _beganOn = _line;
            if (_kept.WrittenCount >= MaxLength) _isTooLong = true;
            if (!_isTooLong) _kept.Write([next]);
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

        private static bool IsBlank(byte next) => next is (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n' or 0;
    }
}
