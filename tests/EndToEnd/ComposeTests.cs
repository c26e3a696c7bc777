using Intercommunalite.Contracts.Territories;
using Intercommunalite.Testing;
using Xunit;
using YamlDotNet.Serialization;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>No container engine runs here; what can be checked without one is.</summary>
public sealed class ComposeTests
{
    private static readonly Dictionary<string, Dictionary<string, object>> s_services = Read();

    [Fact]
    public void Given_the_compose_file_Then_it_has_the_whole_system_on_loopback_with_health_checks()
    {
        Assert.Superset(new HashSet<string> { "postgres", "rabbitmq", "hub" }, s_services.Keys.ToHashSet());
        Assert.Contains(s_services.Keys, name => name.StartsWith("connector", StringComparison.Ordinal));
        Assert.All(s_services, service =>
        {
            Assert.True(service.Value.ContainsKey("healthcheck"), $"{service.Key} has no health check");
            if (service.Value.TryGetValue("ports", out var ports))
                Assert.All((List<object>)ports, port => Assert.StartsWith("127.0.0.1:", (string)port, StringComparison.Ordinal));
        });
    }

    [Fact]
    public void Given_the_compose_file_Then_services_have_their_settings_and_the_connectors_together_serve_the_territory()
    {
        var hub = Environment("hub");
        Assert.Superset(new HashSet<string> { "ConnectionStrings__Hub", "ConnectionStrings__Keys", "Privacy__MasterKey", "ConnectionStrings__Bus", "Access__Issuer", "Access__BootstrapSecretFile", "Hub__Territory", "Hub__GrpcPort" }, hub.Keys.ToHashSet());
        var served = s_services.Keys.Where(name => name.StartsWith("connector", StringComparison.Ordinal)).SelectMany(name =>
        {
            var connector = Environment(name);
            Assert.True(connector.ContainsKey("ConnectionStrings__Bus") && connector.ContainsKey("Connector__DataDirectory"), $"{name} lacks a setting");
            Assert.Equal("true", connector["Connector__OwnBusUser"]);
            Assert.DoesNotContain("RABBITMQ_PASSWORD", connector["ConnectionStrings__Bus"], StringComparison.Ordinal);
            Assert.Equal(hub["Access__Issuer"], connector["Access__Issuer"]);
            Assert.Contains(new Uri(connector["Access__MetadataAddress"]).Host, hub["AllowedHosts"].Split(';'));
            return connector["Connector__Communes"].Split(',', StringSplitOptions.TrimEntries);
        });
        Assert.Equal(3, s_services.Keys.Where(name => name.StartsWith("connector", StringComparison.Ordinal)).Select(name => Environment(name)["ConnectionStrings__Bus"]).Distinct().Count());
        Assert.Equal(Epci.Find(hub["Hub__Territory"])!.Communes.Select(commune => commune.Code.ToString()), served.Order(StringComparer.Ordinal));
    }

    private static Dictionary<string, string> Environment(string service) =>
        ((Dictionary<object, object>)s_services[service]["environment"]).ToDictionary(pair => (string)pair.Key, pair => (string)pair.Value);

    private static Dictionary<string, Dictionary<string, object>> Read()
    {
        var text = File.ReadAllText(RepositoryRoot.Combine("docker-compose.yml"));
        var merged = new YamlDotNet.Core.MergingParser(new YamlDotNet.Core.Parser(new StringReader(text)));
        var compose = new DeserializerBuilder().Build().Deserialize<Dictionary<string, object>>(merged);
        return ((Dictionary<object, object>)compose["services"]).ToDictionary(
            service => (string)service.Key,
            service => ((Dictionary<object, object>)service.Value).ToDictionary(setting => (string)setting.Key, setting => setting.Value));
    }
}
