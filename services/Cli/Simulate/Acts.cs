using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary>An act, and what its later correction has to repeat.</summary>
internal sealed record Act(
    ActKind Kind,
    DomainEvent Registered,
    PartialDate Date,
    string Number,
    CommuneCode Residence,
    CommuneCode? BirthCommune,
    IReadOnlyList<Person> Persons)
{
    /// <summary>The act once someone has found a fault in it: a name spelt wrongly, or a residence.</summary>
    public ActCorrected Corrected(DateOnly day, SimulatedTerritory territory, Dice dice)
    {
        var name = dice.Chance(0.6);
        return new(Kind, PartialDate.Of(day), Date, Number, name ? Residence : territory.Member(dice).Code, BirthCommune)
        {
            Personal = new(name ? [People.Renamed(Persons[0], dice.Chance(0.5), dice), .. Persons.Skip(1)] : Persons),
        };
    }

    public ActAnnulled Annulled(DateOnly day) => new(Kind, PartialDate.Of(day)) { Personal = new(Persons) };
}

/// <summary>What a registry writes down on a day.</summary>
internal sealed class Acts(SimulatedTerritory territory)
{
    public Act Birth(Commune commune, DateOnly day, string number, Dice dice)
    {
        var born = day.AddDays(-dice.Below(4));
        // A maternity takes in a wide country; elsewhere children are born at home.
        var (here, outside) = commune == territory.Centre ? (0.05, 0.3) : (0.9, 0.05);
        var residence = territory.Residence(commune, here, outside, dice);
        Person[] parents = dice.Chance(0.93)
            ? [People.Resident(dice, day, residence.Name, 19, 44), People.Resident(dice, day, residence.Name, 19, 44)]
            : [People.Resident(dice, day, residence.Name, 19, 44)];
        var child = People.Newborn(dice, born, commune.Name);
        var date = PartialDate.Of(born);
        return new(
            ActKind.Birth, new BirthRegistered(date, number, residence.Code) { Personal = new(child, parents) },
            date, number, residence.Code, commune.Code, [child, .. parents]);
    }

    public Act Recognition(Commune commune, DateOnly day, string number, Dice dice)
    {
        var residence = territory.Residence(commune, 0.8, 0.1, dice);
        var parent = People.Resident(dice, day, residence.Name, 19, 44);
        // Most come before the birth, at the town hall of the parents.
        Person? child = dice.Chance(0.3) ? People.Newborn(dice, day.AddDays(-dice.Between(1, 60)), territory.Centre.Name) : null;
        CommuneCode? holder = child is null ? null : territory.Centre.Code;
        var date = PartialDate.Of(day);
        return new(
            ActKind.Recognition, new RecognitionRegistered(date, number, residence.Code, holder) { Personal = new(parent, child) },
            date, number, residence.Code, holder, child is null ? [parent] : [parent, child]);
    }

    public Act Marriage(Commune commune, DateOnly day, string number, Dice dice)
    {
        var residence = territory.Residence(commune, 0.75, 0.15, dice);
        var (couple, birthCommunes) = Couple(day, dice);
        var date = PartialDate.Of(day);
        return new(
            ActKind.Marriage, new MarriageRegistered(date, number, residence.Code, birthCommunes) { Personal = couple },
            date, number, residence.Code, null, [couple.First, couple.Second]);
    }

    public Act Pacs(Commune commune, DateOnly day, string number, Dice dice)
    {
        var (couple, birthCommunes) = Couple(day, dice);
        var date = PartialDate.Of(day);
        // It is registered where the couple lives (Code civil, art. 515-3).
        return new(
            ActKind.Pacs, new PacsRegistered(date, number, commune.Code, birthCommunes) { Personal = couple },
            date, number, commune.Code, null, [couple.First, couple.Second]);
    }

    public Act Death(Commune commune, DateOnly day, string number, Dice dice)
    {
        var died = day.AddDays(-dice.Below(3));
        // In the town with the hospital, half of the dead lived elsewhere.
        var (here, outside) = commune == territory.Centre ? (0.45, 0.15) : (0.88, 0.06);
        var residence = territory.Residence(commune, here, outside, dice);
        var birth = territory.BirthPlace(dice);
        var deceased = People.Named(dice, died, dice.Chance(0.9) ? 60 : 1, 100, birth?.Name);
        // Now and then only the month of a death is known.
        var date = dice.Chance(0.003) && PartialDate.TryCreate(died.Year, died.Month, null, out var month) ? month : PartialDate.Of(died);
        return new(
            ActKind.Death, new DeathRegistered(date, number, residence.Code, birth?.Code) { Personal = new(deceased) },
            date, number, residence.Code, birth?.Code, [deceased]);
    }

    public Act NameChange(Commune commune, DateOnly day, string number, Dice dice)
    {
        var lastName = dice.Chance(0.7);
        var birth = territory.BirthPlace(dice);
        var before = People.Named(dice, day, 18, 70, birth?.Name);
        var after = People.Renamed(before, lastName, dice);
        var date = PartialDate.Of(day);
        var changes = lastName ? Contracts.CivilRecords.NameChange.LastName : Contracts.CivilRecords.NameChange.FirstNames;
        return new(
            ActKind.NameChange,
            new NameChangeRegistered(date, number, changes, commune.Code, birth?.Code) { Personal = new(before, after) },
            date, number, commune.Code, birth?.Code, [after]);
    }

    private (CouplePersonal Couple, IReadOnlyList<CommuneCode>? BirthCommunes) Couple(DateOnly day, Dice dice)
    {
        Commune? first = territory.BirthPlace(dice), second = territory.BirthPlace(dice);
        CommuneCode[] births = [.. new[] { first, second }.OfType<Commune>().Select(commune => commune.Code)];
        var couple = new CouplePersonal(People.Named(dice, day, 20, 65, first?.Name), People.Named(dice, day, 20, 65, second?.Name));
        return (couple, births.Length > 0 ? births : null);
    }
}
