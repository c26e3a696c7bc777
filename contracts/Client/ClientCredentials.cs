using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts.Client;

/// <summary>
/// Tokens for a client's id and secret (OAuth 2.0, client credentials), from the hub or from another issuer. Each is used until shortly
/// before it runs out. Nothing leaves the machine without TLS.
/// </summary>
/// <param name="issuer">The hub's address, or the issuer's: where <c>/.well-known/openid-configuration</c> names the token endpoint.</param>
/// <param name="id">The client.</param>
/// <param name="secret">Its secret.</param>
/// <param name="handler">Makes what sends: for an authority or a client certificate of your own. Null for the usual.</param>
public sealed class ClientCredentials(Uri issuer, string id, string secret, Func<HttpMessageHandler>? handler = null)
{
    // A token is asked for anew somewhat before it runs out.
    private static readonly TimeSpan s_margin = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_longestCall = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private Task<(string Token, DateTimeOffset Until)>? _issued;

    /// <summary>A token; asked for once for all calls that wait for it.</summary>
    /// <param name="refused">A token that the hub did not take: it is not given again. Null for none.</param>
    /// <param name="cancellation">Gives up waiting.</param>
    /// <exception cref="HubRefusedException">The issuer gives none: it does not know the client or its secret, or is no issuer.</exception>
    /// <exception cref="HttpRequestException">The issuer is away, or busy.</exception>
    public async ValueTask<string> TokenAsync(string? refused, CancellationToken cancellation)
    {
        Task<(string Token, DateTimeOffset Until)> issued;
        lock (_gate)
        {
            if (_issued is null or { IsFaulted: true } || (_issued.IsCompletedSuccessfully && (DateTimeOffset.UtcNow >= _issued.Result.Until || _issued.Result.Token == refused)))
                _issued = AskAsync();
            issued = _issued;
        }

        return (await issued.WaitAsync(cancellation)).Token;
    }

    /// <summary>Makes sure that a call with a token, or with a secret, can be read by nobody on its way.</summary>
    /// <exception cref="HubRefusedException">The address is on another machine and has no TLS.</exception>
    public static void RequireTls(Uri address)
    {
        ArgumentNullException.ThrowIfNull(address);
        if (address.Scheme != Uri.UriSchemeHttps && !address.IsLoopback)
            throw new HubRefusedException($"{address.GetLeftPart(UriPartial.Authority)} is called without TLS: tokens and secrets would travel readable. Use its https address.");
    }

    private async Task<(string Token, DateTimeOffset Until)> AskAsync()
    {
        RequireTls(issuer);
        using var http = new HttpClient(handler?.Invoke() ?? new SocketsHttpHandler()) { Timeout = s_longestCall };
        try
        {
            using var found = await http.GetAsync(new Uri(issuer.AbsoluteUri.TrimEnd('/') + "/.well-known/openid-configuration"));
            if (IsAway(found.StatusCode)) throw new HttpRequestException($"{issuer} answered {(int)found.StatusCode}.");
            if (!found.IsSuccessStatusCode || (await found.Content.ReadFromJsonAsync<Discovery>())?.TokenEndpoint is not { } endpoint)
                throw new HubRefusedException($"{issuer} is no issuer of tokens: it has no discovery document that names a token endpoint. Check the address.");
            RequireTls(endpoint);
            using var request = new HttpRequestMessage(HttpMethod.Post, endpoint) { Content = new FormUrlEncodedContent([new("grant_type", "client_credentials")]) };
            // RFC 6749, 2.3.1: both are encoded before they are joined.
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{Uri.EscapeDataString(id)}:{Uri.EscapeDataString(secret)}")));
            var asked = DateTimeOffset.UtcNow;
            using var response = await http.SendAsync(request);
            if (IsAway(response.StatusCode)) throw new HttpRequestException($"{endpoint} answered {(int)response.StatusCode}.");
            if (!response.IsSuccessStatusCode)
            {
                var error = response.Content.Headers.ContentType?.MediaType == "application/json" ? await response.Content.ReadFromJsonAsync<Refusal>() : null;
                throw new HubRefusedException($"{issuer} gives client '{id}' no token: {(int)response.StatusCode} {(error?.Description ?? error?.Error)?.TrimEnd('.')}. Check the client's id and secret, and that it is not suspended.");
            }

            var answer = await response.Content.ReadFromJsonAsync<Issued>();
            return answer?.AccessToken is { } token
                ? (token, asked + TimeSpan.FromSeconds(answer.ExpiresIn ?? 300) - s_margin)
                : throw new HubRefusedException($"{endpoint} answered something else than a token. Check the address.");
        }
        catch (JsonException e)
        {
            throw new HubRefusedException($"{issuer} is no issuer of tokens: it answered something else than JSON. Check the address.", e);
        }
        catch (TaskCanceledException e)
        {
            throw new HttpRequestException($"{issuer} did not answer within {s_longestCall.TotalSeconds:F0} s.", e);
        }
    }

    private static bool IsAway(HttpStatusCode status) => status is HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout or >= HttpStatusCode.InternalServerError;

    private sealed record Discovery([property: JsonPropertyName("token_endpoint")] Uri? TokenEndpoint);

    private sealed record Issued([property: JsonPropertyName("access_token")] string? AccessToken, [property: JsonPropertyName("expires_in")] long? ExpiresIn);

    private sealed record Refusal([property: JsonPropertyName("error")] string? Error, [property: JsonPropertyName("error_description")] string? Description);
}
