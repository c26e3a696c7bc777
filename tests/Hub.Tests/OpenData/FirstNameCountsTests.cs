using Intercommunalite.Contracts;
using Intercommunalite.Hub.OpenData;
using Xunit;

namespace Intercommunalite.Hub.Tests.OpenData;

public sealed class FirstNameCountsTests
{
    private const string Combourg = "35085";
    private const string Tinteniac = "35337";

    [Fact]
    public void Given_births_When_counted_Then_names_are_told_from_the_threshold_on_by_commune_and_sex()
    {
        var (rows, leftOut) = FirstNameCounts.Count(
            [
                Named(Tinteniac, Sex.Female, "Léa", 3), Named(Combourg, Sex.Female, "LÉA Marie", 1), Named(Combourg, Sex.Female, "Léa", 1),
                Named(Combourg, Sex.Female, "léa", 1), Named(Combourg, Sex.Female, "Ève", 4), Named(Combourg, Sex.Male, "Camille", 2), Named(Combourg, Sex.Female, "Camille", 2),
            ],
            threshold: 3);

        Assert.Equal([new(Combourg, 'F', "Ève", 4), new(Combourg, 'F', "Léa", 3), new(Tinteniac, 'F', "Léa", 3)], rows);
        Assert.Equal(new LeftOut(BelowThreshold: 4), leftOut);
    }

    [Fact]
    public void Given_births_that_cannot_be_named_When_counted_Then_the_reason_is_told_only_where_it_is_frequent_enough()
    {
        Births[] births =
        [
            Named(Combourg, Sex.Male, "Iñaki", 2), Named(Combourg, Sex.Female, "Łucja", 1), Named(Tinteniac, Sex.Male, "Iñaki", 2),
            new(Combourg, Held: false, null, null, 5), new(Tinteniac, Held: false, null, null, 1),
            new(Combourg, Held: true, null, "Camille", 2), new(Combourg, Held: true, Sex.Male, null, 2), new(Tinteniac, Held: true, null, null, 2),
        ];

        Assert.Equal(new LeftOut(BelowThreshold: 5, NotExpressible: 3, NotHeld: 5, Incomplete: 4), FirstNameCounts.Count(births, 3).LeftOut);
        Assert.Equal(new LeftOut(BelowThreshold: 0, NotExpressible: 5, NotHeld: 6, Incomplete: 6), FirstNameCounts.Count(births, 1).LeftOut);
    }

    [Fact]
    public void Given_any_births_and_threshold_When_counted_Then_every_birth_is_in_a_row_or_left_out_and_communes_add_up_to_the_territory()
    {
        var dice = new Random(7);
        string?[] names = ["Léa", "LÉA", "Tom", "Iñaki", null];
        Sex?[] sexes = [Sex.Female, Sex.Male, null];
        string[] communes = [Combourg, Tinteniac];
        for (var trial = 0; trial < 200; trial++)
        {
            Births[] births = [.. Enumerable.Range(0, 20).Select(_ => new Births(
                communes[dice.Next(2)], dice.Next(4) > 0, sexes[dice.Next(3)], names[dice.Next(5)], dice.Next(1, 4)))];
            var threshold = dice.Next(1, 8);
            var (rows, leftOut) = FirstNameCounts.Count(births, threshold);
            var parts = communes.Select(commune => FirstNameCounts.Count(births.Where(birth => birth.Commune == commune), threshold)).ToList();

            Assert.Equal(births.Sum(birth => birth.Count), rows.Sum(row => row.Count) + Sum(leftOut));
            Assert.All(rows, row => Assert.True(row.Count >= threshold));
            Assert.Equal(rows, parts.SelectMany(part => part.Rows));
            Assert.Equal(leftOut, parts.Select(part => part.LeftOut).Aggregate((one, other) => new LeftOut(
                one.BelowThreshold + other.BelowThreshold, one.NotExpressible + other.NotExpressible, one.NotHeld + other.NotHeld, one.Incomplete + other.Incomplete)));
        }
    }

    private static Births Named(string commune, Sex sex, string names, long count) => new(commune, Held: true, sex, names, count);

    private static long Sum(LeftOut leftOut) => leftOut.BelowThreshold + leftOut.NotExpressible + leftOut.NotHeld + leftOut.Incomplete;
}
