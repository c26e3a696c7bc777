using System.Net;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>Settings of webhooks; section <c>Webhooks</c>.</summary>
internal sealed record WebhookOptions
{
    /// <summary>Name under which the hub asks endpoints whether it may deliver to them (<c>WebHook-Request-Origin</c>): its public host name. Without it, the host of its own issuer's address.</summary>
    public string? Origin { get; init; }

    /// <summary>Networks (CIDR), with commas between, to which the hub may deliver though they are not public, and without TLS. Empty: to none.</summary>
    public string AllowedNetworks { get; init; } = "";

    /// <summary>PEM file of authorities whose certificates endpoints may have beside those that the machine trusts.</summary>
    public string? Ca { get; init; }

    /// <summary>How long a request may take.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Seconds after which a delivery that is under way is taken to have failed: later than any request with its tries.</summary>
    public int AckTimeout => (int)Math.Max(60, (3 * Timeout.TotalSeconds) + 30);

    /// <summary>How long an endpoint may take nothing until there is an alert.</summary>
    public TimeSpan AlertAfter { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long a secret still signs after it was replaced.</summary>
    public TimeSpan SecretOverlap { get; init; } = TimeSpan.FromDays(1);

    /// <summary>Longest time between two tries of an endpoint that takes nothing.</summary>
    public TimeSpan LongestWait { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>The networks.</summary>
    /// <exception cref="InvalidOperationException">One of them is none.</exception>
    public IReadOnlyList<IPNetwork> Networks() =>
    [
        .. AllowedNetworks.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(text => IPNetwork.TryParse(text, out var network)
            ? network : throw new InvalidOperationException($"Webhooks:AllowedNetworks: '{text}' is no network such as 10.1.2.0/24.")),
    ];
}
