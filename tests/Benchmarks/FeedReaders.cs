using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Cli;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;

namespace Intercommunalite.Benchmarks;

/// <summary>
/// Many subscribers of the feed with different filters and paces, by turns with and without some among them that stop reading: each
/// must get exactly its events, in order; the others must not be slower for those, nor the hub keep more and more for them.
/// </summary>
internal static class FeedReaders
{
    private static readonly DateOnly s_from = new(2010, 10, 1);

    public static Command Command(Terminal terminal)
    {
        var events = Number("--events", 200_000, "Events in the feed; the last quarter of them comes while it is read.");
        var readers = Number("--readers", 200, "Subscribers; a tenth of them stops reading, a tenth is slow.");
        var rounds = Number("--rounds", 3, "Times with, and times without those that stop reading.");
        var command = new Command("feed", "Measures many subscribers of the feed, with and without some that stop reading.") { events, readers, rounds };
        command.SetAction((parsed, cancellation) => RunAsync(terminal, parsed.GetValue(events), parsed.GetValue(readers), parsed.GetValue(rounds), cancellation));
        return command;

        static Option<int> Number(string name, int usual, string description) => new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => usual };
    }

    private static async Task<int> RunAsync(Terminal terminal, int count, int readers, int rounds, CancellationToken cancellation)
    {
        terminal.Say($"Preparing {count:N0} events.");
        // Each round has events of its own that come while it is read.
        var live = count / 4 / (2 * rounds);
        var prepared = Workload.From(s_from, count);
        var before = count - (live * 2 * rounds);
        await using var hub = await FilledHub.StartAsync([.. prepared.Take(before)], cancellation);
        await hub.ProjectedAsync(cancellation);
        await hub.AgreeAsync("whole", """{"type":"fr.intercommunalite.*"}""", cancellation);
        await hub.AgreeAsync("trimmed", FilledHub.SomeFields, cancellation);
        var (without, with, usual, stalled) = (new List<double>(), new List<double>(), 0L, 0L);
        for (var round = 0; round < 2 * rounds; round++)
        {
            var all = round % 2 == 1;
            var (seconds, delivered, memory) = await RoundAsync(hub, readers, all, [.. prepared.Skip(before + (round * live)).Take(live)], cancellation);
            (all ? with : without).Add(delivered / seconds);
            if (all) stalled = Math.Max(stalled, memory);
            else usual = Math.Max(usual, memory);
            terminal.Say(string.Create(CultureInfo.InvariantCulture,
                $"Round {round + 1} {(all ? "with" : "without")} those that stop: {delivered:N0} events to those that read on, in {seconds:0.0} s, {delivered / seconds:N0}/s; the hub had {memory >> 20} MiB at most."));
        }

        var ratio = Median(with) / Median(without);
        terminal.Write(string.Create(CultureInfo.InvariantCulture,
            $"{readers} subscribers, {count:N0} events: each got exactly its own, in order. Those that read on got {Median(without):N0} events/s without, {Median(with):N0} with those that stop: {ratio:0.000}. Memory of the hub at most {usual >> 20} MiB without, {stalled >> 20} MiB with."));
        return 0;
    }

    private static async Task<(double Seconds, long Delivered, long Memory)> RoundAsync(
        FilledHub hub, int count, bool stalled, IReadOnlyList<Prepared> live, CancellationToken cancellation)
    {
        var readers = Enumerable.Range(0, count).Where(number => stalled || number % 10 != 0).Select(number => new Subscriber(hub.Grpc, number)).ToList();
        try
        {
            using var done = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            var memory = MemoryAsync(hub.Processes, done.Token);
            var began = Stopwatch.GetTimestamp();
            var reading = readers.Where(reader => !reader.Stops).Select(reader => reader.ReadAsync(cancellation)).ToList();
            var stopped = readers.Where(reader => reader.Stops).Select(reader => reader.StopAsync(cancellation)).ToList();
            foreach (var some in live.Chunk(500)) await hub.FillAsync(some, cancellation);
            var end = await EndAsync(hub, cancellation);
            foreach (var reader in readers) reader.EndsAt(end);
            await Task.WhenAll(reading);
            var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
            await Task.WhenAll(stopped);
            var delivered = readers.Where(reader => !reader.Stops).Sum(reader => reader.Events);
            await Task.WhenAll(readers.Where(reader => reader.Stops).Select(reader => reader.ReadAsync(cancellation)));
            await done.CancelAsync();
            foreach (var reader in readers) await reader.CheckAsync(hub, cancellation);
            return (seconds, delivered, await memory);
        }
        finally
        {
            readers.ForEach(reader => reader.Dispose());
        }
    }

    // A stream from now on begins with the cursor of the end.
    private static async Task<string> EndAsync(FilledHub hub, CancellationToken cancellation)
    {
        using var channel = GrpcChannel.ForAddress(hub.Grpc);
        using var call = new Feed.FeedClient(channel).Subscribe(new() { FromNow = true }, Subscriber.Headers("administrator"), cancellationToken: cancellation);
        return await call.ResponseStream.MoveNext(cancellation) ? call.ResponseStream.Current.CaughtUp.Cursor : throw new Failure("The feed ended.");
    }

    private static async Task<long> MemoryAsync(Processes processes, CancellationToken done)
    {
        var most = 0L;
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
        try
        {
            while (await timer.WaitForNextTickAsync(done)) most = Math.Max(most, processes.Read()[0].MemoryBytes);
        }
        catch (OperationCanceledException)
        {
            // Measured.
        }

        return most;
    }

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    /// <summary>A subscriber with a connection of its own.</summary>
    private sealed class Subscriber : IDisposable
    {
        private static readonly string[] s_clients = ["administrator", "whole", "trimmed"];

        private readonly GrpcChannel _channel;
        private readonly AsyncServerStreamingCall<SubscribeResponse> _call;
        private readonly IncrementalHash _ids = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly TaskCompletionSource _atEnd = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Lock _lock = new();
        private readonly string _condition;
        private readonly int _number;
        private string? _end;
        private string _last = "";

        public Subscriber(Uri grpc, int number)
        {
            _number = number;
            var commune = Workload.Territory.Communes[number % Workload.Territory.Communes.Count].Code.ToString();
            var filter = new Filter();
            switch (number % 7)
            {
                case 0:
                    filter.Communes.Add(commune);
                    _condition = $"stream_id LIKE '{commune}/%'";
                    break;
                case 1:
                    filter.Types_.Add("fr.intercommunalite.civil-records.*");
                    filter.Communes.Add(commune);
                    _condition = $"type LIKE 'fr.intercommunalite.civil-records.%' AND stream_id LIKE '{commune}/%'";
                    break;
                case 2:
                    filter.Types_.Add("fr.intercommunalite.civil-records.*");
                    filter.Facts.Add(new Fact { Field = "date", Values = { "2011-01-03", "2011-02-03", "2011-03-03", "2012-03-05" } });
                    _condition = "type LIKE 'fr.intercommunalite.civil-records.%' AND data ->> 'date' IN ('2011-01-03', '2011-02-03', '2011-03-03', '2012-03-05')";
                    break;
                case 3:
                    filter.Types_.Add("fr.intercommunalite.schools.*");
                    _condition = "type LIKE 'fr.intercommunalite.schools.%'";
                    break;
                case 4:
                    filter.Subjects.Add("birth/*");
                    _condition = "substr(stream_id, strpos(stream_id, 'civil-records/') + 14) LIKE 'birth/%' AND stream_id LIKE '%/civil-records/%'";
                    break;
                case 5:
                    filter.Types_.Add("fr.intercommunalite.payments.payment-refunded.v1");
                    _condition = "type = 'fr.intercommunalite.payments.payment-refunded.v1'";
                    break;
                // Few take everything.
                default:
                    filter.Types_.Add(number % 70 == 6 ? "fr.intercommunalite.*" : "fr.intercommunalite.requests.*");
                    _condition = number % 70 == 6 ? "true" : "type LIKE 'fr.intercommunalite.requests.%'";
                    break;
            }

            _channel = GrpcChannel.ForAddress(grpc);
            _call = new Feed.FeedClient(_channel).Subscribe(new() { Filter = filter }, Headers(s_clients[number % s_clients.Length]));
        }

        /// <summary>Whether it stops reading after a few events.</summary>
        public bool Stops => _number % 10 == 0;

        /// <summary>Events that it got.</summary>
        public int Events { get; private set; }

        public static Metadata Headers(string client) =>
            new() { { "authorization", $"Bearer {TestIssuer.Token([client == "administrator" ? client : "partner"], client: client)}" } };

        /// <summary>Tells it where the feed ends.</summary>
        public void EndsAt(string cursor)
        {
            lock (_lock)
            {
                _end = cursor;
                if (_last == _end) _atEnd.TrySetResult();
            }
        }

        /// <summary>Reads a few events, and then no more until it is let read.</summary>
        public async Task StopAsync(CancellationToken cancellation)
        {
            while (Events < 5 && await _call.ResponseStream.MoveNext(cancellation)) Take(_call.ResponseStream.Current);
        }

        /// <summary>Reads until it is at the end.</summary>
        public async Task ReadAsync(CancellationToken cancellation)
        {
            var reading = Task.Run(async () =>
            {
                while (!_atEnd.Task.IsCompleted && await _call.ResponseStream.MoveNext(cancellation))
                {
                    Take(_call.ResponseStream.Current);
                    if (_number % 10 == 1 && Events % 50 == 0) await Task.Delay(1, cancellation);
                }

                if (!_atEnd.Task.IsCompleted) throw new Failure("The feed ended.");
            }, cancellation);
            await await Task.WhenAny(reading, _atEnd.Task);
        }

        /// <summary>Compares what it got with what the store has for it.</summary>
        public async Task CheckAsync(FilledHub hub, CancellationToken cancellation)
        {
            await using var query = hub.Data.CreateCommand($"""
                SELECT count(*), coalesce(encode(sha256(string_agg((headers ->> 'id') || ' ', '' ORDER BY seq_id)::bytea), 'hex'), '') FROM hub.mt_events WHERE {_condition}
                """);
            await using var reader = await query.ExecuteReaderAsync(cancellation);
            await reader.ReadAsync(cancellation);
            var (expected, got) = ((reader.GetInt64(0), reader.GetString(1)), ((long)Events, Events == 0 ? "" : Convert.ToHexStringLower(_ids.GetCurrentHash())));
            if (expected != got) throw new Failure($"Subscriber {_number} ({_condition}) got {Events:N0} events, {expected.Item1:N0} expected, or others.");
        }

        public void Dispose()
        {
            _call.Dispose();
            _channel.Dispose();
            _ids.Dispose();
        }

        private void Take(SubscribeResponse message)
        {
            if (message.Event is { } e)
            {
                Events++;
                _ids.AppendData(Encoding.UTF8.GetBytes(e.Id + " "));
            }

            lock (_lock)
            {
                _last = message.MessageCase switch
                {
                    SubscribeResponse.MessageOneofCase.Event => message.Event.Cursor,
                    SubscribeResponse.MessageOneofCase.Checkpoint => message.Checkpoint.Cursor,
                    SubscribeResponse.MessageOneofCase.CaughtUp => message.CaughtUp.Cursor,
                    SubscribeResponse.MessageOneofCase.Heartbeat => message.Heartbeat.Cursor,
                    _ => _last,
                };
                if (_last == _end) _atEnd.TrySetResult();
            }
        }
    }
}
