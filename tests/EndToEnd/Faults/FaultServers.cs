using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

[assembly: TestCollectionOrderer("Intercommunalite.EndToEnd.Tests.Faults.LongestFirst", "Intercommunalite.EndToEnd")]

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>
/// PostgreSQL and RabbitMQ of the fault suite's own, started once for each part of it; each scenario takes them empty. Two halves
/// last about as long, side by side: a scenario waits for more than half of its time. What must take over in a few seconds is alone, after all else.
/// </summary>
public sealed class FaultServers : IAsyncLifetime
{
    /// <summary>One half of the suite.</summary>
    public const string First = "faults, first half";

    /// <summary>The other half, on servers of its own.</summary>
    public const string Second = "faults, second half";

    /// <summary>What has the machine to itself.</summary>
    public const string Alone = "faults, alone";

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

/// <summary>The test classes of the first half.</summary>
[CollectionDefinition(FaultServers.First)]
public sealed class FirstFaultServers : ICollectionFixture<FaultServers>;

/// <summary>The test classes of the second half.</summary>
[CollectionDefinition(FaultServers.Second)]
public sealed class SecondFaultServers : ICollectionFixture<FaultServers>;

/// <summary>The test classes beside which nothing runs.</summary>
[CollectionDefinition(FaultServers.Alone, DisableParallelization = true)]
public sealed class LoneFaultServers : ICollectionFixture<FaultServers>;

/// <summary>The two halves begin, so that neither is left over at the end.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderByDescending(collection => collection.DisplayName is FaultServers.First or FaultServers.Second);
}
