using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Hub.CivilRecords;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>Projections run on one node at a time, see every event once and in order, and stand still only at what cannot be applied.</summary>
public sealed class ProjectorTests : IAsyncLifetime
{
    private const string Lock = "pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objid = 1870243 AND datname = current_database()";
    private const string Births = "SELECT sum(births) FROM civil_records.indicator WHERE basis = 'registration'";
    private const string Position = "SELECT last_seq_id FROM hub.mt_event_progression WHERE name = 'civil-records:All'";

    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_two_nodes_When_the_one_that_projects_loses_its_session_or_stops_Then_one_goes_on_and_every_event_counts_once()
    {
        var first = await _hub.StartNodeAsync("first");
        await Eventually.Equal("first", LeaderAsync);
        await _hub.StartNodeAsync("second");
        await BirthsAsync(3);
        await Eventually.Equal("3", () => OneAsync(Births));

        Assert.Equal("True", await OneAsync($"SELECT pg_terminate_backend(pid) FROM {Lock} AND granted"));
        await BirthsAsync(3);
        await Eventually.Equal("6", () => OneAsync(Births));

        await first.StopAsync(CancellationToken.None);
        await Eventually.Equal("second", LeaderAsync);
        await BirthsAsync(3);
        await Eventually.Equal("9", () => OneAsync(Births));
    }

    [Fact]
    public async Task Given_a_newer_build_of_the_hub_at_work_Then_a_node_leaves_projections_and_rebuilds_to_it_until_it_gives_no_sign_any_longer()
    {
        await BirthsAsync(1);
        await _hub.StartNodeAsync("older");
        await Eventually.Equal("1", () => OneAsync(Births));
        Assert.Equal("older", await LeaderAsync());

        await _hub.RowsAsync("INSERT INTO replay.build VALUES ('newer', clock_timestamp(), clock_timestamp() + interval '1 h')");
        await Eventually.Equal("-", LeaderAsync);
        Assert.Contains("newer build", (await _hub.Services.GetRequiredService<ProjectionStates>().CheckHealthAsync(new())).Description, StringComparison.Ordinal);
        await using (var newer = new NpgsqlConnection(_hub.NodeConnectionString("newer")))
        {
            await newer.OpenAsync();
            await using (var take = new NpgsqlCommand("SELECT pg_advisory_lock(1870243)", newer)) await take.ExecuteNonQueryAsync();
            await BirthsAsync(1);
            Assert.True(await Rebuilds.AskAsync(_hub.Database, IndicatorsProjection.ProjectionName, new("me", "a test"), CancellationToken.None));
        }

        // The lock is free, and yet it is left alone.
        var seen = await OneAsync("SELECT seen_at FROM replay.build WHERE build <> 'newer'");
        await Eventually.Is(() => OneAsync("SELECT seen_at FROM replay.build WHERE build <> 'newer'"), again => again != seen);
        Assert.Equal(("-", "1", "requested"), (await LeaderAsync(), await OneAsync(Births), await OneAsync("SELECT state FROM replay.rebuild")));

        await _hub.RowsAsync("UPDATE replay.build SET seen_at = clock_timestamp() - interval '31 s' WHERE build = 'newer'");
        await Eventually.Equal("older", LeaderAsync);
        await Eventually.Equal("completed", () => OneAsync("SELECT state FROM replay.rebuild"));
        await Eventually.Equal("2", () => OneAsync(Births));
    }

    [Fact]
    public async Task Given_a_node_that_froze_When_its_session_stays_silent_Then_another_takes_over()
    {
        await using var frozen = new NpgsqlConnection(_hub.NodeConnectionString("frozen"));
        await frozen.OpenAsync();
        await using (var take = new NpgsqlCommand("SELECT pg_advisory_lock(1870243)", frozen)) await take.ExecuteNonQueryAsync();
        await BirthsAsync(1);

        await _hub.StartNodeAsync("other");

        await Eventually.Equal("other", LeaderAsync);
        await Eventually.Equal("1", () => OneAsync(Births));
    }

    [Fact]
    public async Task Given_a_page_being_applied_When_another_node_moves_the_projection_meanwhile_Then_the_page_fails_and_changes_nothing()
    {
        await BirthsAsync(1);
        await _hub.ProjectAsync();
        await BirthsAsync(2);
        await using var other = await _hub.Database.OpenConnectionAsync();
        await using var transaction = await other.BeginTransactionAsync();
        await using (var move = new NpgsqlCommand("UPDATE hub.mt_event_progression SET last_seq_id = 2 WHERE name = 'civil-records:All'", other))
            await move.ExecuteNonQueryAsync();

        await using var connection = await _hub.Database.OpenConnectionAsync();
        var page = _hub.Projections.Single(projection => projection.Name == IndicatorsProjection.ProjectionName).AdvanceAsync(connection, 10, CancellationToken.None);
        await WaitsAsync("transactionid");
        await transaction.CommitAsync();

        await Assert.ThrowsAsync<InvalidOperationException>(() => page);
        Assert.Equal("2", await OneAsync(Position));
        Assert.Equal("1", await OneAsync(Births));
        Assert.Equal("1", await OneAsync("SELECT count(*) FROM civil_records.act"));
    }

    [Fact]
    public async Task Given_an_append_that_is_not_committed_When_another_one_comes_Then_it_waits_so_that_no_later_position_is_seen_first()
    {
        var earlier = HubStore.Incoming(HubStore.Event(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "earlier"), Guid.NewGuid(), 1);
        await using var connection = await _hub.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var batch = new NpgsqlBatch(connection, transaction);
        batch.AppendEvents([earlier.Read!]);
        await batch.ExecuteNonQueryAsync();

        var later = _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "2"), "later", HubStore.Tinteniac);
        await WaitsAsync("advisory");
        await _hub.ProjectAsync();
        Assert.Equal("-", await OneAsync(Births));
        Assert.False(later.IsCompleted);
        await transaction.CommitAsync();
        await later;

        await _hub.ProjectAsync();
        Assert.Equal("2", await OneAsync(Births));
        Assert.Equal(
            ["1 35085/civil-records/earlier", "2 35337/civil-records/later"], await _hub.RowsAsync("SELECT seq_id, stream_id FROM hub.mt_events ORDER BY seq_id"));
    }

    [Fact]
    public async Task Given_an_event_that_cannot_be_applied_When_it_is_mended_Then_its_projection_goes_on_by_itself_and_the_others_never_stopped()
    {
        await BirthsAsync(20);
        var broken = (await _hub.RowsAsync("SELECT max(seq_id) FROM hub.mt_events")).Single();
        await BirthsAsync(20);
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(500), new DateOnly(2026, 11, 20)), "invoice");
        var end = (await _hub.RowsAsync("SELECT max(seq_id) FROM hub.mt_events")).Single();
        await _hub.RowsAsync($"CREATE TABLE mended AS SELECT data FROM hub.mt_events WHERE seq_id = {broken}");
        await _hub.RowsAsync($"UPDATE hub.mt_events SET data = '{{\"date\": 7}}' WHERE seq_id = {broken}");

        await _hub.StartNodeAsync("node");

        await Eventually.Equal(IndicatorsProjection.ProjectionName, () => OneAsync("SELECT string_agg(projection, ' ') FROM replay.pause"));
        Assert.Contains("date", await OneAsync("SELECT reason FROM replay.pause"), StringComparison.Ordinal);
        Assert.Equal("19", await OneAsync(Births));
        Assert.Equal($"{long.Parse(broken, System.Globalization.CultureInfo.InvariantCulture) - 1}", await OneAsync(Position));
        await Eventually.Equal($"{end} {end}", () => OneAsync("SELECT string_agg(last_seq_id::text, ' ') FROM hub.mt_event_progression WHERE name IN ('payments:All', 'schools:All')"));

        await _hub.RowsAsync($"UPDATE hub.mt_events SET data = (SELECT data FROM mended) WHERE seq_id = {broken}");
        await Eventually.Equal(end, () => OneAsync(Position));
        Assert.Equal("40", await OneAsync(Births));
        await Eventually.Equal("0", () => OneAsync("SELECT count(*) FROM replay.pause"));

    }

    private async Task BirthsAsync(int count)
    {
        for (var number = 0; number < count; number++) await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), Guid.NewGuid().ToString());
    }

    private async Task<string> OneAsync(string sql) => (await _hub.RowsAsync(sql)).SingleOrDefault() ?? "-";

    private Task<string> LeaderAsync() => OneAsync($"SELECT application_name FROM {Lock} AND granted");

    private Task WaitsAsync(string lockType) =>
        Eventually.Equal("1", () => OneAsync($"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = '{lockType}'"));
}
