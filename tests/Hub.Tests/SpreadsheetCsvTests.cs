using System.Globalization;
using System.Text;
using Intercommunalite.ServiceDefaults;
using Xunit;

namespace Intercommunalite.Hub.Tests;

public sealed class SpreadsheetCsvTests
{
    [Theory]
    [InlineData("Combourg", "Combourg")]
    [InlineData("", "")]
    [InlineData(null, "")]
    [InlineData("a;b", "\"a;b\"")]
    [InlineData("a,b", "a,b")]
    [InlineData("a \"b\" c", "\"a \"\"b\"\" c\"")]
    [InlineData("a\nb", "\"a\nb\"")]
    [InlineData("a\rb", "\"a\rb\"")]
    [InlineData(" a ", " a ")]
    [InlineData("École élémentaire – œuvre 😀", "École élémentaire – œuvre 😀")]
    [InlineData("35-37", "35-37")]
    public async Task Given_a_text_When_written_Then_it_is_one_field(string? text, string field) =>
        Assert.Equal($"{field};end\r\n", await WrittenAsync(csv => csv.Text(text).Text("end")));

    [Theory]
    [InlineData("=1+1", "'=1+1")]
    [InlineData("+1", "'+1")]
    [InlineData("-1", "'-1")]
    [InlineData("@SUM(A1)", "'@SUM(A1)")]
    [InlineData("\t=1", "'\t=1")]
    [InlineData("\r=1", "\"'\r=1\"")]
    [InlineData("\n=1", "\"'\n=1\"")]
    [InlineData("\uFF1D1", "'\uFF1D1")]
    [InlineData("\uFF0B1", "'\uFF0B1")]
    [InlineData("\uFF0D1", "'\uFF0D1")]
    [InlineData("\uFF20A", "'\uFF20A")]
    [InlineData("=A1;\"x\"", "\"'=A1;\"\"x\"\"\"")]
    public async Task Given_a_text_that_begins_as_a_formula_When_written_Then_it_stays_text(string text, string field) =>
        Assert.Equal($"{field}\r\n", await WrittenAsync(csv => csv.Text(text)));

    [Theory]
    [InlineData(123456L, "1234,56", "1234.56")]
    [InlineData(5L, "0,05", "0.05")]
    [InlineData(0L, "0,00", "0.00")]
    [InlineData(-150L, "-1,50", "-1.50")]
    [InlineData(long.MaxValue, "92233720368547758,07", "92233720368547758.07")]
    [InlineData(null, "", "")]
    public async Task Given_an_amount_in_cents_When_written_Then_it_is_a_number_of_euros_as_the_separator_wants_it(long? cents, string semicolon, string comma)
    {
        Assert.Equal($"{semicolon};x\r\n", await WrittenAsync(csv => csv.Euros(cents).Text("x")));
        Assert.Equal($"{comma},x\r\n", await WrittenAsync(csv => csv.Euros(cents).Text("x"), ','));
    }

    [Fact]
    public async Task Given_another_culture_When_numbers_are_written_Then_they_are_plain_digits_and_not_taken_for_formulas()
    {
        var culture = (CultureInfo)CultureInfo.GetCultureInfo("fr-FR").Clone();
        (culture.NumberFormat.NegativeSign, culture.NumberFormat.NumberDecimalSeparator) = ("minus ", "'");
        CultureInfo.CurrentCulture = culture;
        Assert.Equal("1234567;-5;;-0,05\r\n", await WrittenAsync(csv => csv.Number(1234567).Number(-5).Number(null).Euros(-5)));
    }

    [Fact]
    public async Task Given_commas_as_separator_Then_they_are_what_is_quoted() =>
        Assert.Equal("\"a,b\",c;d\r\n", await WrittenAsync(csv => csv.Text("a,b").Text("c;d"), ','));

    [Fact]
    public async Task Given_empty_fields_first_and_last_When_rows_are_written_Then_each_row_has_all_its_fields() =>
        Assert.Equal(";;a\r\nb;;\r\n", await WrittenAsync(async csv =>
        {
            await csv.RowAsync([null, "", "a"]);
            await csv.RowAsync(["b", "", null]);
        }));

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Given_a_file_When_written_Then_the_mark_is_there_once_where_it_was_asked_for(bool withMark)
    {
        using var target = new MemoryStream();
        await using (var csv = new SpreadsheetCsv(target, withMark: withMark))
        {
            await csv.RowAsync(["é"]);
            await csv.FlushAsync();
            await csv.RowAsync(["è"]);
        }

        byte[] mark = withMark ? [0xEF, 0xBB, 0xBF] : [];
        Assert.Equal([.. mark, .. "é\r\nè\r\n"u8], target.ToArray());
    }

    private static Task<string> WrittenAsync(Action<SpreadsheetCsv> row, char separator = ';') => WrittenAsync(async csv =>
    {
        row(csv);
        await csv.EndRowAsync();
    }, separator);

    private static async Task<string> WrittenAsync(Func<SpreadsheetCsv, Task> rows, char separator = ';')
    {
        using var target = new MemoryStream();
        await using (var csv = new SpreadsheetCsv(target, separator, withMark: false)) await rows(csv);
        return Encoding.UTF8.GetString(target.ToArray());
    }
}
