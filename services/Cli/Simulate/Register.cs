namespace Intercommunalite.Cli.Simulate;

/// <summary>A record written on a day, numbered within its year.</summary>
internal readonly record struct Entry(DateOnly Day, DateTimeOffset Time, int Number, Dice Dice)
{
    public string Subject(string kind) => $"{kind}/{Day.Year}/{Number:D6}";
}

/// <summary>
/// A book in which records are numbered from 1 each year, as they come. How many come on a day depends on that day alone, so
/// a number is the same wherever the period begins.
/// </summary>
/// <param name="key">The commune's book.</param>
/// <param name="perYear">Records expected in a year.</param>
/// <param name="rhythm">On which days.</param>
/// <param name="hours">Between which seconds of the day.</param>
internal sealed class Register(Key key, double perYear, Rhythm rhythm, (int From, int To) hours)
{
    private DateOnly _next;
    private int _number;

    /// <summary>The records of a day, in order.</summary>
    public IEnumerable<Entry> On(DateOnly day)
    {
        if (day != _next || day.DayOfYear == 1) _number = Before(day);
        _next = day.AddDays(1);
        var dice = key.With(day.DayNumber).Dice();
        var seconds = new int[dice.Count(Mean(day))];
        for (var i = 0; i < seconds.Length; i++) seconds[i] = dice.Between(hours.From, hours.To);
        Array.Sort(seconds);
        for (var i = 0; i < seconds.Length; i++)
            yield return new Entry(day, FrenchTime.At(day, seconds[i]), ++_number, key.With(day.DayNumber).With(i).Dice());
    }

    private int Before(DateOnly day)
    {
        var count = 0;
        for (var earlier = new DateOnly(day.Year, 1, 1); earlier < day; earlier = earlier.AddDays(1))
            count += key.With(earlier.DayNumber).Dice().Count(Mean(earlier));
        return count;
    }

    private double Mean(DateOnly day) => perYear / 365.25 * rhythm.On(day);
}
