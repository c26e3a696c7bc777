using System.Net;
using System.Net.Http.Json;
using Intercommunalite.Hub.Access;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed class RoutesTests(HubApp hub) : IClassFixture<HubApp>
{
    [Theory]
    [InlineData("/communes", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html")]
    [InlineData("/communes", "application/json", "application/problem+json")]
    [InlineData("/communes", "*/*", "application/problem+json")]
    [InlineData("/api/v1/nothing", "text/html,*/*;q=0.8", "application/problem+json")]
    public async Task Given_an_address_that_there_is_not_When_it_is_opened_in_a_browser_Then_a_page_says_so_and_programs_get_a_problem(string path, string accept, string expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", accept);
        using var answer = await hub.Anyone.SendAsync(request);

        Assert.Equal((HttpStatusCode.NotFound, expected), (answer.StatusCode, answer.Content.Headers.ContentType?.MediaType));
        var text = await answer.Content.ReadAsStringAsync();
        if (expected != "text/html") return;
        Assert.Contains("Page introuvable", text, StringComparison.Ordinal);
        Assert.Contains("frame-ancestors 'none'", answer.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public void Given_all_routes_and_methods_Then_each_states_its_rule()
    {
        var rules = typeof(Rules).GetFields().Where(field => field.IsLiteral).Select(field => (string)field.GetRawConstantValue()!).ToHashSet();

        var without = Endpoints().Where(endpoint => endpoint.Metadata.GetMetadata<IAllowAnonymous>() is null
            && !endpoint.Metadata.OfType<IAuthorizeData>().Any(authorize => authorize.Policy is { } policy && rules.Contains(policy)));

        // The framework's own answer, as built and not published, to a file that is none of the assets: whoever asks for it is refused.
        Assert.Equal(["{**path:file}"], without.Select(Name));
    }

    [Fact]
    public void Given_all_routes_and_methods_Then_those_for_everybody_are_few_and_known()
    {
        var open = Endpoints().Where(endpoint => endpoint.Metadata.GetMetadata<IAllowAnonymous>() is not null).Select(Name).Distinct()
            // The pages' styles and scripts.
            .Where(name => !name.Contains('.', StringComparison.Ordinal) || name.StartsWith("grpc", StringComparison.Ordinal) || name.StartsWith("openapi", StringComparison.Ordinal));

        Assert.Equal(
            ["api/v1/access/bootstrap", "compte/code", "compte/connexion", "compte/refus", "connect/token", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", "health/live", "health/ready", "openapi/{documentName}.json"],
            open.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Given_calls_that_are_narrowed_or_explained_When_they_are_made_Then_the_audit_has_by_what_and_why()
    {
        using var export = await hub.Administrator.GetAsync(new Uri("/api/v1/admin/events?from=2026-01-01&to=2026-01-31&commune=35085&type=fr.intercommunalite.schools.*", UriKind.Relative));
        using var all = await hub.Administrator.GetAsync(new Uri("/api/v1/admin/events", UriKind.Relative));
        using var retry = await hub.Administrator.PostAsync(new Uri("/api/v1/admin/quarantine/retry?reason=data.level:%20missing&commune=35085", UriKind.Relative), null);
        using var discard = await hub.Administrator.PostAsJsonAsync("/api/v1/admin/quarantine/7/discard", new { reason = "sent by mistake" });

        Assert.Equal((200, 200, 200, 404), ((int)export.StatusCode, (int)all.StatusCode, (int)retry.StatusCode, (int)discard.StatusCode));
        Assert.Equal(
            """
            events.export - {"from":"2026-01-01","to":"2026-01-31","commune":"35085","type":"fr.intercommunalite.schools.*"}
            events.export - -
            quarantine.retry-all - {"reason":"data.level: missing","commune":"35085"}
            quarantine.discard sent by mistake -
            """,
            await hub.Database.ScalarAsync("SELECT string_agg(concat_ws(' ', act, coalesce(why, '-'), coalesce(details, '-')), E'\n' ORDER BY seq) FROM audit.entry WHERE act LIKE 'events.%' OR act LIKE 'quarantine.%'"));
    }

    private IEnumerable<RouteEndpoint> Endpoints() => hub.Services.GetServices<EndpointDataSource>().SelectMany(source => source.Endpoints).OfType<RouteEndpoint>();

    private static string Name(RouteEndpoint endpoint)
    {
        var path = endpoint.RoutePattern.RawText!.TrimStart('/');
        return path.StartsWith("grpc.", StringComparison.Ordinal) ? path.Split('/')[0] : path;
    }
}
