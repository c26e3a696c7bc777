using System.Net;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

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
    public async Task Given_an_issuer_that_went_away_When_its_keys_are_asked_for_after_a_restart_Then_they_are_those_it_had()
    {
        var address = $"http://127.0.0.1:{FreePorts.Take()}/";
        using (var issuer = new HttpListener { Prefixes = { address } })
        using (var before = new KeptDocuments(_data.FullPath))
        {
            issuer.Start();
            var asked = before.GetDocumentAsync($"{address}keys", default);
            var context = await issuer.GetContextAsync();
            context.Response.Close("the keys"u8.ToArray(), willBlock: true);
            Assert.Equal("the keys", await asked);
        }

        using var after = new KeptDocuments(_data.FullPath);
        Assert.Equal("the keys", await after.GetDocumentAsync($"{address}keys", default));
        await Assert.ThrowsAsync<HttpRequestException>(() => after.GetDocumentAsync($"{address}others", default));
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
}
