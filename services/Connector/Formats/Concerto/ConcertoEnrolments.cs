using System.Runtime.CompilerServices;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Formats.Concerto;

/// <summary>
/// <c>concerto-enrolments</c>: the enrolments of a commune as Arpège Concerto exports them. It is a full state of each school that it
/// names. The school is found by its place (<see cref="PlacesOfSchools"/>); or it is told beside a file that is of one place only.
/// Amounts are looked at, and a remark tells those that are none; neither they nor families and addresses go into events.
/// </summary>
internal sealed class ConcertoEnrolments(Journals journals, FormatsOptions options) : IFormat
{
    private const int MaxPlaceLength = 100;

    private const string LastName = "Nom inscrit";
    private const string FirstNames = "Prénom inscrit";
    private const string Sex = "Sexe inscrit";
    private const string BirthDate = "Date de naissance inscrit";
    private const string Level = "Niveau inscrit";
    private const string Address = "Adresse responsable 1";
    private const string Price = "Tarif cantine";
    private const string Income = "Valeur QF";
    private const string Place = "Lieu d'inscription";

    private static readonly string[] s_columns =
    [
        "Code famille", LastName, FirstNames, "PRENOM MAJUSCULE", Sex, BirthDate, Level, "Cantine", "Régime",
        "Civilité responsable 1", "Nom responsable 1", "Prénom responsable 1", Address, "Téléphone responsable 1",
        "Civilité responsable 2", "Nom responsable 2", "Prénom responsable 2", Price, Income, Place, "Garderie",
    ];

    private static readonly StateLayout s_layout = new(s_columns, ',');

    private static readonly Reason s_severalPlaces = new(
        "un autre lieu d'inscription que celui des lignes d'avant, alors que le paramètre uai donne une seule école",
        "another place than that of the lines before, though the setting uai gives one school",
        new(
            $"Envoyez le fichier sans uai ; les écoles des lieux se donnent dans {PlacesOfSchools.FileName}.",
            $"Send the file without uai; the schools of places are given in {PlacesOfSchools.FileName}."));

    public string Name => "concerto-enrolments";

    public string CommuneField => Place;

    public IReadOnlyList<string> Settings { get; } = [RollSettings.Uai, RollSettings.SchoolYear];

    public bool LooksLike(string start) => s_layout.Begins(start);

    public Reason? Refuses(ImportContext context) => RollSettings.Refuses(context, needsSchool: false);

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var commune = context.Commune!.Value;
        var directory = journals.Find(commune)!.Directory;
        var year = RollSettings.YearOf(context, out var assumed);
        var reading = new Reading(
            commune, ParisTime.DayOf(context.TakenAt), RollSettings.SchoolOf(context), year, await PlacesOfSchools.LoadAsync(directory, cancellation));
        var (begun, toddlers) = (false, false);
        var rolls = new HashSet<RollKey>();
        await foreach (var line in file.ReadLinesAsync(StateLayout.MaxLineLength, cancellation))
        {
            if (line.IsBlank) continue;
            if (!begun)
            {
                Recognise(line);
                begun = true;
                if (reading.Told is { } roll && rolls.Add(roll)) yield return new RollRecord(line.Number, commune, roll, options.MaxWithdrawnShare);
                if (assumed is not null) yield return assumed;
                continue;
            }

            var remarks = new List<RemarkRecord>();
            var record = reading.Read(line, remarks, out var isToddler);
            if (record is PupilRecord pupil && rolls.Add(pupil.Roll)) yield return new RollRecord(line.Number, commune, pupil.Roll, options.MaxWithdrawnShare);
            yield return record;
            if (isToddler && !toddlers)
            {
                toddlers = true;
                remarks.Add(new RemarkRecord(line.Number, Fault.Of(Level, Cells.Toddlers)));
            }

            foreach (var remark in remarks) yield return remark;
        }

        if (!begun) throw new FileRefusedException(Reason.EmptyFile);
        if (reading.Told is not null) yield break;
        foreach (var (school, present) in RollState.Known(directory, Name, year))
        {
            if (!rolls.Contains(new RollKey(school, year))) yield return new RemarkRecord(1, Fault.OfCode(Place, school.ToString(), Unnamed(school, present)));
        }
    }

    // The file may be of some places only; or the school has closed.
    private static Reason Unnamed(Uai school, int present) => new(
        $"le fichier ne nomme plus cette école, qui a {present} élève(s) : rien n'y change",
        $"the file no longer names this school, which has {present} pupil(s): nothing changes there",
        new(
            $"S'ils sont tous partis, envoyez un fichier réduit à son en-tête avec uai={school}, et confirmez-le.",
            $"If all have left, send a file of nothing but its header with uai={school}, and confirm it."));

    private static void Recognise(Line first)
    {
        var text = first.TooLong ? "" : first.Text;
        if (!s_layout.Is(text)) throw new FileRefusedException(s_layout.Refuse(text));
    }

    private sealed class Reading(CommuneCode commune, DateOnly day, Uai? school, SchoolYear year, PlacesOfSchools places)
    {
        private string? _onlyPlace;

        /// <summary>The roll that was told beside the file; null when none was.</summary>
        public RollKey? Told { get; } = school is { } told ? new RollKey(told, year) : null;

        public FormatRecord Read(Line line, List<RemarkRecord> remarks, out bool isToddler)
        {
            isToddler = false;
            if (!s_layout.TryRead(line, day, out var cells, out var wrong)) return new RejectedRecord(line.Number, commune, [wrong]);
            var person = new Person(
                cells.TextOf(LastName), cells.TextOf(FirstNames), Sex: cells.Sex(Sex, "Garçon", "Fille"), BirthDate: cells.ShortBirthDate(BirthDate));
            var pupil = new Pupil(cells.Level(Level, out isToddler), cells.Residence(Address), new PupilPersonal(person));
            var place = cells.TextOf(Place);
            var about = cells.About(person, LastName, FirstNames, BirthDate);
            if (cells.Faults.Count > 0) return new RejectedRecord(line.Number, commune, cells.Faults) { About = about };
            foreach (var fault in new[] { cells.Amount(Price), cells.Amount(Income) })
            {
                if (fault is not null) remarks.Add(new RemarkRecord(line.Number, fault));
            }

            return SchoolOf(place, out var unknown) is { } found
                ? new PupilRecord(line.Number, commune, new RollKey(found, year), pupil)
                : new RejectedRecord(line.Number, commune, [unknown!]) { About = about };
        }

        private Uai? SchoolOf(string place, out Fault? unknown)
        {
            unknown = null;
            if (school is null)
            {
                var found = places.Find(place);
                if (found is null) unknown = Unknown(place);
                return found;
            }

            _onlyPlace ??= place;
            if (place.Equals(_onlyPlace, StringComparison.OrdinalIgnoreCase)) return school;
            unknown = Fault.Of(Place, s_severalPlaces);
            return null;
        }

        // All other cells are in order, so the columns have not slipped: what stands here is the name of a school.
        private Fault Unknown(string place)
        {
            var named = place.Length > MaxPlaceLength ? $"{place[..MaxPlaceLength]}…" : place;
            return new Fault(Place, named, new(
                $"ce lieu n'est pas dans la table des écoles de la commune, {PlacesOfSchools.FileName}",
                $"the commune's table of schools, {PlacesOfSchools.FileName}, does not have this place",
                new(
                    $"Ajoutez à {commune}/{PlacesOfSchools.FileName}, dans le répertoire de données du connecteur, la ligne {named};UAI de l'école (sept chiffres et une lettre), puis renvoyez le fichier.",
                    $"Add to {commune}/{PlacesOfSchools.FileName}, in the connector's data directory, the line {named};UAI of the school (seven digits and a letter), then send the file again.")));
        }
    }
}
