using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>PostgreSQL and RabbitMQ of the fault suite's own, started once; each scenario takes them empty.</summary>
public sealed class FaultServers : IAsyncLifetime
{
    private readonly Lazy<Task<PrivateServers>> _others = new(() => PrivateServers.StartAsync());

    /// <summary>The servers.</summary>
    public PrivateServers Servers { get; private set; } = null!;

    /// <summary>A second pair, started when first asked for, so that two scenarios can last at the same time.</summary>
    public Task<PrivateServers> OthersAsync() => _others.Value;

    /// <inheritdoc/>
    public async Task InitializeAsync() => Servers = await PrivateServers.StartAsync();

    /// <inheritdoc/>
    public async Task DisposeAsync()
    {
        await Servers.DisposeAsync();
        if (_others.IsValueCreated) await (await _others.Value).DisposeAsync();
    }
}

/// <summary>The test classes that share the servers.</summary>
[CollectionDefinition(nameof(FaultServers), DisableParallelization = true)]
public sealed class SharedFaultServers : ICollectionFixture<FaultServers>;
