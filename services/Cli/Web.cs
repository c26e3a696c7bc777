using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Polly;
using Polly.Retry;

namespace Intercommunalite.Cli;

/// <summary>
/// Calls the hub and the connectors. What goes wrong becomes a <see cref="Failure"/> that names the address. With patience,
/// a server that is away, busy or starting again (no connection, 429, 502, 503, 504) is asked again for a minute or two,
/// or when it says that it wants to be (Retry-After).
/// </summary>
internal sealed class Web : IDisposable
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);
    private static readonly TimeSpan s_longestCall = TimeSpan.FromSeconds(60);

    private readonly HttpClient _http = new(new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(10) })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    private readonly ResiliencePipeline<HttpResponseMessage> _pipeline;

    private Web(ResiliencePipeline<HttpResponseMessage> pipeline) => _pipeline = pipeline;

    /// <summary>Every call is tried once.</summary>
    public static Web Impatient() => new(ResiliencePipeline<HttpResponseMessage>.Empty);

    /// <summary>Calls are tried again, and it is said when one is.</summary>
    public static Web Patient(Terminal terminal, TimeProvider time) => new(
        new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = time }.AddRetry(new RetryStrategyOptions<HttpResponseMessage>
        {
            MaxRetryAttempts = 10,
            Delay = TimeSpan.FromMilliseconds(500),
            MaxDelay = TimeSpan.FromSeconds(20),
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            ShouldHandle = new PredicateBuilder<HttpResponseMessage>().Handle<HttpRequestException>().HandleResult(IsAway),
            DelayGenerator = asked => ValueTask.FromResult(RetryAfter(asked.Outcome.Result, time)),
            OnRetry = retry =>
            {
                // Once a call: a fleet of connectors that starts again would else fill the screen.
                if (retry.AttemptNumber == 0) terminal.Say($"{Why(retry.Outcome)}; trying again.");
                retry.Outcome.Result?.Dispose();
                return default;
            },
        }).Build());

    /// <summary>The answer to a GET, read as JSON.</summary>
    public Task<T> GetAsync<T>(Uri server, string path, CancellationToken cancellation) =>
        SendAsync<T>(() => new HttpRequestMessage(HttpMethod.Get, At(server, path)), s_longestCall, cancellation);

    /// <summary>The answer to a POST, read as JSON. <paramref name="content"/> is asked for anew for every try.</summary>
    public Task<T> PostAsync<T>(Uri server, string path, Func<HttpContent?> content, CancellationToken cancellation) =>
        SendAsync<T>(() => new HttpRequestMessage(HttpMethod.Post, At(server, path)) { Content = content() }, s_longestCall, cancellation);

    /// <summary>
    /// As <see cref="PostAsync"/>, for a body that may take as long as it takes. It is sent once the server has not refused it by
    /// its size or for want of room: in the middle of a body the answer would be lost.
    /// </summary>
    public Task<T> UploadAsync<T>(Uri server, string path, Func<HttpContent> content, CancellationToken cancellation) => SendAsync<T>(
        () => new HttpRequestMessage(HttpMethod.Post, At(server, path)) { Content = content(), Headers = { ExpectContinue = true } },
        Timeout.InfiniteTimeSpan,
        cancellation);

    /// <summary>Saves the answer to a GET.</summary>
    public async Task SaveAsync(Uri server, string path, string file, CancellationToken cancellation)
    {
        using var response = await AnswerAsync(() => new HttpRequestMessage(HttpMethod.Get, At(server, path)), s_longestCall, cancellation);
        await using var saved = File.Create(file);
        await response.Content.CopyToAsync(saved, cancellation);
    }

    public static Uri At(Uri server, string path) => new(server.AbsoluteUri.TrimEnd('/') + path);

    public void Dispose() => _http.Dispose();

    private async Task<T> SendAsync<T>(Func<HttpRequestMessage> request, TimeSpan longest, CancellationToken cancellation)
    {
        using var response = await AnswerAsync(request, longest, cancellation);
        try
        {
            return await response.Content.ReadFromJsonAsync<T>(s_json, cancellation) ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw new Failure($"{response.RequestMessage!.RequestUri} answered something else than expected. Is it the right address?", e);
        }
    }

    private async Task<HttpResponseMessage> AnswerAsync(Func<HttpRequestMessage> request, TimeSpan longest, CancellationToken cancellation)
    {
        HttpResponseMessage response;
        Uri? address = null;
        try
        {
            response = await _pipeline.ExecuteAsync(async token =>
            {
                using var message = request();
                address = message.RequestUri;
                return await WithinAsync(longest, limited => _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, limited), token);
            }, cancellation);
        }
        catch (HttpRequestException e)
        {
            var server = address!.GetLeftPart(UriPartial.Authority);
            throw new Failure($"No answer from {server}: {Root(e).Message}. Check the address, and that the server runs.", e);
        }

        if (response.IsSuccessStatusCode) return response;
        using (response) throw new Failure(await Problem.ReadAsync(response, cancellation));
    }

    private static async Task<T> WithinAsync<T>(TimeSpan longest, Func<CancellationToken, Task<T>> call, CancellationToken cancellation)
    {
        using var limited = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limited.CancelAfter(longest);
        try
        {
            return await call(limited.Token);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            throw new HttpRequestException($"nothing within {longest.TotalSeconds:F0} s");
        }
    }

    private static bool IsAway(HttpResponseMessage response) => response.StatusCode is HttpStatusCode.TooManyRequests
        or HttpStatusCode.BadGateway or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout;

    private static TimeSpan? RetryAfter(HttpResponseMessage? response, TimeProvider time) => response?.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date > time.GetUtcNow() ? date - time.GetUtcNow() : TimeSpan.Zero,
        _ => null,
    };

    private static string Why(Outcome<HttpResponseMessage> outcome) => outcome.Result is { } response
        ? $"{response.RequestMessage!.RequestUri!.GetLeftPart(UriPartial.Authority)} answered {(int)response.StatusCode}"
        : Root(outcome.Exception!).Message;

    private static Exception Root(Exception e) => e.InnerException is { } inner ? Root(inner) : e;
}
