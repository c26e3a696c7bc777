using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>
/// Brings replays on while their subscription is read: whoever looks for deliveries first puts what is next of a replay beside them, as
/// much as its rate allows by then. So a replay waits when nobody reads, and any node goes on with it.
/// </summary>
internal sealed class Replays(NpgsqlDataSource database, FeedPages pages, SubscriptionOptions options)
{
    // What is rare is looked for in so many stretches of the store before deliveries are looked for again.
    private const int MostStretches = 10;
    private static readonly TimeSpan s_atOnce = TimeSpan.FromSeconds(1);

    /// <summary>Brings those of a subscription on.</summary>
    /// <param name="subscription">The subscription.</param>
    /// <param name="access">What may be read.</param>
    /// <param name="cancellation">Gives up; what has been put there stays.</param>
    /// <returns>Whether there is something new to be claimed, and after how long there may be more; null when none is running, or those that are wait for room.</returns>
    public async Task<(bool Found, TimeSpan? Next)> AdvanceAsync(Subscription subscription, FeedAccess access, CancellationToken cancellation)
    {
        var (found, next) = (false, (TimeSpan?)null);
        foreach (var replay in await Replay.RunningAsync(database, subscription.Name, cancellation))
        {
            if (replay.Position >= replay.Through)
            {
                if (replay.Waiting == 0) await CompleteAsync(replay, cancellation);
                continue;
            }

            // Whoever acknowledges some makes room, and is told of more; so does whoever decides on what is parked of it.
            if (replay.Waiting >= options.Window || replay.Parked >= options.MostParked) continue;
            var pause = TimeSpan.FromSeconds(1.0 / replay.Rate) - replay.SinceFound;
            var most = (int)Math.Min(replay.Rate * (replay.SinceFound < s_atOnce ? replay.SinceFound : s_atOnce).TotalSeconds, options.Window - replay.Waiting);
            if (most >= 1) found |= await FindAsync(subscription, replay, most, access, cancellation);
            if (next is null || pause < next) next = pause;
        }

        return (found, next);
    }

    private async Task<bool> FindAsync(Subscription subscription, Replay replay, int most, FeedAccess access, CancellationToken cancellation)
    {
        var position = replay.Position;
        for (var stretch = 0; stretch < MostStretches && position < replay.Through; stretch++)
        {
            var (found, through) = await pages.FindAsync(position, access, most, cancellation, replay.Selection, replay.Through);
            await using var connection = await database.OpenConnectionAsync(cancellation);
            await using var batch = new NpgsqlBatch(connection);
            batch.BatchCommands.Add(new(Deliveries.Lock) { Parameters = { new() { Value = replay.Subscription } } });
            // Another one may have been first, or it was cancelled, or is that of a subscription made anew, which asks for something else.
            var put = new NpgsqlBatchCommand(Deliveries.Adding($"""
                UPDATE feeds.replay SET position = $3, found = found + cardinality($4::bigint[]), filled_at = CASE WHEN cardinality($4::bigint[]) > 0 THEN clock_timestamp() ELSE filled_at END
                WHERE id = $1 AND position = $2 AND state = '{Replay.Running}' AND EXISTS (SELECT FROM feeds.subscription s WHERE s.name = replay.subscription AND s.created_at = $6)
                RETURNING subscription, id AS replay
                """));
            foreach (var value in (ReadOnlySpan<object>)[replay.Id, position, through, found.Select(one => one.Place.Position).ToArray(), found.Select(one => one.Stream).ToArray(), subscription.CreatedAt])
                put.Parameters.Add(new() { Value = value });
            batch.BatchCommands.Add(put);
            await batch.ExecuteNonQueryAsync(cancellation);
            if (found.Count > 0) return true;
            position = through;
        }

        return false;
    }

    private async Task CompleteAsync(Replay replay, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            UPDATE feeds.replay SET state = 'completed', ended_at = clock_timestamp() WHERE id = $1 AND state = '{Replay.Running}'
                AND NOT EXISTS (SELECT FROM feeds.delivery d WHERE d.subscription = $2 AND d.replay = $1 AND d.parked_at IS NULL)
            """);
        command.Parameters.Add(new() { Value = replay.Id });
        command.Parameters.Add(new() { Value = replay.Subscription });
        await command.ExecuteNonQueryAsync(cancellation);
    }
}
