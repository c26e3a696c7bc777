using System.Text.Json;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// A folder whose files are taken as if they had been posted. Everything that must be remembered is in the files' names, so that
/// a crash at any moment leaves a folder to go on with: a file being imported is called <c>.{import id}.{its name}</c>.
/// </summary>
/// <param name="path">The folder.</param>
/// <param name="format">Name of the format of its files.</param>
/// <param name="commune">The only commune whose records are taken; null when each record goes to its own.</param>
/// <param name="imports">Where the files go.</param>
internal sealed class DropFolder(string path, string format, CommuneCode? commune, Imports imports)
{
    private static readonly JsonSerializerOptions s_report = new(JsonSerializerOptions.Web) { WriteIndented = true };

    private static readonly Dictionary<string, string> s_noSettings = [];

    private readonly string _done = Path.Combine(path, "done");
    private readonly string _rejected = Path.Combine(path, "rejected");
    private readonly HashSet<string> _waiting = [];
    private Dictionary<string, (long Size, DateTime Time)> _seen = [];

    public string FullPath => path;

    /// <summary>Makes the folder, with <c>done/</c> and <c>rejected/</c> in it.</summary>
    public void Create()
    {
        Directory.CreateDirectory(_done);
        Directory.CreateDirectory(_rejected);
    }

    /// <summary>
    /// Moves away the files whose import is over, and takes those that are whole: unchanged since the last look, and open nowhere.
    /// While the disk is too full for another copy, they wait.
    /// </summary>
    /// <param name="failed">Told of each file that could not be handled; it is tried again at the next look.</param>
    /// <param name="cancellation">Stops between two files, or in the middle of one, which is then taken later.</param>
    public async Task LookAsync(Action<Exception> failed, CancellationToken cancellation)
    {
        Create();
        var seen = new Dictionary<string, (long, DateTime)>();
        foreach (var file in new DirectoryInfo(path).GetFiles().OrderBy(file => file.LastWriteTimeUtc).ThenBy(file => file.Name, StringComparer.Ordinal))
        {
            try
            {
                if (TakenAs(file.Name) is { } taken) Settle(file, taken.Import, taken.Name);
                else if (!IsCandidate(file)) continue;
                else if (IsWhole(file) && HasRoomFor(file, failed)) await TakeAsync(file, cancellation);
                else seen[file.Name] = (file.Length, file.LastWriteTimeUtc);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                failed(e);
            }
        }

        _seen = seen;
    }

    private static bool IsCandidate(FileInfo file) =>
        !file.Name.StartsWith('.') && file.LinkTarget is null
        && !file.Name.EndsWith(".part", StringComparison.OrdinalIgnoreCase) && !file.Name.EndsWith(".tmp", StringComparison.OrdinalIgnoreCase);

    private static (Guid Import, string Name)? TakenAs(string name)
    {
        const int Length = 36;
        return name.Length > Length + 2 && name[0] == '.' && name[Length + 1] == '.' && Guid.TryParseExact(name.AsSpan(1, Length), "D", out var import)
            ? (import, name[(Length + 2)..])
            : null;
    }

    private bool IsWhole(FileInfo file)
    {
        if (!_seen.TryGetValue(file.Name, out var before) || before != (file.Length, file.LastWriteTimeUtc)) return false;
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
        file.MoveTo(Path.Combine(path, $".{id}.{file.Name}"));
        await using var content = file.OpenRead();
        await imports.TakeAsync(id, new(format, commune, s_noSettings), content, cancellation);
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

        var target = import.State.Status == ImportStatus.Refused ? _rejected : _done;
        var free = FreeName(target, name);
        try
        {
            File.WriteAllText(ReportPath(target, free), JsonSerializer.Serialize(import.State, s_report));
            if (import.State.Rejected > 0) File.Copy(import.RejectsPath, RejectsPath(target, free));
            File.Move(file.FullName, Path.Combine(target, free));
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

    private static string ReportPath(string folder, string name) => Path.Combine(folder, $"{name}.report.json");

    private static string RejectsPath(string folder, string name) => Path.Combine(folder, $"{name}.rejects.csv");
}
