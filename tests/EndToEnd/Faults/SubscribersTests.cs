using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>A durable subscription whose hubs are killed (SIGKILL) at random points while events come and readers take them.</summary>
public sealed class SubscribersTests(ITestOutputHelper output)
{
    private const int Records = 40;
    private const int Kills = 8;

    // Events that are sent ahead of the readers, at most: however slow the machine is, they have something and are never far behind.
    private const int MostAhead = 10 * Records;

    [Fact]
    public async Task Given_readers_that_compete_When_hubs_are_killed_at_random_Then_nothing_is_lost_what_comes_again_is_marked_and_nothing_acknowledged_comes_again()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var chance = new Random(seed);
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        await deployment.SecondHub.StartAsync();
        await CreateAsync(deployment);
        var seen = new Seen();
        using var end = new CancellationTokenSource();
        using var killed = new CancellationTokenSource();
        int[] ports = [deployment.GrpcPort, deployment.SecondGrpcPort];
        var readers = Enumerable.Range(0, 4).Select(number => ReadAsync(ports[number % 2], seen, deployment.Token, end.Token)).ToList();
        var sending = SendAsync(deployment, seen, killed.Token);

        // The kills are at random times while events come; they go on until one met a reader that held something.
        for (var kill = 0; kill < Kills || (seen.Again == 0 && kill < 5 * Kills); kill++)
        {
            await Task.Delay(chance.Next(200, 1500));
            ServiceProcess[] hubs = chance.Next(4) switch { 0 => [deployment.Hub, deployment.SecondHub], 1 or 2 => [deployment.Hub], _ => [deployment.SecondHub] };
            foreach (var hub in hubs) hub.Kill();
            await Task.WhenAll(hubs.Select(hub => hub.StartAsync()));
        }

        await killed.CancelAsync();
        var sent = await sending;
        await Eventually.Is(() => deployment.CountAsync("SELECT count(*) FROM hub.mt_events"), count => count == sent, TimeSpan.FromMinutes(1));
        await Eventually.Is(
            () => deployment.CountAsync("SELECT count(*) + (SELECT max(seq_id) FROM hub.mt_events) - (SELECT fetched FROM feeds.subscription) FROM feeds.delivery"), left => left == 0, TimeSpan.FromMinutes(1));
        await end.CancelAsync();
        await Task.WhenAll(readers);

        Assert.Empty(seen.Wrong);
        var stored = await deployment.Database.ScalarAsync("SELECT string_agg(headers ->> 'id', ' ' ORDER BY headers ->> 'id') FROM hub.mt_events");
        Assert.Equal(stored, string.Join(' ', seen.Attempts.Keys.Order(StringComparer.Ordinal)));
        Assert.True(seen.Again > 0, "nothing came again: no hub was killed while its readers held something");
        output.WriteLine($"{seen.Attempts.Count} events, {seen.Again} came again.");
    }

    private static async Task CreateAsync(Deployment deployment)
    {
        using var client = deployment.ClientOf(deployment.Hub);
        using var made = await client.PostAsJsonAsync(new Uri("/api/v1/subscriptions", UriKind.Relative), new { name = "durable", start = "beginning", ackTimeoutSeconds = 60, maxAttempts = 100 });
        Assert.Equal(HttpStatusCode.Created, made.StatusCode);
    }

    // Sends until the kills are over, so that each of them falls among events. The answer is the number of events sent.
    private static async Task<int> SendAsync(Deployment deployment, Seen seen, CancellationToken killed)
    {
        var batch = 0;
        while (!killed.IsCancellationRequested)
        {
            await Task.Delay(100, CancellationToken.None);
            if ((batch * Records) - seen.Count > MostAhead) continue;
            using var posted = await deployment.PostAsync(0, Some.Combourg, [.. Enumerable.Range(0, Records).Select(record => CloudEvent.Create(
                new DeathRegistered(PartialDate.Parse("2026-11-02")), $"{batch}-{record}", new EventSource(CommuneCode.Parse(Some.Combourg), "test"), $"death/{record}", DateTimeOffset.UtcNow))]);
            Assert.Equal(HttpStatusCode.Accepted, posted.StatusCode);
            batch++;
        }

        return batch * Records;
    }

    // A reader that begins again whenever its hub is gone.
    private static async Task ReadAsync(int port, Seen seen, string token, CancellationToken cancellation)
    {
        var headers = new Metadata { { "authorization", $"Bearer {token}" } };
        while (!cancellation.IsCancellationRequested)
        {
            using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{port}");
            var client = new Subscriptions.SubscriptionsClient(channel);
            try
            {
                using var call = client.Consume(new() { Subscription = "durable", MaxUnacknowledged = 20 }, headers, cancellationToken: cancellation);
                while (await call.ResponseStream.MoveNext(cancellation))
                {
                    if (call.ResponseStream.Current.Delivery is not { } delivery) continue;
                    seen.Came(delivery);
                    // What a reader does with an event takes a moment: this is when a kill finds it held.
                    await Task.Delay(Random.Shared.Next(10), cancellation);
                    var answer = await client.AcknowledgeAsync(new() { Subscription = "durable", Deliveries = { delivery.Delivery_ } }, headers, cancellationToken: cancellation);
                    if (answer.Acknowledged == 1) seen.Done(delivery);
                }
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException)
            {
                // The hub was killed, or it is the end of the test.
                await Task.Delay(50, CancellationToken.None);
            }
        }
    }

    /// <summary>What the readers together saw.</summary>
    private sealed class Seen
    {
        private readonly Lock _lock = new();
        private readonly HashSet<string> _done = [];
        private readonly Dictionary<string, int> _lastOfRecord = [];

        /// <summary>The last attempt by which an event came.</summary>
        public Dictionary<string, int> Attempts { get; } = [];

        public ConcurrentQueue<string> Wrong { get; } = new();

        public int Again { get; private set; }

        /// <summary>How many events came.</summary>
        public int Count
        {
            get
            {
                lock (_lock) return Attempts.Count;
            }
        }

        public void Came(Delivery delivery)
        {
            lock (_lock)
            {
                var (id, before) = (delivery.Event.Id, Attempts.GetValueOrDefault(delivery.Event.Id));
                if (_done.Contains(id)) Wrong.Enqueue($"{id} came again after it was acknowledged");
                if (before > 0) Again++;
                if (delivery.Attempt <= before) Wrong.Enqueue($"{id} came again as attempt {delivery.Attempt} after {before}");
                Attempts[id] = Math.Max(before, delivery.Attempt);
                if (before > 0) return;
                // Of a record one is given when the one before it is done.
                var batch = int.Parse(id.Split('-')[0], System.Globalization.CultureInfo.InvariantCulture);
                if (batch != _lastOfRecord.GetValueOrDefault(delivery.Event.Subject, -1) + 1) Wrong.Enqueue($"{id} came out of the order of its record");
                _lastOfRecord[delivery.Event.Subject] = batch;
            }
        }

        public void Done(Delivery delivery)
        {
            lock (_lock)
            {
                if (!_done.Add(delivery.Event.Id)) Wrong.Enqueue($"{delivery.Event.Id} was acknowledged twice");
            }
        }
    }
}
