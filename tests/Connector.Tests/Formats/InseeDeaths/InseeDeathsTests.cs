using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

public sealed class InseeDeathsTests
{
    private static readonly string s_first = new Death(Act: "1").Csv;
    private static readonly string s_second = new Death(Act: "2").Csv;

    [Fact]
    public async Task Given_a_death_before_the_birth_When_it_is_read_Then_it_is_taken_with_a_remark()
    {
        var records = await Death.ReadAsync($"{Death.Header}\n{new Death(BirthDate: "19701211").Csv}\n{new Death(BirthDate: "19701210").Csv}\n{new Death(BirthDate: "19700000").Csv}\n");

        Assert.Equal([typeof(EventRecord), typeof(RemarkRecord), typeof(EventRecord), typeof(EventRecord)], records.Select(record => record.GetType()));
        Assert.Equal((2, "datenaiss", null), (records[1].Line, ((RemarkRecord)records[1]).Fault.Field, ((RemarkRecord)records[1]).Fault.Value));
    }

    [Theory]
    [InlineData("\n")]
    [InlineData("\r\n")]
    [InlineData("\r")]
    public async Task Given_line_ends_of_whatever_kind_When_either_layout_is_read_Then_all_deaths_are_there(string end)
    {
        Assert.Equal([2, 3], Events(await Death.ReadAsync($"\uFEFF{Death.Header}{end}{s_first}{end}{s_second}")));
        Assert.Equal([1, 2], Events(await Death.ReadAsync($"{new Death(Act: "1").FixedWidth}{end}{new Death(Act: "2").FixedWidth}{end}")));
    }

    [Fact]
    public async Task Given_a_header_in_capitals_and_without_quotes_When_it_is_read_Then_it_is_taken()
    {
        Assert.Equal([2], Events(await Death.ReadAsync($"{Death.Header.Replace("\"", "", StringComparison.Ordinal).ToUpperInvariant()}\n{s_first}")));
    }

    [Theory]
    [InlineData("nom;prenom;date\nMARTIN;LEA;19701210\n")]
    [InlineData("{\"specversion\":\"1.0\"}\n")]
    [InlineData("PK\u0003\u0004")]
    public async Task Given_another_kind_of_file_When_it_is_read_Then_it_is_refused_and_told_what_is_expected(string text)
    {
        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => Death.ReadAsync(text));

        Assert.Contains("nomprenom;sexe;datenaiss;lieunaiss;commnaiss;paysnaiss;datedeces;lieudeces;actedeces", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("MARTIN", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n \n")]
    public async Task Given_an_empty_file_When_it_is_read_Then_it_is_refused(string text)
    {
        Assert.Equal("The file is empty.", (await Assert.ThrowsAsync<FileRefusedException>(() => Death.ReadAsync(text))).Message);
    }

    [Fact]
    public async Task Given_rows_without_a_header_When_they_are_read_Then_the_file_is_refused_rather_than_its_first_death_lost()
    {
        await Assert.ThrowsAsync<FileRefusedException>(() => Death.ReadAsync($"{s_first}\n{s_second}"));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Given_a_fixed_width_line_cut_short_When_it_is_read_Then_it_is_rejected_and_the_others_go_on(bool first)
    {
        var (cut, whole) = (new Death().FixedWidth[..166], new Death().FixedWidth[..167]);

        var records = await Death.ReadAsync(first ? $"{cut}\n{whole}" : $"{whole}\n{cut}");

        var fault = Assert.Single(Assert.IsType<RejectedRecord>(records[first ? 0 : 1]).Faults);
        Assert.Equal(("", null, "166 characters, 167 or more expected"), (fault.Field, fault.Value, fault.Reason.English));
        Assert.IsType<EventRecord>(records[first ? 1 : 0]);
    }

    [Theory]
    [InlineData("\"MARTIN*LEA/;\"1\"", "a quote is not closed")]
    [InlineData("\"MARTIN*LEA/\";\"1\"", "2 fields, 9 expected")]
    [InlineData("\"MARTIN*LEA/\";\"1\";\"19220109\";\"35085\";\"DINGE\";\"\";\"19701210\";\"35238\";\"1", "a quote is not closed")]
    public async Task Given_a_row_that_is_broken_off_When_it_is_read_Then_it_does_not_take_the_next_with_it(string row, string reason)
    {
        var records = await Death.ReadAsync($"{Death.Header}\n{row}\n{s_second}\n{row}");

        var fault = Assert.Single(Assert.IsType<RejectedRecord>(records[0]).Faults);
        Assert.StartsWith(reason, fault.Reason.English, StringComparison.Ordinal);
        Assert.Null(fault.Value);
        Assert.Equal([3], Events(records));
        Assert.Equal([2, 3, 4], records.Select(record => record.Line));
    }

    [Fact]
    public async Task Given_a_line_without_end_When_it_is_read_Then_it_is_rejected_and_the_next_is_sound()
    {
        var records = await Death.ReadAsync($"{Death.Header}\n\"{new string('X', 300_000)}\n{s_second}");

        Assert.StartsWith("longer than", Assert.Single(Assert.IsType<RejectedRecord>(records[0]).Faults).Reason.English, StringComparison.Ordinal);
        Assert.Equal([3], Events(records));
    }

    [Fact]
    public async Task Given_NUL_for_blanks_When_the_line_is_read_Then_the_event_is_the_same()
    {
        var line = new Death().FixedWidth;

        var records = await Death.ReadAsync($"{line}\n{line.Replace(' ', '\0').Replace("LEA\0MARIE", "LEA MARIE", StringComparison.Ordinal)}\n\0\0\0\n");

        Assert.Equal(2, records.Count);
        Assert.Single(records.Cast<EventRecord>().Select(record => record.Event.Id).Distinct());
    }

    [Fact]
    public async Task Given_a_byte_that_is_not_utf8_late_in_the_file_When_it_is_read_Then_only_its_line_is_taken_as_latin1()
    {
        byte[] file = [.. Encoding.UTF8.GetBytes($"{Death.Header}\n{new Death(Name: "É*A/").Csv}\n"), .. Encoding.Latin1.GetBytes(new Death(Name: "É*A/").Csv)];

        var ids = (await Death.ReadAsync(file)).Cast<EventRecord>().Select(record => record.Event.Id).ToList();

        Assert.Equal(2, ids.Count);
        Assert.Single(ids.Distinct());
    }

    private static IEnumerable<long> Events(List<FormatRecord> records) => records.OfType<EventRecord>().Select(record => record.Line);
}
