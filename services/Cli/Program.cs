using System.Globalization;
using Intercommunalite.Cli;

// Texts are English; numbers and dates follow no country's habit either.
CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;

return await Interco.RunAsync(args, Terminal.OfProcess(), TimeProvider.System, CancellationToken.None);
