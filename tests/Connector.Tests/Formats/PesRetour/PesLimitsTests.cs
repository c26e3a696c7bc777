using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

/// <summary>Files that are broken, or made to do harm.</summary>
public sealed class PesLimitsTests
{
    private static readonly Pes s_file = new()
    {
        Stated = """<NbrReco V="2"/><MtRecoTot V="20"/>""",
        Collections = Pes.Collection("2026-04-01", "10", "77") + "\n" + Pes.Collection("2026-04-02", "10"),
    };

    [Theory]
    [InlineData("ISO-8859-1", "iso-8859-1")]
    [InlineData("iso-8859-1", "iso-8859-1")]
    [InlineData("ISO-8859-15", "iso-8859-15")]
    [InlineData("windows-1252", "windows-1252")]
    [InlineData("ISO-8859-1", "windows-1252")]
    [InlineData("UTF-8", "utf-8")]
    public async Task Given_an_encoding_When_the_file_is_read_Then_names_are_right(string declared, string written)
    {
        var encoding = CodePagesEncodingProvider.Instance.GetEncoding(written) ?? Encoding.GetEncoding(written);
        var name = written == "iso-8859-1" ? "LEFÈVRE" : "LEFÈVRE Œ €";
        var text = (s_file with { Encoding = declared }).Text.Replace("MARTIN", name, StringComparison.Ordinal);

        Assert.Equal(name, LastName(await Pes.ReadAsync(encoding.GetBytes(text))));
    }

    [Fact]
    public async Task Given_a_byte_order_mark_or_no_declaration_When_the_file_is_read_Then_it_is_UTF8()
    {
        var text = s_file.Text.Replace("MARTIN", "LEFÈVRE", StringComparison.Ordinal);
        var bare = text[(text.IndexOf("?>", StringComparison.Ordinal) + 2)..].TrimStart();

        Assert.Equal("LEFÈVRE", LastName(await Pes.ReadAsync([0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes(text.Replace("UTF-8", "ISO-8859-1", StringComparison.Ordinal))])));
        Assert.Equal("LEFÈVRE", LastName(await Pes.ReadAsync(Encoding.UTF8.GetBytes(bare))));
    }

    [Theory]
    [InlineData("EBCDIC-FR", "EBCDIC-FR")]
    [InlineData("UTF-7", "UTF-7")]
    [InlineData("no-such", "no-such")]
    public async Task Given_an_encoding_that_is_not_read_When_the_file_is_Then_it_is_refused_and_named(string declared, string named) =>
        Assert.Contains(named, (await (s_file with { Encoding = declared }).RefusalAsync()).English, StringComparison.Ordinal);

    [Fact]
    public async Task Given_UTF16_When_it_is_read_Then_it_is_refused()
    {
        Assert.Equal("The file is in UTF-16.", (await Pes.RefusalAsync([0xFF, 0xFE, .. Encoding.Unicode.GetBytes(s_file.Text)])).English);
        Assert.Equal("The file is in UTF-16.", (await Pes.RefusalAsync(Encoding.BigEndianUnicode.GetBytes(s_file.Text))).English);
    }

    [Fact]
    public async Task Given_a_file_that_is_not_the_UTF8_that_it_says_When_it_is_read_Then_what_is_before_stays_and_the_place_is_told()
    {
        var other = s_file.Piece.Replace("1449", "1450", StringComparison.Ordinal).Replace("MARTIN", "LEFÈVRE", StringComparison.Ordinal);

        var records = await Pes.ReadAsync(Encoding.Latin1.GetBytes((s_file with { Pieces = $"{s_file.Piece}\n{other}" }).Text));

        Assert.Equal(3, records.OfType<EventRecord>().Count());
        var rejected = Assert.IsType<RejectedRecord>(records[^1]);
        Assert.Equal(18, rejected.Line);
        Assert.StartsWith("The file says that it is in UTF-8 and is not", Assert.Single(rejected.Faults).Reason.English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<!DOCTYPE x:PES_Retour [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>", "DOCTYPE")]
    [InlineData("<!DOCTYPE x:PES_Retour [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>", "DOCTYPE")]
    [InlineData("<!DOCTYPE x:PES_Retour SYSTEM \"http://127.0.0.1:1/a.dtd\">", "DOCTYPE")]
    [InlineData("<!-- before --><!DOCTYPE x:PES_Retour>", "DOCTYPE")]
    public async Task Given_a_DTD_When_the_file_is_read_Then_it_is_refused_in_plain_words(string dtd, string reason)
    {
        var text = s_file.Text.Replace("?>\n", $"?>\n{dtd}\n", StringComparison.Ordinal);

        Assert.Contains(reason, (await Pes.RefusalAsync(Encoding.UTF8.GetBytes(text))).English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_DTD_at_any_place_of_a_block_When_the_file_is_read_Then_it_is_refused()
    {
        // The block ends within or beside "<!D" in some of these.
        for (var length = (64 * 1024) - 40; length < (64 * 1024) - 20; length++)
        {
            var text = $"<?xml version=\"1.0\"?><!--{new string('x', length)}--><!DOCTYPE x:PES_Retour><x:PES_Retour xmlns:x=\"{Pes.Namespace}\"/>";
            Assert.Contains("DOCTYPE", (await Pes.RefusalAsync(Encoding.UTF8.GetBytes(text))).English, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("<Rest V=\"&a;\"/>", "the file is cut off or broken here; what is behind was not read")]
    [InlineData("<Rest><![CDATA[<<<<]]></Rest>", "The file has a CDATA section, which a PES never has.")]
    [InlineData("<Rest></Reste>", "the file is cut off or broken here; what is behind was not read")]
    public async Task Given_something_broken_in_the_middle_When_the_file_is_read_Then_what_is_before_stays(string broken, string reason)
    {
        var records = await (s_file with { Pieces = $"{s_file.Piece}\n{broken}" }).ReadAsync();

        Assert.Equal(4, records.Count);
        var rejected = Assert.IsType<RejectedRecord>(records[^1]);
        Assert.Equal((14, reason), (rejected.Line, Assert.Single(rejected.Faults).Reason.English));
    }

    [Fact]
    public async Task Given_tags_inside_one_another_When_they_are_too_many_Then_the_file_is_read_up_to_there()
    {
        var deep = string.Concat(Enumerable.Repeat("<a>", 100_000));

        var records = await (s_file with { Pieces = $"{s_file.Piece}\n{deep}" }).ReadAsync();

        Assert.Equal("More than 32 tags inside one another: this is no PES.", Assert.Single(Assert.IsType<RejectedRecord>(records[^1]).Faults).Reason.English);
        Assert.Contains("PES_Retour", (await Pes.RefusalAsync(Encoding.UTF8.GetBytes(deep))).English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<Rest V=\"", "x", "1 MiB without a tag")]
    [InlineData("", "xxxxxxxxx ", "1 MiB without a tag")]
    [InlineData("", "\n\n\n\n\n\n", "1 MiB without a tag")]
    [InlineData("<!--", " - ", "1 MiB without a tag")]
    [InlineData("<a ", "b='' ", "1 MiB without a tag")]
    public async Task Given_text_without_end_When_it_is_read_Then_the_file_is_read_up_to_there_and_little_is_held(string begin, string repeated, string reason)
    {
        var records = await ReadBoundedAsync([s_file.Text[..s_file.Text.IndexOf("</Bordereau>", StringComparison.Ordinal)], begin], repeated);

        Assert.Equal(3, records.OfType<EventRecord>().Count());
        Assert.Contains(reason, Assert.Single(Assert.IsType<RejectedRecord>(records[^1]).Faults).Reason.English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_ever_new_names_of_tags_When_they_are_read_Then_they_are_not_all_kept()
    {
        var tags = string.Concat(Enumerable.Range(0, 10_000).Select(number => $"<n{number}/>"));

        var records = await (s_file with { Pieces = s_file.Piece + tags }).ReadAsync();

        Assert.Equal("More than 2000 different names of tags: this is no PES.", Assert.Single(Assert.IsType<RejectedRecord>(records[^1]).Faults).Reason.English);
    }

    [Fact]
    public async Task Given_more_collections_without_number_than_can_be_told_apart_When_they_are_read_Then_the_rest_is_rejected()
    {
        var collections = string.Concat(Enumerable.Range(1, 10_002).Select(cents => Pes.Collection("2026-04-01", $"{cents}")));

        var records = await (s_file with { Stated = "", Collections = collections }).ReadAsync();

        Assert.Equal((10_001, 2), (records.OfType<EventRecord>().Count(), records.OfType<RejectedRecord>().Count()));
    }

    [Fact]
    public async Task Given_a_file_cut_off_anywhere_When_it_is_read_Then_it_says_so_and_keeps_what_is_before()
    {
        var whole = Encoding.UTF8.GetBytes((s_file with { Pieces = s_file.Piece + s_file.Piece.Replace("1449", "1450", StringComparison.Ordinal) }).Text);
        var all = await Pes.ReadAsync(whole);
        var reached = 0;
        for (var length = 1; length < whole.Length; length += 7)
        {
            var (records, refusal) = await TryReadAsync(whole[..length]);
            if (refusal is not null) continue;
            var end = Assert.IsType<RejectedRecord>(records![^1]);
            Assert.Equal(Reason.CutOff, Assert.Single(end.Faults).Reason);
            Assert.Equal(all.Take(records.Count - 1).Select(Text), records.Take(records.Count - 1).Select(Text));
            reached = Math.Max(reached, records.Count - 1);
        }

        Assert.Equal(all.Count, reached);
    }

    [Fact]
    public async Task Given_bytes_changed_at_random_When_the_file_is_read_Then_it_is_read_or_refused_and_never_fails()
    {
        var whole = Encoding.UTF8.GetBytes((s_file with { Pieces = s_file.Piece + s_file.Piece.Replace("1449", "1450", StringComparison.Ordinal) }).Text);
        var (read, refused) = (0, 0);
        for (var seed = 0; seed < 3_000; seed++)
        {
            var random = new Random(seed);
            var bytes = whole.ToArray();
            for (var changes = random.Next(1, 6); changes > 0; changes--)
            {
                var at = random.Next(bytes.Length);
                bytes[at] = random.Next(3) switch { 0 => (byte)random.Next(256), 1 => (byte)"<>\"'&!/= 0"[random.Next(10)], _ => bytes[random.Next(bytes.Length)] };
            }

            var (records, refusal) = await TryReadAsync(bytes);
            if (refusal is null) read++;
            else refused++;
            foreach (var fault in records?.OfType<RejectedRecord>().SelectMany(rejected => rejected.Faults) ?? []) Assert.DoesNotContain("MARTIN", fault.Value ?? "", StringComparison.Ordinal);
        }

        Assert.True(read > 1_000 && refused > 100, $"{read} read, {refused} refused");
    }

    private static string LastName(IEnumerable<FormatRecord> records) =>
        records.OfType<EventRecord>().First().Event.Data.GetProperty("personal").GetProperty("debtor").GetProperty("lastName").GetString()!;

    private static string Text(FormatRecord record) => record is EventRecord read ? $"{read.Line} {read.Event.EventId}" : record.ToString();

    private static async Task<(List<FormatRecord>? Records, Reason? Refusal)> TryReadAsync(byte[] bytes)
    {
        try
        {
            return (await Pes.ReadAsync(bytes), null);
        }
        catch (FileRefusedException refusal)
        {
            return (null, refusal.Reason);
        }
    }

    private static async Task<List<FormatRecord>> ReadBoundedAsync(string[] begin, string repeated)
    {
        using var file = new GeneratedStream(string.Concat(begin), Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat(repeated, 1_000))), 1_000_000, "");
        var before = GC.GetAllocatedBytesForCurrentThread();
        var records = await Pes.ReadAsync(file).ToListAsync();
        Assert.True(file.Given < 3_000_000, $"{file.Given} bytes were read of a text that has no end.");
        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < 100_000_000);
        return records;
    }
}
