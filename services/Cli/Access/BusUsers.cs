using System.CommandLine;
using System.Net.Http.Json;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access bus-users</c>: the broker users of connectors.</summary>
internal static class BusUsers
{
    private const string Path = "/api/v1/access/bus-users";

    private sealed record User(string Name, IReadOnlyList<string> Communes, DateTimeOffset CreatedAt, long Refused);

    private sealed record Unknown(string Name, long Refused);

    private sealed record All(bool Managed, IReadOnlyList<User> Items, IReadOnlyList<Unknown> Unknown);

    private sealed record Made(
        string Name, IReadOnlyList<string> Communes, DateTimeOffset CreatedAt, string? Password, IReadOnlyDictionary<string, string> Settings, IReadOnlyList<string>? Commands,
        bool? OnBroker);

    private sealed record Removed(string Name, IReadOnlyList<string>? Commands, bool? OffBroker);

    public static Command Command(CommonOptions common, Terminal terminal) => new("bus-users", "Broker users of connectors, each for its communes alone.")
    {
        List(common, terminal),
        Add(common, terminal),
        Remove(common, terminal),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "All of them, and how many messages of each were refused.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), Path, cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(all);
                return Interco.Succeeded;
            }

            terminal.WriteTable(
                "Broker users",
                ["Name!", "Communes", "Made", "Refused#"],
                [
                    .. all.Items.Select(user => new[] { user.Name, string.Join(", ", user.Communes), Terminal.Time(user.CreatedAt), $"{user.Refused:N0}" }),
                    .. all.Unknown.Select(other => new[] { other.Name.Length == 0 ? "(no name)" : other.Name, "none", "", $"{other.Refused:N0}" }),
                ]);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Add(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var communes = new Option<string>("--communes") { Description = "All communes for which it speaks, separated by commas.", HelpName = "CODE[,CODE…]", Required = true };
        var renew = new Option<bool>("--new-password") { Description = "Give another password to one that there is." };
        var command = new Command("add", "Makes one, or gives it other communes. Its password is shown this once.") { name, communes, renew };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var made = await web.PostAsync<Made>(parsed.GetRequiredValue(common.Hub), Path, () => JsonContent.Create(new
            {
                name = parsed.GetRequiredValue(name),
                communes = parsed.GetRequiredValue(communes).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
                newPassword = parsed.GetValue(renew),
            }), cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(made);
                return Interco.Succeeded;
            }

            terminal.Write($"{made.Name} speaks for {string.Join(", ", made.Communes)}. Settings of its connector{(made.Password is null ? ", with the password that it has" : "; the password is not shown again")}:");
            foreach (var (key, value) in made.Settings) terminal.Write($"  {key}={value}");
            Write(terminal, made.Commands, made.OnBroker);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Remove(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var command = new Command("remove", "Takes its rights away, and closes its connections.") { name };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var removed = await web.DeleteAsync<Removed>(parsed.GetRequiredValue(common.Hub), $"{Path}/{Uri.EscapeDataString(parsed.GetRequiredValue(name))}", cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(removed);
                return Interco.Succeeded;
            }

            terminal.Write($"{removed.Name}: removed");
            Write(terminal, removed.Commands, removed.OffBroker);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Argument<string> Name() => new("NAME") { Description = "Its name: a-z, 0-9 and hyphens." };

    private static void Write(Terminal terminal, IReadOnlyList<string>? commands, bool? isDone)
    {
        if (isDone == false) terminal.Write("The broker has not taken it now: it is tried again until it does.");
        if (commands is null) return;
        terminal.Write("The hub has no access to the broker's management. Run beside the broker:");
        foreach (var line in commands) terminal.Write($"  {line}");
    }
}
