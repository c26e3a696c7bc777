using System.Reflection;
using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// A table of a projection, whose columns are the parameters of a row record in their order. A page of events reads and
/// writes it in one statement each: the rows travel as one JSON array.
/// </summary>
/// <typeparam name="TRow">The row: text, <c>int</c>, <c>long</c>, <c>bool</c> and lists of text.</typeparam>
internal sealed class RowTable<TRow>
    where TRow : class
{
    private static readonly JsonSerializerOptions s_json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    private readonly string _name;
    private readonly PropertyInfo[] _properties =
        [.. typeof(TRow).GetConstructors().Single().GetParameters().Select(parameter => typeof(TRow).GetProperty(parameter.Name!)!)];
    private readonly string[] _key;
    private readonly string _load;
    private readonly string _save;
    private readonly string _add;

    /// <summary>Names the table and its key.</summary>
    /// <param name="name"><c>schema.table</c>.</param>
    /// <param name="keyLength">How many of the first properties are its key.</param>
    public RowTable(string name, int keyLength)
    {
        _name = name;
        var columns = _properties.Select(Column).ToArray();
        _key = columns[..keyLength];
        var (all, key) = (string.Join(", ", columns), string.Join(", ", _key));
        var given = $"json_populate_recordset(null::{name}, $1::json)";
        _load = $"SELECT row_to_json(r)::text FROM {name} r JOIN {given} k USING ({key})";
        _save = $"INSERT INTO {name} ({all}) SELECT {all} FROM {given} ON CONFLICT ({key}) DO {Sets(column => $"{column} = excluded.{column}")}";
        _add = $"INSERT INTO {name} AS r ({all}) SELECT {all} FROM {given} ON CONFLICT ({key}) DO {Sets(column => $"{column} = r.{column} + excluded.{column}")}";
        string Sets(Func<string, string> set) =>
            columns.Length == keyLength ? "NOTHING" : $"UPDATE SET {string.Join(", ", columns[keyLength..].Select(set))}";
    }

    /// <summary>The table, for the store's schema.</summary>
    public Table Schema()
    {
        var described = new Table(_name);
        foreach (var property in _properties)
        {
            var column = described.AddColumn(Column(property), SqlType(property.PropertyType));
            if (_key.Contains(Column(property))) column.AsPrimaryKey();
        }

        return described;
    }

    /// <summary>Its name with its schema.</summary>
    public string Name => _name;

    /// <summary>The rows that exist of those whose key is given; the other columns of what is given do not matter.</summary>
    public async Task<IReadOnlyList<TRow>> LoadAsync(Page page, IReadOnlyCollection<TRow> keys, CancellationToken cancellation)
    {
        var rows = new List<TRow>(keys.Count);
        if (keys.Count == 0) return rows;
        await using var command = new NpgsqlCommand(_load, page.Connection);
        command.Parameters.Add(Json(keys));
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) rows.Add(JsonSerializer.Deserialize<TRow>(reader.GetString(0), s_json)!);
        return rows;
    }

    /// <summary>Inserts or replaces rows, with the page's other changes.</summary>
    public void Save(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, _save, rows);

    /// <summary>Inserts rows, or adds their numbers to those that are there, with the page's other changes.</summary>
    public void Add(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, _add, rows);

    private static void Queue(Page page, string sql, IReadOnlyCollection<TRow> rows)
    {
        if (rows.Count > 0) page.Batch.BatchCommands.Add(new NpgsqlBatchCommand(sql) { Parameters = { Json(rows) } });
    }

    private static NpgsqlParameter Json(IReadOnlyCollection<TRow> rows) =>
        new() { Value = JsonSerializer.SerializeToUtf8Bytes(rows, s_json), NpgsqlDbType = NpgsqlDbType.Json };

    private static string Column(PropertyInfo property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);

    private static string SqlType(Type type) =>
        type == typeof(string) ? "text"
        : type == typeof(int) ? "integer"
        : type == typeof(long) ? "bigint"
        : type == typeof(bool) ? "boolean"
        : type == typeof(string[]) ? "text[]"
        : throw new InvalidOperationException($"No column type for {type.Name}.");
}
