using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;

namespace Intercommunalite.Testing;

/// <summary>
/// One of the services, running as a real process, to be stopped or killed at any moment and started again on the same
/// address. Its output goes to a log file whose end is part of every failure's message. Disposing kills it.
/// </summary>
public sealed class ServiceProcess : IAsyncDisposable
{
    private const int Terminate = 15;
    private const int Continue = 18;
    private const int Halt = 19;
    private const int LinesKept = 200;

    private readonly ProcessStartInfo startInfo;
    private readonly Queue<string> lastLines = new();
    private readonly Lock gate = new();
    private StreamWriter? log;
    private Process? process;

    /// <summary>
    /// Describes the process; <see cref="StartAsync"/> starts it.
    /// </summary>
    /// <param name="assembly">Path of the service's .dll; see <see cref="Built"/>.</param>
    /// <param name="environment">
    /// Settings, added to the test's own environment; a null value removes a variable. <c>ASPNETCORE_URLS</c> is set to
    /// <see cref="Address"/> unless given here.
    /// </param>
    /// <param name="arguments">Command-line arguments.</param>
    public ServiceProcess(string assembly, IReadOnlyDictionary<string, string?> environment, params IReadOnlyList<string> arguments)
    {
        ArgumentNullException.ThrowIfNull(assembly);
        ArgumentNullException.ThrowIfNull(environment);
        ArgumentNullException.ThrowIfNull(arguments);
        if (!File.Exists(assembly))
            throw new FileNotFoundException($"{assembly} does not exist: build the solution first.", assembly);

        Name = Path.GetFileNameWithoutExtension(assembly);
        startInfo = new ProcessStartInfo("dotnet", [assembly, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            // The service's own folder, so that it finds its settings and web assets there.
            WorkingDirectory = Path.GetDirectoryName(assembly)!,
        };
        startInfo.Environment["ASPNETCORE_URLS"] = $"http://127.0.0.1:{FreePorts.Take()}";
        foreach (var (name, value) in environment)
            startInfo.Environment[name] = value;

        Address = new Uri(startInfo.Environment["ASPNETCORE_URLS"]!.Split(';')[0]);
        LogFile = RepositoryRoot.Combine(".local", "test-logs", $"{Name}-{Guid.NewGuid():N}.log");
    }

    /// <summary>
    /// The assembly's name.
    /// </summary>
    public string Name { get; }

    /// <summary>
    /// The address at which the service answers; the same after every start.
    /// </summary>
    public Uri Address { get; }

    /// <summary>All of its environment.</summary>
    public IDictionary<string, string?> Environment => startInfo.Environment;

    /// <summary>Makes what asks for health at an address with TLS: it trusts the certificate, and shows one of its own where that is wanted.</summary>
    public Func<HttpMessageHandler>? Handler { get; init; }

    /// <summary>
    /// All output of all starts, line by line; in <c>.local/test-logs</c>, which <c>deploy/test</c> empties.
    /// </summary>
    public string LogFile { get; }

    /// <summary>
    /// Whether the process runs.
    /// </summary>
    public bool IsRunning => process is { HasExited: false };

    /// <summary>
    /// The id of the running process.
    /// </summary>
    /// <exception cref="InvalidOperationException">It does not run.</exception>
    public int ProcessId => process?.Id ?? throw new InvalidOperationException($"{Name} does not run.");

    /// <summary>
    /// The last lines of output, oldest first.
    /// </summary>
    public IReadOnlyList<string> LastLines
    {
        get
        {
            lock (gate)
                return [.. lastLines];
        }
    }

    /// <summary>
    /// Path of a service as the solution builds it, in the configuration (Debug or Release) that the test itself was built in.
    /// </summary>
    /// <param name="project">Its folder under <c>services/</c>, for instance <c>Hub</c>.</param>
    public static string Built(string project)
    {
        // …/tests/<project>/bin/<configuration>/net10.0/
        var framework = new DirectoryInfo(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory));
        return RepositoryRoot.Combine(
            "services", project, "bin", framework.Parent!.Name, framework.Name, $"Intercommunalite.{project}.dll");
    }

    /// <summary>
    /// Starts the process and waits until <c>/health/ready</c> answers 200.
    /// </summary>
    /// <param name="timeout">How long it may take; null for one minute.</param>
    /// <exception cref="InvalidOperationException">The process ended, or was not ready in time; the message shows its log's end.</exception>
    public async Task StartAsync(TimeSpan? timeout = null)
    {
        Start();
        await WaitUntilReadyAsync(timeout);
    }

    /// <summary>
    /// Starts the process without waiting.
    /// </summary>
    /// <exception cref="InvalidOperationException">It runs already.</exception>
    public void Start()
    {
        if (IsRunning)
            throw new InvalidOperationException($"{Name} runs already.");

        process?.Dispose();
        if (log is null)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(LogFile)!);
            log = new StreamWriter(LogFile, append: true) { AutoFlush = true };
        }

        process = Process.Start(startInfo) ?? throw new InvalidOperationException($"{Name} did not start.");
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        process.StandardInput.Close();
    }

    /// <summary>
    /// Waits until <c>/health/ready</c> answers 200.
    /// </summary>
    /// <param name="timeout">How long it may take; null for one minute.</param>
    /// <exception cref="InvalidOperationException">The process ended, or was not ready in time; the message shows its log's end.</exception>
    public async Task WaitUntilReadyAsync(TimeSpan? timeout = null)
    {
        using var client = new HttpClient(Handler?.Invoke() ?? new SocketsHttpHandler()) { BaseAddress = Address, Timeout = TimeSpan.FromSeconds(10) };
        try
        {
            var ready = await Eventually.Is(
                async () => IsRunning ? await Status(client) : null,
                status => status is null or HttpStatusCode.OK,
                timeout ?? TimeSpan.FromMinutes(1),
                "/health/ready answers 200");
            if (ready is null)
                throw Failure($"stopped by itself (exit code {process?.ExitCode})");
        }
        catch (TimeoutException exception)
        {
            throw Failure($"is not ready: {exception.Message}");
        }
    }

    /// <summary>
    /// Kills the process at once (SIGKILL), as a crash of the machine would.
    /// </summary>
    public void Kill()
    {
        if (process is not { HasExited: false } running)
            return;

        running.Kill();
        running.WaitForExit();
    }

    /// <summary>
    /// Halts the process as it stands (SIGSTOP): its connections stay, and nothing answers, until <see cref="Thaw"/>.
    /// </summary>
    public void Freeze() => Send(Halt, "could not be halted");

    /// <summary>
    /// Lets a halted process go on (SIGCONT).
    /// </summary>
    public void Thaw() => Send(Continue, "could not be continued");

    /// <summary>
    /// Asks the process to stop (SIGTERM) and waits until it has.
    /// </summary>
    /// <param name="timeout">How long it may take; null for 30 seconds.</param>
    /// <returns>Its exit code; 0 after an orderly stop.</returns>
    /// <exception cref="InvalidOperationException">It did not stop in time, and was killed; the message shows its log's end.</exception>
    public async Task<int> StopAsync(TimeSpan? timeout = null)
    {
        if (process is not { } running)
            return 0;

        if (!running.HasExited && Signal(running.Id, Terminate) != 0 && !running.HasExited)
            throw Failure("could not be sent SIGTERM");

        try
        {
            await running.WaitForExitAsync().WaitAsync(timeout ?? TimeSpan.FromSeconds(30));
        }
        catch (TimeoutException)
        {
            Kill();
            throw Failure("did not stop after SIGTERM");
        }

        return running.ExitCode;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        Kill();
        process?.Dispose();
        process = null;
        if (log is null)
            return;

        StreamWriter closing;
        lock (gate)
        {
            closing = log;
            log = null;
        }

        await closing.DisposeAsync();
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Signal(int processId, int signal);

    private void Send(int signal, string failure)
    {
        if (Signal(ProcessId, signal) != 0)
            throw Failure(failure);
    }

    private static async Task<HttpStatusCode?> Status(HttpClient client)
    {
        using var response = await client.GetAsync(new Uri("/health/ready", UriKind.Relative));
        return response.StatusCode;
    }

    private void Keep(string? line)
    {
        if (line is null)
            return;

        lock (gate)
        {
            log?.WriteLine(line);
            lastLines.Enqueue(line);
            if (lastLines.Count > LinesKept)
                lastLines.Dequeue();
        }
    }

    private InvalidOperationException Failure(string what) =>
        new($"{Name} {what}. Log: {LogFile}, its end:\n{string.Join('\n', LastLines.TakeLast(40))}");
}
