using System.Net.Http.Headers;
using Intercommunalite.Contracts.Client;

namespace Intercommunalite.Cli;

/// <summary>
/// With what the services are called: a token (<c>INTERCO_TOKEN</c>), or a client's id and secret (<c>INTERCO_CLIENT_ID</c>, and
/// <c>INTERCO_CLIENT_SECRET</c> or <c>INTERCO_CLIENT_SECRET_FILE</c>), for which the issuer gives tokens (OAuth 2.0, client
/// credentials). From the environment alone: everyone on the machine can read a command line. Nothing of it leaves the machine without TLS.
/// </summary>
internal sealed class Credentials(Func<string, string?> environment, Uri issuer)
{
    private readonly Lock _gate = new();
    private ClientCredentials? _client;

    /// <summary>Those of the process's environment.</summary>
    /// <param name="hub">The hub, which is the issuer unless <c>INTERCO_ISSUER</c> names another.</param>
    public static Credentials OfEnvironment(Uri hub)
    {
        Func<string, string?> environment = name => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
        return new(environment, environment("INTERCO_ISSUER") is { } other ? new Uri(other) : hub);
    }

    /// <summary>The header for a call to a service; null when no credentials are given.</summary>
    /// <exception cref="Failure">They are not as they should be, or would leave the machine without TLS.</exception>
    public async ValueTask<AuthenticationHeaderValue?> HeaderAsync(Uri server, CancellationToken cancellation)
    {
        try
        {
            var token = await TokenAsync(null, cancellation);
            if (token.Length == 0) return null;
            ClientCredentials.RequireTls(server);
            return new("Bearer", token);
        }
        catch (HubRefusedException e)
        {
            throw new Failure(e.Message, e);
        }
        catch (HttpRequestException e)
        {
            throw new Failure($"No token from {issuer.GetLeftPart(UriPartial.Authority)}: {e.Message} Check the address (--hub, or INTERCO_ISSUER), and that it runs.", e);
        }
    }

    /// <summary>A token for the feed, as <see cref="FeedClient"/> asks for one; empty when no credentials are given.</summary>
    public async ValueTask<string> TokenAsync(string? refused, CancellationToken cancellation) =>
        environment("INTERCO_TOKEN") ?? (Client() is { } client ? await client.TokenAsync(refused, cancellation) : "");

    private ClientCredentials? Client()
    {
        if (environment("INTERCO_CLIENT_ID") is not { } id) return null;
        lock (_gate)
        {
            return _client ??= new(
                issuer, id,
                environment("INTERCO_CLIENT_SECRET")
                    ?? (environment("INTERCO_CLIENT_SECRET_FILE") is { } file ? File.ReadAllText(file).Trim() : null)
                    ?? throw new Failure("INTERCO_CLIENT_ID is given, but neither INTERCO_CLIENT_SECRET nor INTERCO_CLIENT_SECRET_FILE."));
        }
    }
}
