using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>PostgreSQL and RabbitMQ of the fault suite's own, started once; each scenario takes them empty.</summary>
public sealed class FaultServers : IAsyncLifetime
{
    /// <summary>The servers.</summary>
    public PrivateServers Servers { get; private set; } = null!;

    /// <inheritdoc/>
    public async Task InitializeAsync() => Servers = await PrivateServers.StartAsync();

    /// <inheritdoc/>
    public async Task DisposeAsync() => await Servers.DisposeAsync();
}

/// <summary>The test classes that share the servers.</summary>
[CollectionDefinition(nameof(FaultServers))]
public sealed class SharedFaultServers : ICollectionFixture<FaultServers>;
