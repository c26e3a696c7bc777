using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Threading.Channels;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults;
using MassTransit;
using Npgsql;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// Takes journal segments off the bus and stores what they bring: all that has arrived goes together into one transaction.
/// A message is acknowledged only after its transaction; what fails for the database's sake is tried again until it works,
/// what fails for an event's sake is narrowed down to that event, which goes to quarantine.
/// </summary>
internal sealed partial class Ingestion(Journals journals, StoreSchema schema, IBus bus, TimeProvider clock, ILogger<Ingestion> logger) : BackgroundService
{
    private const int MaxEventsTogether = 4_000;
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    private static readonly Counter<long> s_received = Telemetry.Meter.CreateCounter<long>(
        "hub.events.received", "{event}", "Events stored, by commune; duplicates and quarantined ones not counted");

    private readonly Channel<Arrival> _arrivals = Channel.CreateBounded<Arrival>(new BoundedChannelOptions(256) { SingleReader = true });
    private readonly ResendPace _resends = new(TimeSpan.FromSeconds(5));

    /// <summary>Takes a segment; returns once whatever of it was to be stored is stored.</summary>
    public async Task ReceiveAsync(JournalSegment segment, CancellationToken cancellation)
    {
        var arrival = new Arrival(segment, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        await _arrivals.Writer.WriteAsync(arrival, cancellation);
        await arrival.Done.Task.WaitAsync(cancellation);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            await AnnounceAsync(stoppingToken);
            var together = new List<Arrival>();
            while (await _arrivals.Reader.WaitToReadAsync(stoppingToken))
            {
                together.Clear();
                for (var events = 0; events < MaxEventsTogether && _arrivals.Reader.TryRead(out var arrival); events += arrival.Segment.Events.Count)
                    together.Add(arrival);
                await StoreAsync([.. together.Select(arrival => arrival.Segment)], stoppingToken);
                foreach (var arrival in together) arrival.Done.SetResult();
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping: what is not acknowledged comes again.
        }
    }

    private async Task StoreAsync(IReadOnlyList<JournalSegment> segments, CancellationToken stopping)
    {
        var work = new IncomingEvents(segments);
        while (!work.Done)
        {
            try
            {
                using var span = Telemetry.StartForEvents("journal append", ActivityKind.Consumer, work.TraceParents);
                var outcome = await journals.StoreAsync(work, clock.GetUtcNow(), stopping);
                span?.SetTag("events", outcome.Stored.Count);
                foreach (var group in outcome.Stored.GroupBy(read => read.Envelope.Source.Commune))
                    s_received.Add(group.Count(), new KeyValuePair<string, object?>("commune", group.Key.ToString()));
                foreach (var (event_, reason) in outcome.Quarantined) LogQuarantined(event_.Commune, event_.Journal, event_.Position, reason);
                foreach (var state in outcome.States) Answer(state);
                work.Stored();
            }
            catch (Exception e) when (IsTransient(e))
            {
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, clock, stopping);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                // Neither message nor stack trace: they could repeat what the event holds.
                if (work.Narrow($"the event store refused it ({e.GetType().Name}{(e.InnerException is PostgresException inner ? $" {inner.SqlState}" : "")})") is { } refused)
                    LogRefused(refused.Commune, refused.Journal, refused.Position);
            }
        }
    }

    // At its start a hub says how far it has each journal: after a restore that may be less than the connectors think.
    private async Task AnnounceAsync(CancellationToken stopping)
    {
        while (true)
        {
            try
            {
                foreach (var state in await journals.AllAsync(stopping)) Answer(new JournalState(state.Commune, state.Journal, state.ReceivedThrough, Gap: false));
                return;
            }
            catch (NpgsqlException e)
            {
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, clock, stopping);
            }
        }
    }

    private void Answer(JournalState state)
    {
        var resend = state.Gap && _resends.MayAsk(state.Commune, state.Journal, state.ReceivedThrough + 1, clock.GetUtcNow());
        if (state.Gap && !resend) return;
        if (resend) LogGap(state.Commune, state.Journal, state.ReceivedThrough + 1);
        _ = SendAsync(new JournalReceipt(state.Commune, state.Journal, state.ReceivedThrough, resend));
    }

    // A receipt that does not arrive is no harm: the connector asks again. So nothing waits for it.
    private async Task SendAsync(JournalReceipt receipt)
    {
        try
        {
            var commune = await bus.GetSendEndpoint(new Uri($"exchange:{BusNames.CommuneQueue(Contracts.CommuneCode.Parse(receipt.Commune))}"));
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30), clock);
            await commune.Send(receipt, limit.Token);
        }
        catch (Exception e)
        {
            LogReceiptLost(receipt.Commune, e.Message);
        }
    }

    private static bool IsTransient(Exception e) => e switch
    {
        PostgresException postgres => postgres.IsTransient || postgres.SqlState is ['5', '7', ..] or ['5', '3', ..] or ['0', '8', ..] or ['4', '0', ..] or "25006",
        NpgsqlException or TimeoutException or IOException or System.Net.Sockets.SocketException => true,
        _ => e.InnerException is { } inner && IsTransient(inner),
    };

    private readonly record struct Arrival(JournalSegment Segment, TaskCompletionSource Done);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database does not take events for now; they are tried again. {Reason}")]
    private partial void LogUnavailable(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Commune}, journal {Journal}, position {Position} is in quarantine: {Reason}")]
    private partial void LogQuarantined(string commune, Guid journal, long position, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}, journal {Journal}: the event store refuses position {Position}; it goes to quarantine.")]
    private partial void LogRefused(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Commune}, journal {Journal}: position {Position} is missing; the journal is asked for again from there.")]
    private partial void LogGap(string commune, Guid journal, long position);

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Commune}: a receipt was not sent. {Reason}")]
    private partial void LogReceiptLost(string commune, string reason);
}
