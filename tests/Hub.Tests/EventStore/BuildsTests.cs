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

        await Eventually.Equal("2", BirthsAsync);
        await Eventually.Equal("3", async () => (await _hub.RowsAsync("SELECT count(*) FROM replay.rebuild WHERE state = 'completed' AND asked_by = 'hub'")).Single());
        Assert.Equal(["0"], await _hub.RowsAsync(Columns));
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM replay.pause"));

        // Once: another node of this build finds them as they are to be.
        await _hub.RowsAsync("DELETE FROM replay.rebuild");
        await using var session = await _hub.Database.OpenConnectionAsync();
        Assert.False(await Builds.HasOtherWrittenAsync(session, CancellationToken.None));
    }

    [Fact]
    public async Task Given_a_dry_run_of_a_newer_build_under_way_When_that_is_taken_back_Then_the_figures_that_it_counted_are_rebuilt_all_the_same()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/1");
        await _hub.ProjectAsync();
        await _hub.RowsAsync($"INSERT INTO replay.build VALUES ('{Rebuilder.Build}', now() - interval '1 day', now(), now() - interval '1 day'), ('newer', now(), now() - interval '31 s', now())");
        await _hub.RowsAsync("UPDATE civil_records.indicator SET births = births + 1000 WHERE births > 0");
        await _hub.RowsAsync("""
            INSERT INTO replay.rebuild (projection, state, target, changed_at, asked_at, asked_by, reason, dry_run, build)
            VALUES ('civil-records', 'running', 0, now(), now(), 'admin', 'what would it be', true, 'newer')
            """);

        await _hub.StartNodeAsync("older");

        await Eventually.Equal("1", BirthsAsync);
    }

    [Fact]
    public async Task Given_a_build_that_an_older_one_took_over_from_When_it_comes_back_Then_it_rebuilds_what_that_counted()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/1");
        await _hub.ProjectAsync();
        await _hub.RowsAsync($"""
            INSERT INTO replay.build VALUES ('{Rebuilder.Build}', now() - interval '1 day', now() - interval '1 h', now() - interval '1 day'),
                ('older', now() - interval '9 days', now() - interval '40 s', now() - interval '1 h')
            """);
        await _hub.RowsAsync("UPDATE civil_records.indicator SET births = births + 1000 WHERE births > 0");

        await _hub.StartNodeAsync("this");

        await Eventually.Equal("1", BirthsAsync);
    }

    [Fact]
    public async Task Given_figures_of_an_older_build_When_a_newer_one_leads_for_the_first_time_Then_it_goes_on_from_them()
    {
        await _hub.RowsAsync($"INSERT INTO replay.build VALUES ('{Rebuilder.Build}', now(), now(), NULL), ('older', now() - interval '9 days', now() - interval '40 s', now() - interval '1 h')");
        await using var session = await _hub.Database.OpenConnectionAsync();

        Assert.False(await Builds.HasOtherWrittenAsync(session, CancellationToken.None));
    }

    [Fact]
    public async Task Given_a_node_that_was_silent_while_an_older_build_made_the_tables_When_it_takes_over_again_Then_it_mends_them_and_rebuilds()
    {
        await _hub.StartNodeAsync("this");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/1");
        await Eventually.Equal("1", BirthsAsync);
        await _hub.RowsAsync("INSERT INTO replay.build VALUES ('older', now() - interval '9 days', now(), clock_timestamp())");
        await _hub.RowsAsync("ALTER TABLE civil_records.indicator DROP COLUMN births");
        await _hub.RowsAsync("COMMENT ON SCHEMA hub IS 'the older one'");

        await _hub.RowsAsync("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'this'");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/2");

        await Eventually.Equal("3", async () => (await _hub.RowsAsync("SELECT count(*) FROM replay.rebuild WHERE state = 'completed' AND asked_by = 'hub'")).Single());
        Assert.Equal("2", await BirthsAsync());
    }

    [Fact]
    public async Task Given_a_node_whose_host_does_not_start_When_another_one_starts_Then_that_projects_and_the_first_gives_no_sign()
    {
        await _hub.StartNodeAsync("first", hostStarts: false);
        await _hub.StartNodeAsync("second");

        await Eventually.Is(() => _hub.RowsAsync("SELECT led_at FROM replay.build"), led => led is [not "-"]);
        Assert.Equal(["second"], await _hub.RowsAsync("SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('first', 'second')"));
    }

    private async Task<string> BirthsAsync() => (await _hub.RowsAsync("SELECT coalesce(sum(births), 0) FROM civil_records.indicator WHERE basis = 'registration'")).Single();
}
