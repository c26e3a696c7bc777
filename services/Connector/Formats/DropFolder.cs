using System.Text;
using System.Text.Json;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// A folder whose files are taken as if they had been posted. Everything that must be remembered is in the files' names, so that
/// a crash at any moment leaves a folder to go on with: a file being imported is called <c>.import-{its id}.{its name}</c>.
/// </summary>
/// <remarks>
/// A file whose import is held waits in <c>held/</c> as <c>{import id}.{its name}</c>, so that whoever decides finds the id.
/// </remarks>
/// <param name="path">The folder.</param>
/// <param name="request">What to do with its files.</param>
/// <param name="imports">Where the files go.</param>
/// <param name="quiet">How long a file must be seen unchanged.</param>
/// <param name="clock">The time.</param>
internal sealed class DropFolder(string path, ImportRequest request, Imports imports, TimeSpan quiet, TimeProvider clock)
{
    private const string Taken = ".import-";
    private const string ReportSuffix = ".report.json";
    private const string RejectsSuffix = ".rejects.csv";

    // Of the 255 that a name may have, what the connector adds to it apart.
    private const int MaxNameBytes = 190;
    private const int MaxExtensionBytes = 20;

    private static readonly JsonSerializerOptions s_report = new(JsonSerializerOptions.Web) { WriteIndented = true };

    private readonly string _done = Path.Combine(path, "done");
    private readonly string _rejected = Path.Combine(path, "rejected");
    private readonly string _held = Path.Combine(path, "held");
    private readonly HashSet<string> _waiting = [];
    private Dictionary<string, Seen> _seen = [];

    public string FullPath => path;

    /// <summary>Whether a folder in a drop folder is the connector's own.</summary>
    public static bool IsOwn(string name) => name is "done" or "rejected" or "held";

    /// <summary>Makes the folder, with <c>done/</c>, <c>rejected/</c> and <c>held/</c> in it.</summary>
    public void Create()
    {
        Directory.CreateDirectory(_done);
        Directory.CreateDirectory(_rejected);
        Directory.CreateDirectory(_held);
    }

    /// <summary>
    /// Moves away the files whose import is over, and takes those that are whole: unchanged for a while, and open nowhere.
    /// While the disk is too full for another copy, they wait.
    /// </summary>
    /// <param name="failed">Told of each file that could not be handled; it is tried again at the next look.</param>
    /// <param name="cancellation">Stops between two files, or in the middle of one, which is then taken later.</param>
    public async Task LookAsync(Action<Exception> failed, CancellationToken cancellation)
    {
        Create();
        var seen = new Dictionary<string, Seen>();
        var files = new DirectoryInfo(_held).GetFiles().Concat(new DirectoryInfo(path).GetFiles());
        foreach (var file in files.OrderBy(file => file.LastWriteTimeUtc).ThenBy(file => file.Name, StringComparer.Ordinal))
        {
            try
            {
                if (TakenAs(file) is { } taken) Settle(file, taken.Import, taken.Name);
                else if (file.DirectoryName == _held || !IsCandidate(file)) continue;
                else if (file.Name.Contains('\uFFFD')) Refuse(file);
                else if (IsWhole(file, seen) && HasRoomFor(file, failed)) await TakeAsync(file, cancellation);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failed(e);
            }
        }

        _seen = seen;
    }

    /// <summary>Deletes the files that were moved away before a time, and the reports from before another one.</summary>
    /// <remarks>The report tells when its file was moved: the file keeps the time that it came with. What has no report is somebody else's.</remarks>
    public static void Clear(string path, DateTimeOffset files, DateTimeOffset reports)
    {
        foreach (var folder in (string[])["done", "rejected", "held"])
        {
            if (!Directory.Exists(Path.Combine(path, folder))) continue;
            foreach (var report in new DirectoryInfo(Path.Combine(path, folder)).GetFiles($"*{ReportSuffix}"))
            {
                var file = report.FullName[..^ReportSuffix.Length];
                if (report.LastWriteTimeUtc < files.UtcDateTime) File.Delete(file);
                if (report.LastWriteTimeUtc >= reports.UtcDateTime) continue;
                File.Delete($"{file}{RejectsSuffix}");
                report.Delete();
            }
        }
    }

    private static bool IsCandidate(FileInfo file) =>
        !file.Name.StartsWith('.') && file.LinkTarget is null
        && !file.Name.EndsWith(".part", StringComparison.OrdinalIgnoreCase) && !file.Name.EndsWith(".tmp", StringComparison.OrdinalIgnoreCase);

    // .import-{id}.{name} while it is read, {id}.{name} in held/ while it is held; the reports there are none.
    private (Guid Import, string Name)? TakenAs(FileInfo file)
    {
        const int Length = 36;
        var isHeld = file.DirectoryName == _held;
        if (isHeld ? IsReport(file.Name) : !file.Name.StartsWith(Taken, StringComparison.Ordinal)) return null;
        var name = isHeld ? file.Name : file.Name[Taken.Length..];
        return name.Length > Length + 1 && name[Length] == '.' && Guid.TryParseExact(name.AsSpan(0, Length), "D", out var import) ? (import, name[(Length + 1)..]) : null;
    }

    private static bool IsReport(string name) => name.EndsWith(ReportSuffix, StringComparison.Ordinal) || name.EndsWith(RejectsSuffix, StringComparison.Ordinal);

    // The connector's own additions must fit behind and before it.
    private static string Shortened(string name)
    {
        if (Encoding.UTF8.GetByteCount(name) <= MaxNameBytes) return name;
        var (stem, extension) = (Path.GetFileNameWithoutExtension(name), Path.GetExtension(name));
        if (Encoding.UTF8.GetByteCount(extension) > MaxExtensionBytes) (stem, extension) = (name, "");
        while (Encoding.UTF8.GetByteCount(stem) + Encoding.UTF8.GetByteCount(extension) > MaxNameBytes - 1) stem = stem[..^1];
        return $"{stem}~{extension}";
    }

    // Its name is in no encoding that the system could open it by. That is told once.
    private void Refuse(FileInfo file)
    {
        var name = Shortened(file.Name.Replace('\uFFFD', '_'));
        if (!_waiting.Add(file.Name) || File.Exists(ReportPath(_rejected, name))) return;
        var state = new ImportState(
            Guid.Empty, ImportStatus.Refused, Error: "The file's name is not in UTF-8, so that it cannot be opened. Rename it.",
            Erreur: "Le nom du fichier n'est pas en UTF-8 : il ne peut pas être ouvert. Renommez-le.");
        File.WriteAllText(ReportPath(_rejected, name), JsonSerializer.Serialize(state, s_report));
    }

    private bool IsWhole(FileInfo file, Dictionary<string, Seen> seen)
    {
        var (size, time) = (file.Length, file.LastWriteTimeUtc);
        if (!_seen.TryGetValue(file.Name, out var before) || (before.Size, before.Time) != (size, time)) before = new(size, time, clock.GetTimestamp());
        seen[file.Name] = before;
        if (clock.GetElapsedTime(before.Since) < quiet) return false;
        // An empty one is never opened: it could be a pipe, which waits for somebody to write.
        if (size == 0) return true;
        try
        {
            using var alone = new FileStream(file.FullName, FileMode.Open, FileAccess.Read, FileShare.None);
            return true;
        }
        catch (IOException)
        {
            // Somebody still has it open.
            return false;
        }
    }

    // Said once for each file, not at every look.
    private bool HasRoomFor(FileInfo file, Action<Exception> failed)
    {
        if (imports.NoRoomFor(file.Length) is not { } reason)
        {
            _waiting.Remove(file.Name);
            return true;
        }

        if (_waiting.Add(file.Name)) failed(new NoRoomException(reason));
        return false;
    }

    private async Task TakeAsync(FileInfo file, CancellationToken cancellation)
    {
        var id = Guid.CreateVersion7();
        file.MoveTo(Path.Combine(path, $"{Taken}{id}.{Shortened(file.Name)}"));
        await using var content = file.Length == 0 ? Stream.Null : file.OpenRead();
        await imports.TakeAsync(id, request, content, cancellation);
    }

    private void Settle(FileInfo file, Guid id, string name)
    {
        var import = imports.Find(id);
        if (import?.State.Status == ImportStatus.Running) return;
        if (import is null || import.Size != file.Length)
        {
            // The process died before it had the file whole, or somebody went on writing after all: it is taken anew.
            File.Move(file.FullName, Path.Combine(path, FreeName(path, name)));
            return;
        }

        var isHeld = import.State.Status == ImportStatus.Held;
        if (isHeld && file.DirectoryName == _held) return;
        var target = isHeld ? _held : import.State.Status == ImportStatus.Refused ? _rejected : _done;
        var free = isHeld ? $"{id}.{name}" : FreeName(target, name);
        try
        {
            File.WriteAllText(ReportPath(target, free), JsonSerializer.Serialize(import.State, s_report));
            if (import.State is not { Status: ImportStatus.Completed, Rejected: 0, Remarks: 0 } && File.Exists(import.RejectsPath)) File.Copy(import.RejectsPath, RejectsPath(target, free), overwrite: true);
            File.Move(file.FullName, Path.Combine(target, free));
            if (file.DirectoryName != _held) return;
            File.Delete(ReportPath(_held, file.Name));
            File.Delete(RejectsPath(_held, file.Name));
        }
        catch (IOException)
        {
            // On a full disk each look would else leave an empty report, under another name each time.
            File.Delete(ReportPath(target, free));
            File.Delete(RejectsPath(target, free));
            throw;
        }
    }

    private static string FreeName(string folder, string name)
    {
        var (stem, extension) = (Path.GetFileNameWithoutExtension(name), Path.GetExtension(name));
        var free = name;
        for (var next = 2; File.Exists(Path.Combine(folder, free)) || File.Exists(ReportPath(folder, free)) || File.Exists(RejectsPath(folder, free)); next++)
            free = $"{stem}-{next}{extension}";
        return free;
    }

    private static string ReportPath(string folder, string name) => Path.Combine(folder, name + ReportSuffix);

    private static string RejectsPath(string folder, string name) => Path.Combine(folder, name + RejectsSuffix);

    private sealed record Seen(long Size, DateTime Time, long Since);
}
