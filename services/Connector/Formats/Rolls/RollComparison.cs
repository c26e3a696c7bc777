using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>What is compared with the state of a roll.</summary>
/// <param name="Commune">Commune of the school.</param>
/// <param name="Roll">The roll.</param>
/// <param name="File">The file.</param>
/// <param name="Pupils">Its pupils of that roll, in its order.</param>
/// <param name="Unreadable">Lines that were rejected and do not say whom they are about: behind each a pupil may hide.</param>
/// <param name="Rejected">Whom the other rejected lines are about (<see cref="PupilKey.Identity(Person)"/>): they are there, though no more is known.</param>
internal sealed record RollFile(
    CommuneCode Commune, RollKey Roll, AcceptedFile File, IReadOnlyList<PupilRecord> Pupils, long Unreadable, IReadOnlyCollection<string> Rejected);

/// <summary>What a file changes in a roll.</summary>
/// <param name="Named">Events of pupils whom the file names: enrolled, come back, or changed.</param>
/// <param name="Withdrawn">Events of pupils whom it no longer names; none when lines were rejected.</param>
/// <param name="Missing">Pupils whom it no longer names.</param>
/// <param name="Unchanged">Lines that change nothing.</param>
/// <param name="Rejected">Lines that contradict another one, or do not say whom they mean.</param>
/// <param name="State">The state after the file.</param>
internal sealed record RollChanges(
    IReadOnlyList<CloudEvent> Named, IReadOnlyList<CloudEvent> Withdrawn, int Missing, int Unchanged, IReadOnlyList<RejectedRecord> Rejected, RollState State);

/// <summary>
/// Compares a file with the roll as the last file had it. Nothing but its arguments goes in: the same file and the same state give
/// the same events.
/// </summary>
internal sealed class RollComparison
{
    private static readonly Reason s_twice = new(
        "l'élève est deux fois dans le fichier, avec un autre niveau, une autre classe ou une autre commune de résidence",
        "the pupil is in the file twice, with another level, class or commune of residence", Advice.Correct);

    private static readonly Reason s_homonym = new(
        "deux élèves de l'école portent ce nom et cette date de naissance : l'INE est nécessaire pour les distinguer",
        "two pupils of the school have this name and birth date: the INE is needed to tell them apart", Advice.Correct);

    private readonly RollState _state;
    private readonly RollFile _file;
    private readonly DateOnly _day;
    private readonly EventSource _source;
    private readonly HashSet<string> _subjects;
    private readonly Dictionary<string, KnownPupil> _after;
    private readonly List<string> _order;
    private readonly List<CloudEvent> _named = [];
    private readonly List<RejectedRecord> _rejected = [];
    private int _unchanged;

    private RollComparison(RollState state, RollFile file)
    {
        (_state, _file, _day) = (state, file, ParisTime.DayOf(file.File.TakenAt));
        _source = new EventSource(file.Commune, file.File.Format);
        _subjects = [.. state.Pupils.Select(pupil => pupil.Subject)];
        _after = state.Pupils.ToDictionary(pupil => pupil.Subject);
        _order = [.. state.Pupils.Select(pupil => pupil.Subject)];
    }

    /// <summary>Compares.</summary>
    public static RollChanges Compare(RollState state, RollFile file) => new RollComparison(state, file).Run();

    private RollChanges Run()
    {
        var pupils = Single().Select(record => new Marked(record, _state.Salt)).ToList();
        var known = Match(pupils);
        foreach (var pupil in pupils)
        {
            if (known.TryGetValue(pupil, out var before)) Take(pupil, before);
        }

        var seen = known.Values.OfType<KnownPupil>().Select(pupil => pupil.Subject).ToHashSet();
        var there = _file.Rejected.Select(identity => PupilKey.Mark(_state.Salt, identity)).ToHashSet();
        var missing = _state.Pupils.Where(pupil => !pupil.Withdrawn && !seen.Contains(pupil.Subject) && !there.Contains(pupil.Identity)).ToList();
        var withdrawn = _file.Unreadable + _rejected.Count == 0 ? missing.ConvertAll(Withdraw) : [];
        var accepted = _file.File with { Changed = _named.Count, Withdrawn = withdrawn.Count };
        return new(_named, withdrawn, missing.Count, _unchanged, _rejected, _state.After(accepted, [.. _order.Select(subject => _after[subject])]));
    }

    // The lines that stand: a pupil is the same by INE, or by names and birth date where one of the two lines has no INE.
    private List<PupilRecord> Single()
    {
        var standing = new List<PupilRecord>();
        var byIne = new Dictionary<string, PupilRecord>();
        var byIdentity = new Dictionary<string, List<PupilRecord>>();
        foreach (var record in _file.Pupils)
        {
            var identity = PupilKey.Identity(record.Pupil);
            var ine = record.Pupil.Personal.Ine;
            var same = byIdentity.GetValueOrDefault(identity) ?? (byIdentity[identity] = []);
            var first = ine is not null && byIne.TryGetValue(ine, out var other)
                ? other
                : same.Find(earlier => ine is null || earlier.Pupil.Personal.Ine is null);
            if (first is null)
            {
                standing.Add(record);
                same.Add(record);
                if (ine is not null) byIne[ine] = record;
            }
            else if (SaysTheSame(first.Pupil, record.Pupil))
            {
                _unchanged++;
            }
            else
            {
                _rejected.Add(new RejectedRecord(record.Line, record.Commune, [Fault.Of("", s_twice)]));
            }
        }

        return standing;
    }

    private static bool SaysTheSame(Pupil one, Pupil other) =>
        (one.Level, one.Residence, one.Personal.ClassName) == (other.Level, other.Residence, other.Personal.ClassName);

    // First by INE, whatever the names; then by names and birth date, among those whom no INE tells apart. Who is there goes
    // before who has left. Null: a pupil not known. No entry: rejected.
    private Dictionary<Marked, KnownPupil?> Match(List<Marked> pupils)
    {
        var found = new Dictionary<Marked, KnownPupil?>(ReferenceEqualityComparer.Instance);
        var taken = new HashSet<string>();
        var byIne = _state.Pupils.Where(pupil => pupil.Ine is not null).ToLookup(pupil => pupil.Ine!);
        var byIdentity = _state.Pupils.ToLookup(pupil => pupil.Identity);
        foreach (var pupil in pupils)
        {
            if (pupil.Ine is { } ine && byIne[ine].FirstOrDefault() is { } known && taken.Add(known.Subject)) found[pupil] = known;
        }

        foreach (var pupil in pupils.Where(pupil => !found.ContainsKey(pupil)))
        {
            var candidates = byIdentity[pupil.Identity].Where(known => !taken.Contains(known.Subject) && (pupil.Ine is null || known.Ine is null)).ToList();
            if (candidates.Exists(known => !known.Withdrawn)) candidates.RemoveAll(known => known.Withdrawn);
            if (candidates.Count > 1)
            {
                _rejected.Add(new RejectedRecord(pupil.Record.Line, pupil.Record.Commune, [Fault.Of("", s_homonym)]));
                continue;
            }

            found[pupil] = candidates.FirstOrDefault();
            if (candidates.Count == 1) taken.Add(candidates[0].Subject);
        }

        return found;
    }

    private void Take(Marked pupil, KnownPupil? before)
    {
        var (level, residence, personal) = pupil.Record.Pupil;
        var subject = before?.Subject ?? NewSubject(pupil.Record.Pupil);
        DomainEvent? said = null;
        if (before is null or { Withdrawn: true })
        {
            said = new PupilEnrolled(_file.Roll.School, _file.Roll.Year, level, residence, EnrolledOn()) { Personal = personal };
        }
        else if (before.Level != level || before.Residence != residence || (pupil.Class is not null && pupil.Class != before.Class))
        {
            said = new PupilChangedClass(_file.Roll.School, _file.Roll.Year, level, residence, _day) { Personal = personal };
        }
        else
        {
            _unchanged++;
        }

        var id = said is null ? before!.LastEvent : Say(_named, said, subject, before?.LastEvent);
        // A format that knows no INE, or no class, does not take it away.
        Keep(new KnownPupil(pupil.Identity, subject, level, residence, id, Ine: pupil.Ine ?? before?.Ine, Class: pupil.Class ?? before?.Class));
    }

    private CloudEvent Withdraw(KnownPupil pupil)
    {
        var said = new List<CloudEvent>();
        var id = Say(said, new PupilWithdrawn(_file.Roll.School, _file.Roll.Year, pupil.Level, pupil.Residence, _day), pupil.Subject, pupil.LastEvent);
        Keep(pupil with { LastEvent = id, Withdrawn = true });
        return said[0];
    }

    private string Say(List<CloudEvent> events, DomainEvent data, string subject, string? previous)
    {
        var id = PupilKey.EventId(subject, previous, data);
        events.Add(CloudEvent.Create(data, id, _source, subject, _file.File.TakenAt));
        return id;
    }

    private void Keep(KnownPupil pupil)
    {
        if (!_after.ContainsKey(pupil.Subject)) _order.Add(pupil.Subject);
        _after[pupil.Subject] = pupil;
    }

    // Whoever is in the first file of a year has been there from its beginning, as far as anybody can tell.
    private DateOnly EnrolledOn()
    {
        var start = new DateOnly(_file.Roll.Year.Start, 9, 1);
        return _state.Last is null && start < _day ? start : _day;
    }

    private string NewSubject(Pupil pupil)
    {
        for (var rank = 0; ; rank++)
        {
            var subject = PupilKey.Subject(_file.Roll, pupil, rank);
            if (_subjects.Add(subject)) return subject;
        }
    }

    private sealed class Marked(PupilRecord record, string salt)
    {
        public PupilRecord Record => record;

        public string? Ine { get; } = record.Pupil.Personal.Ine is { } ine ? PupilKey.Mark(salt, ine) : null;

        public string Identity { get; } = PupilKey.Mark(salt, PupilKey.Identity(record.Pupil));

        public string? Class { get; } = record.Pupil.Personal.ClassName is { } name ? PupilKey.Mark(salt, name) : null;
    }
}
