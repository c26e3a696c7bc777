using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class LinesTests
{
    [Theory]
    [InlineData("a\nb\n\nc\n")]
    [InlineData("a\r\nb\r\n\r\nc\r\n")]
    [InlineData("a\rb\r\rc")]
    [InlineData("a\nb\r\n\rc")]
    [InlineData("\uFEFFa\nb\n\nc")]
    public async Task Given_lines_that_end_in_any_way_When_they_are_read_in_pieces_of_any_size_Then_they_are_the_same(string text)
    {
        for (var piece = 1; piece <= 7; piece++)
        {
            Assert.Equal([(1, "a"), (2, "b"), (3, ""), (4, "c")], await ReadAsync(Encoding.UTF8.GetBytes(text), piece));
        }
    }

    [Fact]
    public async Task Given_lines_longer_than_the_buffer_When_they_are_read_Then_they_are_whole()
    {
        var longLine = new string('x', 200_000);

        Assert.Equal([(1, longLine), (2, "b"), (3, longLine)], await ReadAsync(Encoding.UTF8.GetBytes($"{longLine}\nb\n{longLine}"), 70_000, maxLength: 200_000));
    }

    [Theory]
    [InlineData(11)]
    [InlineData(1_000_000)]
    public async Task Given_a_line_that_is_too_long_When_it_is_read_Then_it_is_passed_over_and_the_next_is_sound(int length)
    {
        var bytes = Encoding.UTF8.GetBytes($"0123456789\n{new string('x', length)}\nb\n{new string('y', length)}");

        Assert.Equal([(1, "0123456789"), (2, "[too long]"), (3, "b"), (4, "[too long]")], await ReadAsync(bytes, 4_096, maxLength: 10));
    }

    [Fact]
    public async Task Given_lines_in_several_encodings_When_they_are_read_Then_each_is_taken_by_itself()
    {
        byte[] bytes = [.. "é\n"u8, 0xE9, (byte)'\n', 0x80, (byte)'\n', .. "œ"u8];

        Assert.Equal([(1, "é"), (2, "é"), (3, "€"), (4, "œ")], await ReadAsync(bytes, 100));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Given_a_file_in_utf16_When_it_is_read_Then_it_is_refused(bool bigEndian)
    {
        var encoding = new UnicodeEncoding(bigEndian, byteOrderMark: true);
        byte[] bytes = [.. encoding.GetPreamble(), .. encoding.GetBytes("a\n")];

        await Assert.ThrowsAsync<FileRefusedException>(() => ReadAsync(bytes, 100));
    }

    [Fact]
    public async Task Given_an_empty_file_When_it_is_read_Then_there_is_no_line()
    {
        Assert.Empty(await ReadAsync([], 100));
    }

    private static async Task<List<(int Number, string Text)>> ReadAsync(byte[] bytes, int piece, int maxLength = 1_000)
    {
        using var stream = new PiecesStream(bytes, piece);
        var lines = new List<(int, string)>();
        await foreach (var line in stream.ReadLinesAsync(maxLength, CancellationToken.None))
        {
            Assert.True(!line.TooLong || line.Bytes.IsEmpty);
            lines.Add(((int)line.Number, line.TooLong ? "[too long]" : line.Text));
        }

        return lines;
    }

    /// <summary>Gives no more than a few bytes at once, as a network does.</summary>
    private sealed class PiecesStream(byte[] bytes, int piece) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(piece, buffer.Length)], cancellationToken);
    }
}
