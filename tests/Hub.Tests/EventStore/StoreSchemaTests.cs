using Intercommunalite.Hub.EventStore;
using Weasel.Core.Migrations;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

public sealed class StoreSchemaTests(HubStore hub) : IClassFixture<HubStore>
{
    [Fact]
    public async Task Given_the_tables_When_they_are_compared_Then_only_the_streams_key_that_the_append_does_without_is_missing()
    {
        var missing = await Assert.ThrowsAsync<DatabaseValidationException>(() => hub.Store.Storage.Database.AssertDatabaseMatchesConfigurationAsync());

        Assert.Equal(1, missing.Message.Split("ALTER TABLE").Length - 1);
        Assert.DoesNotContain("CREATE TABLE", missing.Message, StringComparison.Ordinal);
        Assert.Contains("fkey_mt_events_stream_id", missing.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_schema_as_this_version_made_it_When_the_hub_starts_again_Then_it_is_left_alone_else_mended()
    {
        await ExecuteAsync("ALTER TABLE replay.rebuild DROP COLUMN error");
        await StoreSchema.ApplyAsync(hub.Store, hub.Database, CancellationToken.None);
        Assert.Empty(await ErrorColumnAsync());

        await ExecuteAsync("COMMENT ON SCHEMA hub IS 'an older one'");
        // As it was before each build of the hub had versions of its own.
        await ExecuteAsync("ALTER TABLE replay.past DROP COLUMN build");
        await ExecuteAsync("ALTER TABLE replay.past ADD COLUMN build text NOT NULL, ADD CONSTRAINT pkey_past_projection_position PRIMARY KEY (projection, position)");
        await StoreSchema.ApplyAsync(hub.Store, hub.Database, CancellationToken.None);
        Assert.Single(await ErrorColumnAsync());
        Assert.Equal(["3"], await hub.RowsAsync("SELECT cardinality(conkey) FROM pg_constraint WHERE conrelid = 'replay.past'::regclass AND contype = 'p'"));
        Assert.Empty(await hub.RowsAsync("SELECT 1 FROM pg_constraint WHERE conname = 'fkey_mt_events_stream_id'"));
    }

    private Task<IReadOnlyList<string>> ErrorColumnAsync() =>
        hub.RowsAsync("SELECT 1 FROM information_schema.columns WHERE table_schema = 'replay' AND table_name = 'rebuild' AND column_name = 'error'");

    private async Task ExecuteAsync(string sql)
    {
        await using var command = hub.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
