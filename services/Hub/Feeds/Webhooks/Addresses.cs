using System.Net;
using System.Net.Sockets;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>An endpoint's address is one to which the hub does not connect.</summary>
internal sealed class ForbiddenAddressException(string message) : Exception(message);

/// <summary>
/// Addresses to which the hub connects for those who name them: public ones, and those of the networks that the operator allows. So
/// nobody uses the hub to reach what it alone can reach. Source of the lists: the IANA special-purpose address registries (RFC 6890).
/// </summary>
internal sealed class Addresses(WebhookOptions options)
{
    private static readonly IPNetwork[] s_special =
    [
        .. new[]
        {
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24",
            "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
            // IETF protocol assignments with Teredo and ORCHID; documentation; 6to4; AS112; documentation.
            "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
        }.Select(text => IPNetwork.Parse(text)),
    ];

    // Of IPv6 nothing else is given out as public: loopback, mapped and translated IPv4 (NAT64), unique-local, link-local and multicast are outside.
    private static readonly IPNetwork s_global = IPNetwork.Parse("2000::/3");

    // A name may have many, of others perhaps, at whose doors no event is to knock.
    private const int MostAddresses = 8;

    private static readonly TimeSpan s_headStart = TimeSpan.FromMilliseconds(300);

    private readonly IReadOnlyList<IPNetwork> _allowed = options.Networks();

    /// <summary>Whether any network is allowed, and with it delivery without TLS.</summary>
    public bool AnyAllowed => _allowed.Count > 0;

    /// <summary>Whether the operator allows the address though it is not public.</summary>
    public bool IsAllowed(IPAddress address) => _allowed.Any(network => network.Contains(address));

    /// <summary>Whether anybody may name it.</summary>
    public static bool IsPublic(IPAddress address) =>
        (address.AddressFamily == AddressFamily.InterNetwork || (!address.IsIPv4MappedToIPv6 && s_global.Contains(address)))
        && !s_special.Any(network => network.Contains(address));

    /// <summary>Connects to a host at an address that is right, whatever else its name means.</summary>
    /// <exception cref="ForbiddenAddressException">It has none.</exception>
    public async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellation)
    {
        var host = context.DnsEndPoint.Host;
        var needsAllowed = context.InitialRequestMessage.RequestUri?.Scheme != Uri.UriSchemeHttps;
        var found = IPAddress.TryParse(host, out var literal) ? [literal] : await Dns.GetHostAddressesAsync(host, cancellation);
        var right = found.Where(address => IsAllowed(address) || (!needsAllowed && IsPublic(address))).ToList();
        if (right.Count == 0)
        {
            throw new ForbiddenAddressException(
                needsAllowed && found.Any(IsPublic) ? "without TLS the hub delivers only to networks of Webhooks__AllowedNetworks" : "the host's address is not public, and of no network of Webhooks__AllowedNetworks");
        }

        return await ConnectAsync(right, context.DnsEndPoint.Port, cancellation);
    }

    /// <summary>
    /// Connects to the first of the addresses, of eight at most, that answers: each is tried a moment after the one before it, or as soon as that has failed,
    /// so that one at which nobody answers does not use up the time of the others (RFC 8305).
    /// </summary>
    /// <exception cref="SocketException">None could be connected to: what was wrong with the last.</exception>
    public static async Task<Stream> ConnectAsync(IReadOnlyList<IPAddress> addresses, int port, CancellationToken cancellation)
    {
        using var others = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var (left, tries) = (new Queue<IPAddress>(addresses.Take(MostAddresses)), new List<Task<Stream>>());
        try
        {
            while (true)
            {
                if (left.TryDequeue(out var address)) tries.Add(OpenAsync(address, port, others.Token));
                var done = await Task.WhenAny(left.Count > 0 ? [.. tries, Task.Delay(s_headStart, cancellation)] : tries);
                cancellation.ThrowIfCancellationRequested();
                if (done is not Task<Stream> tried) continue;
                tries.Remove(tried);
                if (tried.IsCompletedSuccessfully || (left.Count == 0 && tries.Count == 0)) return await tried;
                // The others may still answer; what was wrong with this one is told to nobody.
                _ = tried.Exception;
            }
        }
        finally
        {
            await others.CancelAsync();
            foreach (var late in tries) _ = late.ContinueWith(ended => ended.IsCompletedSuccessfully ? ended.Result.DisposeAsync().AsTask() : Task.FromResult(ended.Exception), TaskScheduler.Default);
        }
    }

    /// <summary>What is wrong with an endpoint's URL as it is written; null when nothing is.</summary>
    public string? Check(string url, out Uri endpoint)
    {
        if (url.Length > 2000 || !Uri.TryCreate(url, UriKind.Absolute, out endpoint!) || endpoint.Scheme is not ("https" or "http") || endpoint.Host.Length == 0)
        {
            endpoint = null!;
            return "an address such as https://partner.example/events expected";
        }

        return endpoint.UserInfo.Length > 0 || endpoint.Fragment.Length > 0 ? "an address without user and fragment expected"
            : endpoint.Scheme == "http" && !AnyAllowed ? "https expected"
            : null;
    }

    private static async Task<Stream> OpenAsync(IPAddress address, int port, CancellationToken cancellation)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address, port, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
