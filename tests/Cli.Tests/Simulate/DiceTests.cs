using Intercommunalite.Cli.Simulate;

namespace Intercommunalite.Cli.Tests.Simulate;

public class DiceTests
{
    [Fact]
    public void Given_a_state_When_drawn_Then_the_numbers_are_those_of_SplitMix64()
    {
        // The generator's published outputs for seed 1234567: a change of them would change every simulated past.
        var dice = new Dice(1234567);

        Assert.Equal([6457827717110365317UL, 3203168211198807973UL, 9817491932198370423UL], [dice.Next(), dice.Next(), dice.Next()]);
    }

    [Fact]
    public void Given_keys_by_different_ways_When_compared_Then_they_differ()
    {
        var key = new Key(0).With("35085");

        Key[] keys = [key.With("birth"), key.With("death"), key.With(1), key.With(2), key.With(1).With(2), key.With(2).With(1)];

        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(key.With("birth"), new Key(0).With("35085").With("birth"));
    }

    [Theory]
    [InlineData(0.01)]
    [InlineData(3)]
    [InlineData(700)]
    public void Given_a_mean_When_counts_are_drawn_Then_they_average_to_it(double mean)
    {
        var dice = new Key(7).Dice();

        var average = Enumerable.Range(0, 20_000).Average(_ => dice.Count(mean));

        Assert.InRange(average, mean - (5 * Math.Sqrt(mean / 20_000)), mean + (5 * Math.Sqrt(mean / 20_000)));
    }

    [Fact]
    public void Given_weights_When_drawn_Then_each_index_comes_as_often_as_its_weight_says()
    {
        var dice = new Key(7).Dice();

        var draws = Enumerable.Range(0, 10_000).Select(_ => dice.Weighted([1, 1, 4, 10])).CountBy(index => index).ToDictionary();

        Assert.False(draws.ContainsKey(1));
        Assert.InRange(draws[0], 850, 1150);
        Assert.InRange(draws[2], 2800, 3200);
        Assert.InRange(draws[3], 5800, 6200);
    }
}
