using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
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

    [Fact]
    public async Task Given_a_newer_build_that_changed_a_column_and_counted_otherwise_When_it_is_taken_back_Then_the_older_one_mends_the_tables_and_rebuilds_the_figures()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/1");
        await _hub.ProjectAsync();
        await _hub.RowsAsync($"INSERT INTO replay.build VALUES ('{Rebuilder.Build}', now() - interval '1 day', now(), now() - interval '1 day'), ('newer', now(), now() + interval '1 h', now())");
        await _hub.RowsAsync("ALTER TABLE civil_records.act ADD COLUMN of_the_newer text NOT NULL DEFAULT ''");
        await _hub.RowsAsync("ALTER TABLE civil_records.act ALTER COLUMN of_the_newer DROP DEFAULT");
        await _hub.RowsAsync("COMMENT ON SCHEMA hub IS 'the newer one'");
        await _hub.RowsAsync("UPDATE civil_records.indicator SET births = births + 1000 WHERE births > 0");
        await _hub.StartNodeAsync("older");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/2");

        await _hub.RowsAsync("UPDATE replay.build SET seen_at = now() - interval '31 s' WHERE build = 'newer'");

        await Eventually.Equal("2", async () => (await _hub.RowsAsync("SELECT sum(births) FROM civil_records.indicator WHERE basis = 'registration'")).Single());
        await Eventually.Equal("3", async () => (await _hub.RowsAsync("SELECT count(*) FROM replay.rebuild WHERE state = 'completed' AND asked_by = 'hub'")).Single());
        Assert.Equal(["0"], await _hub.RowsAsync(Columns));
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM replay.pause"));

        // Once: another node of this build finds them as they are to be.
        await _hub.RowsAsync("DELETE FROM replay.rebuild");
        await using var session = await _hub.Database.OpenConnectionAsync();
        Assert.False(await Builds.HasNewerWrittenAsync(session, CancellationToken.None));
    }

    [Fact]
    public async Task Given_a_node_whose_host_does_not_start_When_another_one_starts_Then_that_projects_and_the_first_gives_no_sign()
    {
        await _hub.StartNodeAsync("first", hostStarts: false);
        await _hub.StartNodeAsync("second");

        await Eventually.Is(() => _hub.RowsAsync("SELECT led_at FROM replay.build"), led => led is [not "-"]);
        Assert.Equal(["second"], await _hub.RowsAsync("SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('first', 'second')"));
    }
}
