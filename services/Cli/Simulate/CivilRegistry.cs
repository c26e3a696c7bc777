using System.Globalization;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>The civil registry of a commune. Rates are those of France, in a year and by inhabitant.</summary>
internal sealed class CivilRegistry
{
    internal const double Births = 0.010;
    internal const double Deaths = 0.0095;
    internal const double Marriages = 0.0035;
    internal const double Pacs = 0.003;
    internal const double Recognitions = Births / 2;
    internal const double NameChanges = 0.0003;

    private const double BornAtTheMaternity = 0.98;
    private const double DiedAtTheHospital = 0.4;
    private const double RecognisedAtTheMaternity = 0.3;
    private const double Corrected = 0.015;
    private const double Annulled = 0.002;

    private static readonly (int, int) s_hours = (30_600, 63_000);

    private readonly SimulatedTerritory _territory;
    private readonly Commune _commune;
    private readonly (string Kind, Register Book, Func<Commune, DateOnly, string, Dice, Act> Write)[] _books;

    public CivilRegistry(SimulatedTerritory territory, Commune commune, Key key)
    {
        (_territory, _commune) = (territory, commune);
        var acts = new Acts(territory);
        _books =
        [
            ("birth", Book("birth", Births, BornAtTheMaternity, Rhythm.TownHall), acts.Birth),
            ("recognition", Book("recognition", Recognitions, RecognisedAtTheMaternity, Rhythm.TownHall), acts.Recognition),
            ("marriage", Book("marriage", Marriages, 0, Rhythm.Weddings), acts.Marriage),
            ("pacs", Book("pacs", Pacs, 0, Rhythm.TownHall), acts.Pacs),
            ("death", Book("death", Deaths, DiedAtTheHospital, Rhythm.TownHall), acts.Death),
            ("name-change", Book("name-change", NameChanges, 0, Rhythm.TownHall), acts.NameChange),
        ];

        // What happens at the centre happens there for the whole territory; the rest where people live.
        Register Book(string kind, double rate, double atTheCentre, Rhythm rhythm) => new(
            key.With(kind),
            rate * (((1 - atTheCentre) * commune.Population) + (commune == territory.Centre ? atTheCentre * territory.Population : 0)),
            rhythm,
            s_hours);
    }

    public void Work(DateOnly day, Agenda agenda)
    {
        foreach (var (kind, book, write) in _books)
        {
            foreach (var entry in book.On(day))
            {
                var act = write(_commune, day, entry.Number.ToString(CultureInfo.InvariantCulture), entry.Dice);
                agenda.Add(entry.Time, entry.Subject(kind), act.Registered);
                Amend(act, entry.Subject(kind), day, entry.Dice, agenda);
            }
        }
    }

    private void Amend(Act act, string subject, DateOnly day, Dice dice, Agenda agenda)
    {
        switch (dice.Unit())
        {
            case < Corrected:
                var corrected = SchoolCalendar.WeekdayFrom(day.AddDays(dice.Between(3, 60)));
                agenda.Add(FrenchTime.AtWork(corrected, dice), subject, act.Corrected(corrected, _territory, dice));
                break;
            case < Corrected + Annulled:
                var annulled = SchoolCalendar.WeekdayFrom(day.AddDays(dice.Between(30, 180)));
                agenda.Add(FrenchTime.AtWork(annulled, dice), subject, act.Annulled(annulled));
                break;
        }
    }
}
