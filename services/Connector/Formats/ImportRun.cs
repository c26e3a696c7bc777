using System.Diagnostics;
using System.Runtime.InteropServices;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Reads the file of an import and writes its events to the journals, in the order of the file within each commune, many at a
/// time. After a crash it goes on from the last checkpoint; what is in the journals already stays single, and is counted as if
/// nothing had happened. Where a journal is past its limits, it waits.
/// </summary>
internal sealed class ImportRun
{
    private const int MaxWaitingEvents = 2_000;
    private const int MaxWaitingBytes = 4 * 1024 * 1024;
    private const int LinesBetweenSignsOfLife = 500;
    private const int RecordsBetweenCheckpoints = 20_000;
    private const int LookedAt = 4_096;

    private readonly Import _import;
    private readonly IFormat _format;
    private readonly IReadOnlyCollection<IFormat> _formats;
    private readonly Journals _journals;
    private readonly JournalLimits _limits;
    private readonly Dictionary<CommuneCode, Batch> _batches = [];
    private readonly RollsRun _rolls = new();
    private int _waitingEvents;
    private long _waitingBytes;
    private ImportState _state;
    private long _records;

    private ImportRun(Import import, IFormat format, IReadOnlyCollection<IFormat> formats, Journals journals, JournalLimits limits)
    {
        (_import, _format, _formats, _journals, _limits) = (import, format, formats, journals, limits);
        (_state, _records) = (import.Checkpoint!.State, 0);
    }

    /// <summary>Reads the whole file.</summary>
    /// <param name="import">The import.</param>
    /// <param name="format">Its format.</param>
    /// <param name="formats">All formats: which of them a refused file looks like.</param>
    /// <param name="journals">Where events go.</param>
    /// <param name="limits">Whether they may.</param>
    /// <param name="cancellation">Stops; the import can be run again.</param>
    /// <returns>The final counts; a refusal with its reason when the file is not of the format.</returns>
    public static async Task<ImportState> RunAsync(
        Import import, IFormat format, IReadOnlyCollection<IFormat> formats, Journals journals, JournalLimits limits, CancellationToken cancellation)
    {
        if (import.Checkpoint is null) import.Note(new(0, import.State, 0, Marks(import, journals)));
        var run = new ImportRun(import, format, formats, journals, limits);
        try
        {
            return await run.ReadAsync(cancellation);
        }
        finally
        {
            foreach (var batch in run._batches.Values) batch.Dispose();
        }
    }

    private async Task<ImportState> ReadAsync(CancellationToken cancellation)
    {
        await using var rejects = await Rejects.OpenAsync(_import.RejectsPath, _import.Checkpoint!.ReportLength);
        await using var file = new FileStream(_import.UploadPath, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.SequentialScan);
        var context = new ImportContext(_import.Request.Commune, _import.TakenAt, _import.Request.Settings);
        try
        {
            if (_format.Refuses(context) is { } refusal) throw new FileRefusedException(refusal);
            var done = _import.Checkpoint.Records;
            await foreach (var record in _format.ReadAsync(file, context, cancellation))
            {
                if (++_records <= done) continue;
                await TakeAsync(record, rejects, cancellation);
                if (_records % LinesBetweenSignsOfLife != 0) continue;
                _state = _state with { BytesRead = file.Position };
                await ShowAsync(rejects);
                // What was gathered of rolls is in memory only: such a file is read from its beginning again.
                if (_records % RecordsBetweenCheckpoints == 0 && _rolls.IsEmpty) await NoteAsync(rejects, cancellation);
            }

            _state = _state with { BytesRead = file.Position };
            await WriteAllAsync(cancellation);
            return _rolls.IsEmpty ? _state with { Status = ImportStatus.Completed } : await TakeRollsAsync(rejects, cancellation);
        }
        catch (FileRefusedException refusal)
        {
            var sentence = refusal.Reason with { French = Reason.Sentence(refusal.Reason.French), English = Reason.Sentence(refusal.Reason.English) };
            var reason = await LooksLikeAsync(file, cancellation) is { } other ? Instead(sentence, other) : sentence;
            await rejects.RefuseAsync(reason);
            return _state with { Status = ImportStatus.Refused, Error = reason.English, Erreur = reason.French, ToDo = reason.ToDo.English, QueFaire = reason.ToDo.French };
        }
    }

    // The journals first, then the note that they have it.
    private async Task NoteAsync(Rejects rejects, CancellationToken cancellation)
    {
        await WriteAllAsync(cancellation);
        _import.Note(new(_records, _state, await rejects.FlushAsync(), Marks(_import, _journals)));
    }

    private static Dictionary<string, JournalMark> Marks(Import import, Journals journals) => journals.All
        .Where(journal => import.Request.Commune is not { } only || journal.Commune == only)
        .ToDictionary(journal => journal.Commune.ToString(), journal => new JournalMark(journal.Id, journal.Last));

    // A commune that the connector serves only since: what of its journal an earlier run wrote is all that there is.
    private JournalMark MarkOf(CommuneCode commune) =>
        _import.Checkpoint!.Marks.GetValueOrDefault(commune.ToString()) ?? new JournalMark(_journals.Find(commune)!.Id, 0);

    private async Task<IFormat?> LooksLikeAsync(FileStream file, CancellationToken cancellation)
    {
        var start = new byte[LookedAt];
        file.Position = 0;
        var read = await file.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, cancellation);
        // Without half a line at the end: half a letter would make another encoding of the whole.
        var lines = start.AsSpan(0, read) is var all && all.StartsWith("\uFEFF"u8) ? all[3..] : all;
        if (read == LookedAt && lines.LastIndexOf((byte)'\n') is > 0 and var end) lines = lines[..end];
        var text = new Line(1, lines.ToArray(), false).Text;
        return _formats.Where(format => format != _format).FirstOrDefault(format => format.LooksLike(text));
    }

    private static Reason Instead(Reason reason, IFormat other) => reason with
    {
        French = $"{reason.French} Le fichier ressemble au format {other.Name}.",
        English = $"{reason.English} The file looks like the format {other.Name}.",
    };

    private async Task TakeAsync(FormatRecord record, Rejects rejects, CancellationToken cancellation)
    {
        if (record is RemarkRecord remark)
        {
            await rejects.RemarkAsync(remark.Line, remark.Fault);
            _state = _state with { Remarks = _state.Remarks + 1 };
            return;
        }

        if (record is RollRecord roll)
        {
            _rolls.Add(roll);
            return;
        }

        _state = _state with { LinesRead = _state.LinesRead + 1 };
        if (_import.Request.Commune is null && (record is PlacelessRecord || (record.Commune is { } owner && _journals.Find(owner) is null)))
        {
            _state = _state with { Elsewhere = _state.Elsewhere + 1 };
        }
        else if (Faults(record) is { } faults)
        {
            await rejects.AddAsync(record.Line, faults);
            if (record is RejectedRecord rejected) _rolls.Add(rejected);
            _state = _state with { Rejected = _state.Rejected + 1 };
        }
        else if (record is PupilRecord pupil)
        {
            _rolls.Add(pupil);
        }
        else
        {
            await AddAsync((EventRecord)record, cancellation);
        }
    }

    // Files that tell rolls whole: what they change is known at their end only, and nothing was written before.
    private async Task<ImportState> TakeRollsAsync(Rejects rejects, CancellationToken cancellation)
    {
        var decision = _rolls.Decide(_import, _journals.Find(_import.Request.Commune!.Value)!.Directory);
        foreach (var rejected in decision.Rejected) await rejects.AddAsync(rejected.Line, rejected.Faults);
        foreach (var remark in decision.Remarks) await rejects.RemarkAsync(remark.Line, remark.Fault);
        _state = _state with { Rejected = _state.Rejected + decision.Rejected.Count, Remarks = _state.Remarks + decision.Remarks.Count };
        if (decision.Held.Count > 0)
        {
            foreach (var reason in decision.Held) await rejects.HoldAsync(reason);
            return _state with
            {
                Status = ImportStatus.Held,
                Error = string.Join(' ', decision.Held.Select(reason => reason.English)),
                Erreur = string.Join(' ', decision.Held.Select(reason => reason.French)),
                ToDo = decision.Held[0].ToDo.English,
                QueFaire = decision.Held[0].ToDo.French,
            };
        }

        _state = _state with { Accepted = decision.DoneNamed, Duplicates = decision.Unchanged };
        foreach (var named in decision.Named) await AddAsync(new EventRecord(0, named), cancellation);
        await WriteAllAsync(cancellation);
        var ofLines = _state;
        foreach (var withdrawn in decision.Withdrawn) await AddAsync(new EventRecord(0, withdrawn), cancellation);
        await WriteAllAsync(cancellation);
        decision.Save();
        return ofLines with { Status = ImportStatus.Completed, Withdrawn = decision.DoneWithdrawn + _state.Accepted - ofLines.Accepted };
    }

    private IReadOnlyList<Fault>? Faults(FormatRecord record) => record switch
    {
        RejectedRecord rejected => rejected.Faults,
        PlacelessRecord placeless => [placeless.Why],
        { Commune: { } owner } when _import.Request.Commune is { } only && owner != only =>
            [Fault.Of(_format.CommuneField, Reason.OtherCommune(owner.ToString(), only.ToString()))],
        _ => null,
    };

    private async Task AddAsync(EventRecord record, CancellationToken cancellation)
    {
        var read = record.Event;
        var commune = read.Source.Commune;
        if (!_batches.TryGetValue(commune, out var batch)) _batches[commune] = batch = new Batch(_journals.Find(commune)!, MarkOf(commune));
        batch.Events.Add((read with { TraceParent = read.TraceParent ?? Activity.Current?.Id ?? _import.TraceParent }, record.Act));
        _waitingBytes += JsonMarshal.GetRawUtf8Value(read.Data).Length;
        if (++_waitingEvents >= MaxWaitingEvents || _waitingBytes > MaxWaitingBytes) await WriteAllAsync(cancellation);
    }

    // The journals of several communes are written side by side.
    private async Task WriteAllAsync(CancellationToken cancellation)
    {
        var written = await Task.WhenAll(_batches.Values.Where(batch => batch.Events.Count > 0).Select(batch => Task.Run(() => WriteAsync(batch, cancellation), cancellation)));
        foreach (var (events, accepted) in written)
            _state = _state with { Accepted = _state.Accepted + accepted, Duplicates = _state.Duplicates + events - accepted };
        (_waitingEvents, _waitingBytes) = (0, 0);
        _import.Show(_state);
    }

    private async Task<(int Events, int Accepted)> WriteAsync(Batch batch, CancellationToken cancellation)
    {
        await _limits.UntilAcceptsAsync(batch.Journal, why => _import.Show(_state with { Waiting = why }), cancellation);
        var posted = await batch.Journal.AppendAsync(batch.Settle(_import.Id), cancellation);
        Intake.Intake.Count(batch.Journal.Commune, posted);
        batch.Events.Clear();
        return (posted.Count, posted.Count(batch.Earlier.IsAccepted));
    }

    private async Task ShowAsync(Rejects rejects)
    {
        await rejects.FlushAsync();
        _import.Show(_state);
    }

    private sealed class Batch(CommuneJournal journal, JournalMark mark) : IDisposable
    {
        private KnownActs? _acts;

        public CommuneJournal Journal { get; } = journal;

        public List<(CloudEvent Event, ActKey? Act)> Events { get; } = [];

        public EarlierRun Earlier { get; } = new(journal, mark);

        /// <summary>The events, corrections of known acts as such.</summary>
        public List<CloudEvent> Settle(Guid import)
        {
            if (Events.TrueForAll(read => read.Act is null)) return [.. Events.Select(read => read.Event)];
            _acts ??= new KnownActs(Journal.Directory, DateOnly.FromDateTime(DateTime.UtcNow));
            return _acts.Settle(Events, import);
        }

        public void Dispose() => _acts?.Dispose();
    }
}
