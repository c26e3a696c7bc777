using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Connector.Tests.Intake;

public sealed class BackPressureTests : IDisposable
{
    private const string Path = "/communes/35085/events";
    private const string Other = "/communes/35238/events";

    private readonly TemporaryFolder _data = new();
    private readonly AheadOfTime _clock = new();

    public void Dispose() => _data.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Given_a_body_beyond_the_limit_When_it_is_posted_Then_413_says_so_and_a_shorter_one_is_accepted(bool chunked)
    {
        await using var app = Start(("Intake:MaxRequestBytes", "20000"));
        var batch = $"[{string.Join(',', Enumerable.Range(1, 100).Select(i => SampleEvents.Json($"{i}")))}]";

        using var refused = await PostBatchAsync(app, batch, chunked);
        using var accepted = await PostBatchAsync(app, $"[{SampleEvents.Json("1")}]", chunked);

        var problem = await AssertProblemAsync(refused, HttpStatusCode.RequestEntityTooLarge);
        Assert.Contains("20000 bytes", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.Accepted, accepted.StatusCode);
        Assert.Equal(1, app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_body_of_more_than_the_servers_usual_limit_When_it_is_posted_Then_it_is_read()
    {
        await using var app = Start();

        using var response = await PostBatchAsync(app, $"[{new string(' ', 31 << 20)}{SampleEvents.Json("1")}]", chunked: false);

        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
    }

    [Fact]
    public async Task Given_a_file_beyond_the_limit_When_it_is_posted_Then_413_says_what_to_do_and_nothing_of_it_stays()
    {
        await using var app = Start(("Formats:MaxFileBytes", "1000"));

        using var body = new StringContent(string.Concat(Enumerable.Repeat($"{SampleEvents.Json("1")}\n", 10)));
        using var response = await app.Http.PostAsync(new Uri("/communes/35085/files/cloudevents-jsonl", UriKind.Relative), body);

        var problem = await AssertProblemAsync(response, HttpStatusCode.RequestEntityTooLarge);
        Assert.Contains("drop folder", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_a_commune_that_sends_too_often_When_it_goes_on_Then_429_says_when_and_another_commune_is_not_touched()
    {
        await using var app = Start(("Intake:RequestsPerSecond", "1"), ("Intake:RequestBurst", "5"));

        var statuses = await Task.WhenAll(Enumerable.Range(1, 60).Select(async i =>
        {
            using var response = await app.PostEventAsync(Path, SampleEvents.Json($"{i}"));
            if (response.StatusCode != HttpStatusCode.Accepted)
            {
                var problem = await AssertProblemAsync(response, HttpStatusCode.TooManyRequests);
                Assert.Contains("1 requests a second, 5 at once", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
                Assert.True(response.Headers.RetryAfter!.Delta >= TimeSpan.FromSeconds(1));
            }

            return response.StatusCode;
        }));
        using var other = await app.PostEventAsync(Other, SampleEvents.Json(SampleEvents.Birth("1", "35238")));
        using var file = await app.Http.PostAsync(new Uri("/communes/35085/files/cloudevents-jsonl", UriKind.Relative), new StringContent(""));

        Assert.Contains(HttpStatusCode.TooManyRequests, statuses);
        Assert.Equal(statuses.Count(status => status == HttpStatusCode.Accepted), app.Journal("35085").Last);
        Assert.Equal(HttpStatusCode.Accepted, other.StatusCode);
        Assert.Equal(HttpStatusCode.TooManyRequests, file.StatusCode);
        using var ready = await app.Http.GetAsync(new Uri("/health/ready", UriKind.Relative));
        Assert.Equal(HttpStatusCode.OK, ready.StatusCode);
        await Eventually.Is(async () =>
        {
            using var later = await app.PostEventAsync(Path, SampleEvents.Json("later"));
            return later.StatusCode;
        }, status => status == HttpStatusCode.Accepted);
    }

    [Fact]
    public async Task Given_a_commune_that_is_not_served_When_it_is_asked_for_often_Then_it_is_never_429()
    {
        await using var app = Start(("Intake:RequestsPerSecond", "1"), ("Intake:RequestBurst", "1"));

        for (var i = 0; i < 5; i++)
        {
            using var response = await app.PostEventAsync("/communes/33063/events", SampleEvents.Json("1"));
            Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        }
    }

    [Theory]
    [InlineData("Intake:RequestsPerSecond")]
    [InlineData("Intake:RequestBurst")]
    [InlineData("Intake:MaxRequestBytes")]
    public void Given_a_limit_that_lets_nothing_through_When_the_connector_starts_Then_it_names_the_setting(string setting)
    {
        var refusal = Assert.Throws<InvalidOperationException>(() => Start((setting, "0")));

        Assert.Contains(setting, refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_journal_that_is_too_large_When_events_are_posted_Then_503_until_received_ones_are_deleted_and_others_accept()
    {
        await using var app = Start(("Journal:MaxSize", "400000"));
        var journal = app.Journal("35085");
        var accepted = await PostUntilRefusedAsync(app);

        using var refused = await app.PostEventAsync(Path, SampleEvents.Json("refused"));
        var problem = await AssertProblemAsync(refused, HttpStatusCode.ServiceUnavailable);
        Assert.Contains("Journal:MaxSize", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Contains($"{accepted} of its events wait for the hub", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.True(refused.Headers.RetryAfter!.Delta > TimeSpan.Zero);
        Assert.Equal(accepted, journal.Last);
        using var other = await app.PostEventAsync(Other, SampleEvents.Json(SampleEvents.Birth("1", "35238")));
        Assert.Equal(HttpStatusCode.Accepted, other.StatusCode);
        var status = await app.GetAsync("/communes/35085/journal");
        Assert.False(status.GetProperty("accepting").GetBoolean());
        Assert.Contains("Journal:MaxSize", status.GetProperty("reason").GetString(), StringComparison.Ordinal);
        Assert.True(status.GetProperty("sizeBytes").GetInt64() > 400_000);
        Assert.Equal(HttpStatusCode.OK, await ReadyAsync(app));

        // Received, but retained: there is no more room than before.
        journal.Note(journal.Id, accepted, accepted);
        journal.DeleteReceived(DateTimeOffset.UtcNow, TimeSpan.FromDays(30));
        _clock.Advance(TimeSpan.FromSeconds(2));
        using var retained = await app.PostEventAsync(Path, SampleEvents.Json("refused"));
        Assert.Contains("Forwarding:Retention", (await AssertProblemAsync(retained, HttpStatusCode.ServiceUnavailable)).GetProperty("detail").GetString(), StringComparison.Ordinal);
        journal.DeleteReceived(DateTimeOffset.UtcNow.AddDays(31), TimeSpan.FromDays(30));
        _clock.Advance(TimeSpan.FromSeconds(2));
        using var again = await app.PostEventAsync(Path, SampleEvents.Json("again"));
        Assert.Equal(HttpStatusCode.Accepted, again.StatusCode);
        Assert.True((await app.GetAsync("/communes/35085/journal")).GetProperty("accepting").GetBoolean());
    }

    [Fact]
    public async Task Given_events_that_the_hub_has_not_received_for_too_long_When_more_are_posted_Then_503_until_it_has()
    {
        await using var app = Start(("Journal:MaxUnreceivedAge", "30.00:00:00"));
        using var first = await app.PostEventAsync(Path, SampleEvents.Json("1"));
        _clock.Advance(TimeSpan.FromDays(29));
        using var second = await app.PostEventAsync(Path, SampleEvents.Json("2"));
        Assert.Equal(HttpStatusCode.Accepted, second.StatusCode);

        _clock.Advance(TimeSpan.FromDays(2));
        using var refused = await app.PostEventAsync(Path, SampleEvents.Json("3"));

        var detail = (await AssertProblemAsync(refused, HttpStatusCode.ServiceUnavailable)).GetProperty("detail").GetString();
        Assert.Contains("Journal:MaxUnreceivedAge", detail, StringComparison.Ordinal);
        Assert.Contains("2 events wait for the hub, the oldest for 31.00", detail, StringComparison.Ordinal);
        Assert.Equal(2, app.Journal("35085").Last);
        await app.ReceivedAsync("35085", 2);
        _clock.Advance(TimeSpan.FromSeconds(2));
        using var again = await app.PostEventAsync(Path, SampleEvents.Json("3"));
        Assert.Equal(HttpStatusCode.Accepted, again.StatusCode);
    }

    [Fact]
    public async Task Given_a_disk_with_too_little_left_When_events_or_files_come_Then_503_and_the_connector_is_not_ready()
    {
        await using var app = Start(("Journal:MinFreeDisk", $"{long.MaxValue}"));

        using var events = await app.PostEventAsync(Path, SampleEvents.Json("1"));
        using var file = await app.Http.PostAsync(new Uri("/communes/35085/files/cloudevents-jsonl", UriKind.Relative), new StringContent("{}"));

        foreach (var response in new[] { events, file })
        {
            var problem = await AssertProblemAsync(response, HttpStatusCode.ServiceUnavailable);
            Assert.Contains("Journal:MinFreeDisk", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
            Assert.True(response.Headers.RetryAfter!.Delta > TimeSpan.Zero);
        }

        Assert.Equal(0, app.Journal("35085").Last);
        Assert.Empty(Directory.GetDirectories(_data.Combine("imports")));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await ReadyAsync(app));
    }

    [Fact]
    public async Task Given_a_journal_past_its_limit_When_a_file_is_posted_Then_its_import_waits_says_why_and_goes_on_later()
    {
        await using var app = Start(("Journal:MaxUnreceivedAge", "1.00:00:00"));
        using var first = await app.PostEventAsync(Path, SampleEvents.Json("1"));
        _clock.Advance(TimeSpan.FromDays(2));
        using var body = new StringContent($"{SampleEvents.Json("2")}\n{SampleEvents.Json("3")}\n");
        using var posted = await app.Http.PostAsync(new Uri("/communes/35085/files/cloudevents-jsonl", UriKind.Relative), body);
        Assert.Equal(HttpStatusCode.Accepted, posted.StatusCode);
        var path = posted.Headers.Location!.ToString();

        var waiting = await Eventually.Is(() => app.GetAsync(path), state => state.TryGetProperty("waiting", out _));

        Assert.Equal("running", waiting.GetProperty("status").GetString());
        var why = waiting.GetProperty("waiting").GetString();
        Assert.Contains("Journal:MaxUnreceivedAge", why, StringComparison.Ordinal);
        _clock.Advance(TimeSpan.FromHours(1));
        await Eventually.Is(() => app.GetAsync(path), state => state.GetProperty("waiting").GetString() != why);
        Assert.Equal(1, app.Journal("35085").Last);
        await app.ReceivedAsync("35085", 1);
        _clock.Advance(TimeSpan.FromSeconds(2));
        var end = await app.EndOfAsync(path);
        Assert.Equal(("completed", 2), (end.GetProperty("status").GetString(), end.GetProperty("accepted").GetInt32()));
        Assert.False(end.TryGetProperty("waiting", out _));
    }

    [Fact]
    public async Task Given_journals_and_refusals_When_metrics_are_read_Then_they_tell_of_each_commune()
    {
        var counted = new Dictionary<string, double>();
        using var listener = new MeterListener { InstrumentPublished = (instrument, listening) => listening.EnableMeasurementEvents(instrument) };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Keep(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Keep(instrument, value, tags));
        listener.Start();
        // A commune that no other test has, since the instruments are shared.
        const string Alone = "33063";
        await using var app = ConnectorApp.Start(_data.FullPath, Alone, Clock, new Dictionary<string, string>
        {
            ["Intake:MaxRequestBytes"] = "20000",
            ["Intake:RequestBurst"] = "4",
            ["Intake:RequestsPerSecond"] = "1",
            ["Journal:MaxUnreceivedAge"] = "00:01:00",
        });
        var path = $"/communes/{Alone}/events";
        using var accepted = await app.PostEventAsync(path, SampleEvents.Json(SampleEvents.Birth("1", Alone)));
        using var invalid = await app.PostEventAsync(path, SampleEvents.Json("2"));
        using var large = await app.PostEventAsync(path, new string(' ', 30_000));
        _clock.Advance(TimeSpan.FromMinutes(2));
        using var limit = await app.PostEventAsync(path, SampleEvents.Json(SampleEvents.Birth("3", Alone)));
        await Eventually.Is(
            async () =>
            {
                using var rate = await app.PostEventAsync(path, SampleEvents.Json(SampleEvents.Birth("3", Alone)));
                return rate.StatusCode;
            },
            status => status == HttpStatusCode.TooManyRequests);

        listener.RecordObservableInstruments();

        lock (counted)
        {
            Assert.All(["invalid", "too-large", "rate"], cause => Assert.Equal(1, counted[$"hub.events.refused {cause}"]));
            Assert.True(counted["hub.events.refused limit"] >= 1);
            Assert.Equal(1, counted["hub.journal.unreceived"]);
            Assert.InRange(counted["hub.journal.oldest_unreceived"], 120, 1_000);
            Assert.InRange(counted["hub.journal.size"], 4_096, 100_000);
        }

        void Keep(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            var labels = tags.ToArray().ToDictionary(tag => tag.Key, tag => tag.Value);
            if (!instrument.Name.StartsWith("hub.", StringComparison.Ordinal) || labels.GetValueOrDefault("commune") as string != Alone) return;
            var name = $"{instrument.Name} {labels.GetValueOrDefault("cause")}".TrimEnd();
            lock (counted) counted[name] = instrument is Counter<long> ? counted.GetValueOrDefault(name) + value : value;
        }
    }

    private ConnectorApp Start(params (string Key, string Value)[] settings) =>
        ConnectorApp.Start(_data.FullPath, "35085,35238", Clock, settings.ToDictionary(setting => setting.Key, setting => setting.Value));

    private void Clock(IServiceCollection services) => services.AddSingleton<TimeProvider>(_clock);

    private async Task<long> PostUntilRefusedAsync(ConnectorApp app)
    {
        for (var i = 1; i < 10_000; i++)
        {
            using var response = await app.PostEventAsync(Path, SampleEvents.Json(i.ToString(CultureInfo.InvariantCulture)));
            if (response.StatusCode == HttpStatusCode.ServiceUnavailable) return i - 1;
            Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
            _clock.Advance(TimeSpan.FromSeconds(1));
        }

        throw new InvalidOperationException("Never refused.");
    }

    private static async Task<HttpResponseMessage> PostBatchAsync(ConnectorApp app, string batch, bool chunked)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(Path, UriKind.Relative));
        request.Headers.TransferEncodingChunked = chunked;
        request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(batch)) { Headers = { ContentType = new MediaTypeHeaderValue(CloudEvent.BatchMediaType) } };
        return await app.Http.SendAsync(request);
    }

    private static async Task<HttpStatusCode> ReadyAsync(ConnectorApp app)
    {
        using var response = await app.Http.GetAsync(new Uri("/health/ready", UriKind.Relative));
        return response.StatusCode;
    }

    private static async Task<JsonElement> AssertProblemAsync(HttpResponseMessage response, HttpStatusCode expected)
    {
        Assert.Equal(expected, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        return JsonElement.Parse(await response.Content.ReadAsStringAsync());
    }
}
