using System.Diagnostics;
using System.Globalization;

namespace Intercommunalite.Testing;

/// <summary>
/// PostgreSQL and RabbitMQ servers of a test's own, to be stopped, killed and started again: <c>deploy/servers</c> on a
/// temporary directory. Ports and passwords stay the same over restarts unless another program has taken a port meanwhile.
/// Disposing stops both and deletes their data.
/// </summary>
public sealed class PrivateServers : IAsyncDisposable
{
    private readonly string directory = Path.Combine(Path.GetTempPath(), $"hub-servers-{Guid.NewGuid():N}"[..24]);
    private Dictionary<string, string> environment = [];
    private bool blocked;

    private PrivateServers()
    {
    }

    /// <summary>
    /// Npgsql connection string of a role that may create databases.
    /// </summary>
    public string Postgres => environment["POSTGRES"];

    /// <summary>
    /// AMQP URI of an administrator on the virtual host <c>/</c>.
    /// </summary>
    public Uri RabbitMq => new(environment["RABBITMQ"]);

    /// <summary>The same with TLS, for servers that were started with a certificate.</summary>
    public Uri RabbitMqTls => new(environment["RABBITMQ_TLS"]);

    /// <summary>
    /// Base URL of RabbitMQ's management API.
    /// </summary>
    public Uri RabbitMqManagement => new(environment["RABBITMQ_MANAGEMENT"]);

    /// <summary>Id of PostgreSQL's first process; its others are children of it.</summary>
    public int PostgresProcessId => ProcessId("postgres");

    /// <summary>Id of RabbitMQ's process; its helpers are children of it.</summary>
    public int RabbitMqProcessId => ProcessId("rabbitmq");

    /// <summary>
    /// Starts both servers, empty. Takes some ten seconds.
    /// </summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="InvalidOperationException">They did not start; the message holds what the script said.</exception>
    public static Task<PrivateServers> StartAsync(CancellationToken cancellationToken = default) => StartAsync(null, cancellationToken);

    /// <summary>Starts both servers with TLS: PostgreSQL takes no connections without, RabbitMQ has a second port with it.</summary>
    /// <param name="authority">Issues their certificate; null for servers without TLS.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public static async Task<PrivateServers> StartAsync(TestAuthority? authority, CancellationToken cancellationToken = default)
    {
        var servers = new PrivateServers();
        try
        {
            if (authority is not null)
            {
                var tls = Directory.CreateDirectory(Path.Combine(servers.directory, "tls")).FullName;
                authority.WriteServer(Path.Combine(tls, "server.pem"), Path.Combine(tls, "server-key.pem"));
                File.Copy(authority.File, Path.Combine(tls, "ca.pem"));
            }

            await servers.Run("start", cancellationToken);
            await servers.ReadEnvironment(cancellationToken);
            return servers;
        }
        catch
        {
            await servers.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts PostgreSQL again, with its data, and waits until it answers.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task StartPostgresAsync(CancellationToken cancellationToken = default)
    {
        await Run("start-postgres", cancellationToken);
        await ReadEnvironment(cancellationToken);
    }

    /// <summary>Stops PostgreSQL in good order; sessions are ended.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task StopPostgresAsync(CancellationToken cancellationToken = default) => Run("stop-postgres", cancellationToken);

    /// <summary>Kills all processes of PostgreSQL at once (SIGKILL).</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task KillPostgresAsync(CancellationToken cancellationToken = default) => Run("kill-postgres", cancellationToken);

    /// <summary>Starts RabbitMQ again, with its data, and waits until it answers.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task StartRabbitMqAsync(CancellationToken cancellationToken = default)
    {
        await Run("start-rabbitmq", cancellationToken);
        await ReadEnvironment(cancellationToken);
    }

    /// <summary>Stops RabbitMQ in good order; connections are closed.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task StopRabbitMqAsync(CancellationToken cancellationToken = default) => Run("stop-rabbitmq", cancellationToken);

    /// <summary>Kills RabbitMQ (SIGKILL).</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task KillRabbitMqAsync(CancellationToken cancellationToken = default) => Run("kill-rabbitmq", cancellationToken);

    /// <summary>
    /// Takes RabbitMQ's whole disk away: stops it, deletes all its data, and starts it empty.
    /// </summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task LoseRabbitMqDataAsync(CancellationToken cancellationToken = default)
    {
        await Run("kill-rabbitmq", cancellationToken);
        Directory.Delete(Path.Combine(directory, "rabbitmq", "data"), recursive: true);
        await StartRabbitMqAsync(cancellationToken);
    }

    /// <summary>Raises RabbitMQ's memory alarm: it takes nothing from those who publish until <see cref="UnblockRabbitMqAsync"/>.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task BlockRabbitMqAsync(CancellationToken cancellationToken = default)
    {
        blocked = true;
        return Run("block-rabbitmq", cancellationToken);
    }

    /// <summary>Ends the memory alarm, if it was raised.</summary>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public async Task UnblockRabbitMqAsync(CancellationToken cancellationToken = default)
    {
        if (blocked) await Run("unblock-rabbitmq", cancellationToken);
        blocked = false;
    }

    /// <summary>Writes a backup of a database (pg_dump), whoever uses it meanwhile.</summary>
    /// <param name="database">Its name.</param>
    /// <param name="file">The file to write.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task DumpPostgresAsync(string database, string file, CancellationToken cancellationToken = default) =>
        Run("dump-postgres", cancellationToken, database, file);

    /// <summary>Drops a database, whoever uses it, and makes it anew from a backup.</summary>
    /// <param name="database">Its name.</param>
    /// <param name="file">The backup.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    public Task RestorePostgresAsync(string database, string file, CancellationToken cancellationToken = default) =>
        Run("restore-postgres", cancellationToken, database, file);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await Run("remove", CancellationToken.None);

    // The file holds the id and when the process was started.
    private int ProcessId(string server) =>
        int.Parse(File.ReadAllText(Path.Combine(directory, $"{server}.pid")).Split(' ')[0], CultureInfo.InvariantCulture);

    private async Task ReadEnvironment(CancellationToken cancellationToken)
    {
        // Lines of the form: export NAME="value"
        var lines = (await Run("env", cancellationToken)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        environment = lines
            .Select(line => line["export ".Length..].Split('=', 2))
            .ToDictionary(parts => parts[0], parts => parts[1].Trim('"'));
    }

    private async Task<string> Run(string command, CancellationToken cancellationToken, params string[] arguments)
    {
        // The servers outlive the script and must not hold its output open: the script gives them log files of their own.
        var start = new ProcessStartInfo(RepositoryRoot.Combine("deploy", "servers"), [command, directory, .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start) ?? throw new InvalidOperationException("deploy/servers did not start.");
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = process.StandardError.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0
            ? await output
            : throw new InvalidOperationException(
                $"deploy/servers {command} failed (exit code {process.ExitCode}):\n{await output}{await errors}");
    }
}
