using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access clients</c>: software that comes with a token of its own.</summary>
internal static class Clients
{
    private const string Path = $"{Access.Path}/clients";

    private sealed record Client(string Id, string? Name, IReadOnlyList<string> Roles, IReadOnlyList<string> Communes, bool Suspended, string Authentication);

    private sealed record All(IReadOnlyList<Client> Items);

    public static Command Command(CommonOptions common, Terminal terminal) => new("clients", "Software that may come in.")
    {
        List(common, terminal),
        Create(common, terminal),
        Act(common, terminal, "secret", "Gives a new secret; the old one ends at once.", async (web, hub, id, _, cancellation) =>
            await web.PostAsync<ClientSecret>(hub, $"{Path}/{id}/secret", () => null, cancellation), reason: false),
        Act(common, terminal, "suspend", "Shuts it out until it is resumed.", async (web, hub, id, why, cancellation) =>
            await web.PostAsync<Client>(hub, $"{Path}/{id}/suspension", () => JsonContent.Create(new { reason = why }), cancellation), reason: true),
        Act(common, terminal, "resume", "Lets it come in again.", async (web, hub, id, _, cancellation) =>
            await web.DeleteAsync<Client>(hub, $"{Path}/{id}/suspension", cancellation), reason: false),
        Act(common, terminal, "delete", "Forgets it; the audit remembers.", async (web, hub, id, _, cancellation) =>
        {
            await web.DeleteAsync<JsonElement?>(hub, $"{Path}/{id}", cancellation);
            return null;
        }, reason: false),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "Clients, and what they may be.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), Path, cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(all);
            else Write(all.Items, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Create(CommonOptions common, Terminal terminal)
    {
        var id = Id();
        var name = new Option<string>("--name") { Description = "The software and who runs it.", HelpName = "TEXT", Required = true };
        var roles = new Option<string[]>("--role")
        {
            Description = "connector, commune-agent, epci-agent, administrator, dpo or partner; may be given several times.",
            HelpName = "ROLE",
            Required = true,
        };
        var communes = new Option<string[]>("--communes")
        {
            Description = "INSEE codes, separated by commas, for a connector or an agent of communes.",
            HelpName = "CODE[,CODE…]",
            CustomParser = result => result.Tokens[0].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
        };
        var keys = new Option<FileInfo?>("--public-keys") { Description = "JSON Web Key Set by which it signs (private_key_jwt), instead of a secret.", HelpName = "FILE" };
        var save = new Option<FileInfo?>("--save") { Description = "File to which id and secret go, to be sourced by a shell.", HelpName = "FILE" };
        var command = new Command("create", "A new client; its secret is told once.") { id, name, roles, communes, keys, save };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var publicKeys = parsed.GetValue(keys) is { } file ? JsonElement.Parse(await File.ReadAllBytesAsync(file.FullName, cancellation)) : (JsonElement?)null;
            var made = await web.PostAsync<ClientSecret>(
                parsed.GetRequiredValue(common.Hub), Path,
                () => JsonContent.Create(new
                {
                    id = parsed.GetRequiredValue(id),
                    name = parsed.GetRequiredValue(name),
                    roles = parsed.GetRequiredValue(roles),
                    communes = parsed.GetValue(communes) ?? [],
                    publicKeys,
                }),
                cancellation);
            made.Show(parsed.GetValue(save), parsed.GetValue(common.Json), terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Act(
        CommonOptions common, Terminal terminal, string name, string description, Func<Web, Uri, string, string?, CancellationToken, Task<object?>> act, bool reason)
    {
        var id = Id();
        var why = new Option<string?>("--reason") { Description = "Why; it stays on record.", HelpName = "TEXT", Required = reason };
        var command = new Command(name, description) { id };
        if (reason) command.Add(why);
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var client = Uri.EscapeDataString(parsed.GetRequiredValue(id));
            switch (await act(web, parsed.GetRequiredValue(common.Hub), client, reason ? parsed.GetValue(why) : null, cancellation))
            {
                case ClientSecret secret: secret.Show(null, parsed.GetValue(common.Json), terminal); break;
                case Client changed when !parsed.GetValue(common.Json): Write([changed], terminal); break;
                case { } changed: terminal.WriteJson(changed); break;
                case null: terminal.Say($"{client} is deleted."); break;
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static Argument<string> Id() => new("ID") { Description = "Its id: small letters, digits and hyphens." };

    private static void Write(IEnumerable<Client> clients, Terminal terminal) => terminal.WriteTable(
        "Clients",
        ["Id!", "Name", "Roles", "Communes", "Signs in by", "State"],
        clients.Select(client => new[]
        {
            client.Id, client.Name ?? "", string.Join(", ", client.Roles), string.Join(", ", client.Communes), client.Authentication, client.Suspended ? "suspended" : "",
        }));
}
