using System.Collections.Concurrent;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Territory;
using Npgsql;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>How far the figures can be trusted to be those of now.</summary>
public enum Freshness
{
    /// <summary>They follow the events as they come.</summary>
    Live,

    /// <summary>A projection is behind by more than a few seconds: paused, or catching up.</summary>
    Late,

    /// <summary>The database does not answer: the figures are the last ones read.</summary>
    Away,
}

/// <summary>What the pages show.</summary>
/// <param name="Overview">The figures; null as long as none could be read.</param>
/// <param name="At">When they last changed; territory time.</param>
/// <param name="Freshness">Whether they are those of now.</param>
/// <param name="Simulated">Whether any of the events is of a simulation.</param>
public sealed record Shown(Overview? Overview, DateTimeOffset At, Freshness Freshness, bool Simulated);

/// <summary>
/// The one reader of the figures for all open pages. It reads at most once a second, when the projections have moved and
/// somebody watches, and tells the pages what changed.
/// </summary>
internal sealed partial class OverviewSource(
    NpgsqlDataSource database, StoreSchema schema, Positions positions, SimulatedEvents simulated, Epci territory, TerritoryClock clock,
    ILogger<OverviewSource> logger) : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);
    // Without it, neither a database that went away nor a new month nor a paused projection would be seen.
    private static readonly TimeSpan s_heartbeat = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_toleratedDelay = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<Watcher, bool> _watchers = [];
    private readonly SemaphoreSlim _reading = new(1);
    private DateTimeOffset _readAt;
    private (long Position, DateTimeOffset At) _mark;
    private Shown _shown = new(null, clock.Now, Freshness.Away, Simulated: false);

    /// <summary>What was last read.</summary>
    public Shown Shown => Volatile.Read(ref _shown);

    /// <summary>Calls back on every change, until disposed of.</summary>
    public IDisposable Watch(Action<Shown> changed) => new Watcher(this, changed);

    /// <summary>What is true now, give or take a second: for a page that opens.</summary>
    public async Task<Shown> ReadAsync(CancellationToken cancellation)
    {
        await _reading.WaitAsync(cancellation);
        try
        {
            if (clock.Now - _readAt >= s_interval) await ReadNowAsync(cancellation);
            return Shown;
        }
        finally
        {
            _reading.Release();
        }
    }

    public override void Dispose()
    {
        _reading.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (true)
            {
                var moved = positions.Moved;
                if (!_watchers.IsEmpty) await ReadAsync(stoppingToken);
                await Task.Delay(s_interval, stoppingToken);
                await Task.WhenAny(moved, Task.Delay(s_heartbeat, stoppingToken));
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task ReadNowAsync(CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(s_patience);
        try
        {
            await schema.Applied.WaitAsync(patience.Token);
            var overview = await Overview.ReadAsync(database, territory, clock.Today, patience.Token);
            Show(overview, await simulated.LookAsync(overview.HighWater, patience.Token));
        }
        catch (Exception e) when (!cancellation.IsCancellationRequested)
        {
            if (Shown.Freshness != Freshness.Away) LogAway(e.Message);
            Publish(Shown with { Freshness = Freshness.Away });
        }

        _readAt = clock.Now;
    }

    private void Show(Overview overview, bool anySimulated)
    {
        var (now, before) = (clock.Now, Shown);
        // Lag in time, not in events: how long ago the store was where the figures are.
        if (overview.Position >= _mark.Position) _mark = (overview.HighWater, now);
        var freshness = overview.Position < overview.HighWater && now - _mark.At > s_toleratedDelay ? Freshness.Late : Freshness.Live;
        // A rebuild may move figures from one commune to another, and neither the position nor the total.
        var same = before.Overview is { } old && old.Position == overview.Position && old.Months.SequenceEqual(overview.Months) && old.Communes.SequenceEqual(overview.Communes);
        Publish(new Shown(overview, same ? before.At : now, freshness, anySimulated));
    }

    private void Publish(Shown shown)
    {
        var before = Shown;
        Volatile.Write(ref _shown, shown);
        var same = shown.At == before.At && shown.Freshness == before.Freshness && shown.Simulated == before.Simulated
            && shown.Overview?.HighWater == before.Overview?.HighWater;
        if (same) return;
        foreach (var watcher in _watchers.Keys) watcher.Changed(shown);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The dashboard shows the last figures read, since the database does not answer: {Reason}")]
    private partial void LogAway(string reason);

    private sealed class Watcher : IDisposable
    {
        private readonly OverviewSource _source;

        public Watcher(OverviewSource source, Action<Shown> changed)
        {
            (_source, Changed) = (source, changed);
            source._watchers[this] = true;
        }

        public Action<Shown> Changed { get; }

        public void Dispose() => _source._watchers.TryRemove(this, out _);
    }
}
