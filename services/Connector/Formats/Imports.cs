using System.Collections.Concurrent;
using System.Diagnostics;
using System.Threading.Channels;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>All imports, each in <c>{data}/imports/{id}</c>; those not finished wait in a queue.</summary>
internal sealed class Imports
{
    private readonly string _root;
    private readonly ConcurrentDictionary<Guid, Import> _unfinished = new();
    private readonly Channel<Import> _waiting = Channel.CreateUnbounded<Import>();

    /// <summary>Finds what the last run of the process left: unfinished imports wait again, in the order in which they came.</summary>
    public Imports(Journals journals)
    {
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

    /// <summary>Takes a file. Once this returns it is on disk, and will be read even if the process dies.</summary>
    /// <param name="id">Id of the import.</param>
    /// <param name="format">Name of its format.</param>
    /// <param name="commune">The only commune whose records are taken; null when each record goes to its own.</param>
    /// <param name="content">The file.</param>
    /// <param name="cancellation">Gives up; nothing of the file stays.</param>
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
        catch
        {
            System.IO.Directory.Delete(directory, recursive: true);
            throw;
        }
    }

    /// <summary>The import of that id, or null when there is none.</summary>
    public Import? Find(Guid id) => _unfinished.GetValueOrDefault(id) ?? Import.Load(DirectoryOf(id));

    /// <summary>Notes the end of an import.</summary>
    public void Finish(Import import, ImportState state)
    {
        import.Finish(state);
        Forget(import);
    }

    /// <summary>Leaves an import as its directory has it.</summary>
    public void Forget(Import import) => _unfinished.TryRemove(import.Id, out _);

    private static async Task<long> StoreAsync(Stream content, string path, CancellationToken cancellation)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 64 * 1024, FileOptions.Asynchronous);
        await content.CopyToAsync(file, cancellation);
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
