using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Intercommunalite.Testing;

/// <summary>
/// Stands before the broker and, while it cuts, closes each connection on which the client calls a method that the test chooses; the broker does
/// not get it. Or it says nothing. A method is its frame's payload: class and method in two octets each, then the arguments (AMQP 0-9-1, 4.2.4).
/// </summary>
public sealed class CuttingRelay : IAsyncDisposable
{
    private const byte MethodFrame = 1;

    private readonly CancellationTokenSource _stop = new();
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Uri _broker;
    private readonly Predicate<byte[]> _cutAt;
    private readonly Task _accepting;
    private int _cuts;
    private int _kept;

    /// <summary>Listens, and cuts.</summary>
    /// <param name="broker">The broker's address, on this machine.</param>
    /// <param name="cutAt">The method at which it cuts.</param>
    public CuttingRelay(Uri broker, Predicate<byte[]> cutAt)
    {
        (_broker, _cutAt) = (broker, cutAt);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>The broker's address, by way of here.</summary>
    public Uri AmqpUri => new UriBuilder(_broker) { Port = ((IPEndPoint)_listener.LocalEndpoint).Port }.Uri;

    /// <summary>How many connections it has cut.</summary>
    public int Cuts => Volatile.Read(ref _cuts);

    /// <summary>Whether it cuts; else it only relays.</summary>
    public bool Cutting { get; set; } = true;

    /// <summary>Whether it takes connections without relaying or answering anything, for as long as they last: as a broker that is frozen.</summary>
    public bool Silent { get; set; }

    /// <summary>How many connections it has taken in silence.</summary>
    public int Kept => Volatile.Read(ref _kept);

    /// <summary>queue.declare (50, 10).</summary>
    public static bool DeclaresQueue(byte[] method) => method is [0, 50, 0, 10, ..];

    /// <summary>exchange.declare (40, 10) of an exchange whose name begins so; the name follows two reserved octets and its length.</summary>
    public static Predicate<byte[]> DeclaresExchange(string beginning) =>
        method => method is [0, 40, 0, 10, _, _, _, .. var name] && name.AsSpan().StartsWith(Encoding.UTF8.GetBytes(beginning));

    /// <inheritdoc/>
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
            if (Silent)
            {
                Interlocked.Increment(ref _kept);
                await client.GetStream().CopyToAsync(Stream.Null, _stop.Token);
                return;
            }

            await broker.ConnectAsync(IPAddress.Loopback, _broker.Port, _stop.Token);
            await await Task.WhenAny(SendAsync(client.GetStream(), broker.GetStream()), broker.GetStream().CopyToAsync(client.GetStream(), _stop.Token));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or SocketException)
        {
            // Closed by one of the two.
        }
    }

    // The protocol header, then frames of type (1 octet), channel (2), size (4), payload and an end octet.
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
            if (Cutting && begin[0] == MethodFrame && _cutAt(rest))
            {
                Interlocked.Increment(ref _cuts);
                return;
            }

            await broker.WriteAsync(begin, _stop.Token);
            await broker.WriteAsync(rest, _stop.Token);
        }
    }
}
