using Intercommunalite.Hub.Access;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed class RoutesTests(HubApp hub) : IClassFixture<HubApp>
{
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

    private IEnumerable<RouteEndpoint> Endpoints() => hub.Services.GetServices<EndpointDataSource>().SelectMany(source => source.Endpoints).OfType<RouteEndpoint>();

    private static string Name(RouteEndpoint endpoint)
    {
        var path = endpoint.RoutePattern.RawText!.TrimStart('/');
        return path.StartsWith("grpc.", StringComparison.Ordinal) ? path.Split('/')[0] : path;
    }
}
