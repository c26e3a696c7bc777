using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Intercommunalite.Connector.Formats;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Connector.Tests.Formats;

/// <summary>
/// Whatever a file holds, every reader answers with records, rejects or a refusal: never with a fault of its own, never without an
/// end, and in memory that does not grow with the file.
/// </summary>
[Collection(nameof(Alone))]
public sealed class AnyInputTests(AnyInputTests.Readers readers) : IClassFixture<AnyInputTests.Readers>
{
    private const int MaxHeapGrowth = 96 << 20;

    private static readonly (string Name, string Value)[] s_settings = [("uai", "0350122T"), ("schoolYear", "2026")];

    [Property(MaxTest = 300)]
    public void Given_random_bytes_When_they_are_read_Then_they_are_rejected_or_refused(byte[] bytes)
    {
        foreach (var format in readers.All) ReadToTheEnd(format, bytes);
    }

    [Property(MaxTest = 300)]
    public void Given_random_text_When_it_is_read_Then_it_is_rejected_or_refused(string? text)
    {
        foreach (var format in readers.All) ReadToTheEnd(format, Encoding.UTF8.GetBytes(text ?? ""));
    }

    [Property(MaxTest = 400)]
    public Property Given_a_sound_file_When_bytes_of_it_are_changed_Then_it_is_read_rejected_or_refused() =>
        Prop.ForAll(Mutations().ToArbitrary(), mutations =>
        {
            foreach (var format in readers.All)
            {
                foreach (var sample in Samples.Of(format.Name)) ReadToTheEnd(format, mutations.Aggregate(sample, (file, mutation) => mutation.Of(file)));
            }
        });

    [Fact]
    public void Given_sound_files_When_they_are_read_Then_each_format_gives_records_and_no_reject()
    {
        // Without this the mutations could all be of files that no reader knows.
        foreach (var format in readers.All)
        {
            Assert.NotEmpty(Samples.Of(format.Name));
            foreach (var records in Samples.Of(format.Name).Select(sample => ReadToTheEnd(format, sample)))
            {
                Assert.NotEmpty(records);
                Assert.DoesNotContain(records, record => record is RejectedRecord);
            }
        }
    }

    [Fact]
    public void Given_a_sound_file_When_it_is_cut_off_anywhere_Then_what_was_read_before_stays_and_nothing_fails()
    {
        foreach (var format in readers.All)
        {
            foreach (var sample in Samples.Of(format.Name))
            {
                for (var length = 0; length < sample.Length; length += 7) ReadToTheEnd(format, sample[..length]);
            }
        }
    }

    [Theory]
    [InlineData("a")]
    [InlineData(";")]
    [InlineData(",")]
    [InlineData("\"")]
    [InlineData("\0")]
    [InlineData("{")]
    [InlineData("[")]
    [InlineData("<a>")]
    [InlineData("<a b='")]
    [InlineData("&lol;")]
    [InlineData("\n")]
    [InlineData("=1&")]
    public void Given_a_gigabyte_or_a_quarter_of_the_same_When_it_is_read_alone_or_behind_a_sound_beginning_Then_memory_stays_bounded(string text)
    {
        foreach (var format in readers.All)
        {
            byte[][] beginnings = [[], .. Samples.Of(format.Name).Select(sample => sample[..(sample.Length * 2 / 3)])];
            foreach (var beginning in beginnings)
            {
                using var endless = new Repeated(beginning, Encoding.UTF8.GetBytes(text), text switch { "\n" => 8 << 20, "a" => 1 << 30, _ => 1 << 28 });
                ReadToTheEnd(format, endless, keep: false);
                Assert.InRange(endless.HeapGrowth, long.MinValue, MaxHeapGrowth);
            }
        }
    }

    [Fact]
    public void Given_a_million_columns_When_they_are_read_Then_the_file_is_refused_or_the_line_rejected()
    {
        foreach (var format in readers.All)
        {
            foreach (var separator in ";,&")
            {
                foreach (var sample in Samples.Of(format.Name).Prepend([]))
                {
                    var records = ReadToTheEnd(format, [.. sample, .. Encoding.UTF8.GetBytes(new string(separator, 1_000_000))]);
                    Assert.DoesNotContain(records.Skip(ReadToTheEnd(format, sample).Count), record => record is EventRecord);
                }
            }
        }
    }

    private static Gen<Mutation[]> Mutations()
    {
        var mutation =
            from kind in Gen.Elements(Enum.GetValues<MutationKind>())
            from place in Gen.Choose(0, 10_000)
            from length in Gen.Choose(1, 40)
            from value in Gen.OneOf(Gen.Choose(0, 255), Gen.Elements('<', '>', '"', '\'', ';', ',', '&', '=', '{', '}', '[', ']', '\n', '\0', '-', '.').Select(c => (int)c))
            select new Mutation(kind, place, length, (byte)value);
        return mutation.NonEmptyListOf().Select(list => list.Take(6).ToArray());
    }

    private static List<FormatRecord> ReadToTheEnd(IFormat format, byte[] bytes)
    {
        using var file = new MemoryStream(bytes);
        return ReadToTheEnd(format, file);
    }

    private static List<FormatRecord> ReadToTheEnd(IFormat format, Stream file, bool keep = true)
    {
        var records = new List<FormatRecord>();
        var context = SampleFiles.Context("35085", [.. s_settings.Where(setting => format.Settings.Contains(setting.Name))]);
        Assert.Null(format.Refuses(context));
        try
        {
            ReadAsync().GetAwaiter().GetResult();
        }
        catch (FileRefusedException refused)
        {
            Assert.All([refused.Reason.French, refused.Reason.English, refused.Reason.ToDo.French, refused.Reason.ToDo.English], Assert.NotEmpty);
        }

        return records;

        async Task ReadAsync()
        {
            await foreach (var record in format.ReadAsync(file, context, CancellationToken.None))
            {
                if (record is RejectedRecord rejected) Assert.NotEmpty(rejected.Faults);
                if (keep) records.Add(record);
            }
        }
    }

    /// <summary>The formats that the connector has.</summary>
    public sealed class Readers : IDisposable
    {
        private readonly TemporaryFolder _data = new();
        private readonly ConnectorApp _app;

        public Readers() => _app = ConnectorApp.Start(_data.FullPath, "35085");

        internal IReadOnlyList<IFormat> All => [.. _app.Services.GetServices<IFormat>()];

        public void Dispose()
        {
            _app.Dispose();
            _data.Dispose();
        }
    }

    private enum MutationKind
    {
        Set,
        Insert,
        Delete,
        Repeat,
        Cut,
        Swap,
    }

    /// <summary>A change somewhere in a file.</summary>
    private sealed record Mutation(MutationKind Kind, int Place, int Length, byte Value)
    {
        public byte[] Of(byte[] file)
        {
            if (file.Length == 0) return file;
            var at = Place % file.Length;
            var end = Math.Min(file.Length, at + Length);
            return Kind switch
            {
                MutationKind.Set => [.. file[..at], Value, .. file[(at + 1)..]],
                MutationKind.Insert => [.. file[..at], .. Enumerable.Repeat(Value, Length), .. file[at..]],
                MutationKind.Delete => [.. file[..at], .. file[end..]],
                MutationKind.Repeat => [.. file[..end], .. file[at..]],
                MutationKind.Cut => file[..at],
                MutationKind.Swap => [.. file[..at], .. file[at..end].Reverse(), .. file[end..]],
                _ => throw new InvalidOperationException(),
            };
        }
    }

    /// <summary>A beginning, then the same bytes over and over; it watches the heap while it is read.</summary>
    private sealed class Repeated : Stream
    {
        private const long BytesBetweenLooks = 8 << 20;

        private readonly byte[] _beginning;
        private readonly byte[] _block;
        private readonly long _heapBefore = GC.GetTotalMemory(forceFullCollection: true);
        private long _at;
        private long _looked;

        public Repeated(byte[] beginning, byte[] part, long length)
        {
            _beginning = beginning;
            Length = beginning.Length + length;
            _block = [.. Enumerable.Repeat(part, 1 + (64 * 1024 / part.Length)).SelectMany(bytes => bytes)];
        }

        /// <summary>How much the heap grew at most, garbage apart.</summary>
        public long HeapGrowth { get; private set; } = long.MinValue;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length { get; }

        public override long Position
        {
            get => _at;
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer)
        {
            if (_at - _looked >= BytesBetweenLooks)
            {
                _looked = _at;
                // Garbage counts as little as it can: it is collected before too much is said to be held.
                var growth = GC.GetTotalMemory(forceFullCollection: false) - _heapBefore;
                if (growth > MaxHeapGrowth) growth = GC.GetTotalMemory(forceFullCollection: true) - _heapBefore;
                HeapGrowth = Math.Max(HeapGrowth, growth);
            }

            var read = (int)Math.Min(buffer.Length, Length - _at);
            if (_at < _beginning.Length)
            {
                read = (int)Math.Min(read, _beginning.Length - _at);
                _beginning.AsSpan((int)_at, read).CopyTo(buffer);
            }
            else
            {
                var from = (int)((_at - _beginning.Length) % (_block.Length / 2));
                read = Math.Min(read, _block.Length - from);
                _block.AsSpan(from, read).CopyTo(buffer);
            }

            _at += read;
            return read;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => Task.FromResult(Read(buffer.AsSpan(offset, count)));

        public override void Flush() => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}

/// <summary>Tests that measure memory, and so run when no others do.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;
