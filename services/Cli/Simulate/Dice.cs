using System.Text;

namespace Intercommunalite.Cli.Simulate;

/// <summary>
/// Names one thing of the simulation by the way to it: seed, territory, commune, stream, day, number. The same way gives the
/// same dice on every machine and with every version of .NET, whatever else was drawn before; that is why the framework's
/// own random numbers and hash codes are not used.
/// </summary>
internal readonly record struct Key(ulong Value)
{
    public Key With(long part) => new(SplitMix.Mix(Value ^ SplitMix.Mix((ulong)part + SplitMix.Step)));

    public Key With(string part)
    {
        // FNV-1a, then mixed with what is before.
        var hash = 0xCBF29CE484222325UL;
        foreach (var one in Encoding.UTF8.GetBytes(part)) hash = (hash ^ one) * 0x100000001B3UL;
        return With((long)hash);
    }

    public Dice Dice() => new(Value);
}

/// <summary>Random draws.</summary>
internal sealed class Dice(ulong state)
{
    private ulong _state = state;

    public ulong Next() => SplitMix.Mix(_state += SplitMix.Step);

    /// <summary>0 to 1, 1 excluded.</summary>
    public double Unit() => (Next() >> 11) * (1.0 / (1UL << 53));

    /// <summary>0 to <paramref name="count"/>, excluded.</summary>
    public int Below(int count) => (int)(((UInt128)Next() * (ulong)count) >> 64);

    /// <summary><paramref name="least"/> to <paramref name="most"/>, both included.</summary>
    public int Between(int least, int most) => least + Below(most - least + 1);

    public bool Chance(double probability) => Unit() < probability;

    public T Of<T>(IReadOnlyList<T> all) => all[Below(all.Count)];

    /// <summary>How many of something happen when <paramref name="mean"/> are expected (Poisson).</summary>
    public int Count(double mean)
    {
        // Knuth's product of uniforms; in parts, since e^-mean leaves the range of doubles at about 700.
        var count = 0;
        for (; mean > 500; mean -= 500) count += Count(500);
        var limit = Math.Exp(-mean);
        for (var product = Unit(); product > limit; product *= Unit()) count++;
        return count;
    }

    /// <summary>An index, as often as its share of the running totals in <paramref name="totals"/> says.</summary>
    public int Weighted(IReadOnlyList<double> totals)
    {
        var at = Unit() * totals[^1];
        int low = 0, high = totals.Count - 1;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (totals[middle] > at) high = middle;
            else low = middle + 1;
        }

        return low;
    }
}

/// <summary>SplitMix64 (Steele, Lea and Flood, 2014): numbers that look random, each from a counter that goes up by a step.</summary>
file static class SplitMix
{
    public const ulong Step = 0x9E3779B97F4A7C15UL;

    public static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }
}
