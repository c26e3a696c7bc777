using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Intercommunalite.Testing;
using RabbitMQ.Client;

namespace Intercommunalite.Connector.Tests.Forwarding;

/// <summary>The broker goes away while a connector begins to listen.</summary>
public sealed class CutOffStartTests
{
    [Fact]
    public async Task Given_a_broker_that_goes_away_while_the_connector_begins_to_listen_When_it_stays_Then_the_connector_listens_within_three_seconds()
    {
        using var data = new TemporaryFolder();
        await using var virtualHost = await TestVirtualHost.CreateAsync();
        await using var relay = new CuttingRelay(virtualHost.AmqpUri.Port);
        await using var connector = ConnectorApp.Start(data.FullPath, "35085", settings: new Dictionary<string, string>
        {
            ["ConnectionStrings:Bus"] = new UriBuilder(virtualHost.AmqpUri) { Port = relay.Port }.Uri.ToString(),
        });
        await Eventually.Is(() => relay.Cuts, cuts => cuts >= 4, TimeSpan.FromMinutes(1));
        relay.Cutting = false;

        await using var broker = await new ConnectionFactory { Uri = virtualHost.AmqpUri }.CreateConnectionAsync();
        await using var channel = await broker.CreateChannelAsync();
        await channel.QueueDeclareAsync("commune-35085", durable: true, exclusive: false, autoDelete: false, new Dictionary<string, object?>
        {
            ["x-queue-type"] = "quorum",
            ["x-delivery-limit"] = 20,
        });
        await Eventually.Is(async () => await channel.ConsumerCountAsync("commune-35085"), consumers => consumers == 1, TimeSpan.FromSeconds(3));
    }

    /// <summary>Stands before the broker and, while it cuts, closes each connection on which a queue is to be declared.</summary>
    private sealed class CuttingRelay : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly int _broker;
        private readonly Task _accepting;
        private int _cuts;

        public CuttingRelay(int broker)
        {
            _broker = broker;
            _listener.Start();
            _accepting = AcceptAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public int Cuts => Volatile.Read(ref _cuts);

        public bool Cutting { get; set; } = true;

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Stop();
            await _accepting;
            _stop.Dispose();
        }

        private async Task AcceptAsync()
        {
            try
            {
                while (true) _ = RelayAsync(await _listener.AcceptTcpClientAsync(_stop.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                // Stopped.
            }
        }

        private async Task RelayAsync(TcpClient client)
        {
            using var _ = client;
            using var broker = new TcpClient();
            try
            {
                await broker.ConnectAsync(IPAddress.Loopback, _broker, _stop.Token);
                await await Task.WhenAny(SendAsync(client.GetStream(), broker.GetStream()), broker.GetStream().CopyToAsync(client.GetStream(), _stop.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or SocketException)
            {
                // Closed by one of the two.
            }
        }

        // AMQP 0-9-1: the protocol header, then frames of type (1), channel (2), size (4), payload and an end octet; a method's payload
        // begins with class and method, queue.declare is 50 and 10.
        private async Task SendAsync(NetworkStream client, NetworkStream broker)
        {
            var header = new byte[8];
            await client.ReadExactlyAsync(header, _stop.Token);
            await broker.WriteAsync(header, _stop.Token);
            while (true)
            {
                var begin = new byte[7];
                await client.ReadExactlyAsync(begin, _stop.Token);
                var rest = new byte[BinaryPrimitives.ReadInt32BigEndian(begin.AsSpan(3)) + 1];
                await client.ReadExactlyAsync(rest, _stop.Token);
                if (Cutting && begin[0] == 1 && rest is [0, 50, 0, 10, ..])
                {
                    Interlocked.Increment(ref _cuts);
                    return;
                }

                await broker.WriteAsync(begin, _stop.Token);
                await broker.WriteAsync(rest, _stop.Token);
            }
        }
    }
}
