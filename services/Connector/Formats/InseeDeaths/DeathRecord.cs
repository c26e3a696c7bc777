using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>Decides what a row comes to.</summary>
internal static class DeathRecord
{
    private const string SourceSystem = "insee-deaths";
    private const int PlaceCodeLength = 5;
    private const int MaxActLength = 40;
    private const int MaxTextLength = 1000;

    private static readonly Reason s_noDate = new(
        "cette date n'existe pas ; AAAAMMJJ attendu, 00 pour un mois ou un jour inconnu",
        "no such date; AAAAMMJJ, 00 for an unknown month or day, expected", Advice.Correct);

    private static readonly Reason s_noYear = new("l'année n'est pas connue", "the year is unknown", Advice.Correct);
    private static readonly Reason s_beforeBirth = new(
        "le décès précède la naissance ; le décès est pris, l'une des deux dates est à vérifier",
        "the death is before the birth; the death was taken, one of the two dates is to be checked", Advice.Correct);

    private static readonly Reason s_future = new("dans le futur", "in the future", Advice.Correct);
    private static readonly Reason s_noName = new(
        "le nom manque ; NOM*PRÉNOMS/ attendu", "the last name is missing; LASTNAME*FIRST NAMES/ expected", Advice.Correct);

    private static readonly Reason s_noCode = new("un code INSEE de cinq caractères est attendu", "an INSEE code of five characters expected", Advice.Correct);
    private static readonly Reason s_noCommune = new(
        "n'est le code ni d'une commune actuelle ni d'une commune qui en fait désormais partie",
        "not the code of a commune of today or of one that was merged into it",
        new("Rien à faire si le décès a eu lieu hors de France ; sinon corrigez le code.", "Nothing to do if the death took place abroad; else correct the code."));

    /// <summary>
    /// An event of the commune of the death place; or why there is none. A doubtful birth or sex does not make a death doubtful:
    /// what of them cannot be read is left out.
    /// </summary>
    /// <param name="line">Number of the line.</param>
    /// <param name="row">Its fields.</param>
    /// <param name="now">The time: nobody dies after it.</param>
    public static FormatRecord From(long line, DeathRow row, DateTimeOffset now)
    {
        CommuneCode? commune = Epci.TryResolve(row.DeathPlace, out var current) ? current : null;
        var faults = Faults(row, now, out var date, out var deceased);
        if (faults.Count > 0) return new RejectedRecord(line, commune, faults);
        return commune is { } known
            ? Event(line, row, known, date, deceased!, now)
            : new PlacelessRecord(line, Fault.OfCode(DeathRow.DeathPlaceField, row.DeathPlace, s_noCommune));
    }

    /// <summary>What looks wrong in a row and keeps nothing from being taken: a death before the birth.</summary>
    public static Fault? Doubt(DeathRow row) =>
        DeathDate.TryRead(row.BirthDate, out var birth) && DeathDate.TryRead(row.DeathDate, out var death) && birth?.Start() > death?.Start()
            ? Fault.Of("datenaiss", s_beforeBirth)
            : null;

    private static List<Fault> Faults(DeathRow row, DateTimeOffset now, out PartialDate date, out Person? deceased)
    {
        var faults = new List<Fault>();
        foreach (var (field, value) in DeathRow.Fields.Zip(row.Values))
        {
            if (value.Any(char.IsControl)) faults.Add(Fault.Of(field, Reason.ControlCharacters));
            else if (value.Length > MaxTextLength) faults.Add(Fault.Of(field, Reason.LongerThan(MaxTextLength)));
        }

        date = default;
        if (!DeathDate.TryRead(row.DeathDate, out var read)) faults.Add(Fault.OfCode("datedeces", row.DeathDate, s_noDate));
        else if (read is null) faults.Add(Fault.OfCode("datedeces", row.DeathDate, s_noYear));
        else if (read.Value.Start() > now.AddDays(1)) faults.Add(Fault.OfCode("datedeces", row.DeathDate, s_future));
        else date = read.Value;

        if (row.DeathPlace.Length != PlaceCodeLength || !row.DeathPlace.All(char.IsAsciiLetterOrDigit))
            faults.Add(Fault.OfCode(DeathRow.DeathPlaceField, row.DeathPlace, s_noCode));
        if (row.Act.Length > MaxActLength) faults.Add(Fault.Of("actedeces", Reason.LongerThan(MaxActLength)));
        deceased = Deceased(row);
        if (deceased is null) faults.Add(Fault.Of("nomprenom", s_noName));
        return faults;
    }

    private static EventRecord Event(long line, DeathRow row, CommuneCode commune, PartialDate date, Person deceased, DateTimeOffset now)
    {
        CommuneCode? birthCommune = Epci.TryResolve(row.BirthPlace, out var known) ? known : null;
        var source = new EventSource(commune, SourceSystem);
        var act = TextOrNull(row.Act);
        var id = DeathKey.Id(row);
        // The file does not say when the act was recorded; the day of the death, or the first that it may have been, stands for it.
        var death = CloudEvent.Create(
            new DeathRegistered(date, act, BirthCommune: birthCommune) { Personal = new DeathPersonal(deceased) }, id, source, DeathKey.Subject(row, date.Year), date.Start());
        return new(line, death, new ActKey(DeathKey.Places(row, date.Year, commune), DeathKey.Likenesses(row), subject => CloudEvent.Create(
            new ActCorrected(ActKind.Death, PartialDate.Of(ParisTime.DayOf(now)), date, act, BirthCommune: birthCommune) { Personal = new AmendmentPersonal([deceased]) },
            $"{id}-correction", source, subject, now)));
    }

    private static Person? Deceased(DeathRow row)
    {
        var name = row.Name.EndsWith('/') ? row.Name[..^1] : row.Name;
        var star = name.IndexOf('*');
        if (TextOrNull(star < 0 ? name : name[..star]) is not { } lastName) return null;
        return new Person(
            lastName,
            star < 0 ? null : TextOrNull(name[(star + 1)..]),
            Sex: row.Sex switch
            {
                "1" => Sex.Male,
                "2" => Sex.Female,
                _ => null,
            },
            BirthDate: DeathDate.TryRead(row.BirthDate, out var birthDate) ? birthDate : null,
            BirthPlace: TextOrNull(row.BirthCommune) ?? TextOrNull(row.BirthPlace),
            BirthCountry: TextOrNull(row.BirthCountry));
    }

    private static string? TextOrNull(string field) => Blanks.Trim(field) is { Length: > 0 } text ? text : null;
}
