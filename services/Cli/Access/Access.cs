using System.CommandLine;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access</c>: who may do what, and who did what.</summary>
internal static class Access
{
    internal const string Path = "/api/v1/access";

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("access", "Who may do what, and who did what.")
    {
        Bootstrap.Command(common, terminal, time),
        Token(common, terminal),
        Clients.Command(common, terminal),
        Agreements.Command(common, terminal),
        Register.Command(common, terminal),
        BusUsers.Command(common, terminal),
        Audit.Command(common, terminal),
    };

    // For programs that do not ask for tokens themselves: curl -H "Authorization: Bearer $(interco access token)" …
    private static Command Token(CommonOptions common, Terminal terminal)
    {
        var command = new Command("token", "Writes a token of the client in INTERCO_CLIENT_ID, for other programs. Keep it out of command lines and files.");
        command.SetAction(async (parsed, cancellation) =>
        {
            var header = await common.Credentials(parsed).HeaderAsync(parsed.GetRequiredValue(common.Hub), cancellation)
                ?? throw new Failure("No credentials given. Name them in INTERCO_CLIENT_ID and INTERCO_CLIENT_SECRET (or INTERCO_CLIENT_SECRET_FILE).");
            if (parsed.GetValue(common.Json)) terminal.WriteJson(new { token = header.Parameter });
            else terminal.Write(header.Parameter!);
            return Interco.Succeeded;
        });
        return command;
    }
}
