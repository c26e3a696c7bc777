using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.Connector.Tests.Formats.PayFip;

public sealed class PayFipCallbackTests : IAsyncLifetime, IDisposable
{
    private const string Path = "/communes/35085/payfip";
    private const string Form = PayFipSamples.Form;
    private const string Json = PayFipSamples.Json;

    private readonly TemporaryFolder _data = new();
    private readonly WrittenLogs _logs = new();
    private ConnectorApp _app;

    public PayFipCallbackTests() => _app = Start();

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _app.DisposeAsync();

    public void Dispose()
    {
        _app.Dispose();
        _logs.Dispose();
        _data.Dispose();
    }

    [Fact]
    public async Task Given_an_answer_When_it_comes_in_every_way_and_again_Then_it_is_one_event()
    {
        await AcceptedAsync(await PostAsync(Form));
        await AcceptedAsync(await PostAsync(Json, "application/json; charset=utf-8"));
        await AcceptedAsync(await GetAsync($"{Path}?{Form}"));
        await AcceptedAsync(await PostAsync(Form));

        var json = Assert.Single(_app.Events("35085"));
        Assert.Equal("fr.intercommunalite.payments.online-payment-answered.v1", json.GetProperty("type").GetString());
        Assert.Equal("urn:insee:commune:35085:payfip", json.GetProperty("source").GetString());
        Assert.Equal("lea@example.org", json.GetProperty("data").GetProperty("personal").GetProperty("email").GetString());
        Assert.True(json.TryGetProperty("traceparent", out _));
        Assert.Equal(0, _app.Journal("35238").Last);
    }

    [Fact]
    public async Task Given_answers_of_one_payment_When_they_come_in_any_order_Then_each_is_an_event_of_it()
    {
        await AcceptedAsync(await PostAsync(Form));
        await AcceptedAsync(await PostAsync(Form.Replace("resultrans=P", "resultrans=A", StringComparison.Ordinal)));
        await AcceptedAsync(await PostAsync(Form));

        Assert.Equal(["online-payment/090909-FAC20260001-02072026-0905", "online-payment/090909-FAC20260001-02072026-0905"], _app.Events("35085").Select(json => json.GetProperty("subject").GetString()));
    }

    [Fact]
    public async Task Given_a_callback_and_the_same_answer_in_a_file_When_both_are_taken_Then_it_is_one_event()
    {
        await AcceptedAsync(await PostAsync(Form));

        var state = await _app.ImportAsync("/communes/35085/files/payfip", Json);

        Assert.Equal(("completed", 1), (state.GetProperty("status").GetString(), state.GetProperty("duplicates").GetInt32()));
        Assert.Equal(1, _app.Journal("35085").Last);
    }

    [Theory]
    [InlineData("resultrans=P", "resultrans=Q", "resultrans")]
    [InlineData("montant=4250", "montant=lea%40example.org", "montant")]
    [InlineData("refdet=FAC20260001&", "", "refdet")]
    public async Task Given_a_faulty_answer_When_it_comes_Then_400_names_the_field_and_nothing_personal(string before, string after, string field)
    {
        using var response = await PostAsync(Form.Replace(before, after, StringComparison.Ordinal));

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        var text = await response.Content.ReadAsStringAsync();
        Assert.DoesNotContain("example.org", text, StringComparison.Ordinal);
        Assert.Equal(field, Assert.Single(JsonElement.Parse(text).GetProperty("errors").EnumerateArray()).GetProperty("field").GetString());
        Assert.Equal(0, _app.Journal("35085").Last);
    }

    [Theory]
    [InlineData("", "application/json")]
    [InlineData("{", "application/json")]
    [InlineData("[]", "application/json")]
    [InlineData("\u0000\uFFFF%%%=&&==", "application/x-www-form-urlencoded")]
    public async Task Given_something_that_is_no_answer_When_it_comes_Then_400(string body, string media)
    {
        using var response = await PostAsync(body, media);

        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
    }

    [Fact]
    public async Task Given_what_is_not_to_be_taken_When_it_comes_Then_the_answer_says_why()
    {
        using var unknown = await GetAsync($"/communes/33063/payfip?{Form}");
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        using var media = await PostAsync(Form, "text/plain");
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, media.StatusCode);
        using var large = await PostAsync($"{Form}&objet={new string('x', 64 * 1024)}");
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, large.StatusCode);
        Assert.Equal("application/problem+json", large.Content.Headers.ContentType?.MediaType);
    }

    [Fact]
    public async Task Given_a_journal_past_its_limit_When_an_answer_comes_Then_503_says_when_to_send_it_again()
    {
        await RestartAsync("Journal:MaxSize", "1");

        using var response = await PostAsync(Form);

        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        Assert.NotNull(response.Headers.RetryAfter);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Given_too_many_answers_When_they_come_Then_429_says_when_to_send_them_again(bool asQuery)
    {
        await RestartAsync("Intake:RequestBurst", "2", "Intake:RequestsPerSecond", "1");

        var responses = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => asQuery ? GetAsync($"{Path}?{Form}") : PostAsync(Form)));

        Assert.Contains(responses, response => response.StatusCode == HttpStatusCode.OK);
        var refused = responses.Where(response => response.StatusCode == HttpStatusCode.TooManyRequests).ToList();
        Assert.NotEmpty(refused);
        Assert.All(refused, response => Assert.NotNull(response.Headers.RetryAfter));
        foreach (var response in responses) response.Dispose();
    }

    [Fact]
    public async Task Given_everything_logged_and_traced_When_an_answer_comes_as_a_query_Then_its_address_is_nowhere()
    {
        await RestartAsync(
            "Logging:LogLevel:Default", "Trace", "Logging:LogLevel:Microsoft.AspNetCore", "Trace", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
        var tags = new ConcurrentQueue<string>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name == "Microsoft.AspNetCore",
            Sample = (ref _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activity =>
            {
                foreach (var tag in activity.TagObjects) tags.Enqueue($"{tag.Key}={tag.Value}");
            },
        };
        ActivitySource.AddActivityListener(listener);

        await AcceptedAsync(await GetAsync($"{Path}?{Form}"));
        using var refused = await GetAsync($"{Path}?{Form.Replace("resultrans=P", "resultrans=Q", StringComparison.Ordinal)}");

        // The trace has the query, without its values: so tracing was on.
        await Testing.Eventually.Is(() => tags.Any(tag => tag.StartsWith("url.query=", StringComparison.Ordinal)), found => found);
        Assert.NotEmpty(_logs.Lines);
        Assert.All(_logs.Lines.Concat(tags), line => Assert.False(line.Contains("lea%40", StringComparison.Ordinal) || line.Contains("lea@", StringComparison.Ordinal), line));
    }

    private ConnectorApp Start(params string[] settings) => ConnectorApp.Start(
        _data.FullPath, "35085,35238", services => services.AddSingleton<ILoggerProvider>(_logs),
        settings.Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]));

    private async Task RestartAsync(params string[] settings)
    {
        await _app.DisposeAsync();
        _app = Start(settings);
    }

    private Task<HttpResponseMessage> PostAsync(string body, string media = "application/x-www-form-urlencoded")
    {
        var content = new ByteArrayContent(Encoding.UTF8.GetBytes(body));
        content.Headers.TryAddWithoutValidation("Content-Type", media);
        return _app.Http.PostAsync(new Uri(Path, UriKind.Relative), content);
    }

    private Task<HttpResponseMessage> GetAsync(string path) => _app.Http.GetAsync(new Uri(path, UriKind.Relative));

    private static async Task AcceptedAsync(HttpResponseMessage response)
    {
        using (response)
        {
            Assert.Equal((HttpStatusCode.OK, "OK"), (response.StatusCode, await response.Content.ReadAsStringAsync()));
        }
    }

    /// <summary>All that is logged, whatever its level.</summary>
    private sealed class WrittenLogs : ILoggerProvider
    {
        public ConcurrentQueue<string> Lines { get; } = new();

        public ILogger CreateLogger(string categoryName) => new Writer(categoryName, Lines);

        public void Dispose()
        {
        }

        private sealed class Writer(string category, ConcurrentQueue<string> lines) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull
            {
                lines.Enqueue($"{category} {state}");
                return null;
            }

            public bool IsEnabled(LogLevel logLevel) => true;

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
                lines.Enqueue($"{category} {formatter(state, exception)} {exception}");
        }
    }
}
