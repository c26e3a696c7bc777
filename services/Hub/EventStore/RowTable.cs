using System.Collections.Concurrent;
using System.Reflection;
using System.Text.Json;
using Npgsql;
using NpgsqlTypes;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.EventStore;

/// <summary>A table of a projection, whatever its rows are.</summary>
/// <param name="name"><c>schema.table</c> of the version in service.</param>
/// <param name="columns">Its columns.</param>
/// <param name="keyLength">How many of the first columns are its key.</param>
/// <param name="isSums">Whether all that is beside the key is numbers: a row of zeros then says the same as none.</param>
internal abstract class RowTable(string name, IReadOnlyList<string> columns, int keyLength, bool isSums)
{
    /// <summary>The name of the column by which rows are told to be of one commune.</summary>
    public const string Commune = "commune";

    /// <summary>Its name with its schema, of the version in service.</summary>
    public string Name => name;

    /// <summary>Its columns, the key's first.</summary>
    public IReadOnlyList<string> Columns => columns;

    /// <summary>The columns of its key.</summary>
    public IEnumerable<string> Key => columns.Take(keyLength);

    /// <summary>Columns that are all 0 in a row that says nothing; none when every row says something.</summary>
    public IEnumerable<string> Sums => isSums ? columns.Skip(keyLength) : [];
}

/// <summary>
/// A table of a projection, whose columns are the parameters of a row record in their order. A page of events reads and
/// writes it in one statement each: the rows travel as one array a column.
/// </summary>
/// <typeparam name="TRow">The row: text, <c>int</c>, <c>long</c>, <c>bool</c> and lists of text.</typeparam>
internal sealed class RowTable<TRow> : RowTable
    where TRow : class
{
    private static readonly ConstructorInfo s_constructor = typeof(TRow).GetConstructors().Single();
    private static readonly PropertyInfo[] s_properties =
        [.. s_constructor.GetParameters().Select(parameter => typeof(TRow).GetProperty(parameter.Name!)!)];

    private readonly int _keyLength;
    private readonly ConcurrentDictionary<FiguresVersion, Statements> _statements = new();

    /// <summary>Names the table and its key.</summary>
    /// <param name="name"><c>schema.table</c>.</param>
    /// <param name="keyLength">How many of the first properties are its key.</param>
    public RowTable(string name, int keyLength)
        : base(
            name, [.. s_properties.Select(Column)], keyLength,
            s_properties.Length > keyLength && s_properties[keyLength..].All(property => property.PropertyType == typeof(int) || property.PropertyType == typeof(long))) =>
        _keyLength = keyLength;

    /// <summary>The table, for the store's schema.</summary>
    public Table Schema()
    {
        var described = new Table(Name);
        foreach (var property in s_properties)
        {
            var column = described.AddColumn(Column(property), SqlType(property.PropertyType));
            if (Key.Contains(Column(property))) column.AsPrimaryKey();
        }

        return described;
    }

    /// <summary>The rows that exist of those whose key is given; the other columns of what is given do not matter.</summary>
    public async Task<IReadOnlyList<TRow>> LoadAsync(Page page, IReadOnlyCollection<TRow> keys, CancellationToken cancellation)
    {
        var rows = new List<TRow>(keys.Count);
        if (keys.Count == 0) return rows;
        await using var command = new NpgsqlCommand(Of(page).Load, page.Connection);
        foreach (var column in Parameters(keys, _keyLength)) command.Parameters.Add(column);
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        var values = new object?[s_properties.Length];
        while (await reader.ReadAsync(cancellation))
        {
            for (var column = 0; column < values.Length; column++) values[column] = await reader.IsDBNullAsync(column, cancellation) ? null : reader.GetValue(column);
            rows.Add((TRow)s_constructor.Invoke(values));
        }

        return rows;
    }

    /// <summary>Inserts or replaces rows, with the page's other changes.</summary>
    public void Save(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, Of(page).Save, rows);

    /// <summary>Inserts rows, or adds their numbers to those that are there, with the page's other changes.</summary>
    public void Add(Page page, IReadOnlyCollection<TRow> rows) => Queue(page, Of(page).Add, rows);

    private Statements Of(Page page) => _statements.GetOrAdd(page.Version, version =>
    {
        var (name, all, key) = (version.Of(Name), string.Join(", ", Columns), string.Join(", ", Key));
        // Key by key: a page of keys is little beside the table, which the planner does not know of a table that has just grown.
        var load = $"SELECT r.* FROM {Given(_keyLength)} CROSS JOIN LATERAL (SELECT {all} FROM {name} WHERE ({key}) = ({string.Join(", ", Key.Select(column => $"k.{column}"))}) OFFSET 0) r";
        var given = $"INSERT INTO {name} AS r ({all}) SELECT {string.Join(", ", s_properties.Select(Value))} FROM {Given(s_properties.Length)} ON CONFLICT ({key}) DO ";
        return new(load, given + Sets(column => $"{column} = excluded.{column}"), given + Sets(column => $"{column} = r.{column} + excluded.{column}"));
        string Sets(Func<string, string> set) =>
            Columns.Count == _keyLength ? "NOTHING" : $"UPDATE SET {string.Join(", ", Columns.Skip(_keyLength).Select(set))}";
    });

    private static void Queue(Page page, string sql, IReadOnlyCollection<TRow> rows)
    {
        if (rows.Count == 0) return;
        var command = new NpgsqlBatchCommand(sql);
        foreach (var column in Parameters(rows, s_properties.Length)) command.Parameters.Add(column);
        page.Batch.BatchCommands.Add(command);
    }

    private static IEnumerable<NpgsqlParameter> Parameters(IReadOnlyCollection<TRow> rows, int count) => s_properties[..count].Select(property =>
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

    private static string Given(int count) =>
        $"unnest({string.Join(", ", s_properties[..count].Select((property, index) => $"${index + 1}::{ElementType(property.PropertyType)}[]"))}) AS k ({string.Join(", ", s_properties[..count].Select(Column))})";

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

    private sealed record Statements(string Load, string Save, string Add);
}
