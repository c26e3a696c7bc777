using Npgsql;

namespace Intercommunalite.Hub.Dashboard;

/// <summary>
/// Whether the store holds any event of a simulation (its source ends in <c>:simulated</c>). Looks at each event once, a
/// stretch at a time, and at the newest one first: neither the first page nor a store of millions of events waits for it.
/// </summary>
internal sealed class SimulatedEvents(NpgsqlDataSource database)
{
    private const long Stretch = 50_000;

    private long _lookedThrough;
    private bool _found;

    /// <summary>Looks further.</summary>
    /// <param name="highWater">Every event up to here is in the store.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>Whether one was found, now or before: events are never taken away.</returns>
    public async Task<bool> LookAsync(long highWater, CancellationToken cancellation)
    {
        if (_found || highWater <= _lookedThrough) return _found;
        var through = Math.Min(highWater, _lookedThrough + Stretch);
        await using var command = database.CreateCommand("""
            SELECT EXISTS (
                SELECT FROM hub.mt_events WHERE (seq_id = $1 OR (seq_id > $2 AND seq_id <= $3)) AND headers ->> 'source' LIKE '%:simulated')
            """);
        command.Parameters.Add(new NpgsqlParameter { Value = highWater });
        command.Parameters.Add(new NpgsqlParameter { Value = _lookedThrough });
        command.Parameters.Add(new NpgsqlParameter { Value = through });
        _found = (bool)(await command.ExecuteScalarAsync(cancellation))!;
        _lookedThrough = through;
        return _found;
    }
}
