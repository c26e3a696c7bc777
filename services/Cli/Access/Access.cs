using System.CommandLine;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access</c>: who may do what, and who did what.</summary>
internal static class Access
{
    internal const string Path = "/api/v1/access";

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("access", "Who may do what, and who did what.")
    {
        Bootstrap.Command(common, terminal, time),
        Clients.Command(common, terminal),
        Audit.Command(common, terminal),
    };
}
