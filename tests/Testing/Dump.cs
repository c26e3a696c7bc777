using System.Diagnostics;
using System.Text;
using Npgsql;

namespace Intercommunalite.Testing;

/// <summary>
/// Databases as text, and as copies put back elsewhere.
/// </summary>
public static class Dump
{
    /// <summary>
    /// All rows of all tables of a database as text. Bytes appear as hexadecimal digits, and once more as the characters they may stand for.
    /// </summary>
    /// <param name="connectionString">The database.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async Task<string> OfAsync(string connectionString, CancellationToken cancellationToken = default)
    {
        await using var connection = new NpgsqlConnection(connectionString);
        await connection.OpenAsync(cancellationToken);
        var columns = new List<(string Table, string Name, bool IsBytes)>();
        await using (var list = new NpgsqlCommand("""
            SELECT format('%I.%I', n.nspname, c.relname), quote_ident(a.attname), a.atttypid = 'bytea'::regtype
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            """, connection))
        {
            await using var reader = await list.ExecuteReaderAsync(cancellationToken);
            while (await reader.ReadAsync(cancellationToken)) columns.Add((reader.GetString(0), reader.GetString(1), reader.GetBoolean(2)));
        }

        var text = new StringBuilder();
        foreach (var table in columns.GroupBy(column => column.Table))
        {
            text.AppendLine(table.Key);
            await using var rows = new NpgsqlCommand(
                $"SELECT t::text{string.Concat(table.Where(column => column.IsBytes).Select(column => $", encode({column.Name}, 'escape')"))} FROM {table.Key} t", connection);
            await using var reader = await rows.ExecuteReaderAsync(cancellationToken);
            while (await reader.ReadAsync(cancellationToken))
            {
                for (var column = 0; column < reader.FieldCount; column++)
                {
                    if (!await reader.IsDBNullAsync(column, cancellationToken)) text.AppendLine(reader.GetString(column));
                }
            }
        }

        return text.ToString();
    }

    /// <summary>
    /// Backs a database up with <c>pg_dump</c>.
    /// </summary>
    /// <param name="connectionString">The database.</param>
    /// <returns>The backup, as SQL.</returns>
    public static async Task<string> BackUpAsync(string connectionString) => await RunAsync("pg_dump", connectionString, "", "--no-owner");

    /// <summary>
    /// Puts a backup into an empty database.
    /// </summary>
    /// <param name="connectionString">The database.</param>
    /// <param name="backup">What <see cref="BackUpAsync"/> gave.</param>
    public static async Task RestoreAsync(string connectionString, string backup) => await RunAsync("psql", connectionString, backup, "-Xq", "-v", "ON_ERROR_STOP=1");

    private static async Task<string> RunAsync(string program, string connectionString, string input, params string[] arguments)
    {
        var connection = new NpgsqlConnectionStringBuilder(connectionString);
        var start = new ProcessStartInfo(Path.Combine(await DirectoryAsync(), program), arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PGHOST"] = connection.Host;
        start.Environment["PGPORT"] = $"{connection.Port}";
        start.Environment["PGUSER"] = connection.Username;
        start.Environment["PGPASSWORD"] = connection.Password;
        start.Environment["PGDATABASE"] = connection.Database;
        using var process = Process.Start(start)!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? await output : throw new InvalidOperationException($"{program} failed: {await errors}");
    }

    private static async Task<string> DirectoryAsync()
    {
        using var process = Process.Start(new ProcessStartInfo("bash", ["-c", ". deploy/functions; find_postgres"]) { RedirectStandardOutput = true, WorkingDirectory = RepositoryRoot.Combine("") })!;
        return (await process.StandardOutput.ReadToEndAsync()).Trim();
    }
}
