using System.Net;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>What a hub answers before it has any event.</summary>
public sealed class HubAnswersTests(HubAnswersTests.EmptyHub hub) : IClassFixture<HubAnswersTests.EmptyHub>
{
    private readonly Deployment _deployment = hub.Deployment;

    [Theory]
    [InlineData("/api/v1/civil-records/indicators?minPosition=1000000", HttpStatusCode.PreconditionFailed)]
    [InlineData("/api/v1/civil-records/indicators?from=2026", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/civil-records/indicators?by=week", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/civil-records/indicators?commune=35238", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/payments/summary?to=2026-13", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/schools/rolls?schoolYear=x", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/schools/rolls?format=xls", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/payments/summary?format=csv&separator=tab", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/open-data/first-names", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/open-data/first-names?year=2026&threshold=1", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/events?from=2026-01", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/projections/nothing", HttpStatusCode.NotFound)]
    [InlineData("/api/v1/admin/quarantine?limit=0", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/quarantine?after=x", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/quarantine?state=lost", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/quarantine?commune=x", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/quarantine?reason=%00", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/admin/quarantine/1", HttpStatusCode.NotFound)]
    [InlineData("/api/v1/admin/quarantine/x", HttpStatusCode.NotFound)]
    [InlineData("/api/v1/nothing", HttpStatusCode.NotFound)]
    public async Task Given_a_question_that_has_no_answer_Then_a_problem_says_why(string path, HttpStatusCode status)
    {
        using var client = _deployment.ClientOf(_deployment.Hub);
        using var response = await client.GetAsync(new Uri(path, UriKind.Relative));
        Assert.Equal(status, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.DoesNotContain("   at ", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_the_hub_Then_its_OpenApi_document_names_every_call()
    {
        var paths = (await _deployment.GetAsync("/openapi/v1.json"))["paths"]!.AsObject().Select(path => path.Key);
        Assert.Equal(
            [
                "/api/v1/access/accounts", "/api/v1/access/accounts/{id}", "/api/v1/access/accounts/{id}/authenticator",
                "/api/v1/access/accounts/{id}/password", "/api/v1/access/accounts/{id}/suspension", "/api/v1/access/bus-users",
                "/api/v1/access/bus-users/{name}", "/api/v1/admin/events", "/api/v1/admin/ingestion/resend", "/api/v1/admin/projections",
                "/api/v1/admin/projections/{name}", "/api/v1/admin/projections/{name}/diff", "/api/v1/admin/projections/{name}/rebuild",
                "/api/v1/admin/quarantine", "/api/v1/admin/quarantine/reasons", "/api/v1/admin/quarantine/retry", "/api/v1/admin/quarantine/{id}",
                "/api/v1/admin/quarantine/{id}/discard", "/api/v1/admin/quarantine/{id}/retry", "/api/v1/admin/replays",
                "/api/v1/admin/replays/{id}", "/api/v1/agreements", "/api/v1/agreements/{id}", "/api/v1/agreements/{id}/activation",
                "/api/v1/agreements/{id}/end", "/api/v1/agreements/{id}/resumption", "/api/v1/agreements/{id}/suspension", "/api/v1/audit",
                "/api/v1/audit/verification", "/api/v1/civil-records/indicators", "/api/v1/feed", "/api/v1/ingestion",
                "/api/v1/open-data/first-names", "/api/v1/payments/summary", "/api/v1/privacy/master-key/rewrap", "/api/v1/privacy/persons/search",
                "/api/v1/privacy/persons/{person}", "/api/v1/privacy/persons/{person}/erasure", "/api/v1/privacy/persons/{person}/export",
                "/api/v1/privacy/persons/{person}/holds", "/api/v1/privacy/persons/{person}/rectifications", "/api/v1/privacy/register",
                "/api/v1/privacy/retention", "/api/v1/privacy/retention/run", "/api/v1/records", "/api/v1/records/{commune}/{domain}/{subject}",
                "/api/v1/schools/rolls", "/api/v1/subscriptions", "/api/v1/subscriptions/{name}", "/api/v1/subscriptions/{name}/parked",
                "/api/v1/subscriptions/{name}/parked/discard", "/api/v1/subscriptions/{name}/parked/replay",
                "/api/v1/subscriptions/{name}/resumption", "/api/v1/subscriptions/{name}/suspension", "/api/v1/subscriptions/{name}/webhook/secret",
                "/api/v1/territory",
            ],
            paths.Where(path => path.StartsWith("/api", StringComparison.Ordinal)).Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("civil-records/indicators", "format separator from to commune by basis minPosition asOf comparedWith")]
    [InlineData("schools/rolls", "format separator schoolYear commune minPosition asOf comparedWith")]
    [InlineData("payments/summary", "format separator from to commune by minPosition asOf comparedWith")]
    [InlineData("open-data/first-names", "year commune threshold simulated minPosition")]
    [InlineData("admin/events", "from to commune type")]
    public async Task Given_a_call_that_exports_Then_the_OpenApi_document_says_what_its_parameters_are(string path, string names)
    {
        var document = await _deployment.GetAsync("/openapi/v1.json");
        var parameters = document["paths"]![$"/api/v1/{path}"]!["get"]!["parameters"]!.AsArray();
        Assert.Equal(names.Split(' ').Order(), parameters.Select(parameter => (string)parameter!["name"]!).Order());
        Assert.All(parameters, parameter => Assert.NotNull(parameter!["description"]));
    }

    [Fact]
    public async Task Given_no_events_When_they_are_exported_Then_the_file_is_empty()
    {
        using var client = _deployment.ClientOf(_deployment.Hub);
        Assert.Empty(await client.GetByteArrayAsync(new Uri("/api/v1/admin/events", UriKind.Relative)));
    }

    /// <summary>A hub without connectors.</summary>
    public sealed class EmptyHub : IAsyncLifetime
    {
        internal Deployment Deployment { get; private set; } = null!;

        public async Task InitializeAsync() => Deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique)).StartAsync();

        public async Task DisposeAsync() => await Deployment.DisposeAsync();
    }
}
