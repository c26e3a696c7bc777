using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Text.Json;
using System.Threading.Channels;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using MassTransit;

namespace Intercommunalite.Connector.Forwarding;

/// <summary>
/// Forwards one journal to the bus: the I/O around <see cref="ForwarderState"/>. All that happens comes through one queue of
/// signals, so that the state needs no lock.
/// </summary>
internal sealed partial class Forwarder(CommuneJournal journal, IBus bus, ForwardingOptions options, TimeProvider clock, ILogger<Forwarder> logger)
{
    private static readonly Counter<long> s_published = Telemetry.Meter.CreateCounter<long>(
        "hub.events.published", "{event}", "Events that the broker confirmed, by commune; those published again count again");

    private readonly Channel<Action<ForwarderState>> _signals = Channel.CreateUnbounded<Action<ForwarderState>>(new() { SingleReader = true });

    /// <summary>The hub has answered.</summary>
    public void Heard(JournalReceipt receipt)
    {
        if (receipt.Journal != journal.Id) return;
        _signals.Writer.TryWrite(state =>
        {
            if (receipt.ReceivedThrough > state.Last)
            {
                LogAhead(journal.Commune, receipt.ReceivedThrough, state.Last);
                return;
            }

            if (receipt.Resend) LogResend(journal.Commune, receipt.ReceivedThrough + 1);
            state.Heard(receipt.ReceivedThrough, receipt.Resend, clock.GetUtcNow());
        });
    }

    /// <summary>Forwards until cancelled.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
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
                while (state.Next is { } next)
                {
                    var events = journal.Read(next, JournalSegment.MaxEvents, JournalSegment.MaxBytes);
                    if (events.Count == 0 || events[0].Position != next)
                    {
                        LogMissing(journal.Commune, next);
                        return;
                    }

                    state.Sent(events[^1].Position);
                    _ = PublishAsync(events, stopping);
                }

                journal.Note(state.Published, state.Received);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // Stopping: what is unconfirmed is published again at the next start.
        }
        finally
        {
            journal.Appended -= Grown;
        }
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
        var elements = events.Select(stored => JsonElement.Parse(stored.Json)).ToList();
        using var span = Telemetry.StartForEvents("journal publish", ActivityKind.Producer, elements.Select(TraceParent));
        span?.SetTag("commune", journal.Commune.ToString()).SetTag("events", events.Count);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(options.ConfirmTimeout);
        await bus.Publish(new JournalSegment(journal.Commune.ToString(), journal.Id, events[0].Position, elements), limit.Token);
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

    private static string? TraceParent(JsonElement json) => json.TryGetProperty("traceparent", out var text) ? text.GetString() : null;

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}: the broker did not take positions {First} to {Through}; they go again. {Reason}")]
    private partial void LogRefused(CommuneCode commune, long first, long through, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}: the hub asks for the journal again from position {Position}.")]
    private partial void LogResend(CommuneCode commune, long position);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: the hub has the journal through {Through}, but it ends at {Last} here: it is an older copy. Put the newer one back, or move it away so that a new one is begun.")]
    private partial void LogAhead(CommuneCode commune, long through, long last);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: position {Position} is no longer in the journal, so forwarding stops. The hub was restored to a state older than the journal's retention.")]
    private partial void LogMissing(CommuneCode commune, long position);
}
