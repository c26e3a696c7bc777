using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class CsvRowTests
{
    [Theory]
    [InlineData("a;b;c", "a|b|c")]
    [InlineData("\"a\";\"b;c\";\"\"", "a|b;c|")]
    [InlineData("\"say \"\"hello\"\"\";b", "say \"hello\"|b")]
    [InlineData(";;", "||")]
    [InlineData("", "")]
    [InlineData("a;\"b\"", "a|b")]
    [InlineData("5\" disc;b", "5\" disc|b")]
    public void Given_a_row_When_it_is_split_Then_its_fields_come_without_quotes(string line, string expected)
    {
        Assert.Equal(expected, string.Join('|', CsvRow.Split(line)!));
    }

    [Theory]
    [InlineData("\"a;b")]
    [InlineData("\"a\"b;c")]
    [InlineData("a;\"")]
    [InlineData("\"a\"\"")]
    public void Given_a_quote_out_of_place_When_the_row_is_split_Then_it_is_refused(string line)
    {
        Assert.Null(CsvRow.Split(line));
    }
}
