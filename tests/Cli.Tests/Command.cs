using System.Text.Json;

namespace Intercommunalite.Cli.Tests;

/// <summary>What a command line did.</summary>
internal sealed record Command(int ExitCode, string Out, string Error)
{
    /// <summary>The result, when it is one JSON document.</summary>
    public JsonElement Json => JsonDocument.Parse(Out).RootElement;

    public static Task<Command> RunAsync(TimeProvider time, CancellationToken cancellation, params string[] args) =>
        RunAsync(time, _ => { }, cancellation, args);

    /// <summary>Runs a command line; <paramref name="onLine"/> is told each line of the result as it is written.</summary>
    public static async Task<Command> RunAsync(TimeProvider time, Action<string> onLine, CancellationToken cancellation, params string[] args)
    {
        using StringWriter @out = new WatchedWriter(onLine), error = new();
        var code = await Interco.RunAsync(args, new Terminal(TextWriter.Synchronized(@out), TextWriter.Synchronized(error)), time, cancellation);
        return new(code, @out.ToString(), error.ToString());
    }

    public static Task<Command> RunAsync(TimeProvider time, params string[] args) => RunAsync(time, CancellationToken.None, args);

    public static Task<Command> RunAsync(params string[] args) => RunAsync(new SwiftTime(), args);

    private sealed class WatchedWriter(Action<string> onLine) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            onLine(value ?? "");
        }
    }
}
