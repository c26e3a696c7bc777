using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.Protocol.Tests;

/// <summary>
/// The journal protocol on thousands of seeds. A failing seed is printed; <c>PROTOCOL_SEED=n</c> runs that one alone and
/// prints what happened, <c>PROTOCOL_SEEDS=n</c> runs so many.
/// </summary>
public sealed class SimulationTests(ITestOutputHelper output)
{
    private static readonly TimeSpan s_recovery = TimeSpan.FromSeconds(30);

    [Fact]
    public void Given_all_that_can_go_wrong_When_it_has_passed_Then_every_accepted_event_is_in_the_store_once_in_order()
    {
        var happened = new SortedDictionary<string, int>();
        var slowest = TimeSpan.Zero;
        foreach (var seed in Seeds(5_000))
        {
            var world = Run(seed, new Rules());
            foreach (var (what, times) in world.Happened) happened[what] = happened.GetValueOrDefault(what) + times;
            if (world.Recovery > slowest) slowest = world.Recovery;
            Assert.True(world.Recovery <= s_recovery, $"seed {seed}: it took {world.Recovery.TotalSeconds:0} s until everything was in the store");
        }

        foreach (var (what, times) in happened) output.WriteLine($"{times,9:N0} {what}");
        output.WriteLine($"slowest recovery: {slowest.TotalSeconds:0.0} s");
    }

    [Theory]
    [MemberData(nameof(WithoutARule))]
    public void Given_a_rule_taken_away_When_all_that_can_go_wrong_has_passed_Then_the_check_fails(string rule)
    {
        var rules = rule switch
        {
            nameof(Rules.DropsKnownPositions) => new Rules { DropsKnownPositions = false },
            nameof(Rules.DropsKnownEvents) => new Rules { DropsKnownEvents = false },
            nameof(Rules.MindsGaps) => new Rules { MindsGaps = false },
            nameof(Rules.MindsForks) => new Rules { MindsForks = false },
            nameof(Rules.Resends) => new Rules { Resends = false },
            nameof(Rules.KeepsForRetention) => new Rules { KeepsForRetention = false },
            _ => throw new ArgumentOutOfRangeException(nameof(rule)),
        };

        var failed = Enumerable.Range(1, 400).Count(seed =>
        {
            try
            {
                new World(seed, rules).Run();
                return false;
            }
            catch (BrokenPromiseException)
            {
                return true;
            }
        });

        output.WriteLine($"{failed} of 400 seeds fail");
        Assert.True(failed > 0);
    }

    public static TheoryData<string> WithoutARule() =>
    [
        nameof(Rules.DropsKnownPositions), nameof(Rules.DropsKnownEvents), nameof(Rules.MindsGaps), nameof(Rules.MindsForks), nameof(Rules.Resends),
        nameof(Rules.KeepsForRetention),
    ];

    [Fact]
    public void Given_a_seed_When_it_is_run_again_Then_the_same_happens()
    {
        Assert.Equal(Run(7, new Rules()).Happened, Run(7, new Rules()).Happened);
        Assert.NotEqual(Run(7, new Rules()).Happened, Run(8, new Rules()).Happened);
    }

    private World Run(int seed, Rules rules)
    {
        var world = new World(seed, rules) { History = Alone is null ? null : [] };
        try
        {
            world.Run();
            return world;
        }
        catch (Exception e)
        {
            foreach (var line in world.History ?? []) output.WriteLine(line);
            throw new InvalidOperationException($"Seed {seed}: {e.Message} Run it alone with PROTOCOL_SEED={seed}.", e);
        }
    }

    private static int? Alone => int.TryParse(Environment.GetEnvironmentVariable("PROTOCOL_SEED"), out var seed) ? seed : null;

    private static IEnumerable<int> Seeds(int count) =>
        Alone is { } seed ? [seed]
        : Enumerable.Range(1, int.TryParse(Environment.GetEnvironmentVariable("PROTOCOL_SEEDS"), out var many) ? many : count);
}
