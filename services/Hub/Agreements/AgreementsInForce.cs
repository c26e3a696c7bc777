using System.Collections.Frozen;
using System.Diagnostics;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Territory;
using Npgsql;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// The agreements in force, in memory on every node: a change is known as soon as the database tells of it, and by looking within
/// half a second otherwise. First and last days count by the clock at the time of asking. In the same way it knows whether somebody
/// was forgotten, since that ends too what may go out of what was read before.
/// </summary>
internal sealed partial class AgreementsInForce : BackgroundService
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromMilliseconds(200);

    // Rather nothing than what may no longer be allowed: what ends must have ended within a second, also here where it could not be heard of.
    private static readonly TimeSpan s_oldest = TimeSpan.FromSeconds(1);

    private readonly AgreementStore _store;
    private readonly StoreSchema _schema;
    private readonly string _session;
    private readonly TerritoryClock _clock;
    private readonly ILogger<AgreementsInForce> _logger;
    private FrozenDictionary<string, AgreementInForce[]> _byClient = FrozenDictionary<string, AgreementInForce[]>.Empty;
    private long _epoch;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _looked;
    private bool _away;

    public AgreementsInForce(AgreementStore store, StoreSchema schema, IConfiguration configuration, TerritoryClock clock, ILogger<AgreementsInForce> logger)
    {
        (_store, _schema, _clock, _logger) = (store, schema, clock, logger);
        // A session of its own, which listens; the database is asked again and again over it, so that one that has silently broken shows.
        _session = new NpgsqlConnectionStringBuilder(configuration.GetConnectionString("Hub")) { Pooling = false, CommandTimeout = 2 }.ConnectionString;
    }

    /// <summary>Done when an agreement or the day has changed since this was asked for.</summary>
    public Task Changed => Volatile.Read(ref _changed).Task;

    /// <summary>The epoch of <see cref="Forgetting"/>: greater than that under which personal data was read, somebody was forgotten since.</summary>
    public long Epoch => Volatile.Read(ref _epoch);

    /// <summary>Whether what is known is of the last second: else the database does not answer, and nothing may be given out.</summary>
    public bool IsCurrent => Volatile.Read(ref _looked) is not 0 and var looked && Stopwatch.GetElapsedTime(looked) < s_oldest;

    /// <summary>The agreements of a client that are in force now.</summary>
    public IReadOnlyList<AgreementInForce> Of(string client)
    {
        if (!Volatile.Read(ref _byClient).TryGetValue(client, out var found)) return [];
        var today = _clock.Today;
        return found.All(agreement => agreement.IsInForceOn(today)) ? found : [.. found.Where(agreement => agreement.IsInForceOn(today))];
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await _schema.Applied.WaitAsync(stoppingToken);
            while (true)
            {
                try
                {
                    await FollowAsync(stoppingToken);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    if (!_away) LogAway(e.Message);
                    _away = true;
                    await Task.Delay(s_retryDelay, stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task FollowAsync(CancellationToken stopping)
    {
        await using var session = new NpgsqlConnection(_session);
        await session.OpenAsync(stopping);
        await using (var listen = new NpgsqlCommand($"LISTEN {AgreementStore.Channel}; LISTEN {Forgetting.Channel}", session)) await listen.ExecuteNonQueryAsync(stopping);
        await using var look = new NpgsqlCommand($"SELECT ({AgreementStore.Revision}), {Forgetting.Epoch}", session);
        (long Revision, DateOnly Day) known = (-1, default);
        while (true)
        {
            var asked = Stopwatch.GetTimestamp();
            var (revision, epoch) = await LookAsync(look, stopping);
            Volatile.Write(ref _epoch, epoch);
            var now = (revision, _clock.Today);
            if (revision != known.Revision) await LoadAsync(now.Today, stopping);
            if (now != known)
            {
                known = now;
                Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
            }

            Volatile.Write(ref _looked, asked);
            _away = false;
            await session.WaitAsync(s_look, stopping);
        }
    }

    private static async Task<(long Revision, long Epoch)> LookAsync(NpgsqlCommand look, CancellationToken stopping)
    {
        await using var reader = await look.ExecuteReaderAsync(stopping);
        await reader.ReadAsync(stopping);
        return (reader.GetInt64(0), reader.GetInt64(1));
    }

    private async Task LoadAsync(DateOnly today, CancellationToken stopping)
    {
        // The version of today, and those whose first day is still to come.
        var active = (await _store.AllAsync(stopping)).Where(agreement => agreement.Said == AgreementState.Active).SelectMany(agreement => agreement.Versions
            .Where(version => version.ActivatedAt is not null && version.Number >= agreement.On(today)!.Number).Select(version => new AgreementInForce(agreement, version)));
        Volatile.Write(ref _byClient, active
            .SelectMany(agreement => agreement.Terms.Partner.Clients.Select(client => (client, agreement)))
            .GroupBy(pair => pair.client, pair => pair.agreement, StringComparer.Ordinal)
            .ToFrozenDictionary(same => same.Key, same => same.ToArray(), StringComparer.Ordinal));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The agreements in force cannot be looked up; when that lasts, the feeds of partners end. {Reason}")]
    private partial void LogAway(string reason);
}
