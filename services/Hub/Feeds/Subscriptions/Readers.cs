using System.Collections.Concurrent;
using Intercommunalite.Hub.EventStore;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>
/// The readers of durable subscriptions at this node, and a sign of life of each every two seconds: by it the other nodes tell a hub
/// that was killed from a reader that is slow. What a reader holds is free as soon as it ends.
/// </summary>
internal sealed partial class Readers(NpgsqlDataSource database, Deliveries deliveries, StoreSchema schema, ILogger<Readers> logger) : BackgroundService
{
    private static readonly TimeSpan s_beat = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<Guid, string> _open = new();

    /// <summary>A reader begins, with a random id; it is known to the others with its first claim.</summary>
    public Guid Begin(string subscription) => Begin(subscription, Guid.NewGuid());

    /// <summary>A reader begins that the others know already.</summary>
    public Guid Begin(string subscription, Guid id)
    {
        _open[id] = subscription;
        return id;
    }

    /// <summary>A reader ends: what it holds is free again. Where that cannot be said now, its signs of life end all the same.</summary>
    public async Task EndAsync(Guid id)
    {
        if (!_open.TryRemove(id, out var subscription)) return;
        await TryAsync(async () =>
        {
            await using var connection = await database.OpenConnectionAsync();
            await using var batch = new NpgsqlBatch(connection)
            {
                BatchCommands =
                {
                    new(Deliveries.Lock) { Parameters = { new() { Value = subscription } } },
                    new("UPDATE feeds.delivery SET holder = NULL, held_until = NULL WHERE subscription = $1 AND holder = $2 AND parked_at IS NULL")
                    {
                        Parameters = { new() { Value = subscription }, new() { Value = id } },
                    },
                    new("DELETE FROM feeds.reader WHERE id = $1") { Parameters = { new() { Value = id } } },
                },
            };
            await batch.ExecuteNonQueryAsync();
            deliveries.Wake(subscription);
        });
    }

    /// <summary>Does what is done by itself a little later when the database does not answer now.</summary>
    public async Task TryAsync(Func<Task> act)
    {
        try
        {
            await act();
        }
        catch (Exception e) when (e is NpgsqlException or TimeoutException)
        {
            LogAway(e.Message);
        }
    }

    /// <summary>The table with the time at which each was last heard of.</summary>
    public static Table Schema()
    {
        var reader = new Table("feeds.reader");
        reader.AddColumn("id", "uuid").AsPrimaryKey();
        reader.AddColumn("subscription", "text").NotNull();
        reader.AddColumn("seen_at", "timestamptz").NotNull();
        return reader;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(s_beat);
        try
        {
            await schema.Applied.WaitAsync(stoppingToken);
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    await BeatAsync(stoppingToken);
                }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    LogAway(e.Message);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task BeatAsync(CancellationToken cancellation)
    {
        // One that is heard of no more holds nothing any more, ten seconds after; its row is not needed then.
        await using var command = database.CreateCommand("""
            WITH gone AS (DELETE FROM feeds.reader WHERE seen_at < clock_timestamp() - interval '1 min' AND id <> ALL ($1))
            UPDATE feeds.reader SET seen_at = clock_timestamp() WHERE id = ANY ($1)
            """);
        command.Parameters.Add(new() { Value = _open.Keys.ToArray() });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "The readers of subscriptions could not be told of; it is tried again. {Reason}")]
    private partial void LogAway(string reason);
}
