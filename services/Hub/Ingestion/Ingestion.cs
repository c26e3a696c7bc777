using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults;
using MassTransit;
using Npgsql;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// Takes journal segments off the bus and stores what they bring: all that has arrived goes together into one transaction.
/// A message is acknowledged only after its transaction; what fails for the database's sake is tried again until it works,
/// what fails for an event's sake is narrowed down to that event, which goes to quarantine. What is decided here is decided
/// by <see cref="Receiver"/>.
/// </summary>
internal sealed partial class Ingestion(Journals journals, StoreSchema schema, IBus bus, TimeProvider clock, ILogger<Ingestion> logger) : BackgroundService
{
    private const int MaxEventsTogether = 4_000;
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_betweenReceipts = TimeSpan.FromMilliseconds(100);

    // One that the broker does not take holds those that are said with it for so long.
    private static readonly TimeSpan s_receiptPatience = TimeSpan.FromSeconds(5);

    private static readonly Counter<long> s_received = Telemetry.Meter.CreateCounter<long>(
        "hub.events.received", "{event}", "Events stored, by commune; duplicates and quarantined ones not counted");

    private readonly Channel<Arrival> _arrivals = Channel.CreateBounded<Arrival>(new BoundedChannelOptions(256) { SingleReader = true });
    private readonly Receiver _receiver = new();
    private readonly ConcurrentDictionary<(string Commune, Guid Journal), JournalReceipt> _unsaid = new();
    private StrongBox<DateTimeOffset>? _storingSince;

    /// <summary>Since when the events that this node stores now are being stored; null while it has none to store.</summary>
    public DateTimeOffset? StoringSince => Volatile.Read(ref _storingSince)?.Value;

    /// <summary>Takes a segment; returns once whatever of it was to be stored is stored, or once it was dropped.</summary>
    public async Task ReceiveAsync(JournalSegment segment, CancellationToken cancellation)
    {
        var arrival = new Arrival(segment, IncomingEvent.Of(segment));
        await _arrivals.Writer.WriteAsync(arrival, cancellation);
        await arrival.Done.Task.WaitAsync(cancellation);
    }

    /// <summary>Asks for a journal again, from the first event that the hub does not have. What the hub has is not asked for: it is not lost.</summary>
    /// <param name="commune">Whose newest journal; null for those of all communes.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>The journals that are asked for; their connectors answer in their own time.</returns>
    public async Task<IReadOnlyList<JournalStatus>> AskAgainAsync(string? commune, CancellationToken cancellation)
    {
        var asked = (await journals.AllAsync(cancellation)).Where(journal => !journal.Superseded && (commune is null || journal.Commune == commune)).ToList();
        foreach (var journal in asked)
        {
            var receipt = new JournalReceipt(journal.Commune, journal.Journal, journal.ReceivedThrough, Resend: true, journal.LastEventId);
            // What is to be said already may be newer than what was just read.
            _unsaid.AddOrUpdate((journal.Commune, journal.Journal), receipt, (_, unsaid) => unsaid.ReceivedThrough > receipt.ReceivedThrough ? unsaid with { Resend = true } : receipt);
        }

        return asked;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            await AnnounceAsync(stoppingToken);
            // Whichever fails ends the hub's process: the broker then hands the queue to another node.
            await await Task.WhenAny(IngestAsync(stoppingToken), SayAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping: what is not acknowledged comes again.
        }
    }

    private async Task IngestAsync(CancellationToken stopping)
    {
        while (await ArrivedAsync(stopping))
        {
            var together = new List<Arrival>(_receiver.Held);
            for (var events = 0; events < MaxEventsTogether && _arrivals.Reader.TryRead(out var arrival); events += arrival.Events.Length)
                together.Add(arrival);
            Volatile.Write(ref _storingSince, new(clock.GetUtcNow()));
            var ends = await StoreAsync(new IncomingEvents(together.SelectMany(arrival => arrival.Events)), stopping);
            Volatile.Write(ref _storingSince, null);
            var settlement = _receiver.Settle(together, ends, clock.GetUtcNow());
            foreach (var arrival in settlement.Ended) arrival.Done.SetResult();
            foreach (var ((commune, journal), end) in ends.Where(end => end.Value.Forked)) LogForked(commune, journal, end.Through);
            foreach (var receipt in settlement.Receipts) Answer(receipt);
        }
    }

    // What is said of a journal several times in a moment is said once: a receipt costs the broker as much as a segment.
    private async Task SayAsync(CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(s_betweenReceipts, clock);
        while (await timer.WaitForNextTickAsync(stopping))
        {
            // All of them before the next ones, so that none overtakes another.
            await Task.WhenAll(_unsaid.Keys.Select(journal => _unsaid.TryRemove(journal, out var receipt) ? SendAsync(receipt) : Task.CompletedTask));
        }
    }

    // Waits for a segment; while some are held, not for longer than they may be.
    private async Task<bool> ArrivedAsync(CancellationToken stopping)
    {
        if (_receiver.Held.Count == 0) return await _arrivals.Reader.WaitToReadAsync(stopping);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(Receiver.Patience);
        try
        {
            return await _arrivals.Reader.WaitToReadAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
        {
            return true;
        }
    }

    private async Task<Dictionary<(string Commune, Guid Journal), JournalEnd>> StoreAsync(IncomingEvents work, CancellationToken stopping)
    {
        var ends = new Dictionary<(string, Guid), JournalEnd>();
        while (!work.Done)
        {
            try
            {
                using var span = Telemetry.StartForEvents("journal append", ActivityKind.Consumer, work.TraceParents);
                var outcome = await journals.StoreAsync(work.Run, clock.GetUtcNow(), stopping);
                span?.SetTag("events", outcome.Stored.Count);
                foreach (var group in outcome.Stored.GroupBy(read => read.Envelope.Source.Commune))
                    s_received.Add(group.Count(), new KeyValuePair<string, object?>("commune", group.Key.ToString()));
                // Without the reason: it names fields, and a sender may have put anything there.
                foreach (var (refused, _) in outcome.Quarantined)
                {
                    LogQuarantined(refused.Commune, refused.Journal, refused.Position);
                    Quarantine.Count(refused.Commune);
                }

                Receiver.Merge(ends, outcome.Ends);
                work.Stored();
            }
            catch (Exception e) when (!stopping.IsCancellationRequested && (!IsOfAnEvent(e) || work.IsNarrowed))
            {
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, clock, stopping);
            }
            catch (Exception e) when (!stopping.IsCancellationRequested)
            {
                if (work.Narrow(StoreRefusal(e)) is { } refused)
                    LogRefused(refused.Commune, refused.Journal, refused.Position);
            }
        }

        return ends;
    }

    // At its start a hub says how far it has each journal: after a restore that may be less than the connectors think.
    private async Task AnnounceAsync(CancellationToken stopping)
    {
        while (true)
        {
            try
            {
                foreach (var state in await journals.AllAsync(stopping)) Answer(new(state.Commune, state.Journal, state.ReceivedThrough, LastEvent: state.LastEventId));
                return;
            }
            catch (Exception e) when (!stopping.IsCancellationRequested)
            {
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, clock, stopping);
            }
        }
    }

    private void Answer(JournalReceipt receipt)
    {
        if (receipt.Resend) LogGap(receipt.Commune, receipt.Journal, receipt.ReceivedThrough + 1);
        _unsaid.AddOrUpdate((receipt.Commune, receipt.Journal), receipt, (_, unsaid) => Receiver.Merge(unsaid, receipt));
    }

    // A receipt that does not arrive is no harm: the connector asks again. So nothing waits for it; it is said with the next ones.
    private async Task SendAsync(JournalReceipt receipt)
    {
        try
        {
            using var limit = new CancellationTokenSource(s_receiptPatience, clock);
            var commune = await bus.GetSendEndpoint(new Uri($"exchange:{BusNames.CommuneQueue(CommuneCode.Parse(receipt.Commune))}")).WaitAsync(limit.Token);
            await commune.Send(receipt, limit.Token).OrGivenUpAsync(limit.Token);
        }
        catch (Exception e)
        {
            LogReceiptLost(receipt.Commune, e.Message);
            _unsaid.AddOrUpdate((receipt.Commune, receipt.Journal), receipt, (_, newer) => Receiver.Merge(receipt, newer));
        }
    }

    // Whether what failed is what an event holds: wrong data (class 22), a broken constraint (23) or a limit (54). All else is
    // the database's or ours, and no reason to put an event aside. An event that is stored already (23505) is known on the next try.
    internal static bool IsOfAnEvent(Exception e) => e switch
    {
        PostgresException { SqlState: PostgresErrorCodes.UniqueViolation } => false,
        PostgresException postgres => postgres.SqlState is ['2', '2' or '3', ..] or ['5', '4', ..],
        ArgumentException or FormatException or OverflowException or System.Text.Json.JsonException => true,
        _ => e.InnerException is { } inner && IsOfAnEvent(inner),
    };

    // Neither message nor stack trace: they could repeat what the event holds.
    internal static string StoreRefusal(Exception e)
    {
        var state = (e as PostgresException ?? e.InnerException as PostgresException)?.SqlState;
        return $"the event store refused it ({e.GetType().Name}{(state is null ? "" : $" {state}")})";
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database does not take events for now; they are tried again. {Reason}")]
    private partial void LogUnavailable(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}, journal {Journal}, position {Position} is in quarantine; the reason is kept there.")]
    private partial void LogQuarantined(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}, journal {Journal}: the event store refuses position {Position}; it goes to quarantine.")]
    private partial void LogRefused(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}, journal {Journal}: position {Position} is missing; the journal is asked for again from there.")]
    private partial void LogGap(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}, journal {Journal}: what comes is not what the hub has through position {Position}: the connector's journal is an older copy. It will go on as a new one.")]
    private partial void LogForked(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Commune}: a receipt was not sent. {Reason}")]
    private partial void LogReceiptLost(string commune, string reason);
}
