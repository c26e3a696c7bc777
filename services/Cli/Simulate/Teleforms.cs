using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>The online forms of a commune.</summary>
internal sealed class Teleforms(Commune commune, Key key)
{
    private const double PerInhabitant = 0.06;
    private const double Completed = 0.85;
    private const double Refused = 0.07;

    private static readonly Slug[] s_procedures =
    [
        Slug.Parse("birth-certificate"), Slug.Parse("school-enrolment"), Slug.Parse("change-of-address"), Slug.Parse("electoral-roll"),
        Slug.Parse("identity-card"), Slug.Parse("wedding-file"), Slug.Parse("room-booking"), Slug.Parse("roadworks-permit"),
    ];

    private static readonly RefusalReason[] s_reasons = Enum.GetValues<RefusalReason>();

    private readonly Register _book = new(key, PerInhabitant * commune.Population, Rhythm.Online, (21_600, 82_800));

    public void Work(DateOnly day, Agenda agenda)
    {
        foreach (var entry in _book.On(day))
        {
            var (dice, subject) = (entry.Dice, entry.Subject("request"));
            var submitted = Submit(commune, entry.Time, dice);
            agenda.Add(entry.Time, subject, submitted);
            var outcome = dice.Unit();
            if (outcome >= Completed + Refused) continue;
            var answered = FrenchTime.AtWork(SchoolCalendar.WeekdayFrom(day.AddDays(dice.Between(1, 20))), dice);
            agenda.Add(answered, subject, Answer(submitted, answered, outcome < Completed, dice));
        }
    }

    public static RequestSubmitted Submit(Commune commune, DateTimeOffset time, Dice dice) => new(dice.Of(s_procedures), time)
    {
        Personal = new(People.Resident(dice, FrenchTime.DayOf(time), commune.Name)),
    };

    public static DomainEvent Answer(RequestSubmitted submitted, DateTimeOffset time, bool completed, Dice dice) => completed
        ? new RequestCompleted(submitted.Procedure, time) { Personal = submitted.Personal }
        : new RequestRefused(submitted.Procedure, time, dice.Of(s_reasons)) { Personal = submitted.Personal };
}
