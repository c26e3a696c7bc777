using System.Collections.Frozen;
using System.Diagnostics;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Territory;
using Npgsql;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// The agreements in force, in memory on every node: a change is known as soon as the database tells of it, and by looking within
/// half a second otherwise. First and last days count by the clock at the time of asking.
/// </summary>
internal sealed partial class AgreementsInForce : BackgroundService
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromMilliseconds(200);

    // Rather nothing than what may no longer be allowed.
    private static readonly TimeSpan s_oldest = TimeSpan.FromSeconds(5);

    private readonly AgreementStore _store;
    private readonly StoreSchema _schema;
    private readonly string _session;
    private readonly TerritoryClock _clock;
    private readonly ILogger<AgreementsInForce> _logger;
    private FrozenDictionary<string, AgreementInForce[]> _byClient = FrozenDictionary<string, AgreementInForce[]>.Empty;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _looked;
    private bool _away;

    public AgreementsInForce(AgreementStore store, StoreSchema schema, IConfiguration configuration, TerritoryClock clock, ILogger<AgreementsInForce> logger)
    {
        (_store, _schema, _clock, _logger) = (store, schema, clock, logger);
        // A session of its own, which listens; the database is asked again and again over it, so that one that has silently broken shows.
        _session = new NpgsqlConnectionStringBuilder(configuration.GetConnectionString("Hub")) { Pooling = false, CommandTimeout = 2 }.ConnectionString;
    }

    /// <summary>Done when an agreement has changed.</summary>
    public Task Changed => Volatile.Read(ref _changed).Task;

    /// <summary>Whether what is known is of the last seconds: else the database does not answer, and nothing may be given out.</summary>
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
        await using (var listen = new NpgsqlCommand($"LISTEN {AgreementStore.Channel}", session)) await listen.ExecuteNonQueryAsync(stopping);
        await using var look = new NpgsqlCommand(AgreementStore.Revision, session);
        var known = -1L;
        while (true)
        {
            var asked = Stopwatch.GetTimestamp();
            var revision = (long)(await look.ExecuteScalarAsync(stopping))!;
            if (revision != known) await LoadAsync(stopping);
            known = revision;
            Volatile.Write(ref _looked, asked);
            _away = false;
            await session.WaitAsync(s_look, stopping);
        }
    }

    private async Task LoadAsync(CancellationToken stopping)
    {
        var active = (await _store.AllAsync(stopping)).Where(agreement => agreement.Said == AgreementState.Active).Select(agreement => new AgreementInForce(agreement));
        Volatile.Write(ref _byClient, active
            .SelectMany(agreement => agreement.Terms.Partner.Clients.Select(client => (client, agreement)))
            .GroupBy(pair => pair.client, pair => pair.agreement, StringComparer.Ordinal)
            .ToFrozenDictionary(same => same.Key, same => same.ToArray(), StringComparer.Ordinal));
        Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).SetResult();
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The agreements in force cannot be looked up; when that lasts, the feeds of partners end. {Reason}")]
    private partial void LogAway(string reason);
}
