using System.Net;
using System.Text;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Intercommunalite.Connector.Tests;

public sealed class AccessTests : IDisposable
{
    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Given_all_routes_Then_each_states_its_rule()
    {
        await using var app = ConnectorApp.Start(_data.FullPath, "35085");
        var routes = app.Services.GetServices<EndpointDataSource>().SelectMany(source => source.Endpoints).OfType<RouteEndpoint>().ToList();

        Assert.True(routes.Count > 15);
        Assert.Equal(
            ["/health/live", "/health/ready", "/openapi/{documentName}.json"],
            routes.Where(route => !route.Metadata.OfType<IAuthorizeData>().Any(authorize => authorize.Policy is not null)).Select(route => route.RoutePattern.RawText).Order(StringComparer.Ordinal));
        Assert.All(routes.Where(route => !route.Metadata.OfType<IAuthorizeData>().Any()), route => Assert.NotNull(route.Metadata.GetMetadata<IAllowAnonymous>()));
    }

    [Fact]
    public async Task Given_an_issuer_that_went_away_or_answers_nonsense_When_its_documents_are_asked_for_Then_they_are_those_it_had()
    {
        var issuer = $"http://127.0.0.1:{FreePorts.Take()}/";
        var options = new AccessOptions { Issuer = issuer };
        var discovery = Discovery(issuer);
        const string keys = """{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}""";
        using (var listener = new HttpListener { Prefixes = { issuer } })
        using (var documents = new KeptDocuments(options, _data.FullPath, NullLogger<KeptDocuments>.Instance))
        {
            listener.Start();
            await Assert.ThrowsAsync<InvalidDataException>(() => AskAsync(options.Metadata, Discovery("http://127.0.0.1:1/")));
            Assert.Equal(discovery, await AskAsync(options.Metadata, discovery));
            Assert.Equal(keys, await AskAsync($"{issuer}keys", keys));
            foreach (var wrong in (string[])["<html>maintenance</html>", "{}", Discovery("http://127.0.0.1:1/"), keys]) Assert.Equal(discovery, await AskAsync(options.Metadata, wrong));
            foreach (var wrong in (string[])["<html>maintenance</html>", "{}", """{"keys":[]}""", """{"keys":[{"kty":"oct","k":"AAAA"}]}""", discovery]) Assert.Equal(keys, await AskAsync($"{issuer}keys", wrong));

            async Task<string> AskAsync(string address, string answer)
            {
                var asked = documents.GetDocumentAsync(address, default);
                (await listener.GetContextAsync()).Response.Close(Encoding.UTF8.GetBytes(answer), willBlock: true);
                return await asked;
            }
        }

        using var after = new KeptDocuments(options, _data.FullPath, NullLogger<KeptDocuments>.Instance);
        Assert.Equal(discovery, await after.GetDocumentAsync(options.Metadata, default));
        Assert.Equal(keys, await after.GetDocumentAsync($"{issuer}keys", default));
        await Assert.ThrowsAsync<HttpRequestException>(() => after.GetDocumentAsync($"{issuer}others", default));

        static string Discovery(string issuer) => $$"""{"issuer":"{{issuer}}","jwks_uri":"{{issuer}}keys"}""";
    }

    [Fact]
    public async Task Given_a_folder_that_takes_nothing_When_documents_come_Then_they_are_used_and_it_is_said_once()
    {
        var file = Path.Combine(_data.FullPath, "no-folder");
        await File.WriteAllTextAsync(file, "");
        var log = new Warnings();
        var options = new AccessOptions { Issuer = TestIssuer.Url.ToString() };
        using var documents = new KeptDocuments(options, file, log);

        for (var time = 0; time < 3; time++) Assert.Contains("jwks_uri", await documents.GetDocumentAsync(options.Metadata, default), StringComparison.Ordinal);

        Assert.Contains("cannot be kept", Assert.Single(log.Said), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_tokens_that_are_right_but_for_their_type_When_they_are_no_access_tokens_Then_401()
    {
        await using var app = ConnectorApp.Start(_data.FullPath, "35085");
        (string? Type, string? Claimed, HttpStatusCode Expected)[] tokens =
        [
            ("at+jwt", null, HttpStatusCode.OK),
            ("application/at+jwt", null, HttpStatusCode.OK),
            ("JWT", "Bearer", HttpStatusCode.OK),
            ("JWT", "ID", HttpStatusCode.Unauthorized),
            ("JWT", "Refresh", HttpStatusCode.Unauthorized),
            ("client-authentication+jwt", null, HttpStatusCode.Unauthorized),
            ("logout+jwt", null, HttpStatusCode.Unauthorized),
            (null, null, HttpStatusCode.Unauthorized),
        ];

        foreach (var (type, claimed, expected) in tokens)
        {
            using var software = new HttpClient { BaseAddress = app.Http.BaseAddress };
            software.DefaultRequestHeaders.Authorization = new("Bearer", TestIssuer.Token(["connector"], ["35085"], change: (header, payload) =>
            {
                if (type is null) header.Remove("typ");
                else header["typ"] = type;
                if (claimed is not null) payload["typ"] = claimed;
            }));
            using var answer = await software.GetAsync(new Uri("/communes/35085/journal", UriKind.Relative));
            Assert.Equal((type, claimed, expected), (type, claimed, answer.StatusCode));
        }
    }

    [Fact]
    public async Task Given_an_issuer_that_never_answered_When_somebody_comes_with_a_token_Then_503_says_that_it_cannot_be_checked()
    {
        await using var app = ConnectorApp.Start(_data.FullPath, "35085", settings: new Dictionary<string, string> { ["Access:MetadataAddress"] = "http://127.0.0.1:1/.well-known/openid-configuration" });

        using var answer = await app.PostEventAsync("/communes/35085/events", SampleEvents.Json("first"));
        var body = await answer.Content.ReadAsStringAsync();

        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.Contains("Access:Issuer", body, StringComparison.Ordinal);
        Assert.NotNull(answer.Headers.RetryAfter);
    }

    [Fact]
    public async Task Given_a_key_of_the_payment_page_When_it_answers_Then_the_key_stands_for_a_token_and_a_wrong_one_does_not()
    {
        const string key = "a-key-of-at-least-16";
        await using var app = ConnectorApp.Start(_data.FullPath, "35085,35337", settings: new Dictionary<string, string> { ["Formats:PayFipKeys:35085"] = key });
        using var anyone = new HttpClient { BaseAddress = app.Http.BaseAddress };

        Assert.Equal(HttpStatusCode.OK, await AnswerAsync($"/communes/35085/payfip/{key}"));
        Assert.Equal(HttpStatusCode.Unauthorized, await AnswerAsync("/communes/35085/payfip/a-key-of-at-least-17"));
        Assert.Equal(HttpStatusCode.Unauthorized, await AnswerAsync("/communes/35085/payfip"));
        Assert.Equal(HttpStatusCode.Unauthorized, await AnswerAsync($"/communes/35337/payfip/{key}"));
        Assert.Equal(1, app.Journal("35085").Last);

        async Task<HttpStatusCode> AnswerAsync(string path)
        {
            using var form = new FormUrlEncodedContent(
                [new("numcli", "090909"), new("refdet", "FAC20260001"), new("montant", "4250"), new("dattrans", "02072026"), new("heurtrans", "0905"), new("resultrans", "P")]);
            using var answer = await anyone.PostAsync(new Uri(path, UriKind.Relative), form);
            return answer.StatusCode;
        }
    }

    private sealed class Warnings : ILogger<KeptDocuments>
    {
        public List<string> Said { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Said.Add(formatter(state, exception));
    }
}
