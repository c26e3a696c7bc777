using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>All imports, each in <c>{data}/imports/{id}</c>; those not finished wait in a queue.</summary>
internal sealed class Imports
{
    // How much of a file is written between two looks at the disk.
    private const int BytesBetweenLooks = 16 * 1024 * 1024;

    // ENOSPC and EDQUOT.
    private static readonly int[] s_diskFull = [28, 122];

    private readonly string _root;
    private readonly JournalLimits _limits;
    private readonly ConcurrentDictionary<Guid, Import> _unfinished = new();
    private readonly Channel<Import> _waiting = Channel.CreateUnbounded<Import>();

    /// <summary>Finds what the last run of the process left: unfinished imports wait again, in the order in which they came.</summary>
    public Imports(Journals journals, JournalLimits limits)
    {
        _limits = limits;
        _root = Path.Combine(journals.DataDirectory, "imports");
        System.IO.Directory.CreateDirectory(_root);
        foreach (var directory in System.IO.Directory.EnumerateDirectories(_root).Order(StringComparer.Ordinal))
        {
            var import = Import.Load(directory);
            if (import is null) System.IO.Directory.Delete(directory, recursive: true); // It was never promised: its file did not come whole.
            else if (import.State.Status == ImportStatus.Running) Enqueue(import);
            else File.Delete(import.UploadPath);
        }
    }

    /// <summary>Unfinished imports, in the order in which they came.</summary>
    public IAsyncEnumerable<Import> WaitingAsync(CancellationToken cancellation) => _waiting.Reader.ReadAllAsync(cancellation);

    /// <summary>Why the disk cannot take a file of that size now; null when it can.</summary>
    public string? NoRoomFor(long bytes) => _limits.NoRoomFor(bytes);

    /// <summary>Takes a file. Once this returns it is on disk, and will be read even if the process dies.</summary>
    /// <param name="id">Id of the import.</param>
    /// <param name="format">Name of its format.</param>
    /// <param name="commune">The only commune whose records are taken; null when each record goes to its own.</param>
    /// <param name="content">The file.</param>
    /// <param name="cancellation">Gives up; nothing of the file stays.</param>
    /// <exception cref="NoRoomException">The disk is too full; nothing of the file stays.</exception>
    public async Task<Import> TakeAsync(Guid id, string format, CommuneCode? commune, Stream content, CancellationToken cancellation)
    {
        var directory = DirectoryOf(id);
        System.IO.Directory.CreateDirectory(directory);
        try
        {
            var size = await StoreAsync(content, Import.UploadIn(directory), cancellation);
            var import = Import.Create(directory, id, format, commune, size, Activity.Current?.Id);
            Enqueue(import);
            return import;
        }
        catch (Exception e)
        {
            System.IO.Directory.Delete(directory, recursive: true);
            if (e is IOException && s_diskFull.Contains(e.HResult)) throw new NoRoomException("The connector's disk is full. Make room on it, or enlarge it.");
            throw;
        }
    }

    /// <summary>The import of that id, or null when there is none.</summary>
    public Import? Find(Guid id) => _unfinished.GetValueOrDefault(id) ?? Import.Load(DirectoryOf(id));

    /// <summary>Notes the end of an import.</summary>
    public void Finish(Import import, ImportState state)
    {
        import.Finish(state with { Waiting = null });
        Forget(import);
    }

    /// <summary>Leaves an import as its directory has it.</summary>
    public void Forget(Import import) => _unfinished.TryRemove(import.Id, out _);

    private async Task<long> StoreAsync(Stream content, string path, CancellationToken cancellation)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 0, FileOptions.Asynchronous);
        var buffer = new byte[64 * 1024];
        var untilLook = 0;
        while (await content.ReadAsync(buffer, cancellation) is > 0 and var read)
        {
            if ((untilLook -= read) < 0)
            {
                // Many files may come at once, and of some nobody knows how long they are.
                if (NoRoomFor(0) is { } reason) throw new NoRoomException(reason);
                untilLook = BytesBetweenLooks;
            }

            await file.WriteAsync(buffer.AsMemory(0, read), cancellation);
        }

        file.Flush(flushToDisk: true);
        return file.Length;
    }

    private void Enqueue(Import import)
    {
        _unfinished[import.Id] = import;
        _waiting.Writer.TryWrite(import);
    }

    private string DirectoryOf(Guid id) => Path.Combine(_root, id.ToString());
}

/// <summary>The disk is too full for a file.</summary>
internal sealed class NoRoomException(string reason) : IOException(reason);
