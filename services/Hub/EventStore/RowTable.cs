using System.Reflection;
using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// A table of a projection, whose columns are the parameters of a row record in their order. A page of events reads and
/// writes it in one statement each: the rows travel as one array a column.
/// </summary>
/// <typeparam name="TRow">The row: text, <c>int</c>, <c>long</c>, <c>bool</c> and lists of text.</typeparam>
internal sealed class RowTable<TRow>
    where TRow : class
{
    private static readonly ConstructorInfo s_constructor = typeof(TRow).GetConstructors().Single();

    private readonly string _name;
    private readonly int _keyLength;
    private readonly PropertyInfo[] _properties =
        [.. s_constructor.GetParameters().Select(parameter => typeof(TRow).GetProperty(parameter.Name!)!)];
    private readonly string[] _key;
    private readonly string _load;
    private readonly string _save;
    private readonly string _add;

    /// <summary>Names the table and its key.</summary>
    /// <param name="name"><c>schema.table</c>.</param>
    /// <param name="keyLength">How many of the first properties are its key.</param>
    public RowTable(string name, int keyLength)
    {
        (_name, _keyLength) = (name, keyLength);
        var columns = _properties.Select(Column).ToArray();
        _key = columns[..keyLength];
        var (all, key) = (string.Join(", ", columns), string.Join(", ", _key));
        // Key by key: a page of keys is little beside the table, which the planner does not know of a table that has just grown.
        _load = $"SELECT r.* FROM {Given(keyLength)} CROSS JOIN LATERAL (SELECT {all} FROM {name} WHERE ({key}) = ({string.Join(", ", _key.Select(column => $"k.{column}"))}) OFFSET 0) r";
        var given = $"INSERT INTO {name} AS r ({all}) SELECT {string.Join(", ", _properties.Select(Value))} FROM {Given(columns.Length)} ON CONFLICT ({key}) DO ";
        _save = given + Sets(column => $"{column} = excluded.{column}");
        _add = given + Sets(column => $"{column} = r.{column} + excluded.{column}");
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
        foreach (var column in Columns(keys, _keyLength)) command.Parameters.Add(column);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        var values = new object?[_properties.Length];
        while (await reader.ReadAsync(cancellation))
        {
            for (var column = 0; column < values.Length; column++) values[column] = await reader.IsDBNullAsync(column, cancellation) ? null : reader.GetValue(column);
            rows.Add((TRow)s_constructor.Invoke(values));
        }

        return rows;
    }

    /// <summary>Inserts or replaces rows, with the page's other changes.</summary>
    public void Save(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, _save, rows);

    /// <summary>Inserts rows, or adds their numbers to those that are there, with the page's other changes.</summary>
    public void Add(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, _add, rows);

    private void Queue(Page page, string sql, IReadOnlyCollection<TRow> rows)
    {
        if (rows.Count == 0) return;
        var command = new NpgsqlBatchCommand(sql);
        foreach (var column in Columns(rows, _properties.Length)) command.Parameters.Add(column);
        page.Batch.BatchCommands.Add(command);
    }

    private IEnumerable<NpgsqlParameter> Columns(IReadOnlyCollection<TRow> rows, int count) => _properties[..count].Select(property =>
    {
        var type = property.PropertyType;
        NpgsqlParameter Of<T>(NpgsqlDbType element, Func<object?, T> value) =>
            new() { Value = rows.Select(row => value(property.GetValue(row))).ToArray(), NpgsqlDbType = NpgsqlDbType.Array | element };
        return type == typeof(int) ? Of(NpgsqlDbType.Integer, value => (int)value!)
            : type == typeof(long) ? Of(NpgsqlDbType.Bigint, value => (long)value!)
            : type == typeof(bool) ? Of(NpgsqlDbType.Boolean, value => (bool)value!)
            : type == typeof(string[]) ? Of(NpgsqlDbType.Text, value => value is null ? null : JsonSerializer.Serialize((string[])value))
            : Of(NpgsqlDbType.Text, value => (string?)value);
    });

    private string Given(int count) =>
        $"unnest({string.Join(", ", _properties[..count].Select((property, index) => $"${index + 1}::{ElementType(property.PropertyType)}[]"))}) AS k ({string.Join(", ", _properties[..count].Select(Column))})";

    // Lists of lists must all be of one length to be an array, so a list travels as JSON.
    private static string ElementType(Type type) => type == typeof(string[]) ? "text" : SqlType(type);

    private static string Value(PropertyInfo property) => property.PropertyType == typeof(string[])
        ? $"CASE WHEN k.{Column(property)} IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(k.{Column(property)}::json)) END"
        : $"k.{Column(property)}";

    private static string Column(PropertyInfo property) => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name);

    private static string SqlType(Type type) =>
        type == typeof(string) ? "text"
        : type == typeof(int) ? "integer"
        : type == typeof(long) ? "bigint"
        : type == typeof(bool) ? "boolean"
        : type == typeof(string[]) ? "text[]"
        : throw new InvalidOperationException($"No column type for {type.Name}.");
}
