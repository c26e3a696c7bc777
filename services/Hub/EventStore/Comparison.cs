using System.Data;
using System.Text.Json;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.EventStore;

/// <summary>How a version that was rebuilt differs from the one in service.</summary>
/// <param name="Position">Position at which both were.</param>
/// <param name="Tables">How many rows differ, by table.</param>
/// <param name="Items">The first of them, in the order of their keys.</param>
internal sealed record Differences(long Position, IReadOnlyList<TableDifferences> Tables, IReadOnlyList<Difference> Items);

/// <summary>Rows of a table that differ.</summary>
internal sealed record TableDifferences(string Table, long Differences);

/// <summary>A row that differs.</summary>
/// <param name="Table">Its table.</param>
/// <param name="Key">Its key, by column.</param>
/// <param name="InService">Its other columns in service; null when it is not there.</param>
/// <param name="Rebuilt">Its other columns as rebuilt; null when it is not there.</param>
internal sealed record Difference(string Table, JsonElement Key, JsonElement? InService, JsonElement? Rebuilt);

/// <summary>
/// Compares the version of a projection that was rebuilt with the one in service, both at the same position: on a connection of its
/// own and in one snapshot, so that both versions go on meanwhile. Numbers that are all 0 say the same as no row: which of the two
/// there is, depends on how the events were cut into pages.
/// </summary>
internal sealed class Comparison : IAsyncDisposable
{
    /// <summary>Differences that are listed; all are counted.</summary>
    public const int MostListed = 100;

    private readonly NpgsqlConnection _connection;
    private readonly CancellationTokenSource _end = new();

    private Comparison(NpgsqlConnection connection) => _connection = connection;

    /// <summary>What it finds.</summary>
    public Task<Differences> Result { get; private set; } = null!;

    /// <summary>Begins; null when the two are not at the same position. It is seen as it is now, whatever comes after.</summary>
    public static async Task<Comparison?> BeginAsync(string connectionString, ConsolidatedProjection projection, IReadOnlyList<string>? communes, CancellationToken cancellation)
    {
        var begun = new Comparison(new NpgsqlConnection(connectionString));
        try
        {
            await begun._connection.OpenAsync(cancellation);
            long inService, next;
            var snapshot = await begun._connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, cancellation);
            await using (var command = new NpgsqlCommand("""
                SELECT coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = $1), 0), coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = $2), 0)
                """, begun._connection))
            {
                command.Parameters.Add(new() { Value = FiguresVersion.InService.Shard(projection.Name) });
                command.Parameters.Add(new() { Value = FiguresVersion.Next.Shard(projection.Name) });
                await using var reader = await command.ExecuteReaderAsync(cancellation);
                await reader.ReadAsync(cancellation);
                (inService, next) = (reader.GetInt64(0), reader.GetInt64(1));
            }

            if (inService == next)
            {
                begun.Result = begun.CompareAsync(snapshot, projection, communes, next);
                return begun;
            }
        }
        catch
        {
            await begun._connection.DisposeAsync();
            throw;
        }

        await begun._connection.DisposeAsync();
        return null;
    }

    /// <summary>Ends it, at its end or before: whatever it held is free then.</summary>
    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await ((Task)Result).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _connection.DisposeAsync();
        _end.Dispose();
    }

    private async Task<Differences> CompareAsync(NpgsqlTransaction snapshot, ConsolidatedProjection projection, IReadOnlyList<string>? communes, long position)
    {
        var (tables, items) = (new List<TableDifferences>(), new List<Difference>());
        foreach (var table in projection.Tables)
        {
            await using var command = new NpgsqlCommand(Sql(table, communes is not null), _connection, snapshot) { CommandTimeout = 0 };
            command.Parameters.Add(new() { Value = MostListed - items.Count });
            if (communes is not null) command.Parameters.Add(new() { Value = communes.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text });
            await using var reader = await command.ExecuteReaderAsync(_end.Token);
            await reader.ReadAsync(_end.Token);
            tables.Add(new(table.Name, reader.GetInt64(0)));
            using var listed = JsonDocument.Parse(reader.GetString(1));
            items.AddRange(listed.RootElement.EnumerateArray().Select(row => new Difference(
                table.Name, row.GetProperty("key").Clone(), Row(row.GetProperty("inService")), Row(row.GetProperty("rebuilt")))));
        }

        await snapshot.CommitAsync(_end.Token);
        // The one in service is read by its statistics from the first query on.
        await using var analyse = new NpgsqlCommand(string.Concat(projection.Tables.Select(table => $"ANALYZE {FiguresVersion.Next.Of(table.Name)};")), _connection) { CommandTimeout = 0 };
        await analyse.ExecuteNonQueryAsync(_end.Token);
        return new(position, tables, items);
    }

    private static JsonElement? Row(JsonElement row) => row.ValueKind == JsonValueKind.Null ? null : row.Clone();

    private static string Sql(RowTable table, bool ofCommunes)
    {
        var says = string.Join(" AND ", new[]
        {
            table.Sums.Any() ? $"NOT ({string.Join(" AND ", table.Sums.Select(column => $"{column} = 0"))})" : null, ofCommunes ? $"{RowTable.Commune} = ANY($2)" : null,
        }.OfType<string>().DefaultIfEmpty("true"));
        var keys = string.Join(", ", table.Key.Select(column => $"'{column}'"));
        string From(FiguresVersion version) => $"(SELECT {string.Join(", ", table.Columns)} FROM {version.Of(table.Name)} WHERE {says})";
        return $$"""
            WITH differing AS MATERIALIZED (
                SELECT {{string.Join(", ", table.Key.Select(column => $"coalesce(a.{column}, b.{column}) AS {column}"))}}, a AS in_service, b AS rebuilt
                FROM {{From(FiguresVersion.InService)}} a FULL JOIN {{From(FiguresVersion.Next)}} b ON {{string.Join(" AND ", table.Key.Select(column => $"a.{column} = b.{column}"))}}
                WHERE a IS DISTINCT FROM b)
            SELECT (SELECT count(*) FROM differing), coalesce(json_agg(json_build_object(
                'key', json_build_object({{string.Join(", ", table.Key.Select(column => $"'{column}', {column}"))}}),
                'inService', to_jsonb(in_service) - ARRAY[{{keys}}], 'rebuilt', to_jsonb(rebuilt) - ARRAY[{{keys}}])), '[]')::text
            FROM (SELECT * FROM differing ORDER BY {{string.Join(", ", table.Key)}} LIMIT $1) first
            """;
    }
}
