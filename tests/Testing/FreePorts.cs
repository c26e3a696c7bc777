using System.Net;
using System.Net.Sockets;

namespace Intercommunalite.Testing;

/// <summary>
/// Finds TCP ports for the processes that a test starts.
/// </summary>
public static class FreePorts
{
    private static int next = Random.Shared.Next(10000, 19000);

    /// <summary>
    /// A loopback port that nobody listens on. Not one from the range that the kernel gives to outgoing connections, so that
    /// it stays free while the process it is meant for is down; no port is given twice within the test run.
    /// </summary>
    public static int Take()
    {
        for (var attempt = 0; attempt < 1000; attempt++)
        {
            var port = 10000 + (Interlocked.Increment(ref next) % 10000);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Taken by another program.
            }
        }

        throw new InvalidOperationException("No free TCP port between 10000 and 19999.");
    }
}
