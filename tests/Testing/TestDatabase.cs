using Npgsql;

namespace Intercommunalite.Testing;

/// <summary>
/// A database of its own for one test class or one scenario, on the shared server, and beside it one for the keys of personal
/// data. Disposing drops both, whoever is still connected.
/// </summary>
public sealed class TestDatabase : IAsyncDisposable
{
    private readonly string administration;

    private TestDatabase(string administration, string name)
    {
        this.administration = administration;
        Name = name;
        ConnectionString = new NpgsqlConnectionStringBuilder(administration) { Database = name }.ConnectionString;
        KeysConnectionString = new NpgsqlConnectionStringBuilder(administration) { Database = KeysOf(name) }.ConnectionString;
    }

    /// <summary>
    /// A master key for all tests; see <c>Privacy__MasterKey</c>.
    /// </summary>
    public static string MasterKey { get; } = Convert.ToBase64String(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray());

    /// <summary>
    /// The name of the database.
    /// </summary>
    public string Name { get; }

    /// <summary>
    /// Npgsql connection string of the database, as its owner.
    /// </summary>
    public string ConnectionString { get; }

    /// <summary>
    /// Npgsql connection string of the keys' database, as its owner.
    /// </summary>
    public string KeysConnectionString { get; }

    /// <summary>
    /// Creates the databases, empty.
    /// </summary>
    /// <param name="server">Connection string of a role that may create databases; null for <see cref="TestServers.Postgres"/>.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static Task<TestDatabase> CreateAsync(string? server = null, CancellationToken cancellationToken = default) => CreateAsync(server, null, cancellationToken);

    /// <summary>
    /// Creates the database as a copy of this one, with all that is in it, to which nobody may be connected; that for the keys is empty.
    /// </summary>
    public Task<TestDatabase> CopyAsync() => CreateAsync(administration, Name, CancellationToken.None);

    private static async Task<TestDatabase> CreateAsync(string? server, string? template, CancellationToken cancellationToken)
    {
        // No pool: connections to the maintenance database would otherwise outlive the test by minutes.
        var administration = new NpgsqlConnectionStringBuilder(server ?? TestServers.Postgres) { Pooling = false };
        var name = $"test_{Guid.NewGuid():N}";
        await Execute(administration.ConnectionString, $"CREATE DATABASE \"{name}\"{(template is null ? "" : $" TEMPLATE \"{template}\"")}", cancellationToken);
        await Execute(administration.ConnectionString, $"CREATE DATABASE \"{KeysOf(name)}\"", cancellationToken);

        // The database itself is pooled as in production.
        administration.Pooling = true;
        return new TestDatabase(administration.ConnectionString, name);
    }

    /// <summary>
    /// Runs one statement in the database.
    /// </summary>
    /// <param name="sql">The statement.</param>
    /// <param name="cancellationToken">Ends the statement.</param>
    public Task ExecuteAsync(string sql, CancellationToken cancellationToken = default) => Execute(ConnectionString, sql, cancellationToken);

    /// <summary>
    /// Runs one query in the database and returns the first column of its first row; null when there is no row or the value
    /// is NULL.
    /// </summary>
    /// <param name="sql">The query.</param>
    /// <param name="cancellationToken">Ends the query.</param>
    public async Task<object?> ScalarAsync(string sql, CancellationToken cancellationToken = default)
    {
        await using var connection = new NpgsqlConnection(ConnectionString);
        await connection.OpenAsync(cancellationToken);
        await using var command = new NpgsqlCommand(sql, connection);
        var value = await command.ExecuteScalarAsync(cancellationToken);
        return value is DBNull ? null : value;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var pooled in (string[])[ConnectionString, KeysConnectionString])
        {
            await using var connection = new NpgsqlConnection(pooled);
            NpgsqlConnection.ClearPool(connection);
        }

        var unpooled = new NpgsqlConnectionStringBuilder(administration) { Pooling = false }.ConnectionString;
        await Execute(unpooled, $"DROP DATABASE IF EXISTS \"{Name}\" WITH (FORCE)", CancellationToken.None);
        await Execute(unpooled, $"DROP DATABASE IF EXISTS \"{KeysOf(Name)}\" WITH (FORCE)", CancellationToken.None);
    }

    private static string KeysOf(string name) => $"{name}_keys";

    private static async Task Execute(string connectionString, string sql, CancellationToken cancellationToken)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync(cancellationToken);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(cancellationToken);
    }
}
