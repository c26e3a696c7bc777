using System.CommandLine;
using System.CommandLine.Parsing;

namespace Intercommunalite.Cli;

/// <summary>Options that every command has; addresses may stand in the environment instead.</summary>
internal sealed class CommonOptions
{
    public Option<Uri> Hub { get; } = new("--hub")
    {
        Description = "Address of the hub. [environment: INTERCO_HUB]",
        HelpName = "URL",
        Recursive = true,
        CustomParser = result => Address(result, result.Tokens[0].Value),
        DefaultValueFactory = result => Address(result, FromEnvironment("INTERCO_HUB") ?? "http://127.0.0.1:5080"),
    };

    public Option<Uri[]> Connectors { get; } = new("--connectors")
    {
        Description = "Addresses of the connectors, separated by commas. [environment: INTERCO_CONNECTORS]",
        HelpName = "URL[,URL…]",
        Recursive = true,
        CustomParser = result => Addresses(result, result.Tokens[0].Value),
        DefaultValueFactory = result => Addresses(result, FromEnvironment("INTERCO_CONNECTORS") ?? ""),
    };

    public Option<Uri?> Grpc { get; } = new("--grpc")
    {
        Description = "Address of the hub's gRPC feed. [environment: INTERCO_GRPC]",
        HelpName = "URL",
        Recursive = true,
        CustomParser = result => Address(result, result.Tokens[0].Value),
        DefaultValueFactory = result => FromEnvironment("INTERCO_GRPC") is { } address ? Address(result, address) : null,
    };

    public Option<bool> Json { get; } = new("--json")
    {
        Description = "Write the result as JSON on standard output, and everything else on standard error.",
        Recursive = true,
    };

    /// <summary>With what the services are called.</summary>
    public Credentials Credentials(ParseResult parsed) => Cli.Credentials.OfEnvironment(parsed.GetValue(Hub)!);

    /// <summary>The connectors given.</summary>
    /// <exception cref="Failure">None was given.</exception>
    public Uri[] RequiredConnectors(ParseResult parsed) => parsed.GetValue(Connectors) is { Length: > 0 } connectors
        ? connectors
        : throw new Failure("No connector given. Name them with --connectors URL[,URL…] or in INTERCO_CONNECTORS.");

    private static string? FromEnvironment(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    private static Uri[] Addresses(ArgumentResult result, string text) =>
    [
        .. text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(address => Address(result, address)),
    ];

    private static Uri Address(ArgumentResult result, string text)
    {
        if (Uri.TryCreate(text, UriKind.Absolute, out var address) && address.Scheme is "http" or "https") return address;
        result.AddError($"'{text}' is not an address such as http://127.0.0.1:5080.");
        return null!;
    }
}
