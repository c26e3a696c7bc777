using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>A school in a school year: what a state file tells whole.</summary>
internal readonly record struct RollKey(Uai School, SchoolYear Year)
{
    /// <summary><c>0350122T-2026</c>: the name of its file.</summary>
    public override string ToString() => $"{School}-{Year.Start}";
}

/// <summary>
/// Says that the file holds a roll whole, though it may name none of its pupils: those whom it does not name have left. It counts
/// as no line. <see cref="RollsRun"/> has what becomes of it.
/// </summary>
/// <param name="Line">Number of the line that says so.</param>
/// <param name="Owner">Commune of the school.</param>
/// <param name="Roll">The roll.</param>
/// <param name="MaxWithdrawnShare">The largest share of the roll that may be missing before somebody has to say that the file is right.</param>
internal sealed record RollRecord(long Line, CommuneCode Owner, RollKey Roll, double MaxWithdrawnShare) : FormatRecord(Line, Owner);

/// <summary>A pupil as a state file has them. Which event that is, if any, is known at the end of the file.</summary>
/// <param name="Line">Number of the line.</param>
/// <param name="Owner">Commune of the school.</param>
/// <param name="Roll">The roll; its <see cref="RollRecord"/> came before.</param>
/// <param name="Pupil">The pupil.</param>
internal sealed record PupilRecord(long Line, CommuneCode Owner, RollKey Roll, Pupil Pupil) : FormatRecord(Line, Owner);

/// <summary>What the hub is told of a pupil. Addresses, telephones, income and permissions of the file are left where they are.</summary>
/// <param name="Level">Level.</param>
/// <param name="Residence">Commune of residence.</param>
/// <param name="Personal">Names, sex, birth date, INE and class; the birth date is there and whole.</param>
internal sealed record Pupil(SchoolLevel Level, CommuneCode Residence, PupilPersonal Personal);
