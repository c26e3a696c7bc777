using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class RejectsTests : IDisposable
{
    private const string Columns = "type;line;field;value;raison;reason;que faire;what to do\r\n";

    private static readonly Reason s_reason = new("mal", "wrong", new("refaire", "do it again"));

    private readonly TemporaryFolder _folder = new();

    private string ReportPath => _folder.Combine("rejects.csv");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Given_faults_and_remarks_When_they_are_written_Then_the_file_opens_in_a_spreadsheet()
    {
        var bytes = await WriteAsync(async rejects =>
        {
            await rejects.AddAsync(3, [Fault.OfCode("datedeces", "19701399", s_reason), Fault.Of("nomprenom", s_reason)]);
            await rejects.RemarkAsync(4, Fault.Of("", s_reason));
            await rejects.RefuseAsync(s_reason with { English = "Not \"this\"; not that." });
        });

        Assert.Equal(Encoding.UTF8.GetPreamble(), bytes[..3]);
        Assert.Equal(
            $"{Columns}rejet;3;datedeces;19701399;mal;wrong;refaire;do it again\r\nrejet;3;nomprenom;;mal;wrong;refaire;do it again\r\n"
            + "remarque;4;;;mal;wrong;refaire;do it again\r\nrefus;;;;mal;\"Not \"\"this\"\"; not that.\";refaire;do it again\r\n",
            Encoding.UTF8.GetString(bytes[3..]));
    }

    [Fact]
    public async Task Given_a_report_of_a_run_that_was_cut_off_When_it_goes_on_Then_what_was_behind_the_mark_is_gone_and_the_columns_stand_once()
    {
        long mark = 0;
        await WriteAsync(async rejects =>
        {
            await rejects.AddAsync(1, [Fault.Of("a", s_reason)]);
            mark = await rejects.FlushAsync();
            await rejects.AddAsync(2, [Fault.Of("b", s_reason)]);
        });

        var bytes = await WriteAsync(rejects => rejects.AddAsync(3, [Fault.Of("c", s_reason)]), mark);

        Assert.Equal(
            $"\uFEFF{Columns}rejet;1;a;;mal;wrong;refaire;do it again\r\nrejet;3;c;;mal;wrong;refaire;do it again\r\n", Encoding.UTF8.GetString(bytes));
    }

    [Fact]
    public async Task Given_a_file_of_nothing_but_faults_When_its_report_is_written_Then_it_ends_at_some_length_and_says_so()
    {
        var bytes = await WriteAsync(async rejects =>
        {
            for (var line = 1; line <= 1_000_000; line++) await rejects.AddAsync(line, [Fault.Of("a", s_reason)]);
            await rejects.RefuseAsync(s_reason);
        });

        Assert.InRange(bytes.Length, 20 << 20, 21 << 20);
        var rows = Encoding.UTF8.GetString(bytes).Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Contains("the report ends here", rows[^2], StringComparison.Ordinal);
        Assert.StartsWith("refus;", rows[^1], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("19701399", true)]
    [InlineData("2A004", true)]
    [InlineData("=1+1", true)]
    [InlineData("DUPONT*LEA/", false)]
    [InlineData("LEA", false)]
    [InlineData("123456789012345678901", false)]
    public void Given_a_field_of_a_code_When_it_holds_something_else_Then_it_is_not_shown(string value, bool shown)
    {
        Assert.Equal(shown ? value : null, Fault.OfCode("lieudeces", value, s_reason).Value);
    }

    private async Task<byte[]> WriteAsync(Func<Rejects, ValueTask> write, long mark = 0)
    {
        await using (var rejects = await Rejects.OpenAsync(ReportPath, mark)) await write(rejects);
        return await File.ReadAllBytesAsync(ReportPath);
    }
}
