using System.Text.Json;
using System.Text.Json.Serialization;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>Where an import is.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<ImportStatus>))]
internal enum ImportStatus
{
    /// <summary>Waits for its turn or is being read.</summary>
    [JsonStringEnumMemberName("running")]
    Running,

    /// <summary>Read to the end.</summary>
    [JsonStringEnumMemberName("completed")]
    Completed,

    /// <summary>Read, but nothing was taken: somebody must say that it is right, see <see cref="DecideImport"/>.</summary>
    [JsonStringEnumMemberName("held")]
    Held,

    /// <summary>Not a file of the format, or not what somebody wanted.</summary>
    [JsonStringEnumMemberName("refused")]
    Refused,
}

/// <summary>How far an import is. Once it is completed, the lines read are the sum of the four other counts.</summary>
/// <param name="ImportId">The import.</param>
/// <param name="Status">Where it is.</param>
/// <param name="LinesRead">Lines that hold a record: neither blank nor the header.</param>
/// <param name="Accepted">Events new to the journals.</param>
/// <param name="Duplicates">Events that the journals already had, or that the file holds twice.</param>
/// <param name="Rejected">Lines rejected.</param>
/// <param name="Elsewhere">Records of communes that are not served here, or of no commune.</param>
/// <param name="Withdrawn">Pupils whom the file no longer names: events that no line of it holds.</param>
/// <param name="Remarks">What differs from what is expected in records that were taken all the same.</param>
/// <param name="BytesRead">How much of the file is read.</param>
/// <param name="Bytes">How long it is.</param>
/// <param name="SameAs">An earlier import of the same content: as long as the journals keep its events, all are duplicates.</param>
/// <param name="Error">Why the file was refused or is held.</param>
/// <param name="Erreur">The same in French.</param>
/// <param name="ToDo">What to do about it.</param>
/// <param name="QueFaire">The same in French.</param>
/// <param name="Waiting">Why a running import does not go on at present; absent when it does.</param>
internal sealed record ImportState(
    Guid ImportId,
    ImportStatus Status,
    long LinesRead = 0,
    long Accepted = 0,
    long Duplicates = 0,
    long Rejected = 0,
    long Elsewhere = 0,
    long Withdrawn = 0,
    long Remarks = 0,
    long BytesRead = 0,
    long Bytes = 0,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Guid? SameAs = null,
    string? Error = null,
    string? Erreur = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? ToDo = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? QueFaire = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Waiting = null);

/// <summary>A file as it was taken.</summary>
/// <param name="Format">Name of its format.</param>
/// <param name="Commune">The only commune whose records are taken; null when each record goes to its own.</param>
/// <param name="Settings">What was told beside it, see <see cref="ImportContext"/>.</param>
/// <param name="Confirmed">Whether somebody has said that it is right, though it looks wrong.</param>
internal sealed record ImportRequest(string Format, CommuneCode? Commune, IReadOnlyDictionary<string, string> Settings, bool Confirmed = false);

/// <summary>How long a journal was at a checkpoint.</summary>
/// <param name="Journal">The journal.</param>
/// <param name="Last">Its last position.</param>
internal sealed record JournalMark(Guid Journal, long Last);

/// <summary>A place in a file of which all before it is done: in the journals, or in the report.</summary>
/// <param name="Records">Records before it.</param>
/// <param name="State">What they came to.</param>
/// <param name="ReportLength">How long the report was.</param>
/// <param name="Marks">How long the journals were, by commune.</param>
internal sealed record Checkpoint(long Records, ImportState State, long ReportLength, IReadOnlyDictionary<string, JournalMark> Marks);

/// <summary>
/// An import: a directory with the file as it came (until it is done, since it holds personal data), the rejected lines, and
/// this as <c>import.json</c>.
/// </summary>
internal sealed class Import
{
    private const string FileName = "import.json";

    private readonly string _directory;
    private Written _written;

    private Import(string directory, Written written) => (_directory, _written) = (directory, written);

    public Guid Id => State.ImportId;

    /// <summary>What was asked for.</summary>
    public ImportRequest Request => _written.Request;

    /// <summary>Size of the file in bytes.</summary>
    public long Size => _written.Size;

    /// <summary>SHA-256 of the file, in hexadecimal.</summary>
    public string Hash => _written.Hash;

    /// <summary>When the file was taken.</summary>
    public DateTimeOffset TakenAt => _written.TakenAt;

    /// <summary>Trace of the request that brought the file.</summary>
    public string? TraceParent => _written.TraceParent;

    /// <summary>Where a run after a crash goes on; null before the first line was read.</summary>
    public Checkpoint? Checkpoint => _written.Checkpoint;

    /// <summary>How far it is. Replaced whole, so that it can be read at any moment.</summary>
    public ImportState State => Volatile.Read(ref _written).State;

    /// <summary>The file.</summary>
    public string UploadPath => UploadIn(_directory);

    /// <summary>The rejected lines; absent before the first run.</summary>
    public string RejectsPath => Path.Combine(_directory, "rejects.csv");

    /// <summary>Where the file of an import is in its directory.</summary>
    public static string UploadIn(string directory) => Path.Combine(directory, "upload");

    /// <summary>Notes a new import of which the file is on disk; once this returns, it is not forgotten.</summary>
    public static Import Create(string directory, Guid id, ImportRequest request, long size, string hash, Guid? sameAs, DateTimeOffset takenAt, string? traceParent)
    {
        var written = new Written(request, size, hash, takenAt, traceParent, null, new ImportState(id, ImportStatus.Running, Bytes: size, SameAs: sameAs));
        // Not by renaming, as later: a crash could take the rename back, and with it the promise to read the file.
        Write(Path.Combine(directory, FileName), written);
        return new Import(directory, written);
    }

    /// <summary>Reads what was noted in a directory; null when nothing was, or a crash cut the first note off.</summary>
    public static Import? Load(string directory)
    {
        var path = Path.Combine(directory, FileName);
        try
        {
            return File.Exists(path) ? new Import(directory, JsonSerializer.Deserialize<Written>(File.ReadAllBytes(path), JsonSerializerOptions.Web)!) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Notes how far the file is read.</summary>
    public void Note(Checkpoint checkpoint) => Save(_written with { Checkpoint = checkpoint });

    /// <summary>Shows progress; not written to disk: a run after a crash counts from the checkpoint on.</summary>
    public void Show(ImportState state) => Volatile.Write(ref _written, _written with { State = state });

    /// <summary>Notes the end, then deletes the file; one that is held stays.</summary>
    public void Finish(ImportState state)
    {
        Save(_written with { State = state });
        if (state.Status != ImportStatus.Held) File.Delete(UploadPath);
    }

    /// <summary>Notes that somebody said the file is right: it is read anew.</summary>
    public void Confirm() => Save(_written with { Request = Request with { Confirmed = true }, Checkpoint = null, State = new ImportState(Id, ImportStatus.Running, Bytes: Size, SameAs: State.SameAs) });

    private void Save(Written written)
    {
        var path = Path.Combine(_directory, FileName);
        Write($"{path}.new", written);
        File.Move($"{path}.new", path, overwrite: true);
        Volatile.Write(ref _written, written);
    }

    private static void Write(string path, Written written)
    {
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None);
        JsonSerializer.Serialize(file, written, JsonSerializerOptions.Web);
        file.Flush(flushToDisk: true);
    }

    private sealed record Written(
        ImportRequest Request,
        long Size,
        string Hash,
        DateTimeOffset TakenAt,
        string? TraceParent,
        Checkpoint? Checkpoint,
        ImportState State);
}
