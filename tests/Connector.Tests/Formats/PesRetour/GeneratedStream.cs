using System.Text;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

/// <summary>A file that is made while it is read.</summary>
internal sealed class GeneratedStream(string begin, byte[] repeated, int times, string end) : Stream
{
    private ReadOnlyMemory<byte> _rest = Encoding.UTF8.GetBytes(begin);
    private int _given;
    private bool _isEnding;

    public long Given { get; private set; }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override int Read(byte[] buffer, int offset, int count)
    {
        if (_rest.IsEmpty && _given < times)
        {
            _given++;
            _rest = repeated;
        }
        else if (_rest.IsEmpty && !_isEnding)
        {
            _isEnding = true;
            _rest = Encoding.UTF8.GetBytes(end);
        }

        var read = Math.Min(count, _rest.Length);
        _rest[..read].CopyTo(buffer.AsMemory(offset));
        _rest = _rest[read..];
        Given += read;
        return read;
    }

    public override void Flush() => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
