using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using Weasel.Core.Migrations;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>A rebuild makes a new version beside the one in service, which goes on until the new one takes its place.</summary>
public sealed class RebuildTests : IAsyncLifetime
{
    private const string Civil = "civil-records";
    private const string Births = "SELECT coalesce(sum(births), 0) FROM civil_records.indicator WHERE basis = 'registration'";
    private const string State = "SELECT state FROM replay.rebuild";
    private const string Position = "SELECT last_seq_id FROM hub.mt_event_progression WHERE name = 'civil-records:All'";
    private const string NextPosition = "SELECT last_seq_id FROM hub.mt_event_progression WHERE name = 'civil-records:next'";
    private const string NextSchemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%next'";

    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_figures_that_are_read_all_the_time_When_they_are_rebuilt_Then_no_reader_sees_fewer_and_what_arrives_meanwhile_is_in_them_at_once()
    {
        await BirthsAsync(40);
        await _hub.StartNodeAsync("node");
        await Eventually.Equal("40", () => OneAsync(Births));
        using var stop = new CancellationTokenSource();
        var readers = Enumerable.Range(0, 3).Select(_ => Task.Run(() => NeverFewerAsync(40, stop.Token))).ToList();

        // Whoever reads for long keeps the new version waiting, not those that come after.
        // As long as it takes, on a slow machine too.
        await using var reader = new NpgsqlConnection(_hub.ConnectionString);
        await reader.OpenAsync();
        await using var reading = await reader.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand(Births, reader)) await command.ExecuteScalarAsync();
        await AskAsync(Civil);
        await Eventually.Equal("waiting 0", () => OneAsync("SELECT state, differences FROM replay.rebuild WHERE compared_at IS NOT NULL"));
        var compared = await OneAsync("SELECT compared_at FROM replay.rebuild");
        await BirthsAsync(5);
        await Eventually.Equal("45", () => OneAsync(Births));
        Assert.Equal("waiting", await OneAsync(State));
        Assert.Matches("^waits for readers of the figures; tried [1-9] times$", (await Rebuilds.AllAsync(_hub.Database, CancellationToken.None))[Civil].WaitsFor);
        await reading.CommitAsync();

        await Eventually.Equal("completed", () => OneAsync(State));
        await BirthsAsync(1);
        await Eventually.Equal("46", () => OneAsync(Births));
        await stop.CancelAsync();
        Assert.All(await Task.WhenAll(readers), reads => Assert.InRange(reads, 1, int.MaxValue));
        Assert.Equal("40", compared);
        Assert.Equal("-", await OneAsync(NextSchemas));
        Assert.Equal("46", await OneAsync("SELECT count(*) FROM civil_records.act"));
        Assert.Equal("hub projection.replaced civil-records a test", await OneAsync("SELECT who, act, subject, why FROM audit.entry"));
    }

    [Fact]
    public async Task Given_a_rebuild_in_the_middle_When_its_node_is_gone_Then_another_goes_on_where_it_was()
    {
        await BirthsAsync(23);
        await _hub.ProjectAsync();
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(5), 3);
        Assert.Equal(("10", "23"), (await OneAsync(NextPosition), await OneAsync(Births)));
        var started = await OneAsync("SELECT started_at FROM replay.rebuild");
        await _hub.RowsAsync("UPDATE civil_records_next.act SET period = '1999-01'");

        await _hub.StartNodeAsync("another");

        await Eventually.Equal("completed", () => OneAsync(State));
        Assert.Equal(started, await OneAsync("SELECT started_at FROM replay.rebuild"));
        // What was there was not made again.
        Assert.Equal("10", await OneAsync("SELECT count(*) FROM civil_records.act WHERE period = '1999-01'"));
        Assert.Equal(("23", "23"), (await OneAsync(Births), await OneAsync(Position)));
        Assert.Equal("10", await OneAsync("SELECT differences FROM replay.rebuild"));
    }

    [Fact]
    public async Task Given_somebody_who_reads_what_is_being_built_When_it_is_given_up_Then_the_projections_go_on_and_it_is_dropped_later()
    {
        await BirthsAsync(12);
        await _hub.ProjectAsync();
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(5), 2);
        await using var backup = new NpgsqlConnection(_hub.ConnectionString);
        await backup.OpenAsync();
        await using var reading = await backup.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand("SELECT count(*) FROM civil_records_next.act", backup)) await command.ExecuteScalarAsync();

        Assert.True(await Rebuilds.CancelAsync(_hub.Database, Civil, default));
        await _hub.StartNodeAsync("node");
        for (var births = 13; births < 16; births++)
        {
            await BirthsAsync(1);
            await Eventually.Equal($"{births}", () => OneAsync(Births));
        }

        Assert.NotEqual("-", await OneAsync(NextSchemas));
        await reading.CommitAsync();
        await Eventually.Equal("-", () => OneAsync(NextSchemas));
    }

    [Fact]
    public async Task Given_two_nodes_When_the_one_that_rebuilds_is_stopped_Then_the_other_brings_it_to_its_end()
    {
        await BirthsAsync(7);
        var first = await _hub.StartNodeAsync("first");
        await Eventually.Equal("first", () => OneAsync(Leader));
        await Eventually.Equal("7", () => OneAsync(Births));
        await _hub.StartNodeAsync("second");
        // As long as it takes, on a slow machine too.
        await using var reader = new NpgsqlConnection(_hub.ConnectionString);
        await reader.OpenAsync();
        await using var reading = await reader.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand(Births, reader)) await command.ExecuteScalarAsync();
        await AskAsync(Civil);
        await Eventually.Equal("waiting", () => OneAsync(State));

        await first.StopAsync(CancellationToken.None);
        await Eventually.Equal("second", () => OneAsync(Leader));
        await BirthsAsync(2);
        await Eventually.Equal("9", () => OneAsync(Births));
        await reading.CommitAsync();

        await Eventually.Equal("completed", () => OneAsync(State));
        Assert.Equal(("9", "9"), (await OneAsync(Births), await OneAsync(Position)));
        Assert.Equal("1", await OneAsync("SELECT count(*) FROM audit.entry WHERE act = 'projection.replaced'"));
    }

    [Theory]
    [InlineData("UPDATE replay.rebuild SET build = 'another'")]
    [InlineData("ALTER TABLE civil_records.act ADD COLUMN noted text")]
    public async Task Given_a_rebuild_in_the_middle_When_another_build_of_the_hub_goes_on_or_changed_the_tables_Then_it_is_begun_anew(string change)
    {
        await BirthsAsync(12);
        await _hub.ProjectAsync();
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(5), 2);
        await _hub.RowsAsync("UPDATE civil_records_next.act SET period = '1999-01'");

        await _hub.RowsAsync(change);
        var columns = await _hub.RowsAsync("SELECT column_name FROM information_schema.columns WHERE table_schema = 'civil_records' ORDER BY 1");
        await EndAsync(Rebuilder(5));

        Assert.Equal("completed", await OneAsync(State));
        Assert.Equal("0", await OneAsync("SELECT count(*) FROM civil_records.act WHERE period = '1999-01'"));
        Assert.Equal("12", await OneAsync(Births));
        Assert.Equal(columns, await _hub.RowsAsync("SELECT column_name FROM information_schema.columns WHERE table_schema = 'civil_records' ORDER BY 1"));
    }

    [Fact]
    public async Task Given_a_rebuild_in_the_middle_When_it_is_cancelled_Then_nothing_of_it_is_left_and_another_may_be_asked_for()
    {
        await BirthsAsync(12);
        await _hub.ProjectAsync();
        await AskAsync(Civil);
        var rebuilder = Rebuilder(5);
        await TurnsAsync(rebuilder, 2);

        Assert.True(await Rebuilds.CancelAsync(_hub.Database, Civil, CancellationToken.None));
        await TurnsAsync(rebuilder, 1);

        Assert.Equal(("cancelled", "-", "-", "12"), (await OneAsync(State), await OneAsync(NextSchemas), await OneAsync(NextPosition), await OneAsync(Births)));
        Assert.False(await Rebuilds.CancelAsync(_hub.Database, Civil, CancellationToken.None));
        var rebuild = (await Rebuilds.AllAsync(_hub.Database, CancellationToken.None))[Civil];
        Assert.Equal((5, false), (rebuild.Position, rebuild.IsActive));
        await AskAsync(Civil);
        await EndAsync(rebuilder);
        Assert.Equal("completed", await OneAsync(State));
    }

    [Fact]
    public async Task Given_rows_altered_by_hand_When_rebuilt_Then_they_are_listed_and_as_the_events_say_again()
    {
        await BirthsAsync(3);
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "altered", Tinteniac);
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "gone", Tinteniac);
        await _hub.ProjectAsync();
        await AlterAsync();
        var altered = await TablesAsync();

        await AskAsync(Civil, dryRun: true);
        await EndAsync(Rebuilder(2));
        // A dry run leaves all as it was.
        Assert.Equal(altered, await TablesAsync());
        Assert.Equal(("completed", "-", "-"), (await OneAsync(State), await OneAsync(NextSchemas), await OneAsync(NextPosition)));
        var dry = await Rebuilds.DifferencesAsync(_hub.Database, Civil, CancellationToken.None);
        await AskAsync(Civil);
        await EndAsync(Rebuilder(2));

        var found = await Rebuilds.DifferencesAsync(_hub.Database, Civil, CancellationToken.None);
        Assert.Equivalent(new TableDifferences[] { new("civil_records.act", 3), new("civil_records.indicator", 1) }, found!.Tables);
        Assert.Equal(
            [
                """civil_records.act {"commune":"35085","kind":"Birth","subject":"made up"} {"period":"2026-11","annulled":false,"residence":null} -""",
                """civil_records.act {"commune":"35337","kind":"Birth","subject":"altered"} {"period":"1999-01","annulled":false,"residence":null} {"period":"2026-11","annulled":false,"residence":null}""",
                """civil_records.act {"commune":"35337","kind":"Birth","subject":"gone"} - {"period":"2026-11","annulled":false,"residence":null}""",
                """civil_records.indicator {"basis":"registration","commune":"35085","period":"2026-11"} {"pacs":0,"births":103,"deaths":0,"marriages":0,"name_changes":0,"recognitions":0} {"pacs":0,"births":3,"deaths":0,"marriages":0,"name_changes":0,"recognitions":0}""",
            ],
            found.Items.Select(item => $"{item.Table} {Text(item.Key)} {Text(item.InService)} {Text(item.Rebuilt)}"));
        Assert.Equal(found.Items.Count, dry!.Items.Count);
        Assert.Equal(("5", "5"), (await OneAsync(Births), await OneAsync("SELECT count(*) FROM civil_records.act WHERE period = '2026-11'")));

        async Task AlterAsync()
        {
            await _hub.RowsAsync("UPDATE civil_records.indicator SET births = births + 100 WHERE commune = '35085' AND basis = 'registration'");
            await _hub.RowsAsync("UPDATE civil_records.act SET period = '1999-01' WHERE subject = 'altered'");
            await _hub.RowsAsync("DELETE FROM civil_records.act WHERE subject = 'gone'");
            await _hub.RowsAsync("INSERT INTO civil_records.act VALUES ('35085', 'Birth', 'made up', '2026-11', NULL, false)");
        }

        static string Text(System.Text.Json.JsonElement? json) => json?.GetRawText().Replace(" ", "", StringComparison.Ordinal).Replace("madeup", "made up", StringComparison.Ordinal) ?? "-";
    }

    [Fact]
    public async Task Given_more_differences_than_are_listed_When_compared_Then_all_are_counted()
    {
        await BirthsAsync(130);
        await _hub.ProjectAsync();
        await _hub.RowsAsync("UPDATE civil_records.act SET annulled = true");

        await AskAsync(Civil, dryRun: true);
        await EndAsync(Rebuilder(1000));

        var found = await Rebuilds.DifferencesAsync(_hub.Database, Civil, CancellationToken.None);
        Assert.Equal((130, Comparison.MostListed), (found!.Tables[0].Differences, found.Items.Count));
        Assert.Equal("130", await OneAsync("SELECT differences FROM replay.rebuild"));
    }

    [Fact]
    public async Task Given_pages_cut_otherwise_When_compared_Then_rows_that_say_nothing_are_no_difference()
    {
        for (var number = 0; number < 4; number++)
        {
            await _hub.ArriveAsync(new PupilEnrolled(Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, Combourg, new DateOnly(2026, 9, 1)), $"{number}");
            await _hub.ArriveAsync(new PupilWithdrawn(Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, Combourg, new DateOnly(2026, 9, 1)), $"{number}");
        }

        await _hub.ProjectAsync();
        await AskAsync("schools", dryRun: true);
        await EndAsync(Rebuilder(1));

        Assert.Equal("completed 0", await OneAsync("SELECT state, differences FROM replay.rebuild"));
    }

    [Theory]
    [InlineData("CREATE VIEW of_our_own AS SELECT * FROM civil_records.indicator", "view of_our_own")]
    [InlineData("CREATE TRIGGER of_our_own BEFORE UPDATE ON civil_records.act FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "trigger of_our_own on table civil_records.act")]
    [InlineData("CREATE STATISTICS of_our_own ON commune, period FROM civil_records.act", "statistics object of_our_own")]
    [InlineData("CREATE TABLE ours (code text PRIMARY KEY); ALTER TABLE civil_records.act ADD CONSTRAINT of_our_own FOREIGN KEY (commune) REFERENCES ours NOT VALID", "constraint of_our_own on table civil_records.act")]
    [InlineData("CREATE POLICY of_our_own ON civil_records.act", "policy of_our_own on table civil_records.act")]
    public async Task Given_something_that_hangs_on_a_table_When_a_rebuild_begins_or_is_to_take_its_place_Then_it_fails_and_names_it_and_nothing_is_changed(string made, string named)
    {
        await BirthsAsync(6);
        await _hub.ProjectAsync();
        await _hub.RowsAsync("UPDATE civil_records.indicator SET births = 7");
        var before = await TablesAsync();

        // Made while it is built.
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(5), 2);
        await _hub.RowsAsync(made);
        await FailsAsync();
        Assert.NotEqual("-", await OneAsync("SELECT started_at FROM replay.rebuild"));

        // Made before.
        await AskAsync(Civil);
        await FailsAsync();
        Assert.Equal("-", await OneAsync("SELECT started_at FROM replay.rebuild"));

        // What leaves the tables does not mind.
        await AskAsync(Civil, dryRun: true);
        await EndAsync(Rebuilder(5));
        Assert.Equal("completed", await OneAsync(State));

        async Task FailsAsync()
        {
            await EndAsync(Rebuilder(5));
            Assert.Equal("failed", await OneAsync(State));
            Assert.Contains(named, await OneAsync("SELECT error FROM replay.rebuild"), StringComparison.Ordinal);
            Assert.Equal(before, await TablesAsync());
            Assert.Equal(("-", "-", "6", "0"), (await OneAsync(NextSchemas), await OneAsync(NextPosition), await OneAsync(Position), await OneAsync("SELECT count(*) FROM audit.entry")));
        }
    }

    [Fact]
    public async Task Given_a_rebuild_that_waits_for_a_reader_When_another_one_is_asked_for_Then_it_is_done_meanwhile()
    {
        await BirthsAsync(3);
        await _hub.StartNodeAsync("node");
        await Eventually.Equal("3", () => OneAsync(Births));
        await using var reader = new NpgsqlConnection(_hub.ConnectionString);
        await reader.OpenAsync();
        await using var reading = await reader.BeginTransactionAsync();
        await using (var command = new NpgsqlCommand(Births, reader)) await command.ExecuteScalarAsync();
        await AskAsync(Civil);
        await Eventually.Equal("waiting", () => OneAsync(State));

        await AskAsync("schools");
        await Eventually.Equal("completed", () => OneAsync($"{State} WHERE projection = 'schools'"));

        Assert.Equal("waiting", await OneAsync($"{State} WHERE projection = '{Civil}'"));
        await reading.CommitAsync();
        await Eventually.Equal("completed", () => OneAsync($"{State} WHERE projection = '{Civil}'"));
    }

    [Fact]
    public async Task Given_a_rebuild_that_waited_for_the_database_When_it_goes_on_Then_it_runs_and_no_other_is_built_beside_it()
    {
        await BirthsAsync(20);
        await _hub.ProjectAsync();
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(2), 2);
        await _hub.RowsAsync("CREATE FUNCTION not_now() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END $$");
        await _hub.RowsAsync("CREATE TRIGGER not_now BEFORE INSERT ON civil_records_next.act FOR EACH ROW EXECUTE FUNCTION not_now()");
        await TurnsAsync(Rebuilder(2), 1);
        Assert.Equal("waiting the database", await OneAsync("SELECT state, waits_for FROM replay.rebuild"));

        await _hub.RowsAsync("DROP FUNCTION not_now CASCADE");
        await _hub.RowsAsync("UPDATE replay.rebuild SET next_try_at = now()");
        await TurnsAsync(Rebuilder(2), 1);

        Assert.Equal("running - - 1", await OneAsync("SELECT state, waits_for, next_try_at, tries FROM replay.rebuild"));
        await AskAsync("schools");
        await TurnsAsync(Rebuilder(2), 1);
        Assert.Equal("requested", await OneAsync($"{State} WHERE projection = 'schools'"));
        await EndAsync(Rebuilder(20));
        Assert.Equal(["completed", "completed"], await _hub.RowsAsync(State));
    }

    [Theory]
    [InlineData("CREATE INDEX our_own ON civil_records.act (period) WHERE period > '2000'", "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%2000%'")]
    [InlineData("ALTER TABLE civil_records.act ADD CONSTRAINT our_own CHECK (period > '') NOT VALID", "SELECT conname FROM pg_constraint WHERE conname = 'our_own' AND conrelid = 'civil_records.act'::regclass")]
    public async Task Given_what_is_made_on_a_table_in_service_while_it_is_rebuilt_When_the_new_one_takes_its_place_Then_it_is_there_still(string made, string kept)
    {
        await BirthsAsync(6);
        await _hub.ProjectAsync();
        // As after an upgrade: the columns of the new table have other numbers.
        await _hub.RowsAsync("ALTER TABLE civil_records.act ADD COLUMN gone text");
        await _hub.RowsAsync("ALTER TABLE civil_records.act DROP COLUMN gone");
        await AskAsync(Civil);
        await TurnsAsync(Rebuilder(5), 2);

        await _hub.RowsAsync(made);
        var before = await _hub.RowsAsync(kept);
        await EndAsync(Rebuilder(5));

        Assert.Equal("completed", await OneAsync(State));
        Assert.Single(before);
        Assert.Equal(before, await _hub.RowsAsync(kept));
    }

    [Fact]
    public async Task Given_a_node_that_stands_still_at_an_event_When_the_event_is_mended_and_rebuilt_Then_the_pause_is_over()
    {
        await BirthsAsync(4);
        await _hub.RowsAsync("CREATE TABLE mended AS SELECT data FROM hub.mt_events WHERE seq_id = 3");
        await _hub.RowsAsync("""UPDATE hub.mt_events SET data = '{"date": 7}' WHERE seq_id = 3""");
        await _hub.StartNodeAsync("node");
        await Eventually.Equal("1", () => OneAsync("SELECT count(*) FROM replay.pause"));
        Assert.Equal(("2", "2"), (await OneAsync(Births), await OneAsync(Position)));

        await AskAsync(Civil);
        // It fails on the same event while that is as it was, and the figures in service stay.
        await Eventually.Equal("failed", () => OneAsync(State));
        Assert.Equal(("2", "1"), (await OneAsync(Births), await OneAsync("SELECT count(*) FROM replay.pause")));

        await _hub.RowsAsync("UPDATE hub.mt_events SET data = (SELECT data FROM mended) WHERE seq_id = 3");
        await AskAsync(Civil);
        await Eventually.Equal("completed", () => OneAsync(State));
        await Eventually.Equal("4", () => OneAsync(Births));
        await Eventually.Equal("0", () => OneAsync("SELECT count(*) FROM replay.pause"));
        await BirthsAsync(1);
        await Eventually.Equal("5", () => OneAsync(Births));
    }

    [Fact]
    public async Task Given_an_event_that_cannot_be_applied_When_rebuilt_Then_the_rebuild_fails_alone()
    {
        await BirthsAsync(20);
        await _hub.StartNodeAsync("node");
        await Eventually.Equal("20", () => OneAsync(Births));
        await _hub.RowsAsync("""UPDATE hub.mt_events SET data = '{"date": 7}' WHERE seq_id = 13""");

        await AskAsync(Civil);
        await Eventually.Equal("failed", () => OneAsync(State));

        Assert.Contains("date", await OneAsync("SELECT error FROM replay.rebuild"), StringComparison.Ordinal);
        Assert.Equal("12", await OneAsync("SELECT position FROM replay.rebuild"));
        await Eventually.Equal("-", () => OneAsync(NextSchemas));
        await BirthsAsync(1);
        await Eventually.Equal("21", () => OneAsync(Births));
        Assert.Equal("0", await OneAsync("SELECT count(*) FROM replay.pause"));
    }

    [Fact]
    public async Task Given_a_projection_that_stands_still_at_an_event_When_a_rebuild_gets_past_it_Then_the_pause_is_over()
    {
        await BirthsAsync(4);
        await _hub.ProjectAsync();
        await BirthsAsync(3);
        await _hub.RowsAsync("INSERT INTO replay.pause VALUES ('civil-records', now(), 'a fault that is mended')");

        await AskAsync(Civil);
        await EndAsync(Rebuilder(2));

        Assert.Equal("completed 4 0 7", await OneAsync("SELECT state, compared_at, differences, position FROM replay.rebuild"));
        Assert.Equal(("7", "7", "0"), (await OneAsync(Births), await OneAsync(Position), await OneAsync("SELECT count(*) FROM replay.pause")));
    }

    [Fact]
    public async Task Given_two_communes_whose_rows_were_altered_When_one_is_rebuilt_alone_Then_the_others_rows_stay()
    {
        foreach (var commune in new[] { Combourg, Tinteniac })
        {
            await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(500), new DateOnly(2026, 11, 20)), "invoice", commune);
            await _hub.ArriveAsync(new PaymentCollected(new Cents(200), new DateOnly(2026, 11, 21), "invoice"), "payment", commune);
        }

        await _hub.ProjectAsync();
        await _hub.RowsAsync("UPDATE payments.summary SET issued = 9");
        await _hub.RowsAsync("UPDATE payments.invoice SET period = '1999-01'");

        Assert.True(await Rebuilds.AskAsync(_hub.Database, "payments", new("me", "a test", Communes: ["35337"]), CancellationToken.None));
        await EndAsync(Rebuilder(2));

        Assert.Equal("completed 2", await OneAsync("SELECT state, differences FROM replay.rebuild"));
        Assert.Equal(["35085 9 200", "35337 500 200"], await _hub.RowsAsync("SELECT commune, sum(issued)::int, sum(collected)::int FROM payments.summary GROUP BY 1 ORDER BY 1"));
        Assert.Equal(["35085 1999-01", "35337 2026-11"], await _hub.RowsAsync("SELECT commune, period FROM payments.invoice ORDER BY 1"));
        Assert.Equal("-", await OneAsync(NextSchemas));
        await _hub.ArriveAsync(new InvoiceReduced(new Cents(100), new DateOnly(2026, 11, 22)), "invoice", Tinteniac);
        await _hub.ProjectAsync();
        Assert.Equal("100", await OneAsync("SELECT sum(reduced)::int FROM payments.summary WHERE commune = '35337'"));
        Assert.Contains("""{"askedBy":"me","position":4,"comparedAt":4,"differences":2,"communes":"35337"}""", await OneAsync("SELECT details FROM audit.entry"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_every_projection_rebuilt_When_the_schema_is_compared_Then_there_is_nothing_to_change_and_rights_given_are_kept()
    {
        await BirthsAsync(1);
        await _hub.ProjectAsync();
        await _hub.RowsAsync("GRANT SELECT ON civil_records.indicator TO PUBLIC");
        await _hub.RowsAsync("GRANT SELECT (period) ON civil_records.act TO PUBLIC");
        await _hub.RowsAsync("CREATE INDEX our_own ON civil_records.act (period)");
        string[] asked = ["SELECT conname, conrelid::regclass::text FROM pg_constraint JOIN pg_namespace n ON n.oid = connamespace WHERE nspname IN ('civil_records', 'schools', 'payments') ORDER BY 1, 2", "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('civil_records', 'schools', 'payments') ORDER BY 1"];
        var before = (await _hub.RowsAsync(asked[0]), await _hub.RowsAsync(asked[1]));
        Assert.Equal((8, 9), (before.Item1.Count, before.Item2.Count));

        foreach (var projection in _hub.Projections)
        {
            await AskAsync(projection.Name);
            await EndAsync(Rebuilder(2));
        }

        Assert.Equal("3", await OneAsync("SELECT count(*) FROM replay.rebuild WHERE state = 'completed'"));
        var missing = await Assert.ThrowsAsync<DatabaseValidationException>(() => _hub.Store.Storage.Database.AssertDatabaseMatchesConfigurationAsync());
        Assert.Equal(1, missing.Message.Split("ALTER TABLE").Length - 1);
        Assert.Contains("fkey_mt_events_stream_id", missing.Message, StringComparison.Ordinal);
        Assert.Equal(before.Item1, await _hub.RowsAsync(asked[0]));
        Assert.Equal(before.Item2, await _hub.RowsAsync(asked[1]));
        Assert.Equal("1", await OneAsync("SELECT count(*) FROM information_schema.role_table_grants WHERE table_schema = 'civil_records' AND grantee = 'PUBLIC'"));
        Assert.Equal("period", await OneAsync("SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'civil_records.act'::regclass AND attacl IS NOT NULL"));
    }

    [Fact]
    public async Task Given_a_store_without_events_When_rebuilt_Then_it_ends()
    {
        await AskAsync(Civil);
        await EndAsync(Rebuilder(5));

        Assert.Equal("completed 0", await OneAsync("SELECT state, position FROM replay.rebuild"));
    }

    private const string Leader = "SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND objid = 1870243 AND datname = current_database() AND granted";

    private async Task BirthsAsync(int count)
    {
        for (var number = 0; number < count; number++) await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), Guid.NewGuid().ToString());
    }

    private async Task<string> OneAsync(string sql) => (await _hub.RowsAsync(sql)).SingleOrDefault() ?? "-";

    private async Task<string> TablesAsync() => string.Join('\n', (await _hub.RowsAsync("SELECT t::text FROM civil_records.act t ORDER BY 1")).Concat(await _hub.RowsAsync("SELECT t::text FROM civil_records.indicator t ORDER BY 1")));

    private async Task AskAsync(string projection, bool dryRun = false) =>
        Assert.True(await Rebuilds.AskAsync(_hub.Database, projection, new("me", "a test", dryRun), CancellationToken.None));

    // Reads as the figures' users do, and ends with how often it did.
    private async Task<int> NeverFewerAsync(long fewest, CancellationToken stop)
    {
        for (var reads = 0; ; reads++)
        {
            if (stop.IsCancellationRequested) return reads;
            var seen = long.Parse(await OneAsync(Births), CultureInfo.InvariantCulture);
            if (seen < fewest) throw new InvalidOperationException($"{seen} births after {fewest} were seen.");
            fewest = seen;
        }
    }

    /// <summary>A rebuild done by hand, a page a turn.</summary>
    private Rebuilder Rebuilder(int pageSize) =>
        new([.. _hub.Projections], _hub.ConnectionString, _hub.Services.GetRequiredService<AuditLog>(), new HastyTime(), NullLogger<Rebuilder>.Instance, pageSize);

    private async Task TurnsAsync(Rebuilder rebuilder, int turns)
    {
        await using var session = await _hub.Database.OpenConnectionAsync();
        for (var turn = 0; turn < turns; turn++) await rebuilder.TurnAsync(session, look: true, CancellationToken.None);
    }

    private async Task EndAsync(Rebuilder rebuilder)
    {
        await using var session = await _hub.Database.OpenConnectionAsync();
        await Eventually.Is(
            async () =>
            {
                await rebuilder.TurnAsync(session, look: true, CancellationToken.None);
                return await OneAsync("SELECT count(*) FROM replay.rebuild WHERE state IN ('requested', 'running', 'comparing', 'waiting')");
            },
            active => active == "0");
        // What is left of it goes with the next look.
        await rebuilder.TurnAsync(session, look: true, CancellationToken.None);
    }

    // Every look at it is a second later.
    private sealed class HastyTime : TimeProvider
    {
        private long _seconds;

        public override long TimestampFrequency => 1;

        public override long GetTimestamp() => Interlocked.Increment(ref _seconds);
    }
}
