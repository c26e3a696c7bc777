using System.Globalization;
using Intercommunalite.ServiceDefaults;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// The report of an import as a spreadsheet opens it: a row for each fault of a rejected line (<c>rejet</c>), for each remark on what
/// was taken all the same (<c>remarque</c>), and for the refusal or holding of the whole file (<c>refus</c>, <c>attente</c>).
/// </summary>
internal sealed class Rejects : IAsyncDisposable
{
    // A file of nothing but faults must not fill the disk with its report.
    private const long MaxLength = 20 * 1024 * 1024;

    private static readonly Reason s_more = new(
        "le rapport s'arrête ici : les autres lignes sont comptées, mais non listées",
        "the report ends here: the other lines are counted, but not listed", Advice.Correct);

    private static readonly string[] s_columns = ["type", "line", "field", "value", "raison", "reason", "que faire", "what to do"];

    private readonly FileStream _file;
    private readonly SpreadsheetCsv _csv;
    private bool _isFull;

    private Rejects(FileStream file)
    {
        _file = file;
        _csv = new SpreadsheetCsv(file, withMark: file.Length == 0);
        _isFull = file.Length > MaxLength;
    }

    /// <summary>Begins the report, or goes on with it.</summary>
    /// <param name="path">Its file.</param>
    /// <param name="length">How much of it counts: what is behind comes from a run that was cut off, and goes.</param>
    public static async Task<Rejects> OpenAsync(string path, long length)
    {
        var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
        file.SetLength(Math.Min(length, file.Length));
        file.Position = file.Length;
        var rejects = new Rejects(file);
        if (file.Length == 0) await rejects._csv.RowAsync(s_columns);
        return rejects;
    }

    /// <summary>Adds the faults of a line.</summary>
    public async ValueTask AddAsync(long line, IReadOnlyList<Fault> faults)
    {
        foreach (var fault in faults) await AddAsync("rejet", line, fault);
    }

    /// <summary>Adds a remark.</summary>
    public ValueTask RemarkAsync(long line, Fault fault) => AddAsync("remarque", line, fault);

    /// <summary>Adds why the file as a whole was refused.</summary>
    public ValueTask RefuseAsync(Reason reason) => AddAsync("refus", null, Fault.Of("", reason));

    /// <summary>Adds why the file as a whole waits for somebody's decision.</summary>
    public ValueTask HoldAsync(Reason reason) => AddAsync("attente", null, Fault.Of("", reason));

    /// <summary>Makes what was added readable to others, and says how long the report is.</summary>
    public async Task<long> FlushAsync()
    {
        await _csv.FlushAsync();
        return _file.Position;
    }

    public ValueTask DisposeAsync() => _csv.DisposeAsync();

    private async ValueTask AddAsync(string type, long? line, Fault fault)
    {
        if (_isFull && line is not null) return;
        if (_file.Position > MaxLength && line is not null) (_isFull, fault) = (true, Fault.Of("", s_more));
        await _csv.RowAsync(
            [
                type, line?.ToString(CultureInfo.InvariantCulture), fault.Field, fault.Value,
                fault.Reason.French, fault.Reason.English, fault.Reason.ToDo.French, fault.Reason.ToDo.English,
            ]);
    }
}
