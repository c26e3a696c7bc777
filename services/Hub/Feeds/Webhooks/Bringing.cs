using System.Diagnostics;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Polly;
using Polly.Retry;
using Polly.Timeout;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>Where something goes, with what, and whether with personal data: as it was at one look.</summary>
internal sealed record Target(Subscription Subscription, Webhook Webhook, IReadOnlyList<byte[]> Secrets)
{
    /// <summary>The subscription's name.</summary>
    public string Name => Subscription.Name;
}

/// <summary>
/// An endpoint to which this node brings, with what it knows of how that goes: retries, the time limit and the circuit breaker. The breaker
/// counts different deliveries in a row, and is open from the start where the endpoint is known to fail, which Polly's, of a ratio in a time, is not.
/// </summary>
internal sealed class Bringing
{
    // So many deliveries in a row that it did not take: then it is only tried now and then. One that fails again and again counts once, since it
    // tells nothing of the endpoint.
    private const int Enough = 5;

    private readonly Lock _lock = new();
    private readonly ResiliencePipeline<Answer?> _pipeline;
    private readonly WebhookOptions _options;
    private long _notBefore = Stopwatch.GetTimestamp();
    private volatile bool _isProbing;
    private readonly HashSet<(string Replay, long Position)> _inARow = [];
    private int _probes;
    private volatile bool _wasAway;
    private volatile Target _target;

    /// <summary>Begins with what is known of it.</summary>
    public Bringing(Guid reader, Target target, WebhookOptions options)
    {
        (Reader, _target, _options) = (reader, target, options);
        // A dead endpoint is not tried with all there is by every node that begins.
        _isProbing = _wasAway = target.Webhook.FailingSince is not null;
        _pipeline = new ResiliencePipelineBuilder<Answer?>()
            .AddRetry(new RetryStrategyOptions<Answer?>
            {
                MaxRetryAttempts = 2,
                Delay = TimeSpan.FromMilliseconds(200),
                BackoffType = DelayBackoffType.Exponential,
                UseJitter = true,
                ShouldHandle = tried => ValueTask.FromResult(tried.Outcome.Result is { IsQuick: true } && _target.Webhook.Rate is null && !_isProbing),
            })
            .AddTimeout(options.Timeout)
            .Build();
    }

    /// <summary>As which reader this node brings.</summary>
    public Guid Reader { get; }

    /// <summary>As it was when it was looked up last; always of the same address, not asked anew.</summary>
    public Target Target
    {
        get => _target;
        set => _target = value;
    }

    /// <summary>Whether it is only tried now and then: it takes nothing.</summary>
    public bool IsProbing => _isProbing;

    /// <summary>Whether it took nothing for a while, and what waits for that reason may still wait.</summary>
    public bool WasAway
    {
        get => _wasAway;
        set => _wasAway = value;
    }

    /// <summary>How long it is to be left alone; null for not at all.</summary>
    public TimeSpan? Pause => Volatile.Read(ref _notBefore) is var until && until > Stopwatch.GetTimestamp() ? Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), until) : null;

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

    /// <summary>Sends; null when nothing was sent, which tells nothing of the endpoint.</summary>
    public async Task<Answer?> SendAsync((string Replay, long Position) sent, Func<CancellationToken, ValueTask<Answer?>> send, CancellationToken stopping)
    {
        if (_target.Webhook.Rate is { } rate) Wait(TimeSpan.FromMinutes(1) / rate);
        var isProbe = _isProbing;
        Answer? answer;
        try
        {
            answer = await _pipeline.ExecuteAsync(send, stopping);
        }
        catch (TimeoutRejectedException)
        {
            answer = new(Verdict.Away, $"no answer within {_options.Timeout.TotalSeconds:0.#} s");
        }

        if (answer is not null) Note(answer.Verdict == Verdict.Away, sent, isProbe);
        return answer;
    }

    private void Note(bool isAway, (string Replay, long Position) sent, bool isProbe)
    {
        lock (_lock)
        {
            if (!isAway)
            {
                _inARow.Clear();
                (_probes, _isProbing) = (0, false);
                return;
            }

            // Those that were on their way when it began to be probed are no probes.
            if (_isProbing ? !isProbe : !_inARow.Add(sent) || _inARow.Count < Enough) return;
            _isProbing = _wasAway = true;
            var wait = TimeSpan.FromSeconds(Math.Pow(2, Math.Min(_probes++, 20)));
            Wait(wait < _options.LongestWait ? wait : _options.LongestWait);
        }
    }
}
