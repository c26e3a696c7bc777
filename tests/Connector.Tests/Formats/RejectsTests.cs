using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class RejectsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Given_faults_When_they_are_written_Then_the_file_opens_in_a_spreadsheet()
    {
        var bytes = Write(rejects =>
        {
            rejects.Add(3, [Fault.OfCode("datedeces", "19701399", "no such date"), Fault.Of("nomprenom", "the last name is missing")]);
            rejects.AddRefusal("Not \"this\"; not that.");
        });

        Assert.Equal(Encoding.UTF8.GetPreamble(), bytes[..3]);
        Assert.Equal(
            "line;field;value;reason\r\n3;datedeces;19701399;no such date\r\n3;nomprenom;;the last name is missing\r\n;;;\"Not \"\"this\"\"; not that.\"\r\n",
            Encoding.UTF8.GetString(bytes[3..]));
    }

    [Theory]
    [InlineData("=1+1", "'=1+1")]
    [InlineData("+33", "'+33")]
    [InlineData("-1", "'-1")]
    [InlineData("@A1", "'@A1")]
    [InlineData("\t1", "'\t1")]
    [InlineData("\r1", "\"'\r1\"")]
    [InlineData("1=1", "1=1")]
    public void Given_a_value_that_a_spreadsheet_would_run_When_it_is_written_Then_it_is_text(string value, string cell)
    {
        var bytes = Write(rejects => rejects.Add(1, [new Fault("actedeces", value, "reason")]));

        Assert.Contains($"1;actedeces;{cell};reason\r\n", Encoding.UTF8.GetString(bytes), StringComparison.Ordinal);
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
        Assert.Equal(shown ? value : null, Fault.OfCode("lieudeces", value, "reason").Value);
    }

    private byte[] Write(Action<Rejects> write)
    {
        var path = _folder.Combine("rejects.csv");
        using (var rejects = Rejects.Create(path)) write(rejects);
        return File.ReadAllBytes(path);
    }
}
