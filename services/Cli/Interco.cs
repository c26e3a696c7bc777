using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using Grpc.Core;
using Intercommunalite.Cli.Simulate;

namespace Intercommunalite.Cli;

/// <summary>The <c>interco</c> command: what it can do, and how it ends.</summary>
internal static class Interco
{
    internal const int Succeeded = 0;
    internal const int Failed = 1;
    internal const int Misused = 2;
    internal const int Interrupted = 130;

    /// <summary>Runs one command line.</summary>
    /// <returns>0 on success; 1 on failure, which is said on the error side; 2 for a command line without sense; 130 when interrupted.</returns>
    public static async Task<int> RunAsync(IReadOnlyList<string> args, Terminal terminal, TimeProvider time, CancellationToken cancellation)
    {
        var parsed = Commands(terminal, time).Parse(args);
        if (parsed.Action is ParseErrorAction)
        {
            foreach (var error in parsed.Errors) terminal.Say(error.Message);
            terminal.Say("See 'interco --help', or --help behind a command.");
            return Misused;
        }

        try
        {
            return await parsed.InvokeAsync(
                new InvocationConfiguration { EnableDefaultExceptionHandler = false, Output = terminal.Out, Error = terminal.Error },
                cancellation);
        }
        catch (Exception e)
        {
            var (code, message) = Explain(e);
            terminal.Say(message);
            return code;
        }
    }

    private static Command Commands(Terminal terminal, TimeProvider time)
    {
        var options = new CommonOptions();
        return new Command("interco", "Follows and feeds a hub: what it has received, files in and out, events, projections, quarantine, subscriptions, access, simulated communes.")
        {
            new HelpOption(),
            new VersionOption(),
            options.Hub,
            options.Connectors,
            options.Grpc,
            options.Json,
            Status.Command(options, terminal, time),
            Import.Command(options, terminal, time),
            Export.Command(options, terminal, time),
            FeedReading.Command(options, terminal, time),
            Events.Command(options, terminal),
            Projections.Command(options, terminal, time),
            Replay.Command(options, terminal, time),
            Quarantine.Command(options, terminal, time),
            Subscriptions.Command(options, terminal),
            Access.Access.Command(options, terminal, time),
            Simulation.Command(options, terminal, time),
        };
    }

    private static (int Code, string Message) Explain(Exception e) => e switch
    {
        Failure => (Failed, e.Message),
        OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled } => (Interrupted, "Interrupted."),
        IOException or UnauthorizedAccessException => (Failed, e.Message),
        _ => (Failed, $"This should not have happened, please report it: {e.GetType().Name}: {e.Message}"),
    };
}
