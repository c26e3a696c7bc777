using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// The newest events, read once for all readers of this node that are near the end of the feed, however many they are. Bounded by
/// number and size; whoever is further back reads the store by itself.
/// </summary>
internal sealed class Tail(NpgsqlDataSource database, FeedOptions options) : IDisposable
{
    private const int MostCharacters = 8_000_000;

    private readonly SemaphoreSlim _loading = new(1, 1);
    private Window? _window;

    /// <summary>The events behind a position up to the end, or beyond what was the end a moment ago; null for a position that is too far back.</summary>
    /// <param name="after">The position.</param>
    /// <param name="high">The end of the store.</param>
    /// <param name="cursors">Makes their cursors.</param>
    /// <param name="cancellation">Gives up.</param>
    public async ValueTask<ArraySegment<StoredRow>?> AfterAsync(long after, long high, Cursors cursors, CancellationToken cancellation)
    {
        if (high - after > options.TailEvents) return null;
        var window = Volatile.Read(ref _window);
        if (window is null || window.Through < high) window = await LoadAsync(high, cursors, cancellation);
        if (after < window.After) return null;
        var first = window.First(after);
        return new(window.Rows, first, window.Rows.Length - first);
    }

    public void Dispose() => _loading.Dispose();

    private async Task<Window> LoadAsync(long high, Cursors cursors, CancellationToken cancellation)
    {
        await _loading.WaitAsync(cancellation);
        try
        {
            if (_window is { } known && known.Through >= high) return known;
            // Where it goes on, or anew where it would have to read too much to go on.
            var before = _window is { } last && high - last.Through <= options.TailEvents ? last : new Window(high - options.TailEvents, []);
            var (rows, after, characters) = (new Queue<StoredRow>(before.Rows), before.After, before.Rows.Sum(row => row.Size));
            await using var command = database.CreateCommand($"SELECT {StoredRow.Columns} FROM hub.mt_events WHERE seq_id > $1 AND seq_id <= $2 ORDER BY seq_id");
            command.Parameters.Add(new() { Value = before.Through });
            command.Parameters.Add(new() { Value = high });
            await using (var reader = await command.ExecuteReaderAsync(cancellation))
            {
                while (await reader.ReadAsync(cancellation))
                {
                    var row = StoredRow.Of(reader, cursors);
                    rows.Enqueue(row);
                    characters += row.Size;
                    while (rows.Count > options.TailEvents || characters > MostCharacters)
                    {
                        var oldest = rows.Dequeue();
                        (after, characters) = (oldest.Place.Position, characters - oldest.Size);
                    }
                }
            }

            var window = new Window(after, [.. rows]);
            Volatile.Write(ref _window, window);
            return window;
        }
        finally
        {
            _loading.Release();
        }
    }

    /// <summary>Every event behind a position up to the last of them, in order.</summary>
    private sealed record Window(long After, StoredRow[] Rows)
    {
        /// <summary>Index of the first event behind a position; the number of all when there is none. Found by halves: hundreds of readers ask with every event that comes.</summary>
        public int First(long after)
        {
            var (from, to) = (0, Rows.Length);
            while (from < to)
            {
                var middle = from + ((to - from) / 2);
                if (Rows[middle].Place.Position > after) to = middle;
                else from = middle + 1;
            }

            return from;
        }

        public long Through => Rows.Length == 0 ? After : Rows[^1].Place.Position;
    }
}
