using System.CommandLine;
using System.Globalization;
using Intercommunalite.Benchmarks;
using Intercommunalite.Cli;

CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;

var terminal = Terminal.OfProcess();
try
{
    // Time to stop the servers after Ctrl-C.
    return await Measurement.Command(terminal).Parse(args).InvokeAsync(
        new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = TimeSpan.FromMinutes(1) });
}
catch (Exception e) when (e is Failure or OperationCanceledException)
{
    terminal.Say(e.Message);
    return 1;
}
