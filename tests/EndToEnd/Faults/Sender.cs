using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>
/// The software of the communes: each commune sends its births in batches, one request at a time, and sends a request again,
/// word for word, until it is answered 202. It goes on as far as it is told to, so that every fault has its share of the stream
/// however slow the machine is.
/// </summary>
internal sealed class Sender : IAsyncDisposable
{
    private const int Batch = 20;
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_again = TimeSpan.FromMilliseconds(250);

    private readonly ConcurrentDictionary<string, int> _accepted = new();
    private readonly ConcurrentQueue<string> _otherAnswers = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<HttpClient> _clients = [];
    private readonly Task _sending;
    private readonly Task<Task> _ended;
    private readonly int _communes;
    private int _wanted;

    public Sender(Deployment deployment)
    {
        _communes = deployment.Communes.Sum(served => served.Count);
        var sending = new List<Task>();
        foreach (var (served, connector) in deployment.Communes.Zip(deployment.Connectors))
        {
            var client = deployment.ClientOf(connector);
            _clients.Add(client);
            sending.AddRange(served.Select(commune => Task.Run(() => SendAsync(client, commune))));
        }

        (_sending, _ended) = (Task.WhenAll(sending), Task.WhenAny(sending));
    }

    /// <summary>How many births of each commune were answered 202.</summary>
    public IReadOnlyDictionary<string, int> AcceptedByCommune => new SortedDictionary<string, int>(_accepted, StringComparer.Ordinal);

    /// <summary>How many were answered 202.</summary>
    public int Accepted => _accepted.Values.Sum();

    /// <summary>What was answered otherwise, or not at all.</summary>
    public IReadOnlyCollection<string> OtherAnswers => _otherAnswers;

    /// <summary>Lets the communes send until so many events are accepted in all, each commune its equal part.</summary>
    public void SendUpTo(int total) => Volatile.Write(ref _wanted, total / _communes);

    /// <summary>Waits until so many are accepted in all.</summary>
    public async Task HasAcceptedAsync(int total)
    {
        await Eventually.Is(() => _ended.IsCompleted ? throw new InvalidOperationException("A commune has stopped sending.", _ended.Result.Exception) : Accepted, accepted => accepted >= total, TimeSpan.FromMinutes(2), $"{total} accepted");
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var client in _clients) client.Dispose();
        _stopping.Dispose();
    }

    private async Task SendAsync(HttpClient client, string commune)
    {
        for (var sent = 0; ; sent = _accepted[commune])
        {
            while (sent >= Volatile.Read(ref _wanted)) await Task.Delay(s_again, _stopping.Token);
            var count = Math.Min(Batch, Volatile.Read(ref _wanted) - sent);
            var births = Some.Births(commune, sent + 1, count);
            while (!await PostAsync(client, commune, births)) await Task.Delay(s_again, _stopping.Token);
            _accepted[commune] = sent + count;
            await Task.Delay(s_pause, _stopping.Token);
        }
    }

    private async Task<bool> PostAsync(HttpClient client, string commune, CloudEvent[] events)
    {
        try
        {
            var body = JsonContent.Create(events, new MediaTypeHeaderValue(CloudEvent.BatchMediaType), ContractJson.Options);
            using var response = await client.PostAsync(new Uri($"/communes/{commune}/events", UriKind.Relative), body, _stopping.Token);
            if (response.StatusCode == HttpStatusCode.Accepted) return true;
            _otherAnswers.Enqueue($"{commune}: {(int)response.StatusCode} {await response.Content.ReadAsStringAsync(_stopping.Token)}");
        }
        catch (Exception e) when (!_stopping.IsCancellationRequested && e is HttpRequestException or TaskCanceledException)
        {
            _otherAnswers.Enqueue($"{commune}: {e.Message}");
        }

        return false;
    }
}
