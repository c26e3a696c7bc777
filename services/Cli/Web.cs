using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Polly;
using Polly.Retry;

namespace Intercommunalite.Cli;

/// <summary>
/// Calls the hub and the connectors. What goes wrong becomes a <see cref="Failure"/> that names the address. With patience,
/// a server that is away, busy or starting again (no connection, 429, 502, 503, 504) is asked again for a minute or two,
/// or when it says that it wants to be (Retry-After). Not what it says it is building: whoever asked for that follows it.
/// </summary>
internal sealed class Web : IDisposable
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web);
    private static readonly TimeSpan s_longestCall = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromSeconds(5);

    private readonly HttpClient _http = new(new SocketsHttpHandler { ConnectTimeout = TimeSpan.FromSeconds(10) })
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    private readonly ResiliencePipeline<HttpResponseMessage> _pipeline;

    private readonly Credentials _credentials;

    private Web(Credentials credentials, ResiliencePipeline<HttpResponseMessage> pipeline) => (_credentials, _pipeline) = (credentials, pipeline);

    /// <summary>Every call is tried once.</summary>
    public static Web Impatient(Credentials credentials) => new(credentials, ResiliencePipeline<HttpResponseMessage>.Empty);

    /// <summary>Calls are tried again, and it is said when one is.</summary>
    public static Web Patient(Credentials credentials, Terminal terminal, TimeProvider time) => new(
        credentials,
        new ResiliencePipelineBuilder<HttpResponseMessage> { TimeProvider = time }.AddRetry(new RetryStrategyOptions<HttpResponseMessage>
        {
            MaxRetryAttempts = 10,
            Delay = TimeSpan.FromMilliseconds(500),
            MaxDelay = TimeSpan.FromSeconds(20),
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            ShouldHandle = async asked => asked.Outcome.Exception is HttpRequestException
                || (asked.Outcome.Result is { } response && IsAway(response) && await BuildingAsync(response, time, asked.Context.CancellationToken) is null),
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

    /// <summary>The same; null when there is none there (404).</summary>
    public async Task<T?> FindAsync<T>(Uri server, string path, CancellationToken cancellation)
        where T : class
    {
        try
        {
            return await GetAsync<T>(server, path, cancellation);
        }
        catch (Failure e) when (e.Status == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    /// <summary>The answer to a GET as text.</summary>
    public async Task<string> TextAsync(Uri server, string path, CancellationToken cancellation)
    {
        using var response = await AnswerAsync(() => new HttpRequestMessage(HttpMethod.Get, At(server, path)), s_longestCall, cancellation);
        return await response.Content.ReadAsStringAsync(cancellation);
    }

    /// <summary>The answer to a PUT that replaces what <paramref name="tag"/> names, read as JSON.</summary>
    public Task<T> PutAsync<T>(Uri server, string path, Func<HttpContent?> content, string tag, CancellationToken cancellation) => SendAsync<T>(
        () => new HttpRequestMessage(HttpMethod.Put, At(server, path)) { Content = content(), Headers = { IfMatch = { EntityTagHeaderValue.Parse(tag) } } }, s_longestCall, cancellation);

    /// <summary>The answer to a POST, read as JSON. <paramref name="content"/> is asked for anew for every try.</summary>
    public Task<T> PostAsync<T>(Uri server, string path, Func<HttpContent?> content, CancellationToken cancellation) =>
        SendAsync<T>(() => new HttpRequestMessage(HttpMethod.Post, At(server, path)) { Content = content() }, s_longestCall, cancellation);

    /// <summary>The answer to a PUT, read as JSON.</summary>
    public Task<T> PutAsync<T>(Uri server, string path, Func<HttpContent?> content, CancellationToken cancellation) =>
        SendAsync<T>(() => new HttpRequestMessage(HttpMethod.Put, At(server, path)) { Content = content() }, s_longestCall, cancellation);

    /// <summary>The answer to a DELETE, read as JSON; default when it says no more than that it is done.</summary>
    public Task<T> DeleteAsync<T>(Uri server, string path, CancellationToken cancellation, Func<HttpContent>? content = null) =>
        SendAsync<T>(() => new HttpRequestMessage(HttpMethod.Delete, At(server, path)) { Content = content?.Invoke() }, s_longestCall, cancellation);

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

    /// <summary>
    /// Reads what the hub exports piece by piece, however long it takes; <paramref name="taken"/> gets each with the length of the
    /// whole, where that is known.
    /// </summary>
    /// <exception cref="Failure">Also when the answer is no export of a hub, and when it breaks off: what was taken is then no whole.</exception>
    public async Task<Answer> DownloadAsync(Uri server, string path, Func<ReadOnlyMemory<byte>, long?, ValueTask> taken, CancellationToken cancellation)
    {
        using var response = await AnswerAsync(() => new HttpRequestMessage(HttpMethod.Get, At(server, path)), s_longestCall, cancellation);
        if (!response.Headers.Contains("X-Hub-Position")) throw Unexpected(response);
        await using var body = await response.Content.ReadAsStreamAsync(cancellation);
        var (buffer, total) = (new byte[64 * 1024], 0L);
        while (true)
        {
            int read;
            try
            {
                read = await body.ReadAsync(buffer, cancellation);
            }
            catch (Exception e) when (e is HttpRequestException or IOException)
            {
                throw new Failure($"{response.RequestMessage!.RequestUri} broke off after {total:N0} bytes: what came is not the whole. Try again; the hub's log says why.", e);
            }

            if (read == 0) return new Answer(response.Headers.ToDictionary(header => header.Key, header => header.Value.First(), StringComparer.OrdinalIgnoreCase));
            total += read;
            await taken(buffer.AsMemory(0, read), response.Content.Headers.ContentLength);
        }
    }

    public static Uri At(Uri server, string path) => new(server.AbsoluteUri.TrimEnd('/') + path);

    public void Dispose() => _http.Dispose();

    private async Task<T> SendAsync<T>(Func<HttpRequestMessage> request, TimeSpan longest, CancellationToken cancellation)
    {
        using var response = await AnswerAsync(request, longest, cancellation);
        if (response.StatusCode == HttpStatusCode.NoContent) return default!;
        try
        {
            return await response.Content.ReadFromJsonAsync<T>(s_json, cancellation) ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or NotSupportedException)
        {
            throw Unexpected(response, e);
        }
    }

    private static Failure Unexpected(HttpResponseMessage response, Exception? cause = null) =>
        new($"{response.RequestMessage!.RequestUri} answered something else than expected. Is it the right address?", cause);

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
                message.Headers.Authorization = await _credentials.HeaderAsync(address!, token);
                return await WithinAsync(longest, limited => _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, limited), token);
            }, cancellation);
        }
        catch (HttpRequestException e)
        {
            var server = address!.GetLeftPart(UriPartial.Authority);
            throw new Failure($"No answer from {server}: {Root(e).Message}. Check the address, and that the server runs.", e);
        }

        if (response.IsSuccessStatusCode) return response;
        using (response) throw new Failure(await Problem.ReadAsync(response, cancellation)) { Status = response.StatusCode, Building = await BuildingAsync(response, TimeProvider.System, cancellation) };
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

    // Its problem says how many percent are done.
    private static async Task<Building?> BuildingAsync(HttpResponseMessage response, TimeProvider time, CancellationToken cancellation)
    {
        if (response.StatusCode != HttpStatusCode.ServiceUnavailable || response.Content.Headers.ContentType?.MediaType != "application/problem+json") return null;
        try
        {
            await response.Content.LoadIntoBufferAsync(cancellation);
            using var problem = JsonDocument.Parse(await response.Content.ReadAsByteArrayAsync(cancellation));
            return problem.RootElement.TryGetProperty("percent", out var percent) ? new(percent.GetDouble(), RetryAfter(response, time) ?? s_betweenLooks) : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or HttpRequestException or IOException)
        {
            return null;
        }
    }

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

/// <summary>What stood before the body of an answer.</summary>
/// <param name="Headers">Its headers.</param>
internal sealed record Answer(IReadOnlyDictionary<string, string> Headers)
{
    /// <summary>The headers that begin so and hold numbers, by the rest of their names in lower case.</summary>
    public IReadOnlyDictionary<string, long> Numbers(string prefix) => Headers
        .Where(header => header.Key.StartsWith(prefix, StringComparison.OrdinalIgnoreCase) && long.TryParse(header.Value, CultureInfo.InvariantCulture, out _))
        .ToDictionary(header => header.Key[prefix.Length..].ToLowerInvariant(), header => long.Parse(header.Value, CultureInfo.InvariantCulture));
}
