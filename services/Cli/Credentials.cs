using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Serialization;

namespace Intercommunalite.Cli;

/// <summary>
/// With what the services are called: a token (<c>INTERCO_TOKEN</c>), or a client's id and secret (<c>INTERCO_CLIENT_ID</c>, and
/// <c>INTERCO_CLIENT_SECRET</c> or <c>INTERCO_CLIENT_SECRET_FILE</c>), for which the issuer gives tokens (OAuth 2.0, client
/// credentials). From the environment alone: everyone on the machine can read a command line. Nothing of it leaves the machine without TLS.
/// </summary>
internal sealed class Credentials(Func<string, string?> environment, Uri issuer)
{
    // A token is asked for anew somewhat before it runs out.
    private static readonly TimeSpan s_margin = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_longestCall = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private Task<(string Token, DateTimeOffset Until)>? _issued;

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
        var given = environment("INTERCO_TOKEN");
        if (given is null && environment("INTERCO_CLIENT_ID") is null) return null;
        Refuse(server);
        if (given is not null) return new("Bearer", given);
        Task<(string Token, DateTimeOffset Until)> issued;
        lock (_gate)
        {
            // Asked for once for all calls that wait for it.
            if (_issued is null or { IsFaulted: true } || (_issued.IsCompletedSuccessfully && DateTimeOffset.UtcNow >= _issued.Result.Until)) _issued = AskAsync();
            issued = _issued;
        }

        return new("Bearer", (await issued.WaitAsync(cancellation)).Token);
    }

    private async Task<(string Token, DateTimeOffset Until)> AskAsync()
    {
        var id = environment("INTERCO_CLIENT_ID")!;
        var secret = environment("INTERCO_CLIENT_SECRET")
            ?? (environment("INTERCO_CLIENT_SECRET_FILE") is { } file ? (await File.ReadAllTextAsync(file)).Trim() : null)
            ?? throw new Failure("INTERCO_CLIENT_ID is given, but neither INTERCO_CLIENT_SECRET nor INTERCO_CLIENT_SECRET_FILE.");
        Refuse(issuer);
        using var http = new HttpClient { Timeout = s_longestCall };
        try
        {
            var discovery = await http.GetFromJsonAsync<Discovery>(Web.At(issuer, "/.well-known/openid-configuration"));
            if (discovery?.TokenEndpoint is not { } endpoint) throw new Failure($"{issuer} is no issuer of tokens: its discovery document names no token endpoint.");
            Refuse(endpoint);
            using var request = new HttpRequestMessage(HttpMethod.Post, endpoint) { Content = new FormUrlEncodedContent([new("grant_type", "client_credentials")]) };
            // RFC 6749, 2.3.1: both are encoded before they are joined.
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{Uri.EscapeDataString(id)}:{Uri.EscapeDataString(secret)}")));
            using var response = await http.SendAsync(request);
            if (!response.IsSuccessStatusCode)
            {
                var error = response.Content.Headers.ContentType?.MediaType == "application/json" ? await response.Content.ReadFromJsonAsync<Refusal>() : null;
                throw new Failure($"{issuer} gives client '{id}' no token: {(int)response.StatusCode} {error?.Description ?? error?.Error}. Check INTERCO_CLIENT_ID and its secret.");
            }

            var asked = DateTimeOffset.UtcNow;
            var answer = await response.Content.ReadFromJsonAsync<Issued>();
            return answer?.AccessToken is { } token
                ? (token, asked + TimeSpan.FromSeconds(answer.ExpiresIn ?? 300) - s_margin)
                : throw new Failure($"{issuer} answered something else than a token. Is it the right address?");
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            throw new Failure($"No token from {issuer.GetLeftPart(UriPartial.Authority)}: {e.Message} Check the address (--hub, or INTERCO_ISSUER), and that it runs.", e);
        }
    }

    private static void Refuse(Uri address)
    {
        if (address.Scheme != Uri.UriSchemeHttps && !address.IsLoopback)
            throw new Failure($"{address.GetLeftPart(UriPartial.Authority)} is called without TLS: tokens and secrets would travel readable. Use its https address.");
    }

    private sealed record Discovery([property: JsonPropertyName("token_endpoint")] Uri? TokenEndpoint);

    private sealed record Issued([property: JsonPropertyName("access_token")] string? AccessToken, [property: JsonPropertyName("expires_in")] long? ExpiresIn);

    private sealed record Refusal([property: JsonPropertyName("error")] string? Error, [property: JsonPropertyName("error_description")] string? Description);
}
