using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading.Channels;
using Intercommunalite.Connector.Journal;

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
    private readonly TimeProvider _clock;
    private readonly ConcurrentDictionary<Guid, Import> _unfinished = new();
    private readonly ConcurrentDictionary<Guid, Import> _held = new();
    private readonly ConcurrentDictionary<(string Hash, string Format), Guid> _completed = new();
    private readonly Lock _deciding = new();
    private readonly Channel<Import> _waiting = Channel.CreateUnbounded<Import>();

    /// <summary>Finds what the last run of the process left: unfinished imports wait again, in the order in which they came.</summary>
    public Imports(Journals journals, JournalLimits limits, FormatsOptions options, TimeProvider clock)
    {
        (_limits, _clock) = (limits, clock);
        _root = Path.Combine(journals.DataDirectory, "imports");
        System.IO.Directory.CreateDirectory(_root);
        foreach (var directory in System.IO.Directory.EnumerateDirectories(_root).Order(StringComparer.Ordinal))
        {
            var import = Import.Load(directory);
            if (import is null) System.IO.Directory.Delete(directory, recursive: true); // It was never promised: its file did not come whole.
            else if (import.State.Status == ImportStatus.Running) Enqueue(import);
            else if (import.State.Status == ImportStatus.Held) _held[import.Id] = import;
            else if (clock.GetUtcNow() - import.TakenAt > options.KeepImports) System.IO.Directory.Delete(directory, recursive: true);
            else Remember(import);
        }
    }

    /// <summary>Unfinished imports, in the order in which they came.</summary>
    public IAsyncEnumerable<Import> WaitingAsync(CancellationToken cancellation) => _waiting.Reader.ReadAllAsync(cancellation);

    /// <summary>Imports that wait for somebody's decision, the oldest first.</summary>
    public IEnumerable<Import> Held => _held.Values.OrderBy(import => import.TakenAt);

    /// <summary>Why the disk cannot take a file of that size now; null when it can.</summary>
    public string? NoRoomFor(long bytes) => _limits.NoRoomFor(bytes);

    /// <summary>
    /// Takes a file. Once this returns it is on disk, and will be read even if the process dies. A file that is held and comes again
    /// confirmed is the held import, which goes on.
    /// </summary>
    /// <param name="id">Id of the import.</param>
    /// <param name="request">What to do with it.</param>
    /// <param name="content">The file.</param>
    /// <param name="cancellation">Gives up; nothing of the file stays.</param>
    /// <exception cref="NoRoomException">The disk is too full; nothing of the file stays.</exception>
    public async Task<Import> TakeAsync(Guid id, ImportRequest request, Stream content, CancellationToken cancellation)
    {
        var directory = DirectoryOf(id);
        System.IO.Directory.CreateDirectory(directory);
        try
        {
            var (size, hash) = await StoreAsync(content, Import.UploadIn(directory), cancellation);
            if (request.Confirmed && _held.Values.FirstOrDefault(held => held.Hash == hash && IsLike(held.Request, request)) is { } known && TryConfirm(known))
            {
                System.IO.Directory.Delete(directory, recursive: true);
                return known;
            }

            Guid? sameAs = _completed.TryGetValue((hash, request.Format), out var earlier) ? earlier : null;
            var import = Import.Create(directory, id, request, size, hash, sameAs, _clock.GetUtcNow(), Activity.Current?.Id);
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
    public Import? Find(Guid id) => _unfinished.GetValueOrDefault(id) ?? _held.GetValueOrDefault(id) ?? Import.Load(DirectoryOf(id));

    /// <summary>Notes the end of an import. Older files of the same kind that are held have nothing to say any more.</summary>
    public void Finish(Import import, ImportState state)
    {
        lock (_deciding)
        {
            import.Finish(state with { Waiting = null });
            if (state.Status == ImportStatus.Held) _held[import.Id] = import;
            Forget(import);
            if (state.Status != ImportStatus.Completed) return;
            Remember(import);
            foreach (var held in _held.Values.Where(held => held.TakenAt < import.TakenAt && IsLike(held.Request, import.Request)))
                Discard(held, "Held, and not confirmed before a later file was taken.", "Mis en attente, et non confirmé avant qu'un fichier plus récent soit pris.");
        }
    }

    /// <summary>Reads a held import again, now that somebody said it is right.</summary>
    /// <returns>False when it is not held.</returns>
    public bool TryConfirm(Import import)
    {
        lock (_deciding)
        {
            if (import.State.Status != ImportStatus.Held) return false;
            import.Confirm();
            _held.TryRemove(import.Id, out _);
            Enqueue(import);
            return true;
        }
    }

    /// <summary>Gives a held import up, and deletes its file.</summary>
    /// <returns>False when it is not held.</returns>
    public bool TryDiscard(Import import)
    {
        lock (_deciding)
        {
            if (import.State.Status != ImportStatus.Held) return false;
            Discard(import, "Held, then discarded by hand.", "Mis en attente, puis abandonné à la main.");
            return true;
        }
    }

    /// <summary>Gives up the imports that were taken before a time and still wait for a decision.</summary>
    public void DiscardHeldBefore(DateTimeOffset time)
    {
        lock (_deciding)
        {
            foreach (var import in _held.Values.Where(import => import.TakenAt < time))
                Discard(import, "Held, and not decided on for too long.", "Mis en attente, et resté trop longtemps sans décision.");
        }
    }

    /// <summary>Leaves an import as its directory has it.</summary>
    public void Forget(Import import) => _unfinished.TryRemove(import.Id, out _);

    private static bool IsLike(ImportRequest one, ImportRequest other) =>
        one.Format == other.Format && one.Commune == other.Commune && one.Settings.Count == other.Settings.Count && !one.Settings.Except(other.Settings).Any();

    private void Remember(Import import)
    {
        File.Delete(import.UploadPath);
        if (import.State.Status == ImportStatus.Completed) _completed.TryAdd((import.Hash, import.Request.Format), import.Id);
    }

    private void Discard(Import import, string error, string erreur)
    {
        import.Finish(import.State with { Status = ImportStatus.Refused, Error = error, Erreur = erreur });
        _held.TryRemove(import.Id, out _);
    }

    private async Task<(long Size, string Hash)> StoreAsync(Stream content, string path, CancellationToken cancellation)
    {
        await using var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.None, 0, FileOptions.Asynchronous);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
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

            hash.AppendData(buffer, 0, read);
            await file.WriteAsync(buffer.AsMemory(0, read), cancellation);
        }

        file.Flush(flushToDisk: true);
        return (file.Length, Convert.ToHexStringLower(hash.GetCurrentHash()));
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
