using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>The school software of a commune: it declares the schools, enrols, follows classes and leavings.</summary>
internal sealed class SchoolOffice(SimulatedTerritory territory, Commune commune, Key key)
{
    private readonly Pupils _pupils = new(territory);
    private Pupil[] _roll = [];
    private int _enrolled;

    /// <summary>The pupils of the school year, those who come later in it too.</summary>
    public IReadOnlyList<Pupil> Roll => _roll;

    /// <summary>Does the work of a day. Days must come in order, the first being one on which a school year opens.</summary>
    public void Work(DateOnly day, Agenda agenda)
    {
        var year = SchoolCalendar.YearOf(day);
        if (day == SchoolCalendar.Opening(year)) Open(year, agenda);
        for (; _enrolled < _roll.Length && DateOnly.FromDateTime(_roll[_enrolled].EnrolledAt.Date) == day; _enrolled++)
        {
            var pupil = _roll[_enrolled];
            var subject = $"enrolment/{year}/{_enrolled + 1:D6}";
            agenda.Add(pupil.EnrolledAt, subject, pupil.Enrolled());
            if (pupil.ChangedAt is { } changed) agenda.Add(changed, subject, pupil.Changed());
            if (pupil.LeftAt is { } left) agenda.Add(left, subject, pupil.Withdrawn());
        }
    }

    private void Open(int year, Agenda agenda)
    {
        _roll = [.. _pupils.Of(commune, year).OrderBy(pupil => pupil.EnrolledAt).ThenBy(pupil => pupil.Key.Value)];
        _enrolled = 0;
        foreach (var (school, time, declared) in Declarations(year)) agenda.Add(time, $"school/{school}/{year}", declared);
    }

    /// <summary>The schools as they are declared for the school year of <see cref="Roll"/>, in the first half of August.</summary>
    private IEnumerable<(Uai School, DateTimeOffset Time, SchoolDeclared Declared)> Declarations(int year)
    {
        var rolls = _roll.CountBy(pupil => pupil.School.Uai).ToDictionary();
        foreach (var school in territory.Schools.Of(commune.Code))
        {
            var dice = key.With(school.Uai.ToString()).With(year).Dice();
            var day = SchoolCalendar.Weekday(SchoolCalendar.Opening(year), new DateOnly(year, 8, 14), dice);
            // Classes of 26 places, with a few to spare.
            var places = 26 * (1 + (int)(rolls.GetValueOrDefault(school.Uai) * 1.05 / 26));
            SchoolLevel[] levels = [.. Enumerable.Range((int)school.First, school.Last - school.First + 1).Select(level => (SchoolLevel)level)];
            yield return (school.Uai, FrenchTime.AtWork(day, dice), new(school.Uai, school.Name, new SchoolYear(year), levels, (ushort)places));
        }
    }
}
