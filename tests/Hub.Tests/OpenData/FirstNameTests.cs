using Intercommunalite.Hub.OpenData;
using Xunit;

namespace Intercommunalite.Hub.Tests.OpenData;

public sealed class FirstNameTests
{
    [Theory]
    [InlineData("LÉA", "Léa")]
    [InlineData("léa", "Léa")]
    [InlineData("Léa Marie Anne", "Léa")]
    [InlineData("Léa, Marie", "Léa")]
    [InlineData("Léa,Marie", "Léa")]
    [InlineData("  LOUIS  ", "Louis")]
    [InlineData("LOUIS\u00A0Marie", "Louis")]
    [InlineData("JEAN-PIERRE", "Jean-Pierre")]
    [InlineData("jean-pierre Louis", "Jean-Pierre")]
    [InlineData("Mohamed-El-Amine", "Mohamed-El-Amine")]
    [InlineData("N'DEYE", "N'Deye")]
    [InlineData("n’deye", "N'Deye")]
    [InlineData("gwenc'hlan", "Gwenc'Hlan")]
    [InlineData("'ABDOU", "'Abdou")]
    [InlineData("ŒUVRE", "Œuvre")]
    [InlineData("ANAÏS", "Anaïs")]
    [InlineData("Le\u0301a", "Léa")]
    [InlineData("Jean\u2011Marc", "Jean-Marc")]
    public void Given_first_names_Then_the_first_is_written_as_the_schema_wants_it(string firstNames, string name) =>
        Assert.Equal(name, FirstName.Of(firstNames));

    [Theory]
    [InlineData("Iñaki")]
    [InlineData("Łucja")]
    [InlineData("Мария")]
    [InlineData("İrem")]
    [InlineData("Jos\u00E1")]
    [InlineData("J.")]
    [InlineData("X2")]
    [InlineData("-")]
    [InlineData("Jean-")]
    [InlineData("Jean--Marc")]
    [InlineData("=SUM(A1)")]
    [InlineData("Léa\"")]
    [InlineData(",")]
    [InlineData(" ")]
    public void Given_a_name_that_the_schema_cannot_express_Then_there_is_none(string firstNames) => Assert.Null(FirstName.Of(firstNames));

    [Fact]
    public void Given_a_name_of_greatest_length_made_of_apostrophes_Then_the_answer_comes_at_once()
    {
        var started = TimeProvider.System.GetTimestamp();
        Assert.Null(FirstName.Of($"A{string.Concat(Enumerable.Repeat("'a'", 333))}1"));
        Assert.True(TimeProvider.System.GetElapsedTime(started) < TimeSpan.FromSeconds(5));
    }
}
