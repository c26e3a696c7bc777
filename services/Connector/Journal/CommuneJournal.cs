using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Intercommunalite.Contracts;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Intercommunalite.Connector.Journal;

/// <summary>An event's place in the journal.</summary>
/// <param name="Id">The CloudEvent's id.</param>
/// <param name="Position">1, 2, 3, …</param>
/// <param name="Duplicate">Whether it already was in the journal, at that position.</param>
internal sealed record Posted(string Id, long Position, bool Duplicate);

/// <summary>A stored event, ready for the bus.</summary>
/// <param name="Position">Its position.</param>
/// <param name="Json">The CloudEvent in UTF-8, with journal and position.</param>
/// <param name="AcceptedAt">When it was accepted.</param>
internal readonly record struct StoredEvent(long Position, byte[] Json, DateTimeOffset AcceptedAt);

/// <summary>
/// The events of one commune that were accepted, in order, on disk (SQLite, write-ahead log, synchronous FULL). Concurrent
/// requests share one commit: what arrives while one is written goes together into the next.
/// </summary>
internal sealed class CommuneJournal : IAsyncDisposable
{
    private const int MaxEventsPerCommit = 5_000;

    // Free pages that stay in the file for the events to come (16 MiB).
    private const int KeptFreePages = 4_096;

    private const int MaxCachedBytes = 16 * 1024 * 1024;

    // Pages given back at a time, so that nobody who appends waits for long.
    private const int PagesGivenBack = 512;

    private readonly string _connectionString;
    private readonly SqliteConnection _writer;
    private readonly Channel<Append> _appends = Channel.CreateBounded<Append>(256);
    private readonly Task _writing;
    private long _last;
    private long _published;
    private long _received;
    private (long Published, long Received) _noted;

    private CommuneJournal(CommuneCode commune, string directory)
    {
        Commune = commune;
        Directory = directory;
        System.IO.Directory.CreateDirectory(directory);
        _connectionString = new SqliteConnectionStringBuilder { DataSource = Path.Combine(directory, "journal.db"), DefaultTimeout = 30 }.ToString();
        // Before the file is made; for one that is there already it would be a write, which a full disk refuses.
        var isNew = !File.Exists(Path.Combine(directory, "journal.db"));
        _writer = OpenConnection();
        if (isNew) Execute("PRAGMA auto_vacuum = INCREMENTAL");
        Execute("""
            PRAGMA journal_mode = WAL;
            CREATE TABLE IF NOT EXISTS journal (id TEXT NOT NULL, published INTEGER NOT NULL, received INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS event (position INTEGER PRIMARY KEY, event_id BLOB NOT NULL UNIQUE, accepted_at INTEGER NOT NULL, json BLOB NOT NULL);
            CREATE TABLE IF NOT EXISTS received_mark (at INTEGER NOT NULL, received INTEGER NOT NULL);
            INSERT INTO journal SELECT lower(hex(randomblob(16))), 0, 0 WHERE NOT EXISTS (SELECT 1 FROM journal);
            """);
        using var command = _writer.CreateCommand();
        command.CommandText = """
            SELECT id, published, max(received, coalesce((SELECT min(position) - 1 FROM event), 0)), (SELECT coalesce(max(position), 0) FROM event) FROM journal
            """;
        using var reader = command.ExecuteReader();
        reader.Read();
        Id = Guid.ParseExact(reader.GetString(0), "N");
        (_published, _received, _last) = (reader.GetInt64(1), reader.GetInt64(2), reader.GetInt64(3));
        _noted = (_published, _received);
        _writing = Task.Run(WriteAsync);
    }

    /// <summary>Raised after events were committed; the argument is the last position.</summary>
    public event Action<long>? Appended;

    /// <summary>The commune.</summary>
    public CommuneCode Commune { get; }

    /// <summary>The commune's directory.</summary>
    public string Directory { get; }

    /// <summary>Made when the journal was made, or begun anew.</summary>
    public Guid Id { get; private set; }

    /// <summary>Position of the last event; 0 when there is none.</summary>
    public long Last => Volatile.Read(ref _last);

    /// <summary>Every event up to here was confirmed by the broker.</summary>
    public long PublishedThrough => Volatile.Read(ref _published);

    /// <summary>Every event up to here is stored by the hub, as far as it has said.</summary>
    public long ReceivedThrough => Volatile.Read(ref _received);

    /// <summary>Opens the journal in a directory, or makes a new one there.</summary>
    public static CommuneJournal Open(CommuneCode commune, string directory) => new(commune, directory);

    /// <summary>
    /// Writes events at the next positions, all or none, and returns once they are on disk. An event already in the journal
    /// keeps its place.
    /// </summary>
    /// <param name="events">Events of this commune that passed the check.</param>
    /// <param name="cancellation">Gives up waiting; the events may be written even so.</param>
    /// <returns>Their places, in the order given.</returns>
    /// <exception cref="SqliteException">The disk refused: nothing was accepted.</exception>
    public async Task<IReadOnlyList<Posted>> AppendAsync(IReadOnlyList<CloudEvent> events, CancellationToken cancellation)
    {
        if (events.Count == 0) return [];
        var append = new Append(events, new TaskCompletionSource<IReadOnlyList<Posted>>(TaskCreationOptions.RunContinuationsAsynchronously));
        await _appends.Writer.WriteAsync(append, cancellation);
        return await append.Done.Task.WaitAsync(cancellation);
    }

    /// <summary>
    /// Makes a new journal of what is here: a new id, positions from 1. For a journal restored from an older copy, whose next
    /// positions the hub has with other events: under the old id it would drop them as duplicates. What it has of these events
    /// it knows by their ids.
    /// </summary>
    public async Task BeginAnewAsync()
    {
        var done = new TaskCompletionSource<IReadOnlyList<Posted>>(TaskCreationOptions.RunContinuationsAsynchronously);
        await _appends.Writer.WriteAsync(new Append(null, done));
        await done.Task;
    }

    /// <summary>Events from a position on, within the limits; at least one, if there is one.</summary>
    public IReadOnlyList<StoredEvent> Read(long from, int maxEvents, int maxBytes)
    {
        using var connection = OpenConnection();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT position, json, accepted_at FROM event WHERE position >= $from ORDER BY position LIMIT $limit";
        command.Parameters.AddWithValue("$from", from);
        command.Parameters.AddWithValue("$limit", maxEvents);
        using var reader = command.ExecuteReader();
        var events = new List<StoredEvent>();
        var bytes = 0;
        while (reader.Read())
        {
            var position = reader.GetInt64(0);
            var json = Placed(reader.GetFieldValue<byte[]>(1), position);
            bytes += json.Length;
            if (events.Count > 0 && bytes > maxBytes) break;
            events.Add(new StoredEvent(position, json, DateTimeOffset.FromUnixTimeMilliseconds(reader.GetInt64(2))));
        }

        return events;
    }

    /// <summary>The event at a position; null when there is none, or no longer.</summary>
    public Guid? EventIdAt(long position)
    {
        using var connection = OpenConnection();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT event_id FROM event WHERE position = $position";
        command.Parameters.AddWithValue("$position", position);
        return command.ExecuteScalar() is byte[] id ? new Guid(id, bigEndian: true) : null;
    }

    /// <summary>When the oldest event that the hub has not said to have was accepted; null when it has them all.</summary>
    public DateTimeOffset? OldestUnreceivedAt()
    {
        using var connection = OpenConnection();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT accepted_at FROM event WHERE position > $received ORDER BY position LIMIT 1";
        command.Parameters.AddWithValue("$received", ReceivedThrough);
        return command.ExecuteScalar() is long milliseconds ? DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : null;
    }

    /// <summary>Bytes that the journal uses on disk, without the pages that are free for the events to come.</summary>
    public long UsedBytes()
    {
        using var connection = OpenConnection();
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        return (long)command.ExecuteScalar()!;
    }

    /// <summary>
    /// Notes how far the broker and the hub have come. Written without waiting for the disk (synchronous NORMAL: in write-ahead
    /// mode only checkpoints wait for it): after a crash an older note only means that some events are published again. Not so
    /// when the hub has less than it had: what was thought to be received is not, and must not be deleted for it.
    /// </summary>
    /// <param name="id">Journal that it is about; a note about one that was since begun anew is dropped.</param>
    /// <param name="published">Every position up to here is with the broker.</param>
    /// <param name="received">Every position up to here is with the hub.</param>
    /// <exception cref="SqliteException">The disk refused. The journal knows even so; the next call tries to write it again.</exception>
    public void Note(Guid id, long published, long received)
    {
        if (id != Id) return;
        var lowered = received < _noted.Received;
        Volatile.Write(ref _published, published);
        Volatile.Write(ref _received, received);
        if (_noted == (published, received)) return;
        using var connection = OpenConnection();
        using var command = connection.CreateCommand();
        command.CommandText = lowered
            ? "UPDATE received_mark SET received = $received WHERE received > $received; UPDATE journal SET published = $published, received = $received WHERE id = $id;"
            : "PRAGMA synchronous = NORMAL; UPDATE journal SET published = $published, received = $received WHERE id = $id; PRAGMA synchronous = FULL;";
        command.Parameters.AddWithValue("$id", id.ToString("N"));
        command.Parameters.AddWithValue("$published", published);
        command.Parameters.AddWithValue("$received", received);
        command.ExecuteNonQuery();
        _noted = (published, received);
    }

    /// <summary>
    /// Deletes events that the hub has had for long enough, and notes how far it has them now; to be called every now and then,
    /// when the hub has just been heard (what it said long ago may hold no longer). The last event stays, as it holds the position.
    /// Space that became free goes back to the file system.
    /// </summary>
    /// <param name="now">The time.</param>
    /// <param name="retention">How long events stay after they were received.</param>
    /// <returns>How many were deleted.</returns>
    public int DeleteReceived(DateTimeOffset now, TimeSpan retention)
    {
        using var connection = OpenConnection();
        using var transaction = connection.BeginTransaction();
        using var command = connection.CreateCommand();
        command.CommandText = """
            DELETE FROM event WHERE position < $last AND position <= $received AND position <= (SELECT max(received) FROM received_mark WHERE at <= $before);
            """;
        command.Parameters.AddWithValue("$received", ReceivedThrough);
        command.Parameters.AddWithValue("$before", (now - retention).ToUnixTimeMilliseconds());
        command.Parameters.AddWithValue("$last", Last);
        var deleted = command.ExecuteNonQuery();
        command.CommandText = """
            DELETE FROM received_mark WHERE at <= $before AND received < (SELECT max(received) FROM received_mark WHERE at <= $before);
            INSERT INTO received_mark VALUES ($now, $received);
            """;
        command.Parameters.AddWithValue("$now", now.ToUnixTimeMilliseconds());
        command.ExecuteNonQuery();
        transaction.Commit();
        GiveBack(connection);
        return deleted;
    }

    public async ValueTask DisposeAsync()
    {
        _appends.Writer.TryComplete();
        await _writing;
        await _writer.DisposeAsync();
    }

    private static void GiveBack(SqliteConnection connection)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "PRAGMA freelist_count";
        var surplus = (long)command.ExecuteScalar()! - KeptFreePages;
        if (surplus <= 0) return;
        for (; surplus > 0; surplus -= PagesGivenBack)
        {
            command.CommandText = $"PRAGMA incremental_vacuum({Math.Min(surplus, PagesGivenBack)})";
            using var reader = command.ExecuteReader();
            // A page for each row.
            while (reader.Read()) continue;
        }

        // The file becomes shorter when the log is written into it.
        command.CommandText = "PRAGMA wal_checkpoint";
        command.ExecuteNonQuery();
    }

    private async Task WriteAsync()
    {
        var together = new List<Append>();
        while (await _appends.Reader.WaitToReadAsync())
        {
            together.Clear();
            var events = 0;
            while (events < MaxEventsPerCommit && _appends.Reader.TryRead(out var append))
            {
                if (append.Events is null)
                {
                    Rename(append.Done);
                    continue;
                }

                together.Add(append);
                events += append.Events.Count;
            }

            if (together.Count == 0) continue;

            try
            {
                var (placed, last) = Write(together);
                Volatile.Write(ref _last, last);
                Appended?.Invoke(last);
                for (var i = 0; i < together.Count; i++) together[i].Done.SetResult(placed[i]);
            }
            catch (Exception e)
            {
                // Whatever it was, those who wait are told, and the next ones get their try.
                foreach (var append in together) append.Done.TrySetException(e);
            }
        }
    }

    private (List<IReadOnlyList<Posted>> Placed, long Last) Write(List<Append> together)
    {
        var last = Last;
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var placed = new List<IReadOnlyList<Posted>>();
        using var transaction = _writer.BeginTransaction();
        // Without the parameter objects of a command, which cost more than the insert.
        using var insert = Prepare("INSERT INTO event (position, event_id, accepted_at, json) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (event_id) DO NOTHING");
        using var find = Prepare("SELECT position FROM event WHERE event_id = ?1");
        raw.sqlite3_bind_int64(insert, 3, now);
        Span<byte> key = stackalloc byte[16];
        foreach (var append in together)
        {
            var places = new List<Posted>(append.Events!.Count);
            foreach (var accepted in append.Events)
            {
                accepted.EventId.TryWriteBytes(key, bigEndian: true, out _);
                raw.sqlite3_bind_int64(insert, 1, last + 1);
                raw.sqlite3_bind_blob(insert, 2, key);
                raw.sqlite3_bind_blob(insert, 4, JsonSerializer.SerializeToUtf8Bytes(accepted, ContractJson.Options));
                Step(insert, raw.SQLITE_DONE);
                raw.sqlite3_reset(insert);
                if (raw.sqlite3_changes(_writer.Handle) == 1)
                {
                    places.Add(new Posted(accepted.Id, ++last, false));
                }
                else
                {
                    raw.sqlite3_bind_blob(find, 1, key);
                    Step(find, raw.SQLITE_ROW);
                    places.Add(new Posted(accepted.Id, raw.sqlite3_column_int64(find, 0), true));
                    raw.sqlite3_reset(find);
                }
            }

            placed.Add(places);
        }

        transaction.Commit();
        return (placed, last);
    }

    private sqlite3_stmt Prepare(string sql)
    {
        SqliteException.ThrowExceptionForRC(raw.sqlite3_prepare_v2(_writer.Handle, sql, out var statement), _writer.Handle);
        return statement;
    }

    private void Step(sqlite3_stmt statement, int expected)
    {
        var result = raw.sqlite3_step(statement);
        if (result == expected) return;
        // Reset says what went wrong in full.
        SqliteException.ThrowExceptionForRC(raw.sqlite3_reset(statement), _writer.Handle);
        throw new InvalidOperationException($"SQLite answered {result} instead of {expected}.");
    }

    // Journal and position stand beside the event on disk, and are written into it when it is read: they may change.
    private byte[] Placed(byte[] json, long position) =>
        [.. json.AsSpan()[..^1], .. Encoding.UTF8.GetBytes($",\"journal\":\"{Id}\",\"position\":{position}}}")];

    private void Rename(TaskCompletionSource<IReadOnlyList<Posted>> done)
    {
        try
        {
            var id = Guid.NewGuid();
            using (var transaction = _writer.BeginTransaction())
            {
                // By way of negative numbers, so that no two rows ever have the same.
                Execute($"""
                    UPDATE event SET position = (SELECT min(position) FROM event) - 1 - position;
                    UPDATE event SET position = -position;
                    UPDATE journal SET id = '{id:N}', published = 0, received = 0;
                    DELETE FROM received_mark;
                    """);
                transaction.Commit();
            }

            using var command = _writer.CreateCommand();
            command.CommandText = "SELECT coalesce(max(position), 0) FROM event";
            Volatile.Write(ref _last, (long)command.ExecuteScalar()!);
            Volatile.Write(ref _published, 0);
            Volatile.Write(ref _received, 0);
            _noted = (0, 0);
            Id = id;
            done.SetResult([]);
        }
        catch (Exception e)
        {
            done.SetException(e);
        }
    }

    private SqliteConnection OpenConnection()
    {
        var connection = new SqliteConnection(_connectionString);
        connection.Open();
        using var command = connection.CreateCommand();
        // What SQLite caches is one budget for all journals of the process.
        command.CommandText = $"PRAGMA synchronous = FULL; PRAGMA soft_heap_limit = {MaxCachedBytes}";
        command.ExecuteNonQuery();
        return connection;
    }

    private void Execute(string sql)
    {
        using var command = _writer.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    // Without events: begin anew.
    private readonly record struct Append(IReadOnlyList<CloudEvent>? Events, TaskCompletionSource<IReadOnlyList<Posted>> Done);
}
