using System.Net.Sockets;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;

namespace Intercommunalite.ServiceDefaults;

/// <summary>
/// Cuts the connection to the broker when the process wakes up after having been frozen for longer than the broker waits (a paused
/// virtual machine, SIGSTOP). The broker has then handed the process's queues to others, but may keep the socket open, and even
/// send heartbeats on it, for half a minute more, during which nothing would arrive. Once cut, MassTransit connects anew.
/// </summary>
internal sealed partial class BrokerSockets(TimeProvider clock, ILogger<BrokerSockets> logger) : BackgroundService
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private const int KeepAliveSeconds = 8;

    private readonly Lock _gate = new();
    private readonly List<Socket> _open = [];

    /// <summary>Has a factory open its connections here.</summary>
    public void Watch(ConnectionFactory factory) => factory.SocketFactory = family =>
    {
        var socket = new Socket(family, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        // Before the broker has answered there are no heartbeats: a machine that is gone by then would be waited for without end.
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, KeepAliveSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, KeepAliveSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 2);
        lock (_gate)
        {
            _open.RemoveAll(known => known.SafeHandle.IsClosed);
            _open.Add(socket);
        }

        return new TcpClientAdapter(socket);
    };

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            for (var before = clock.GetTimestamp(); ; before = clock.GetTimestamp())
            {
                await Task.Delay(s_interval, clock, stoppingToken);
                if (clock.GetElapsedTime(before) is var asleep && asleep > MessageBus.Heartbeat) Cut(asleep);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private void Cut(TimeSpan asleep)
    {
        LogAsleep(asleep.TotalSeconds);
        lock (_gate)
        {
            foreach (var socket in _open) socket.Dispose();
            _open.Clear();
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The process did not run for {Seconds:0} s; it connects to the broker anew.")]
    private partial void LogAsleep(double seconds);
}
