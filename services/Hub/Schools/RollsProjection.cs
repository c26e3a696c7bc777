using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Schools;

/// <summary>A school in a school year, as last declared.</summary>
internal sealed record School(string Commune, string Uai, int SchoolYear, string Name = "", string[]? Levels = null, int Places = 0);

/// <summary>An enrolment as last said.</summary>
/// <param name="Commune">Commune of the school.</param>
/// <param name="Subject">The enrolment's own key.</param>
/// <param name="Uai">The school.</param>
/// <param name="SchoolYear">Year in which the school year starts.</param>
/// <param name="Level">Level.</param>
/// <param name="Residence">Commune of residence today.</param>
/// <param name="Withdrawn">Whether the pupil has left.</param>
internal sealed record Enrolment(
    string Commune, string Subject, string Uai = "", int SchoolYear = 0, string Level = "", string Residence = "", bool Withdrawn = false);

/// <summary>Pupils counted.</summary>
internal sealed record Roll(string Commune, string Uai, int SchoolYear, string Level, string Residence, int Pupils = 0);

/// <summary>
/// School rolls: pupils by school, school year, level and commune of residence. An enrolment counts once, as last said, until
/// the pupil is withdrawn.
/// </summary>
internal sealed class RollsProjection() : ConsolidatedProjection(
    ProjectionName, Catalogue.All.Where(type => type.Domain == "schools"), Schools, Enrolments, Rolls)
{
    public const string ProjectionName = "schools";

    public static RowTable<School> Schools { get; } = new("schools.school", keyLength: 3);

    public static RowTable<Enrolment> Enrolments { get; } = new("schools.enrolment", keyLength: 2);

    public static RowTable<Roll> Rolls { get; } = new("schools.roll", keyLength: 5);

    protected override async Task ProjectAsync(Page page, CancellationToken cancellation)
    {
        var schools = new Dictionary<(string, string, int), School>();
        foreach (var stored in page.Events)
        {
            if (stored.Data is SchoolDeclared declared)
            {
                var school = Declared(stored.Commune, declared);
                schools[(school.Commune, school.Uai, school.SchoolYear)] = school;
            }
        }

        var changes = page.Events.Select(Said).OfType<Enrolment>().ToList();
        var keys = changes.Select(Key).Distinct().ToList();
        var enrolments = (await Enrolments.LoadAsync(page, keys, cancellation)).ToDictionary(Key);
        var rolls = new Dictionary<Roll, int>();
        foreach (var change in changes) Apply(change, enrolments, rolls);
        Schools.Save(page, schools.Values);
        Enrolments.Save(page, [.. keys.Select(key => enrolments[key])]);
        Rolls.Add(page, [.. rolls.Where(roll => roll.Value != 0).Select(roll => roll.Key with { Pupils = roll.Value })]);
    }

    /// <summary>What an event says of its enrolment; null when it is about none.</summary>
    internal static Enrolment? Said(StoredEvent stored)
    {
        var (commune, subject) = (stored.Commune, stored.Subject);
        return stored.Data switch
        {
            PupilEnrolled pupil => Of(pupil.School, pupil.SchoolYear, pupil.Level, pupil.ResidenceCommune, false),
            PupilChangedClass pupil => Of(pupil.School, pupil.SchoolYear, pupil.Level, pupil.ResidenceCommune, false),
            PupilWithdrawn pupil => Of(pupil.School, pupil.SchoolYear, pupil.Level, pupil.ResidenceCommune, true),
            _ => null,
        };
        Enrolment Of(Uai school, SchoolYear year, SchoolLevel level, CommuneCode residence, bool withdrawn) => new(
            commune, subject, school.ToString(), year.Start, level.ToString(),
            (Epci.TryResolve(residence.ToString(), out var current) ? current : residence).ToString(), withdrawn);
    }

    /// <summary>Takes what is said into the enrolments, and the difference that it makes into the rolls.</summary>
    internal static void Apply(Enrolment said, Dictionary<Enrolment, Enrolment> enrolments, Dictionary<Roll, int> rolls)
    {
        if (enrolments.GetValueOrDefault(Key(said)) is { } before) Count(before, -1);
        enrolments[Key(said)] = said;
        Count(said, +1);

        void Count(Enrolment enrolment, int count)
        {
            if (enrolment.Withdrawn) return;
            var roll = new Roll(enrolment.Commune, enrolment.Uai, enrolment.SchoolYear, enrolment.Level, enrolment.Residence);
            rolls[roll] = rolls.GetValueOrDefault(roll) + count;
        }
    }

    private static School Declared(string commune, SchoolDeclared school) => new(
        commune, school.School.ToString(), school.SchoolYear.Start, school.Name, [.. school.Levels.Select(level => level.ToString())], school.Places);

    private static Enrolment Key(Enrolment enrolment) => new(enrolment.Commune, enrolment.Subject);
}
