using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>An event as a reader may have it.</summary>
/// <param name="Place">Where it stands in the store.</param>
/// <param name="Stream">The record that it is about: <c>{commune}/{domain}/{subject}</c>.</param>
/// <param name="Message">The event: of it, what is allowed.</param>
internal sealed record FeedEvent(Place Place, string Stream, Event Message);

/// <summary>Events as they may be sent.</summary>
/// <param name="Events">The events, in the order of the store.</param>
/// <param name="Through">The place up to which the store was looked through.</param>
/// <param name="CaughtUp">Whether that is the end for now.</param>
/// <param name="Changed">Done when what is allowed may be other than when they were read.</param>
/// <param name="Epoch">The epoch under which personal data among them was read; null when there is none.</param>
internal sealed record FeedPage(IReadOnlyList<FeedEvent> Events, Place Through, bool CaughtUp, Task Changed, long? Epoch)
{
    /// <summary>Whether it may go out no longer: what is allowed has changed, or is not known any more, or somebody was forgotten. It is to be read anew.</summary>
    public bool IsStale(FeedAccess access) => Changed.IsCompleted || !access.IsKnown || (Epoch is { } epoch && !access.IsNobodyForgottenSince(epoch));
}

/// <summary>
/// What a reader may have of the store, page by page, never beyond the store's high-water mark. A page is bounded in events, in size
/// and in how much of the store it looks through, so that neither a slow reader nor a rare type costs more.
/// </summary>
internal sealed class FeedPages(NpgsqlDataSource database, Positions positions, Tail tail, PersonalPages personal, FeedOptions options) : IDisposable
{
    private const int MostCharacters = 500_000;

    // As many as can work at a time: more would only make all of them late, and with them whoever else asks the database.
    private readonly SemaphoreSlim _reading = new(2 * Environment.ProcessorCount);

    private Cursors? _cursors;

    /// <inheritdoc/>
    public void Dispose() => _reading.Dispose();

    /// <summary>The cursors of this store.</summary>
    public async ValueTask<Cursors> CursorsAsync(CancellationToken cancellation) => _cursors ??= await Cursors.OfAsync(database, cancellation);

    /// <summary>The place of a cursor that a reader came with.</summary>
    /// <exception cref="RpcException">It is none of this store as it is.</exception>
    public async Task<Place> PlaceAsync(string cursor, CancellationToken cancellation) =>
        await Cursors.FindAsync(database, (await CursorsAsync(cancellation)).Read(cursor), cancellation);

    /// <summary>The place of the last event that is at or before a position; the beginning when there is none.</summary>
    public async Task<Place> LastAsync(long position, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT seq_id, id FROM hub.mt_events WHERE seq_id <= $1 ORDER BY seq_id DESC LIMIT 1");
        command.Parameters.Add(new() { Value = position });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        return await reader.ReadAsync(cancellation) ? new(reader.GetInt64(0), reader.GetGuid(1)) : default;
    }

    /// <summary>The end of the store now.</summary>
    public Task<Place> EndAsync(CancellationToken cancellation) => LastAsync(long.MaxValue, cancellation);

    /// <summary>The next events behind a place that are asked for and allowed, at most so many.</summary>
    /// <exception cref="RpcException">Nothing is allowed now.</exception>
    public async Task<FeedPage> AfterAsync(Place after, FeedAccess access, int limit, CancellationToken cancellation)
    {
        // Before anything is looked up, so that no change is missed.
        var changed = access.Changed;
        var allowed = await access.NowAsync(cancellation);
        var (rows, through, high) = await RowsAsync(after, access.Filter, allowed, limit, cancellation);
        return await PageAsync(rows, through, through.Position >= high, changed, access, allowed, cancellation);
    }

    /// <summary>The events at positions that are asked for and allowed now: fewer than the positions when some no longer are.</summary>
    /// <param name="at">The positions.</param>
    /// <param name="access">What may be read.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <param name="withPersonal">Whether with the personal data that is allowed: not where it would go out without TLS.</param>
    /// <exception cref="RpcException">Nothing is allowed now.</exception>
    public async Task<FeedPage> AtAsync(IReadOnlyCollection<long> at, FeedAccess access, CancellationToken cancellation, bool withPersonal = true)
    {
        var changed = access.Changed;
        var allowed = await access.NowAsync(cancellation);
        var cursors = await CursorsAsync(cancellation);
        var rows = new List<StoredRow>();
        await using (var command = database.CreateCommand($"SELECT {StoredRow.Columns} FROM hub.mt_events WHERE seq_id = ANY ($1) ORDER BY seq_id"))
        {
            command.Parameters.Add(new() { Value = at.ToArray() });
            await using var reader = await command.ExecuteReaderAsync(cancellation);
            while (await reader.ReadAsync(cancellation))
            {
                var row = StoredRow.Of(reader, cursors);
                if (Passes(row, access.Filter, allowed)) rows.Add(row);
            }
        }

        return await PageAsync(rows, rows.Count == 0 ? default : rows[^1].Place, false, changed, access, allowed, cancellation, withPersonal);
    }

    /// <summary>The places and records of the next events behind a position that are asked for and allowed now, without the events.</summary>
    /// <param name="after">The position.</param>
    /// <param name="access">Who reads.</param>
    /// <param name="limit">Most places.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <param name="selection">Those of these alone; null for all.</param>
    /// <param name="last">Not beyond this position.</param>
    /// <returns>The places, and the position up to which the store was looked through.</returns>
    /// <exception cref="RpcException">Nothing is allowed now.</exception>
    public async Task<(IReadOnlyList<(Place Place, string Stream)> Found, long Through)> FindAsync(
        long after, FeedAccess access, int limit, CancellationToken cancellation, Selection? selection = null, long last = long.MaxValue)
    {
        var allowed = await access.NowAsync(cancellation);
        if (selection is not null) allowed = allowed with { Types = Both(allowed.Types, selection.Types), Communes = Both(allowed.Communes, selection.Communes) };
        var (rows, through, _) = await RowsAsync(new(after, default), access.Filter, allowed, limit, cancellation, selection?.Record, last);
        return ([.. rows.Where(row => access.Filter.Holds(Data(row, allowed.Agreement))).Select(row => (row.Place, row.Stream))], through.Position);
    }

    private static string[]? Both(string[]? some, string[]? others) => some is null ? others : others is null ? some : [.. some.Intersect(others)];

    private async Task<FeedPage> PageAsync(
        List<StoredRow> rows, Place through, bool caughtUp, Task changed, FeedAccess access, Allowed allowed, CancellationToken cancellation, bool withPersonal = true)
    {
        var events = new List<FeedEvent>(rows.Count);
        foreach (var row in rows)
        {
            var data = Data(row, allowed.Agreement);
            if (access.Filter.Holds(data)) events.Add(new(row.Place, row.Stream, Message(row, data)));
        }

        var epoch = withPersonal && allowed.Agreement is { HasPersonalData: true } agreement ? await personal.AddAsync(events, access.Who, agreement, cancellation) : null;
        return new(events, through, caughtUp, changed, epoch);
    }

    // The rows that pass but for the facts, the place that was looked through to, and the end of the store, or the last position that is asked for.
    private async Task<(List<StoredRow> Rows, Place Through, long High)> RowsAsync(
        Place after, FeedFilter filter, Allowed allowed, int limit, CancellationToken cancellation, string? record = null, long last = long.MaxValue)
    {
        await positions.Known.WaitAsync(cancellation);
        var high = Math.Max(Math.Min(positions.HighWater, last), after.Position);
        var cursors = await CursorsAsync(cancellation);
        if (record is null && last == long.MaxValue && await tail.AfterAsync(after.Position, high, cursors, cancellation) is { } newest) return Of(newest, after, filter, allowed, limit, high);
        await _reading.WaitAsync(cancellation);
        try
        {
            return await StretchAsync(after, filter, allowed, limit, high, record, cursors, cancellation);
        }
        finally
        {
            _reading.Release();
        }
    }

    private async Task<(List<StoredRow> Rows, Place Through, long High)> StretchAsync(
        Place after, FeedFilter filter, Allowed allowed, int limit, long high, string? record, Cursors cursors, CancellationToken cancellation)
    {
        // A type that is rare is not looked for through the whole store at once: the cursor moves on all the same.
        for (var stretch = (long)options.PositionsPerPage; ; stretch *= 2)
        {
            var end = Math.Min(high, after.Position + stretch);
            var (rows, isFull) = await FromStoreAsync(after, end, filter, allowed, limit, record, cursors, cancellation);
            // Of a page that is not full, where its part of the store ends is asked for too.
            var through = isFull || (rows.Count > 0 && rows[^1].Place.Position == end) ? rows[^1].Place : await LastAsync(end, cancellation);
            if (through.Position > after.Position) return (rows, through, high);
            // Numbers that were given to appends which did not come about are no events.
            if (end == high) return (rows, after, high);
        }
    }

    private static (List<StoredRow> Rows, Place Through, long High) Of(
        ArraySegment<StoredRow> newest, Place after, FeedFilter filter, Allowed allowed, int limit, long high)
    {
        var (rows, through, characters) = (new List<StoredRow>(), after, 0);
        foreach (var row in newest)
        {
            if (rows.Count == limit || characters >= MostCharacters) return (rows, through, high);
            through = row.Place;
            if (!Passes(row, filter, allowed)) continue;
            rows.Add(row);
            characters += row.Size;
        }

        return (rows, through, high);
    }

    // The rows behind a place up to a position; full when there may be more.
    private async Task<(List<StoredRow> Rows, bool IsFull)> FromStoreAsync(
        Place after, long end, FeedFilter filter, Allowed allowed, int limit, string? record, Cursors cursors, CancellationToken cancellation)
    {
        var (rows, characters) = (new List<StoredRow>(), 0);
        await using var command = database.CreateCommand();
        command.Parameters.Add(new() { Value = after.Position });
        command.Parameters.Add(new() { Value = end });
        command.Parameters.Add(new() { Value = limit });
        command.Parameters.Add(Query.Text(record));
        command.CommandText = $"SELECT {StoredRow.Columns} FROM hub.mt_events WHERE seq_id > $1 AND seq_id <= $2{(record is null ? "" : " AND stream_id = $4")}{filter.Where(command, allowed.Types, allowed.Communes)} ORDER BY seq_id LIMIT $3";
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            rows.Add(StoredRow.Of(reader, cursors));
            if (rows.Count == limit || (characters += rows[^1].Size) >= MostCharacters) return (rows, true);
        }

        return (rows, false);
    }

    private static bool Passes(StoredRow row, FeedFilter filter, Allowed allowed) =>
        allowed.Types?.Contains(row.Type) != false && allowed.Communes?.Contains(row.Commune) != false && filter.Takes(row.Subject);

    private static string Data(StoredRow row, AgreementInForce? agreement) => agreement is null ? row.Data : agreement.TrimData(row.Type, row.Data);

    private static Event Message(StoredRow row, string data) => new()
    {
        Cursor = row.Cursor,
        Id = row.Id,
        Source = row.Source,
        Type = row.Type,
        Subject = row.Subject,
        Time = row.Time,
        Data = data,
        Commune = row.Commune,
        Traceparent = row.TraceParent,
        Recorded = row.Recorded,
    };
}
