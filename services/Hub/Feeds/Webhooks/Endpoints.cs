using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>What an endpoint made of a request.</summary>
internal enum Verdict
{
    /// <summary>It took the event (2xx).</summary>
    Taken,

    /// <summary>It does not want this event, whenever it comes (4xx, those of the others apart).</summary>
    Refused,

    /// <summary>It takes nothing now, or has no answer: 401, 403, 404, 408, 429, 5xx, redirects, no connection, no answer in time.</summary>
    Away,

    /// <summary>It is gone for good (410).</summary>
    Gone,
}

/// <summary>An endpoint's answer.</summary>
/// <param name="Verdict">What it means.</param>
/// <param name="Why">As it is told: a status code, or why there is none. Never anything that the endpoint wrote.</param>
/// <param name="RetryAfter">After what time it wants to be asked again, if it said so.</param>
/// <param name="IsQuick">Whether it is worth while to try again at once.</param>
internal sealed record Answer(Verdict Verdict, string Why, TimeSpan? RetryAfter = null, bool IsQuick = false);

/// <summary>
/// The connections to the endpoints of webhooks, of all of them. No redirect is followed, no proxy used, no cookie kept; of what an endpoint
/// answers only the status and some headers are read.
/// </summary>
internal sealed class Endpoints : IDisposable
{
    private const int MostDrained = 64 * 1024;

    private readonly HttpClient _http;
    private readonly TimeProvider _time;

    public Endpoints(Addresses addresses, WebhookOptions options, TimeProvider time)
    {
        _time = time;
        _http = new(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            ConnectCallback = addresses.ConnectAsync,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
            MaxResponseHeadersLength = 16,
            MaxResponseDrainSize = MostDrained,
            ResponseDrainTimeout = TimeSpan.FromSeconds(1),
            SslOptions = { CertificateChainPolicy = Trusting(options.Ca) },
            ActivityHeadersPropagator = DistributedContextPropagator.CreateNoOutputPropagator(),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>Delivers an event.</summary>
    /// <param name="webhook">Where to.</param>
    /// <param name="secrets">Secrets that sign.</param>
    /// <param name="id">Value of <c>webhook-id</c>.</param>
    /// <param name="body">The event.</param>
    /// <param name="cancellation">Gives up.</param>
    public Task<Answer> PostAsync(Webhook webhook, IEnumerable<byte[]> secrets, string id, byte[] body, CancellationToken cancellation)
    {
        var timestamp = _time.GetUtcNow().ToUnixTimeSeconds();
        var content = new ByteArrayContent(body) { Headers = { ContentType = new(EventJson.MediaType, "utf-8") } };
        var request = new HttpRequestMessage(HttpMethod.Post, webhook.Url) { Content = content };
        request.Headers.Add("webhook-id", id);
        request.Headers.Add("webhook-timestamp", timestamp.ToString(CultureInfo.InvariantCulture));
        request.Headers.Add("webhook-signature", WebhookSignature.Of(secrets, id, timestamp, body));
        return SendAsync(request, Answer, cancellation);
    }

    /// <summary>
    /// Asks an endpoint whether the hub may deliver to it (CloudEvents, HTTP 1.1 Web Hooks for Event Delivery, 4).
    /// </summary>
    /// <param name="url">The endpoint.</param>
    /// <param name="origin">The hub's name.</param>
    /// <param name="timeout">How long it may take.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>Whether it may: taken; refused, and why; or away, and why it could not be asked. And how many requests a minute it may make, null for as many as are taken.</returns>
    public async Task<(Answer Answer, int? Rate)> AskAsync(Uri url, string origin, TimeSpan timeout, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(timeout);
        int? rate = null;
        var request = new HttpRequestMessage(HttpMethod.Options, url);
        request.Headers.Add("WebHook-Request-Origin", origin);
        try
        {
            var answer = await SendAsync(request, response =>
            {
                if (!response.IsSuccessStatusCode) return new(Verdict.Refused, $"it answered OPTIONS with HTTP {(int)response.StatusCode}");
                if (!Values(response, "WebHook-Allowed-Origin").Any(allowed => allowed == "*" || allowed.Equals(origin, StringComparison.OrdinalIgnoreCase)))
                    return new(Verdict.Refused, $"its answer to OPTIONS has no WebHook-Allowed-Origin of {origin} or *");
                if (Values(response, "WebHook-Allowed-Rate").FirstOrDefault() is { } text && text != "*")
                {
                    if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var most) || most < 1) return new(Verdict.Refused, "its WebHook-Allowed-Rate is neither a number of requests a minute nor *");
                    rate = most;
                }

                return new(Verdict.Taken, "");
            }, limit.Token);
            return (answer, rate);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return (new(Verdict.Away, $"no answer to OPTIONS within {timeout.TotalSeconds:0.#} s"), null);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    // The authorities of the machine, and one more.
    private static X509ChainPolicy? Trusting(string? file)
    {
        if (file is not { Length: > 0 }) return null;
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(file);
        using var machine = new X509Store(StoreName.Root, StoreLocation.LocalMachine);
        machine.Open(OpenFlags.ReadOnly);
        policy.CustomTrustStore.AddRange(machine.Certificates);
        return policy;
    }

    // What cannot be reached is an answer too.
    private async Task<Answer> SendAsync(HttpRequestMessage request, Func<HttpResponseMessage, Answer> read, CancellationToken cancellation)
    {
        using (request)
        {
            request.Headers.UserAgent.Add(new ProductInfoHeaderValue("Intercommunalite.Hub", null));
            try
            {
                using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
                return read(response);
            }
            catch (HttpRequestException e) when (e.InnerException is ForbiddenAddressException forbidden)
            {
                return new(Verdict.Away, forbidden.Message);
            }
            catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
            {
                // Nobody answers where it would connect to.
                return new(Verdict.Away, "no connection in time");
            }
            catch (HttpRequestException e)
            {
                // The kind of error alone: a message may repeat what the endpoint wrote.
                return new(Verdict.Away, $"no connection ({e.HttpRequestError})", IsQuick: true);
            }
        }
    }

    private Answer Answer(HttpResponseMessage response)
    {
        var (status, why) = (response.StatusCode, $"HTTP {(int)response.StatusCode}");
        return status switch
        {
            _ when response.IsSuccessStatusCode => new(Verdict.Taken, why),
            HttpStatusCode.Gone => new(Verdict.Gone, why),
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.NotFound => new(Verdict.Away, why),
            HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable => new(Verdict.Away, why, RetryAfter(response), IsQuick: response.Headers.RetryAfter is null && status == HttpStatusCode.ServiceUnavailable),
            HttpStatusCode.RequestTimeout or HttpStatusCode.BadGateway or HttpStatusCode.GatewayTimeout => new(Verdict.Away, why, IsQuick: true),
            >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError => new(Verdict.Refused, why),
            _ => new(Verdict.Away, why),
        };
    }

    private TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - _time.GetUtcNow() is var left && left > TimeSpan.Zero ? left : TimeSpan.Zero,
        _ => null,
    };

    private static IEnumerable<string> Values(HttpResponseMessage response, string header) =>
        response.Headers.TryGetValues(header, out var values) ? values.SelectMany(value => value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)) : [];
}
