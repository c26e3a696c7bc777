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
            ? new EventRecord(line, Event(row, known, date, deceased!))
            : new PlacelessRecord(line, Fault.OfCode(DeathRow.DeathPlaceField, row.DeathPlace, "not the code of a commune of today or of one that was merged into it"));
    }

    private static List<Fault> Faults(DeathRow row, DateTimeOffset now, out PartialDate date, out Person? deceased)
    {
        var faults = new List<Fault>();
        foreach (var (field, value) in DeathRow.Fields.Zip(row.Values))
        {
            if (value.Any(char.IsControl)) faults.Add(Fault.Of(field, "control characters"));
            else if (value.Length > MaxTextLength) faults.Add(Fault.Of(field, $"longer than {MaxTextLength} characters"));
        }

        date = default;
        if (!DeathDate.TryRead(row.DeathDate, out var read)) faults.Add(Fault.OfCode("datedeces", row.DeathDate, "no such date; AAAAMMJJ expected, with 00 for an unknown month or day"));
        else if (read is null) faults.Add(Fault.OfCode("datedeces", row.DeathDate, "the year is unknown"));
        else if (read.Value.Start() > now.AddDays(1)) faults.Add(Fault.OfCode("datedeces", row.DeathDate, "in the future"));
        else date = read.Value;

        if (row.DeathPlace.Length != PlaceCodeLength || !row.DeathPlace.All(char.IsAsciiLetterOrDigit))
            faults.Add(Fault.OfCode(DeathRow.DeathPlaceField, row.DeathPlace, "an INSEE code of five characters expected"));
        if (row.Act.Length > MaxActLength) faults.Add(Fault.Of("actedeces", $"longer than {MaxActLength} characters"));
        deceased = Deceased(row);
        if (deceased is null) faults.Add(Fault.Of("nomprenom", "the last name is missing; LASTNAME*FIRST NAMES/ expected"));
        return faults;
    }

    private static CloudEvent Event(DeathRow row, CommuneCode commune, PartialDate date, Person deceased)
    {
        var death = new DeathRegistered(
            date, TextOrNull(row.Act), BirthCommune: Epci.TryResolve(row.BirthPlace, out var birthCommune) ? birthCommune : null)
        {
            Personal = new DeathPersonal(deceased),
        };
        // The file does not say when the act was recorded; the day of the death, or the first that it may have been, stands for it.
        return CloudEvent.Create(death, DeathKey.Id(row), new EventSource(commune, SourceSystem), DeathKey.Subject(row, date.Year), date.Start());
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

    private static string? TextOrNull(string field) => DeathRow.Trim(field) is { Length: > 0 } text ? text : null;
}
