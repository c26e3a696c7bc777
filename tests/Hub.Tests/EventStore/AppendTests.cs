using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>Our append writes Marten's tables; a new version of Marten that changed them would show here.</summary>
public sealed class AppendTests(HubStore hub) : IClassFixture<HubStore>
{
    [Fact]
    public async Task Given_the_same_facts_When_appended_by_the_hub_and_by_Marten_Then_the_rows_are_the_same()
    {
        var facts = new DeathRegistered(PartialDate.Parse("2026-11"), null, Tinteniac, Combourg);
        await hub.ArriveAsync(facts, "ours");
        await using (var session = hub.Store.LightweightSession())
        {
            session.Events.Append("35085/civil-records/theirs", facts);
            await session.SaveChangesAsync();
        }

        foreach (var table in (string[])["mt_events", "mt_streams"])
        {
            var columns = string.Join(", ", await hub.RowsAsync($"""
                SELECT column_name FROM information_schema.columns WHERE table_schema = 'hub' AND table_name = '{table}'
                AND column_name NOT IN ('seq_id', 'id', 'stream_id', 'timestamp', 'created', 'headers') ORDER BY ordinal_position
                """));
            var key = table == "mt_events" ? "stream_id" : "id";
            var ours = Assert.Single(await hub.RowsAsync($"SELECT {columns} FROM hub.{table} WHERE {key} = '35085/civil-records/ours'"));
            var theirs = Assert.Single(await hub.RowsAsync($"SELECT {columns} FROM hub.{table} WHERE {key} = '35085/civil-records/theirs'"));
            Assert.Equal(theirs, ours);
        }
    }

    [Fact]
    public async Task Given_a_stream_of_the_hubs_When_Marten_reads_and_appends_Then_it_goes_on()
    {
        await hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "shared");
        await hub.ArriveAsync(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-21")), "shared");
        await using var session = hub.Store.LightweightSession();
        session.Events.Append("35085/civil-records/shared", new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-22")));
        await session.SaveChangesAsync();

        await hub.ArriveAsync(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-23")), "shared");

        var stream = await session.Events.FetchStreamAsync("35085/civil-records/shared");
        Assert.Equal([1L, 2L, 3L, 4L], stream.Select(stored => stored.Version));
        Assert.Equal(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), stream[0].Data);
    }
}
