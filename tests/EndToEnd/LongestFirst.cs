using Intercommunalite.EndToEnd.Tests.Faults;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>Begins with the tests of faults, which take as long as all others together.</summary>
public sealed class LongestFirst : ITestCollectionOrderer
{
    /// <inheritdoc/>
    public IEnumerable<ITestCollection> OrderTestCollections(IEnumerable<ITestCollection> testCollections) =>
        testCollections.OrderByDescending(collection => collection.DisplayName == nameof(FaultServers)).ThenBy(collection => collection.DisplayName, StringComparer.Ordinal);
}
