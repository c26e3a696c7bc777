using System.Runtime.CompilerServices;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Formats.Onde;

/// <summary>
/// <c>onde-pupils</c>: the list of a school's pupils as ONDE (Base Élèves 1er degré) exports it, <c>eleves.csv</c>. It is a full state
/// and names no school: that is told beside it. The pupil lives at the first address, or at the second where the first is empty.
/// </summary>
internal sealed class OndePupils(FormatsOptions options) : IFormat
{
    private const string LastName = "Nom élève";
    private const string UsualName = "Nom d'usage élève";
    private const string FirstNames = "Prénom élève";
    private const string BirthDate = "Date naissance";
    private const string Sex = "Sexe";
    private const string Ine = "INE";
    private const string Level = "Niveau";
    private const string Class = "Libellé classe";

    private static readonly string[] s_columns =
    [
        LastName, UsualName, FirstNames, BirthDate, Sex, Ine, "Adresse1", "Cp1", "Commune1", "Pays1", "Adresse2", "Cp2", "Commune2", "Pays2",
        "Cycle", Level, Class, "Identifiant classe", "Attestation fournie", "Autorisation associations", "Autorisation photo", "Décision de passage",
    ];

    private static readonly StateLayout s_layout = new(s_columns, ';');

    private static readonly Reason s_responsibles = new(
        "C'est le fichier des responsables (responsables.csv) ; celui des élèves (eleves.csv) est attendu.",
        "This is the file of the responsible adults (responsables.csv); the one of the pupils (eleves.csv) is expected.",
        new("Exportez la liste des élèves de l'école, et envoyez-la.", "Export the list of the school's pupils, and send it."));

    public string Name => "onde-pupils";

    public string CommuneField => RollSettings.Uai;

    public IReadOnlyList<string> Settings { get; } = [RollSettings.Uai, RollSettings.SchoolYear];

    public bool LooksLike(string start) => s_layout.Begins(start);

    public Reason? Refuses(ImportContext context) => RollSettings.Refuses(context, needsSchool: true);

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var roll = new RollKey(RollSettings.SchoolOf(context)!.Value, RollSettings.YearOf(context, out var assumed));
        var day = ParisTime.DayOf(context.TakenAt);
        var commune = context.Commune!.Value;
        var (begun, toddlers) = (false, false);
        await foreach (var line in file.ReadLinesAsync(StateLayout.MaxLineLength, cancellation))
        {
            if (line.IsBlank) continue;
            if (!begun)
            {
                Recognise(line);
                begun = true;
                yield return new RollRecord(line.Number, commune, roll, options.MaxWithdrawnShare);
                if (assumed is not null) yield return assumed;
                continue;
            }

            yield return Read(line, commune, roll, day, out var isToddler);
            if (isToddler && !toddlers)
            {
                toddlers = true;
                yield return new RemarkRecord(line.Number, Fault.Of(Level, Cells.Toddlers));
            }
        }

        if (!begun) throw new FileRefusedException(Reason.EmptyFile);
    }

    private static void Recognise(Line first)
    {
        var text = first.TooLong ? "" : first.Text;
        if (s_layout.Is(text)) return;
        throw new FileRefusedException(text.TrimStart('"', ' ').StartsWith("Civilité Responsable", StringComparison.OrdinalIgnoreCase) ? s_responsibles : s_layout.Refuse(text));
    }

    private static FormatRecord Read(Line line, CommuneCode commune, RollKey roll, DateOnly day, out bool isToddler)
    {
        isToddler = false;
        if (!s_layout.TryRead(line, day, out var cells, out var fault)) return new RejectedRecord(line.Number, commune, [fault]);
        var person = new Person(
            cells.TextOf(LastName), cells.TextOf(FirstNames), cells.Text(UsualName), cells.Sex(Sex, "M", "F"), cells.BirthDate(BirthDate));
        var personal = new PupilPersonal(person, cells.Ine(Ine), cells.Text(Class));
        var isSecond = cells.IsEmpty("Commune1") && cells.IsEmpty("Cp1") && !cells.IsEmpty("Commune2");
        var residence = isSecond ? cells.Residence("Cp2", "Commune2", "Pays2") : cells.Residence("Cp1", "Commune1", "Pays1");
        var pupil = new Pupil(cells.Level(Level, out isToddler), residence, personal);
        return cells.Faults.Count == 0 ? new PupilRecord(line.Number, commune, roll, pupil) : new RejectedRecord(line.Number, commune, cells.Faults) { About = cells.About(person, LastName, FirstNames, BirthDate) };
    }
}
