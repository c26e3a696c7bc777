using System.Globalization;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>
/// The rolls that a file tells whole. While it is read they are only gathered; at its end each is compared with what the last
/// accepted file said. Events go to the journal first and the states to disk after: a crash in between makes the same events again.
/// </summary>
internal sealed class RollsRun
{
    /// <summary>Most pupils of a file. All of them are in memory at once, at two kilobytes each.</summary>
    public const int MaxPupils = 100_000;

    private static readonly Reason s_tooMany = new(
        $"Le fichier a plus de {MaxPupils.ToString(CultureInfo.InvariantCulture)} élèves.",
        $"The file has more than {MaxPupils.ToString(CultureInfo.InvariantCulture)} pupils.",
        new("Envoyez un fichier par école.", "Send a file for each school."));

    private static readonly Reason s_older = new(
        "Un fichier plus récent de la même école et de la même année a été pris entre-temps.",
        "A later file of the same school and year has been taken meanwhile.",
        new("Exportez de nouveau, et envoyez ce nouveau fichier.", "Export again, and send that new file."));

    private static readonly Advice s_confirm = new(
        "Vérifiez le fichier ; s'il est exact, confirmez l'import, sinon abandonnez-le.",
        "Check the file; if it is right, confirm the import, else discard it.");

    private readonly Dictionary<RollKey, RollRecord> _rolls = [];
    private readonly Dictionary<RollKey, List<PupilRecord>> _pupils = [];
    private readonly List<string> _rejected = [];
    private long _unreadable;
    private int _count;

    /// <summary>Whether the file tells no roll whole: its format is of another kind.</summary>
    public bool IsEmpty => _rolls.Count == 0;

    /// <summary>The file tells that roll whole.</summary>
    public void Add(RollRecord roll)
    {
        if (_rolls.TryAdd(roll.Roll, roll)) _pupils[roll.Roll] = [];
    }

    /// <summary>Gathers a pupil.</summary>
    /// <exception cref="FileRefusedException">There are too many.</exception>
    public void Add(PupilRecord pupil)
    {
        if (++_count > MaxPupils) throw new FileRefusedException(s_tooMany);
        _pupils[pupil.Roll].Add(pupil);
    }

    /// <summary>Notes a rejected line: whoever it is about is there.</summary>
    public void Add(RejectedRecord rejected)
    {
        if (rejected.About is { } about && _rejected.Count < MaxPupils) _rejected.Add(about);
        else _unreadable++;
    }

    /// <summary>Compares what was gathered with the states on disk; writes nothing.</summary>
    /// <param name="import">The import.</param>
    /// <param name="directory">The commune's directory.</param>
    /// <exception cref="FileRefusedException">A later file was accepted already, or a state is damaged.</exception>
    public RollsDecision Decide(Import import, string directory)
    {
        var decision = new RollsDecision();
        foreach (var (key, roll) in _rolls)
        {
            var path = RollState.PathOf(directory, key);
            var before = RollState.Load(path);
            if (before.Last is { } last && last.Id != import.Id && (last.TakenAt, last.Id).CompareTo((import.TakenAt, import.Id)) > 0) throw new FileRefusedException(s_older);
            var file = new AcceptedFile(import.Id, import.Request.Format, import.Hash, import.TakenAt);
            var changes = RollComparison.Compare(before, new(roll.Owner, key, file, _pupils[key], _unreadable, _rejected));
            decision.Add(roll, path, before, changes);
            if (!import.Request.Confirmed) decision.Held.AddRange(Doubts(roll, before, file, changes, _unreadable));
        }

        return decision;
    }

    private static IEnumerable<Reason> Doubts(RollRecord roll, RollState before, AcceptedFile file, RollChanges changes, long unreadable)
    {
        if (before.Last is not { } last) yield break;
        var school = roll.Roll.School;
        if (last.Format != file.Format)
        {
            yield return new(
                $"Les élèves de l'école {school} viennent jusqu'ici de fichiers {last.Format}, non {file.Format}.",
                $"The pupils of school {school} have come from files {last.Format} so far, not {file.Format}.", s_confirm);
        }

        if (last.Hash != file.Hash && before.Imports.Any(earlier => earlier.Hash == file.Hash))
        {
            yield return new(
                $"Pour l'école {school}, ce fichier a déjà été pris, puis remplacé par un plus récent.",
                $"For school {school}, this file was taken before, and followed by a later one.", s_confirm);
        }

        // Behind each line that does not say whom it is about, one of those who are missing may hide.
        var gone = changes.Missing - (unreadable + changes.Rejected.Count);
        if (gone > before.Present * roll.MaxWithdrawnShare)
        {
            var (suite, then) = changes.Withdrawn.Count > 0
                ? (" : ils seraient retirés", ": they would be withdrawn")
                : (", même si les lignes rejetées en cachent", ", even if the rejected lines hide some");
            yield return new(
                $"Le fichier ne nomme plus {changes.Missing} des {before.Present} élèves de l'école {school}{suite}.",
                $"The file no longer names {changes.Missing} of the {before.Present} pupils of school {school}{then}.", s_confirm);
        }
    }
}

/// <summary>What becomes of the rolls of a file.</summary>
internal sealed class RollsDecision
{
    private readonly List<(string Path, RollState State)> _states = [];

    /// <summary>Why somebody has to say first that the file is right; empty when nobody has to.</summary>
    public List<Reason> Held { get; } = [];

    /// <summary>Lines to reject.</summary>
    public List<RejectedRecord> Rejected { get; } = [];

    /// <summary>What is worth knowing.</summary>
    public List<RemarkRecord> Remarks { get; } = [];

    /// <summary>Events of lines.</summary>
    public List<CloudEvent> Named { get; } = [];

    /// <summary>Events of pupils whom no line names.</summary>
    public List<CloudEvent> Withdrawn { get; } = [];

    /// <summary>Lines that change nothing.</summary>
    public int Unchanged { get; private set; }

    /// <summary>Lines of which an earlier run of the same import, cut off after it had saved the state, wrote the event.</summary>
    public int DoneNamed { get; private set; }

    /// <summary>As <see cref="DoneNamed"/>: events that no line holds.</summary>
    public int DoneWithdrawn { get; private set; }

    /// <summary>Takes what the comparison of a roll came to.</summary>
    public void Add(RollRecord roll, string path, RollState before, RollChanges changes)
    {
        Rejected.AddRange(changes.Rejected);
        Named.AddRange(changes.Named);
        Withdrawn.AddRange(changes.Withdrawn);
        Unchanged += changes.Unchanged;
        if (before.Last is { } last && last.Id == changes.State.Last!.Id)
        {
            // What is counted is what the first run did; nothing is left to do.
            DoneNamed += last.Changed;
            DoneWithdrawn += last.Withdrawn;
            Unchanged -= last.Changed;
        }
        else
        {
            _states.Add((path, changes.State));
        }

        if (changes.Missing > 0 && changes.Withdrawn.Count == 0)
        {
            Remarks.Add(new RemarkRecord(roll.Line, Fault.OfCode("", roll.Roll.School.ToString(), new(
                $"élèves qui ne sont plus dans le fichier : {changes.Missing} ; ils ne sont pas retirés, car des lignes rejetées ne disent pas de qui il s'agit",
                $"pupils no longer in the file: {changes.Missing}; they are not withdrawn, since rejected lines do not say whom they are about", Advice.Correct))));
        }
    }

    /// <summary>Writes the states, once all events are in the journal.</summary>
    public void Save()
    {
        foreach (var (path, state) in _states) state.Save(path);
    }
}
