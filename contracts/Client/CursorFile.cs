using System.Text;
using Google.Protobuf;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Contracts.Client;

/// <summary>
/// The cursor of the last event that was dealt with, in a file, and beside it of what: a filter and an agreement. With another filter the
/// cursor would pass over, without a word, what the one before did not ask for; so that is refused. The file is replaced as a whole and is
/// on the disk when it is: a crash leaves one cursor or the other. Of events that come at once not each is written: the newest is within
/// a second; after a kill those since come again, none is left out. One process at a time may use it: as long as it is open, a lock is held on the file of
/// its name with <c>.lock</c> behind, which stays there. All members may be called from any thread.
/// </summary>
public sealed class CursorFile : IDisposable
{
    // Writing through to a disk takes milliseconds; who catches up takes thousands of events a second.
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_afterFailure = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly string _path;
    private readonly FileStream _lock;
    private readonly Timer _later;
    private SubscribeRequest? _of;
    private string _written;
    private long _since;
    private bool _isDue;
    private bool _hasFailed;
    private bool _isEnded;

    private CursorFile(string path, FileStream held, string value, SubscribeRequest? of)
    {
        (_path, _lock, Value, _written, _of) = (path, held, value, value, of);
        _later = new(_ => WriteLater());
    }

    /// <summary>The cursor; empty as long as there is none.</summary>
    public string Value { get; private set; }

    /// <summary>The cursor in a file, which need not exist yet; its folder must, and must be writable.</summary>
    /// <exception cref="IOException">Another process uses it, or it is no such file: the message says what to do.</exception>
    public static CursorFile Open(string path)
    {
        var whole = Path.GetFullPath(path);
        FileStream held;
        try
        {
            held = new FileStream(whole + ".lock", FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e.GetType() == typeof(IOException))
        {
            throw new IOException($"{whole} is used by another process: of two with one cursor, each would leave out events. Give each reader a file of its own. ({e.Message})", e);
        }

        try
        {
            var lines = File.Exists(whole) ? File.ReadAllLines(whole) : [];
            // Those of before had the cursor alone.
            return new(whole, held, lines.Length > 0 ? lines[0].Trim() : "", lines.Length > 1 ? JsonParser.Default.Parse<SubscribeRequest>(lines[1]) : null);
        }
        catch (Exception e)
        {
            held.Dispose();
            if (e is InvalidProtocolBufferException or InvalidJsonException) throw new IOException($"{whole} is no file with a cursor: its second line does not say of what. Name another file.", e);
            throw;
        }
    }

    /// <summary>What to ask for to go on: the request, behind the cursor when there is one. From then on the file is of its filter and agreement.</summary>
    /// <exception cref="IOException">It is of others: the message says of which, and what to do.</exception>
    public SubscribeRequest GoOn(SubscribeRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var asked = Of(request);
        lock (_gate)
        {
            if (Value.Length > 0 && _of is not null && !_of.Equals(asked))
            {
                throw new IOException(
                    $"{_path} belongs to another filter or agreement: it is of {_of}, and {asked} is asked for. From its cursor on, what came before and was not asked for then would be left out. Ask for the same as before; or name another file, which begins anew.");
            }

            _of = asked;
            var next = request.Clone();
            if (Value.Length > 0) next.Cursor = Value;
            return next;
        }
    }

    /// <summary>Keeps a cursor, once everything up to it is dealt with; an empty one, which says nothing, leaves the one before.</summary>
    /// <exception cref="IOException">It cannot be written. That is tried again every second, and by the next call.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written, likewise.</exception>
    public void Keep(string cursor)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isEnded, this);
            if (cursor.Length == 0) return;
            Value = cursor;
            if (_hasFailed || _since == 0 || TimeProvider.System.GetElapsedTime(_since) >= s_between)
            {
                Write();
            }
            else
            {
                // Whether or not another comes.
                WriteAfter(s_between);
            }
        }
    }

    /// <summary>Writes what was not written yet, and lets others have the file.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isEnded) return;
            _isEnded = true;
            _later.Dispose();
            try
            {
                Write();
            }
            finally
            {
                _lock.Dispose();
            }
        }
    }

    // The order in which something is listed changes nothing.
    private static SubscribeRequest Of(SubscribeRequest request)
    {
        var of = new SubscribeRequest { Agreement = request.Agreement, Filter = new() };
        if (request.Filter is not { } filter) return of;
        of.Filter.Types_.Add(Sorted(filter.Types_));
        of.Filter.Communes.Add(Sorted(filter.Communes));
        of.Filter.Subjects.Add(Sorted(filter.Subjects));
        of.Filter.Facts.Add(filter.Facts
            .Select(fact => new Fact { Field = fact.Field, Values = { Sorted(fact.Values) } })
            .OrderBy(fact => fact.Field, StringComparer.Ordinal).ThenBy(fact => string.Join(',', fact.Values), StringComparer.Ordinal));
        return of;

        static IEnumerable<string> Sorted(IEnumerable<string> values) => values.Distinct().Order(StringComparer.Ordinal);
    }

    private void WriteLater()
    {
        lock (_gate)
        {
            _isDue = false;
            // After the end the lock is another's.
            if (_isEnded) return;
            try
            {
                Write();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Whoever keeps the next one is told, unless it can be written then.
            }
        }
    }

    private void WriteAfter(TimeSpan pause)
    {
        if (!_isDue) _isDue = _later.Change(pause, Timeout.InfiniteTimeSpan);
    }

    private void Write()
    {
        if (Value == _written) return;
        try
        {
            using (var file = new FileStream(_path + ".new", FileMode.Create, FileAccess.Write))
            {
                file.Write(Encoding.UTF8.GetBytes(_of is null ? $"{Value}\n" : $"{Value}\n{JsonFormatter.Default.Format(_of)}\n"));
                file.Flush(flushToDisk: true);
            }

            File.Move(_path + ".new", _path, overwrite: true);
        }
        catch
        {
            _hasFailed = true;
            if (!_isEnded) WriteAfter(s_afterFailure);
            throw;
        }

        (_written, _since, _hasFailed) = (Value, TimeProvider.System.GetTimestamp(), false);
    }
}
