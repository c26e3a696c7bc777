using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>A pupil's school year. <c>Key</c> is the pupil's, the same from year to year; <c>Year</c> is this year's.</summary>
internal sealed record Pupil(
    Key Key,
    Key Year,
    SchoolYear SchoolYear,
    int BirthYear,
    School School,
    SchoolLevel Level,
    Commune Residence,
    DerogationReason? Derogation,
    DateTimeOffset EnrolledAt,
    DateTimeOffset? ChangedAt,
    DateTimeOffset? LeftAt,
    bool ChangesLevel,
    Commune? MovesTo,
    bool EatsAtTheCanteen,
    bool StaysAfterSchool)
{
    public PupilEnrolled Enrolled() => new(School.Uai, SchoolYear, Level, Residence.Code, DateOnly.FromDateTime(EnrolledAt.Date), Derogation)
    {
        Personal = Personal(Year.Dice(), Residence),
    };

    public PupilChangedClass Changed()
    {
        var level = ChangesLevel ? Level + 1 : Level;
        var residence = MovesTo ?? Residence;
        DerogationReason? derogation = residence == School.Commune ? null : Derogation ?? DerogationReason.ResidenceAgreement;
        return new(School.Uai, SchoolYear, level, residence.Code, DateOnly.FromDateTime(ChangedAt!.Value.Date), derogation)
        {
            Personal = Personal(Year.With("class").Dice(), residence),
        };
    }

    public PupilWithdrawn Withdrawn() => new(School.Uai, SchoolYear, Level, Residence.Code, DateOnly.FromDateTime(LeftAt!.Value.Date), Derogation)
    {
        Personal = Personal(Year.Dice(), Residence),
    };

    /// <summary>Who pays for the pupil.</summary>
    public Person Responsible(Commune residence) => Family(Key.Dice(), residence).Responsible;

    private (Person Responsible, Person Child) Family(Dice dice, Commune residence) =>
        People.Family(dice, new DateOnly(SchoolYear.Start, 9, 1), BirthYear, residence.Name);

    private PupilPersonal Personal(Dice teacher, Commune residence)
    {
        var dice = Key.Dice();
        var (responsible, child) = Family(dice, residence);
        return new(child, $"{dice.Next() % 10_000_000_000:D10}{(char)('A' + dice.Below(26))}", People.ClassName(teacher), [responsible]);
    }
}

/// <summary>
/// The pupils of a territory. Each has a place in a cohort (commune of residence, year of birth, number); everything about a
/// year of theirs follows from it, so that any year can be told without those before. Who leaves within a year, or whose
/// level or residence changes, is followed in the place by another child the next year.
/// </summary>
internal sealed class Pupils(SimulatedTerritory territory)
{
    private const int AgeAtFirst = 3;
    private const double Late = 0.03;
    private const double Leaving = 0.025;
    private const double Changing = 0.03;

    private static readonly SchoolLevel[] s_levels = [.. Enum.GetValues<SchoolLevel>().Where(level => level <= SchoolLevel.CM2)];

    private readonly Key _key = territory.Key.With("pupils");

    /// <summary>The pupils enrolled in the schools of a commune in a school year, those from other communes with them.</summary>
    public IEnumerable<Pupil> Of(Commune host, int year)
    {
        if (territory.Schools.Of(host.Code).Count == 0) return [];
        return territory.Schools.Senders(host.Code).Prepend(host)
            .SelectMany(residence => Cohorts(residence, year, residence.Population * SchoolMap.PupilsPerInhabitant, "members"))
            .Where(place => territory.Schools.Host(place.Home.Code, place.Key.With("host").Dice()) == host.Code)
            .Concat(Cohorts(host, year, host.Population * SchoolMap.PupilsPerInhabitant * SchoolMap.FromElsewhere, "elsewhere")
                .Select(place => place with { Home = territory.Outside(place.Key.With("home").Dice()) }))
            .Select(place => Enrol(place, host, year));
    }

    private IEnumerable<Place> Cohorts(Commune commune, int year, double pupils, string kind)
    {
        var key = _key.With(kind).With(commune.Code.ToString());
        foreach (var level in s_levels)
        {
            var birthYear = year - AgeAtFirst - (int)level;
            var cohort = key.With(birthYear);
            var mean = pupils / s_levels.Length;
            var size = (int)mean + (cohort.Dice().Chance(mean % 1) ? 1 : 0);
            for (var i = 0; i < size; i++) yield return new Place(cohort.With(i), birthYear, level, commune);
        }
    }

    private Pupil Enrol(Place place, Commune host, int year)
    {
        var generation = Enumerable.Range(0, (int)place.Level)
            .Count(level => Course.Of(place.Key, place.BirthYear + AgeAtFirst + level, level).IsLast);
        var key = place.Key.With("child").With(generation);
        var dice = key.With("school").Dice();
        School[] teaching = [.. territory.Schools.Of(host.Code).Where(school => school.Teaches(place.Level))];
        var school = teaching[dice.Below(teaching.Length)];
        var derogation = place.Home == host ? (DerogationReason?)null : Derogation(place.Home, dice);
        var course = Course.Of(place.Key, year, (int)place.Level);
        var habits = key.With(year).Dice();
        return new Pupil(
            key, key.With(year), new SchoolYear(year), place.BirthYear, school, place.Level, place.Home, derogation,
            course.Enrolled, course.Changed, course.Left, course.ChangesLevel,
            course.Moves ? territory.Member(habits) : null, habits.Chance(0.7), habits.Chance(0.25));
    }

    // Whose commune has no school has no choice; others have their reasons.
    private DerogationReason Derogation(Commune residence, Dice dice) => dice.Unit() switch
    {
        _ when territory.Epci.Member(residence.Code) is not null && territory.Schools.Of(residence.Code).Count == 0 => DerogationReason.NoPlace,
        < 0.45 => DerogationReason.ResidenceAgreement,
        < 0.65 => DerogationReason.ParentsWork,
        < 0.85 => DerogationReason.Sibling,
        < 0.92 => DerogationReason.Other,
        < 0.97 => DerogationReason.Health,
        _ => DerogationReason.NoPlace,
    };

    private readonly record struct Place(Key Key, int BirthYear, SchoolLevel Level, Commune Home);

    /// <summary>The course of one place's school year.</summary>
    private readonly record struct Course(DateTimeOffset Enrolled, DateTimeOffset? Changed, DateTimeOffset? Left, bool ChangesLevel, bool Moves)
    {
        public bool IsLast => Left is not null || ChangesLevel || Moves;

        public static Course Of(Key place, int year, int level)
        {
            var dice = place.With("year").With(year).Dice();
            var draw = dice.Unit();
            var late = draw < Late;
            var enrolled = At(late ? new(year, 10, 1) : new(year, 8, 15), late ? new(year, 12, 20) : new(year, 9, 10));
            if (draw is >= Late and < Late + Leaving) return new(enrolled, null, At(new(year, 10, 1), new(year + 1, 6, 30)), false, false);
            if (draw is < Late or >= Late + Leaving + Changing) return new(enrolled, null, null, false, false);
            var what = dice.Unit();
            // A level up, within one school; a family that moves; else another teacher.
            var higher = what < 0.15 && (SchoolLevel)level is not (SchoolLevel.GS or SchoolLevel.CM2);
            return new(enrolled, At(new(year + 1, 1, 5), new(year + 1, 4, 30)), null, higher, what >= 0.9);

            DateTimeOffset At(DateOnly first, DateOnly last) => FrenchTime.AtWork(SchoolCalendar.Weekday(first, last, dice), dice);
        }
    }
}
