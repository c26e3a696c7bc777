using System.Diagnostics;
using System.Text;
using Grpc.Core;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Privacy;
using Npgsql;
using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;
using Polly.Timeout;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>
/// Brings to every webhook what it has, a loop for each, so that none waits for another. Of the nodes one brings to an endpoint; when it is
/// heard of no more for ten seconds, another one does.
/// </summary>
internal sealed partial class WebhookDelivery(
    NpgsqlDataSource database, StoreSchema schema, Deliveries deliveries, Readers readers, Finding finding, Endpoints endpoints, AgreementsInForce agreements, CurrentRights rights, IKeyWrapping master,
    AuditLog audit, WebhookOptions options, TimeProvider time, ILogger<WebhookDelivery> logger) : BackgroundService
{
    private const int MostAtATime = 8;
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_mostRetryAfter = TimeSpan.FromHours(1);
    private static readonly ResiliencePropertyKey<bool> s_isFresh = new("fresh");

    private readonly Dictionary<string, Task> _loops = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_look);
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            do
            {
                try
                {
                    foreach (var name in await Webhook.ActiveAsync(database, stoppingToken))
                    {
                        if (!_loops.TryGetValue(name, out var loop) || loop.IsCompleted) _loops[name] = LoopAsync(name, stoppingToken);
                    }
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    LogAway(e.Message);
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }

        await Task.WhenAll(_loops.Values);
    }

    // Until the subscription is no more, or suspended, or another node's. Never throws: it is begun again a moment later.
    private async Task LoopAsync(string name, CancellationToken stopping)
    {
        var id = Guid.NewGuid();
        try
        {
            if (!await Webhook.TakeAsync(database, name, id, stopping)) return;
            var flying = new HashSet<Task>();
            readers.Begin(name, id);
            try
            {
                await BringAsync(new(name, id, options), flying, stopping);
            }
            finally
            {
                await Task.WhenAll(flying).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                await readers.EndAsync(id);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Stopping.
        }
        catch (Exception e)
        {
            LogBroken(name, e.GetType().Name);
            await Task.Delay(s_look, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task BringAsync(Bringing to, HashSet<Task> flying, CancellationToken stopping)
    {
        var looked = 0L;
        FeedAccess? access = null;
        while (true)
        {
            flying.RemoveWhere(sent => sent.IsCompleted);
            if (looked == 0 || Stopwatch.GetElapsedTime(looked) > s_look)
            {
                if (await Subscription.FindAsync(database, to.Name, stopping) is not { IsSuspended: false } subscription || (to.Subscription ?? subscription).CreatedAt != subscription.CreatedAt) return;
                if (await Webhook.FindAsync(database, to.Name, stopping) is not { } webhook || !await Webhook.TakeAsync(database, to.Name, to.Reader, stopping)) return;
                to.Begin(subscription, webhook, [.. webhook.Secrets.Select(wrapped => master.Unwrap(wrapped))]);
                access ??= new(Reader.OfClient(subscription.Client, subscription.Agreement is null, rights), subscription.Agreement ?? "", subscription.Filter, agreements);
                if (to.SaysAlert(options, time.GetUtcNow()) is { } alert) Say(alert, webhook);
                looked = Stopwatch.GetTimestamp();
            }

            if (to.Pause is { } pause && pause > TimeSpan.Zero)
            {
                await AnyAsync(flying, Task.Delay(pause < s_look ? pause : s_look, stopping));
                continue;
            }

            var most = to.IsProbing || to.Webhook.Rate is not null ? 1 : MostAtATime;
            if (flying.Count >= most)
            {
                await Task.WhenAny(flying);
                continue;
            }

            if (!await TakeOnAsync(to, access!, most, flying, stopping)) return;
        }
    }

    // False when there is nothing more to be brought.
    private async Task<bool> TakeOnAsync(Bringing to, FeedAccess access, int most, HashSet<Task> flying, CancellationToken stopping)
    {
        try
        {
            var found = await finding.NextAsync(to.Subscription, to.Reader, most, most - flying.Count, access, freshFirst: to.IsProbing, stopping);
            if (found.Ended is not null) return false;
            if (found.Claimed.Count == 0)
            {
                await AnyAsync(flying, Task.WhenAny(found.More, Task.Delay(s_look, stopping)));
                return true;
            }

            var left = new List<Claimed>(found.Claimed);
            try
            {
                var read = await finding.ReadAsync(found.Claimed, access, to.Webhook.Url.Scheme == Uri.UriSchemeHttps, stopping);
                var gone = found.Claimed.Where(one => !read.Events.ContainsKey(one.Position)).ToList();
                if (read.Page.IsStale(access)) return true;
                await deliveries.DropAsync(to.Name, to.Reader, gone, stopping);
                left.RemoveAll(gone.Contains);
                foreach (var one in found.Claimed.Except(gone))
                {
                    left.Remove(one);
                    flying.Add(BringAsync(to, one, read.Events[one.Position], () => read.Page.IsStale(access), stopping));
                }
            }
            finally
            {
                await readers.TryAsync(() => deliveries.GiveBackAsync(to.Name, to.Reader, left, CancellationToken.None));
            }
        }
        catch (RpcException)
        {
            // Nothing is allowed now, or it cannot be looked up: its place stays.
            await AnyAsync(flying, Task.Delay(s_look, stopping));
        }

        return true;
    }

    private async Task BringAsync(Bringing to, Claimed one, FeedEvent read, Func<bool> isStale, CancellationToken stopping)
    {
        try
        {
            // Known by this to whoever gets it twice; a replay is another message.
            var id = one.Replay.Length == 0 ? $"msg_{read.Place.Event:N}" : $"msg_{read.Place.Event:N}_{one.Replay}";
            var body = Encoding.UTF8.GetBytes(FeedApi.Json(json => EventJson.Write(json, read.Message, extensions =>
            {
                extensions.WriteNumber("attempt", one.Attempt);
                if (one.Replay.Length > 0) extensions.WriteString("replay", one.Replay);
            })));
            var answer = await to.SendAsync(one.Attempt == 1, async cancellation => isStale() ? null : await endpoints.PostAsync(to.Webhook, to.Secrets, id, body, cancellation), stopping);
            switch (answer)
            {
                case null:
                    await deliveries.GiveBackAsync(to.Name, to.Reader, [one], stopping);
                    break;
                case { Verdict: Verdict.Taken }:
                    await deliveries.AcknowledgeAsync(to.Name, [(to.Reader, one)], stopping);
                    await Webhook.SucceededAsync(database, to.Name, stopping);
                    if (to.WasAway) await Webhook.BackAsync(database, to.Name, stopping);
                    break;
                case { Verdict: Verdict.Gone }:
                    await SuspendAsync(to.Name, $"the endpoint is gone ({answer.Why})", stopping);
                    break;
                default:
                    await Webhook.FailedAsync(database, to.Name, answer.Why, stopping);
                    await deliveries.FailAsync(to.Name, to.Reader, one, answer.Why, answer.Verdict == Verdict.Refused, to.Wait(answer.RetryAfter is { } asked && asked > s_mostRetryAfter ? s_mostRetryAfter : answer.RetryAfter), stopping);
                    break;
            }
        }
        catch (Exception e) when (!stopping.IsCancellationRequested)
        {
            // It is held still: it comes again when the time to acknowledge is over, or this loop ends.
            LogBroken(to.Name, e.GetType().Name);
        }
    }

    private async Task SuspendAsync(string name, string reason, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Subscription.SuspendAsync(connection, name, reason, cancellation);
        await audit.AppendAsync(connection, new("hub", "subscriptions.suspended", name, reason), cancellation);
        await transaction.CommitAsync(cancellation);
        deliveries.Wake(name);
        LogSuspended(name, reason);
    }

    private void Say(bool alert, Webhook webhook)
    {
        if (alert) LogFailing(webhook.Subscription, webhook.FailingSince!.Value, webhook.LastFailure ?? "");
        else LogFailingNoMore(webhook.Subscription);
    }

    private static Task<Task> AnyAsync(HashSet<Task> flying, Task other) => Task.WhenAny([.. flying, other]);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The webhook {Subscription} has taken nothing since {Since:u}: {Why}. What it has waits.")]
    private partial void LogFailing(string subscription, DateTimeOffset since, string why);

    [LoggerMessage(Level = LogLevel.Information, Message = "The webhook {Subscription} takes events again.")]
    private partial void LogFailingNoMore(string subscription);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The webhook {Subscription} is suspended: {Reason}.")]
    private partial void LogSuspended(string subscription, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "What the webhook {Subscription} has could not be brought; it is tried again. {Kind}")]
    private partial void LogBroken(string subscription, string kind);

    [LoggerMessage(Level = LogLevel.Debug, Message = "The webhooks could not be looked up. {Reason}")]
    private partial void LogAway(string reason);

    /// <summary>An endpoint to which this node brings, with what it knows of how that goes.</summary>
    private sealed class Bringing
    {
        private readonly CircuitBreakerStateProvider _circuit = new();
        private readonly ResiliencePipeline<Answer?> _pipeline;
        private readonly TimeSpan _timeout;
        private long _notBefore = Stopwatch.GetTimestamp();
        private int _wasAway;
        private bool _alert;

        public Bringing(string name, Guid reader, WebhookOptions options)
        {
            (Name, Reader, _timeout) = (name, reader, options.Timeout);
            _pipeline = new ResiliencePipelineBuilder<Answer?>()
                .AddRetry(new RetryStrategyOptions<Answer?>
                {
                    MaxRetryAttempts = 2,
                    Delay = TimeSpan.FromMilliseconds(200),
                    BackoffType = DelayBackoffType.Exponential,
                    UseJitter = true,
                    ShouldHandle = tried => ValueTask.FromResult(tried.Outcome.Result is { IsQuick: true } && Webhook.Rate is null),
                })
                .AddCircuitBreaker(new CircuitBreakerStrategyOptions<Answer?>
                {
                    FailureRatio = 0.9,
                    MinimumThroughput = 5,
                    SamplingDuration = TimeSpan.FromSeconds(10),
                    StateProvider = _circuit,
                    // An event that fails again and again tells nothing of the endpoint; while there is no other, all there is does.
                    ShouldHandle = tried => ValueTask.FromResult(
                        (tried.Outcome.Exception is TimeoutRejectedException || tried.Outcome.Result is { Verdict: Verdict.Away })
                        && (_circuit.CircuitState != CircuitState.Closed || tried.Context.Properties.GetValue(s_isFresh, false))),
                    BreakDurationGenerator = broken =>
                    {
                        var wait = TimeSpan.FromSeconds(Math.Pow(2, Math.Min(broken.HalfOpenAttempts, 20)));
                        return ValueTask.FromResult(wait < options.LongestWait ? wait : options.LongestWait);
                    },
                    OnOpened = opened =>
                    {
                        Interlocked.Exchange(ref _wasAway, 1);
                        // A little more than the breaker waits, so that it lets the next one through.
                        Wait(opened.BreakDuration + TimeSpan.FromMilliseconds(50));
                        return default;
                    },
                })
                .AddTimeout(options.Timeout)
                .Build();
        }

        public string Name { get; }

        public Guid Reader { get; }

        public Subscription Subscription { get; private set; } = null!;

        public Webhook Webhook { get; private set; } = null!;

        public IReadOnlyList<byte[]> Secrets { get; private set; } = [];

        /// <summary>Whether it is only tried now and then: it takes nothing.</summary>
        public bool IsProbing => _circuit.CircuitState != CircuitState.Closed;

        /// <summary>Whether it takes events again after it took none; told once.</summary>
        public bool WasAway => Interlocked.Exchange(ref _wasAway, 0) == 1;

        /// <summary>How long it is to be left alone; null for not at all.</summary>
        public TimeSpan? Pause => Volatile.Read(ref _notBefore) is var until && until > Stopwatch.GetTimestamp() ? Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), until) : null;

        /// <summary>As it is now.</summary>
        public void Begin(Subscription subscription, Webhook webhook, IReadOnlyList<byte[]> secrets) => (Subscription, Webhook, Secrets) = (subscription, webhook, secrets);

        /// <summary>Whether an alert has begun (true) or ended (false); null when neither.</summary>
        public bool? SaysAlert(WebhookOptions options, DateTimeOffset now)
        {
            var alert = Webhook.IsAlert(options, now);
            if (alert == _alert) return null;
            return _alert = alert;
        }

        /// <summary>Leaves it alone for a while, or not at all.</summary>
        /// <returns>For how long.</returns>
        public TimeSpan Wait(TimeSpan? asked)
        {
            if (asked is not { } wait || wait <= TimeSpan.Zero) return TimeSpan.Zero;
            var until = Stopwatch.GetTimestamp() + (long)(wait.TotalSeconds * Stopwatch.Frequency);
            for (var known = Volatile.Read(ref _notBefore); known < until; known = Volatile.Read(ref _notBefore))
            {
                if (Interlocked.CompareExchange(ref _notBefore, until, known) == known) break;
            }

            return wait;
        }

        /// <summary>Sends; null when nothing was sent.</summary>
        public async Task<Answer?> SendAsync(bool isFresh, Func<CancellationToken, Task<Answer?>> send, CancellationToken stopping)
        {
            if (Webhook.Rate is { } rate) Wait(TimeSpan.FromMinutes(1) / rate);
            var context = ResilienceContextPool.Shared.Get(stopping);
            context.Properties.Set(s_isFresh, isFresh);
            Answer? last = null;
            try
            {
                return await _pipeline.ExecuteAsync(async (tried, send) => last = await send(tried.CancellationToken), context, send);
            }
            catch (BrokenCircuitException)
            {
                return last;
            }
            catch (TimeoutRejectedException)
            {
                return new(Verdict.Away, $"no answer within {_timeout.TotalSeconds:0.#} s");
            }
            finally
            {
                ResilienceContextPool.Shared.Return(context);
            }
        }
    }
}
