using System.CommandLine;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access</c>: who may have what.</summary>
internal static class Access
{
    public static Command Command(CommonOptions common, Terminal terminal) => new("access", "Who may have what: agreements with partners, the register of processing.")
    {
        Agreements.Command(common, terminal),
        Register.Command(common, terminal),
    };
}
