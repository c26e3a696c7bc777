using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.EventStore;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>Where the store was at a time.</summary>
public sealed class PositionsTests(HubStore hub) : IClassFixture<HubStore>
{
    private static readonly DateTimeOffset s_begin = new(2026, 3, 1, 8, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("UTC")]
    [InlineData("Europe/Paris")]
    public async Task Given_times_out_of_order_and_positions_left_out_When_a_time_is_looked_up_Then_it_is_as_if_all_events_were_looked_through(string timeZone)
    {
        await using var zoned = Npgsql.NpgsqlDataSource.Create(new Npgsql.NpgsqlConnectionStringBuilder(hub.ConnectionString) { Timezone = timeZone }.ConnectionString);
        using var positions = new Positions(zoned, hub.Services.GetRequiredService<StoreSchema>(), hub.Projections, Microsoft.Extensions.Logging.Abstractions.NullLogger<Positions>.Instance);
        await hub.RowsAsync("TRUNCATE hub.mt_events");
        Assert.Equal((0, 0), (await positions.AtAsync(s_begin, default), await positions.BeforeAsync(s_begin, default)));
        await hub.ArriveAsync([.. Enumerable.Range(0, 400).Select(n => HubStore.Event(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), $"{timeZone}-{n}"))]);
        await hub.RowsAsync("DELETE FROM hub.mt_events WHERE seq_id % 7 = 3 OR seq_id % 100 BETWEEN 40 AND 60");
        // Twenty seconds apart, some of them up to a minute back; none in an hour in the middle.
        await hub.RowsAsync($"""
            SET TimeZone = '{timeZone}';
            UPDATE hub.mt_events SET timestamp = timestamp '2026-03-01 08:00' + seq_id * interval '20 s' - (seq_id * 7919 % 61) * interval '1 s' + CASE WHEN seq_id > 200 THEN interval '1 h' ELSE interval '0' END
            """);
        var stored = (await hub.RowsAsync($"SET TimeZone = '{timeZone}'; SELECT seq_id, extract(epoch FROM timestamp::timestamp)::bigint FROM hub.mt_events ORDER BY seq_id"))
            .Select(row => row.Split(' ')).Select(row => (Position: long.Parse(row[0], CultureInfo.InvariantCulture), At: DateTimeOffset.FromUnixTimeSeconds(long.Parse(row[1], CultureInfo.InvariantCulture)))).ToList();
        Assert.Contains(stored.Zip(stored.Skip(1)), pair => pair.First.At > pair.Second.At);

        for (var time = s_begin.AddMinutes(-3); time < stored[^1].At.AddMinutes(5); time = time.AddSeconds(37))
        {
            var at = await positions.AtAsync(time, default);
            var before = await positions.BeforeAsync(time, default);
            Assert.Equal(Last(stored.Where(e => e.At <= time)), Last(stored.Where(e => e.Position <= at)));
            Assert.Equal(stored.Where(e => e.At >= time).Select(e => e.Position - 1).FirstOrDefault(stored[^1].Position), before);
        }

        static long Last(IEnumerable<(long Position, DateTimeOffset At)> events) => events.Select(e => e.Position).DefaultIfEmpty().Last();
    }
}
