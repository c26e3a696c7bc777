using Intercommunalite.Hub.EventStore;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

public sealed class BuildsTests : IAsyncLifetime
{
    private const string Columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'civil_records' AND column_name = 'of_the_newer'";

    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_a_newer_build_of_the_hub_at_work_When_a_node_of_an_older_one_starts_Then_the_tables_stay_as_the_newer_one_needs_them()
    {
        await _hub.RowsAsync($"INSERT INTO replay.build VALUES ('{Rebuilder.Build}', now() - interval '1 day', now() - interval '1 h'), ('newer', now(), now() + interval '1 h')");
        await _hub.RowsAsync("ALTER TABLE civil_records.act ADD COLUMN of_the_newer text");
        await _hub.RowsAsync("COMMENT ON SCHEMA hub IS 'the newer one'");
        var schema = _hub.Services.GetRequiredService<StoreSchema>();

        await schema.StartAsync(CancellationToken.None);
        await schema.Applied.WaitAsync(Eventually.DefaultTimeout);

        Assert.Equal(["1"], await _hub.RowsAsync(Columns));
        Assert.Equal(["the newer one"], await _hub.RowsAsync("SELECT obj_description('hub'::regnamespace, 'pg_namespace')"));
    }
}
