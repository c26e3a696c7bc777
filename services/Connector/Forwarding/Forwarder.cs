using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using System.Threading.Channels;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using MassTransit;
using Microsoft.Data.Sqlite;

namespace Intercommunalite.Connector.Forwarding;

/// <summary>
/// Forwards one journal to the bus: the I/O around <see cref="ForwarderState"/>. All that happens comes through one queue of
/// signals, so that the state needs no lock.
/// </summary>
internal sealed partial class Forwarder(CommuneJournal journal, IBus bus, ForwardingOptions options, TimeProvider clock, ILogger<Forwarder> logger)
{
    private static readonly TimeSpan s_betweenPrunings = TimeSpan.FromHours(1);

    private static readonly Counter<long> s_published = Telemetry.Meter.CreateCounter<long>(
        "hub.events.published", "{event}", "Events that the broker confirmed, by commune; those published again count again");

    private readonly Channel<Action<ForwarderState>> _signals = Channel.CreateUnbounded<Action<ForwarderState>>(new() { SingleReader = true });
    private long _missing;
    private bool _heard;
    private DateTimeOffset _pruned = clock.GetUtcNow();
    private bool _noteFailed;

    /// <summary>The hub has answered.</summary>
    public void Heard(JournalReceipt receipt) => _signals.Writer.TryWrite(state =>
    {
        if (receipt.Journal != journal.Id) return;
        if (receipt.Resend) LogResend(journal.Commune, receipt.ReceivedThrough + 1);
        var forked = receipt.LastEvent is { } theirs && journal.EventIdAt(receipt.ReceivedThrough) is { } ours && ours != theirs;
        state.Heard(receipt.ReceivedThrough, receipt.Resend, forked, clock.GetUtcNow());
        _heard = true;
    });

    /// <summary>Forwards until cancelled. Whatever fails, it begins again from what the journal holds.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await ForwardAsync(stopping);
                LogOlderCopy(journal.Commune);
                await journal.BeginAnewAsync();
            }
            catch (Exception e) when (!stopping.IsCancellationRequested)
            {
                LogFailed(journal.Commune, e.GetType().Name, e.Message);
                await Task.Delay(options.RetryDelay, clock, stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException)
            {
                // Stopping: what is unconfirmed is published again at the next start.
            }
        }
    }

    // Ends when the journal turns out to be an older copy.
    private async Task ForwardAsync(CancellationToken stopping)
    {
        // What was said of an earlier try means nothing to this one.
        while (_signals.Reader.TryRead(out _)) continue;
        var id = journal.Id;
        var state = new ForwarderState(journal.Last, journal.PublishedThrough, journal.ReceivedThrough, clock.GetUtcNow());
        void Grown(long last) => _signals.Writer.TryWrite(s => s.Appended(last));
        journal.Appended += Grown;
        Grown(journal.Last);
        using var timer = clock.CreateTimer(_ => _signals.Writer.TryWrite(s => ProbeIfSilent(s, stopping)), null, options.Patience / 4, options.Patience / 4);
        try
        {
            while (await _signals.Reader.WaitToReadAsync(stopping))
            {
                while (_signals.Reader.TryRead(out var signal)) signal(state);
                if (state.IsOlderCopy) return;
                while (state.Next is { } next)
                {
                    var events = journal.Read(next, JournalSegment.MaxEvents, JournalSegment.MaxBytes);
                    if (events.Count == 0 || events[0].Position != next)
                    {
                        ReportMissing(next);
                        break;
                    }

                    state.Sent(events[^1].Position);
                    _ = PublishAsync(events, stopping);
                }

                Note(id, state);
                if (_heard && clock.GetUtcNow() - _pruned > s_betweenPrunings) Prune();
            }
        }
        finally
        {
            journal.Appended -= Grown;
        }
    }

    private void Prune()
    {
        (_heard, _pruned) = (false, clock.GetUtcNow());
        try
        {
            journal.DeleteReceived(_pruned, options.Retention);
        }
        catch (SqliteException e)
        {
            LogNotPruned(journal.Commune, e.Message);
        }
    }

    // A full disk must not stop what makes it less full. The journal knows even so, and writes it when there is room.
    private void Note(Guid id, ForwarderState state)
    {
        try
        {
            journal.Note(id, state.Published, state.Received);
            _noteFailed = false;
        }
        catch (SqliteException e)
        {
            if (!_noteFailed) LogNotNoted(journal.Commune, e.Message);
            _noteFailed = true;
        }
    }

    // Said once for each position: every signal comes by here.
    private void ReportMissing(long position)
    {
        if (_missing == position) return;
        _missing = position;
        LogMissing(journal.Commune, position);
    }

    private async Task PublishAsync(IReadOnlyList<StoredEvent> events, CancellationToken stopping)
    {
        var (first, through) = (events[0].Position, events[^1].Position);
        try
        {
            await PublishOnceAsync(events, stopping);
            _signals.Writer.TryWrite(state => state.Confirmed(first));
        }
        catch (Exception e)
        {
            if (!stopping.IsCancellationRequested)
            {
                LogRefused(journal.Commune, first, through, e.Message);
                await Task.Delay(options.RetryDelay, clock, CancellationToken.None);
            }

            _signals.Writer.TryWrite(state => state.Failed(first));
        }
    }

    private async Task PublishOnceAsync(IReadOnlyList<StoredEvent> events, CancellationToken stopping)
    {
        using var span = Telemetry.StartForEvents("journal publish", ActivityKind.Producer, events.Select(stored => TraceParent(stored.Json)));
        span?.SetTag("commune", journal.Commune.ToString()).SetTag("events", events.Count);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(options.ConfirmTimeout);
        var first = events[0].Position;
        var segment = new JournalSegment(
            journal.Commune.ToString(), journal.Id, first, journal.EventIdAt(first - 1), JournalEvents.OfUtf8([.. events.Select(stored => stored.Json)]),
            journal.Last, events[0].AcceptedAt);
        await bus.Publish(segment, limit.Token).OrGivenUpAsync(limit.Token);
        s_published.Add(events.Count, new KeyValuePair<string, object?>("commune", journal.Commune.ToString()));
    }

    private void ProbeIfSilent(ForwarderState state, CancellationToken stopping)
    {
        if (state.Probe(clock.GetUtcNow(), options.Patience, options.Silence) is not { } position) return;
        var events = journal.Read(position, 1, JournalSegment.MaxBytes);
        if (events.Count == 1 && events[0].Position == position) _ = ProbeAsync(events, stopping);
    }

    private async Task ProbeAsync(IReadOnlyList<StoredEvent> events, CancellationToken stopping)
    {
        try
        {
            await PublishOnceAsync(events, stopping);
        }
        catch (Exception e)
        {
            if (!stopping.IsCancellationRequested) LogRefused(journal.Commune, events[0].Position, events[0].Position, e.Message);
        }
    }

    private static string? TraceParent(byte[] json) => JsonElement.Parse(json).TryGetProperty("traceparent", out var text) ? text.GetString() : null;

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: the broker did not take positions {First} to {Through}; they go again. {Reason}")]
    private partial void LogRefused(CommuneCode commune, long first, long through, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: how far the hub is could not be written to disk; forwarding goes on, and it is tried again. {Reason}")]
    private partial void LogNotNoted(CommuneCode commune, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}: the hub asks for the journal again from position {Position}.")]
    private partial void LogResend(CommuneCode commune, long position);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: the hub has more, or other events, under this journal's id: it is an older copy. It goes on as a new journal.")]
    private partial void LogOlderCopy(CommuneCode commune);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: position {Position} is no longer in the journal, so nothing is forwarded. The hub was restored to a state older than the journal's retention.")]
    private partial void LogMissing(CommuneCode commune, long position);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: what was received long ago could not be deleted from the journal; it is tried again in an hour. {Reason}")]
    private partial void LogNotPruned(CommuneCode commune, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: forwarding failed ({Fault}) and begins again. {Reason}")]
    private partial void LogFailed(CommuneCode commune, string fault, string reason);
}
