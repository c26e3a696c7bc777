namespace Intercommunalite.Cli.Simulate;

/// <summary>The days that are played.</summary>
/// <param name="From">First day.</param>
/// <param name="Through">Last day.</param>
/// <param name="Until">No event is later than this instant.</param>
internal sealed record Period(DateOnly From, DateOnly Through, DateTimeOffset Until)
{
    /// <summary>Whole months, the last of which ends with <paramref name="through"/>.</summary>
    public static Period Months(int months, DateOnly through, DateTimeOffset until) =>
        new(through.AddDays(1).AddMonths(-months), through, until);

    /// <summary>
    /// First day of the schools. The school year that runs on the first day is played from its beginning: a commune that is
    /// connected loads the pupils it has.
    /// </summary>
    public DateOnly SchoolsFrom => SchoolCalendar.Opening(SchoolCalendar.YearOf(From));
}

/// <summary>Time of day in metropolitan France. The rule is written out, so that the machine's time zone tables do not matter.</summary>
internal static class FrenchTime
{
    public static DateTimeOffset At(DateOnly day, int second) => new(day.ToDateTime(TimeOnly.MinValue).AddSeconds(second), Offset(day));

    /// <summary>A time at which offices work: half past eight to half past five.</summary>
    public static DateTimeOffset AtWork(DateOnly day, Dice dice) => At(day, dice.Between(30_600, 63_000));

    public static DateOnly DayOf(DateTimeOffset instant)
    {
        var offset = Offset(DateOnly.FromDateTime(instant.UtcDateTime));
        return DateOnly.FromDateTime(instant.ToOffset(offset).DateTime);
    }

    // Summer time: from the last Sunday of March to the last of October. The hours around the change itself do not occur here.
    private static TimeSpan Offset(DateOnly day) =>
        TimeSpan.FromHours(day >= LastSunday(day.Year, 3) && day < LastSunday(day.Year, 10) ? 2 : 1);

    private static DateOnly LastSunday(int year, int month)
    {
        var last = new DateOnly(year, month, 31);
        return last.AddDays(-(int)last.DayOfWeek);
    }
}

/// <summary>How something spreads over the week and the year: 1 is the average.</summary>
/// <param name="week">Weights from Sunday to Saturday.</param>
/// <param name="year">Weights from January to December.</param>
internal sealed class Rhythm(double[] week, double[] year)
{
    private static readonly double[] s_even = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];

    /// <summary>Counters of a town hall: every day but Sunday, and Saturday morning.</summary>
    public static Rhythm TownHall { get; } = new([0, 1.2, 1, 1, 1, 1.1, 0.4], s_even);

    /// <summary>Weddings.</summary>
    public static Rhythm Weddings { get; } = new([0, 0.1, 0.1, 0.1, 0.2, 0.8, 5], [0.3, 0.4, 0.5, 0.8, 1.3, 1.8, 1.6, 1.7, 1.7, 0.8, 0.4, 0.6]);

    /// <summary>What people file from home.</summary>
    public static Rhythm Online { get; } = new([0.9, 1.2, 1.1, 1.1, 1, 0.9, 0.8], [1, 1, 1, 1, 1, 1.2, 0.8, 1, 1.3, 1, 0.9, 0.8]);

    private readonly double _average = week.Average() * year.Average();

    public double On(DateOnly day) => week[(int)day.DayOfWeek] * year[day.Month - 1] / _average;
}

/// <summary>The school year as the simulation knows it.</summary>
internal static class SchoolCalendar
{
    /// <summary>The day on which a school year begins to be prepared: schools are declared from then on.</summary>
    public static DateOnly Opening(int year) => new(year, 8, 1);

    /// <summary>The school year that is prepared or runs on a day.</summary>
    public static int YearOf(DateOnly day) => day.Month >= 8 ? day.Year : day.Year - 1;

    /// <summary>A day from <paramref name="first"/> to <paramref name="last"/> that is not of a weekend.</summary>
    public static DateOnly Weekday(DateOnly first, DateOnly last, Dice dice)
    {
        while (true)
        {
            var day = first.AddDays(dice.Between(0, last.DayNumber - first.DayNumber));
            if (!IsWeekend(day)) return day;
        }
    }

    /// <summary>The first day from <paramref name="day"/> on that is not of a weekend.</summary>
    public static DateOnly WeekdayFrom(DateOnly day)
    {
        while (IsWeekend(day)) day = day.AddDays(1);
        return day;
    }

    /// <summary>Whether invoices of the month are issued on this day: the last weekday of it, in a month of school.</summary>
    public static bool IsBillingDay(DateOnly day)
    {
        if (day.Month is 7 or 8 || IsWeekend(day)) return false;
        return WeekdayFrom(day.AddDays(1)).Month != day.Month;
    }

    private static bool IsWeekend(DateOnly day) => day.DayOfWeek is DayOfWeek.Saturday or DayOfWeek.Sunday;
}
