using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>A layout that communes' software writes, read into events. One instance reads any number of files, one after another.</summary>
internal interface IFormat
{
    /// <summary>Its name in paths and folders: lower-case letters, digits and hyphens.</summary>
    string Name { get; }

    /// <summary>The field that says which commune a record belongs to; named when a record is of another commune.</summary>
    string CommuneField { get; }

    /// <summary>
    /// Names of what must or may be told beside the file (<see cref="ImportContext.Settings"/>): <c>?uai=0350122T</c>. In a drop folder the
    /// first one may be told by a folder of that name: <c>drop/onde-pupils/0350122T/</c>.
    /// </summary>
    IReadOnlyList<string> Settings => [];

    /// <summary>Whether a file that begins so looks like one of this format; asked when a file was refused by another.</summary>
    /// <param name="start">The first 4,096 bytes as text.</param>
    bool LooksLike(string start);

    /// <summary>Why a file with these settings cannot be read, before it is; null when it can.</summary>
    Reason? Refuses(ImportContext context) => null;

    /// <summary>
    /// Reads a file as a stream, in memory that does not grow with it. The same content always gives the same event ids, so that
    /// a file may be read again after a crash.
    /// </summary>
    /// <param name="file">The file from its first byte.</param>
    /// <param name="context">What is known beside the file; not refused.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <returns>One record for each line that holds one, good or bad, in the order of the file.</returns>
    /// <exception cref="FileRefusedException">The file is not of this format.</exception>
    IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, CancellationToken cancellation);
}

/// <summary>What is known of a file beside its content. It stays the same when the file is read again after a crash.</summary>
/// <param name="Commune">The only commune whose records are taken; null when each record goes to its own.</param>
/// <param name="TakenAt">When the file was taken.</param>
/// <param name="Settings">What was told beside the file, by name: those of <see cref="IFormat.Settings"/> only.</param>
internal sealed record ImportContext(CommuneCode? Commune, DateTimeOffset TakenAt, IReadOnlyDictionary<string, string> Settings);

/// <summary>What a line of a file came to.</summary>
/// <param name="Line">Number of the line, from 1.</param>
/// <param name="Commune">The commune that it belongs to; null when that cannot be known.</param>
internal abstract record FormatRecord(long Line, CommuneCode? Commune);

/// <summary>An event.</summary>
/// <param name="Line">Number of the line.</param>
/// <param name="Event">The event, valid by the catalogue.</param>
/// <param name="Act">For formats that do not say what is a correction: what tells that the act is known already.</param>
internal sealed record EventRecord(long Line, CloudEvent Event, ActKey? Act = null) : FormatRecord(Line, Event.Source.Commune);

/// <summary>A line that cannot be read.</summary>
/// <param name="Line">Number of the line.</param>
/// <param name="Commune">The commune that it belongs to, where that much could be read.</param>
/// <param name="Faults">What is wrong, at least one.</param>
internal sealed record RejectedRecord(long Line, CommuneCode? Commune, IReadOnlyList<Fault> Faults) : FormatRecord(Line, Commune)
{
    /// <summary>In files that tell a state whole: whom the line is about, where that much could be read; else null.</summary>
    public string? About { get; init; }

    public RejectedRecord(long line, Fault fault)
        : this(line, null, [fault])
    {
    }
}

/// <summary>A sound record that belongs to no commune of today: a place abroad, a commune unknown to the tables.</summary>
/// <param name="Line">Number of the line.</param>
/// <param name="Why">The field that says so.</param>
internal sealed record PlacelessRecord(long Line, Fault Why) : FormatRecord(Line, null);

/// <summary>Something worth knowing about a file that was taken all the same: it is told in the report and counts as no line.</summary>
/// <param name="Line">Number of the line.</param>
/// <param name="Fault">What differs from what is expected.</param>
internal sealed record RemarkRecord(long Line, Fault Fault) : FormatRecord(Line, null);

/// <summary>What is wrong with a field of a line. It ends up in files that travel by mail, so it holds no personal data.</summary>
/// <param name="Field">Name of the field; empty for the line as a whole.</param>
/// <param name="Value">The value, or null where it may say something of a person.</param>
/// <param name="Reason">What is wrong, what is expected, what to do.</param>
internal sealed record Fault(string Field, string? Value, Reason Reason)
{
    private const int MaxShown = 20;
    private const int MaxLetters = 2;

    /// <summary>A fault of a field whose value is personal.</summary>
    public static Fault Of(string field, Reason reason) => new(field, null, reason);

    /// <summary>
    /// A fault of a field that holds a code, a date or a number. What does not look like one is not shown: where columns have
    /// slipped, a name may stand in its place.
    /// </summary>
    public static Fault OfCode(string field, string value, Reason reason) =>
        new(field, value.Length <= MaxShown && value.Count(char.IsLetter) <= MaxLetters ? value : null, reason);
}

/// <summary>A file that is not of its format is refused whole.</summary>
/// <param name="reason">For whoever sent the file.</param>
internal sealed class FileRefusedException(Reason reason) : Exception(reason.English)
{
    public Reason Reason => reason;
}
