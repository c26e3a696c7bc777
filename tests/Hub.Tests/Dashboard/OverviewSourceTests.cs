using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Dashboard;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Territory;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Dashboard;

/// <summary>Open pages are told what changed.</summary>
public sealed class OverviewSourceTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_rows_of_communes_that_a_rebuild_replaces_When_neither_position_nor_total_changes_Then_the_pages_are_told_all_the_same()
    {
        foreach (var commune in new[] { Combourg, Tinteniac }) await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(500), new DateOnly(2026, 11, 20)), "invoice", commune);
        await _hub.ProjectAsync();
        await _hub.RowsAsync("UPDATE payments.summary SET issued = issued + CASE commune WHEN '35085' THEN 100 ELSE -100 END");
        var (positions, schema) = (_hub.Services.GetRequiredService<Positions>(), _hub.Services.GetRequiredService<StoreSchema>());
        await schema.StartAsync(CancellationToken.None);
        await positions.StartAsync(CancellationToken.None);
        await positions.Known.WaitAsync(Eventually.DefaultTimeout);
        using var source = new OverviewSource(
            _hub.Database, schema, positions, new SimulatedEvents(_hub.Database), _hub.Services.GetRequiredService<Epci>(), _hub.Services.GetRequiredService<TerritoryClock>(),
            NullLogger<OverviewSource>.Instance);
        Assert.Equal([400, 600], Issued(await source.ReadAsync(CancellationToken.None)));
        var told = new List<Shown>();
        using var watch = source.Watch(told.Add);
        var moved = positions.Moved;

        await _hub.RebuildAsync("payments", communes: ["35085", "35337"]);

        await moved.WaitAsync(Eventually.DefaultTimeout);
        _hub.Clock.Now += TimeSpan.FromSeconds(2);
        await source.ReadAsync(CancellationToken.None);
        Assert.Equal([500, 500], Issued(Assert.Single(told)));
        await positions.StopAsync(CancellationToken.None);
    }

    private static IEnumerable<long> Issued(Shown shown) => shown.Overview!.Communes.Select(row => row.Figures.Issued).Where(issued => issued > 0).Order();
}
