using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access accounts</c>: people who sign in to the pages.</summary>
internal static class Accounts
{
    private const string Path = $"{Access.Path}/accounts";

    private sealed record Account(
        string Id, string? Email, string? Name, IReadOnlyList<string> Roles, IReadOnlyList<string> Communes, bool Suspended, DateTimeOffset? LockedUntil, bool Authenticator,
        bool TemporaryPassword, string? Provider);

    private sealed record All(IReadOnlyList<Account> Items);

    private sealed record Made(string Id, string? Email, string? TemporaryPassword);

    public static Command Command(CommonOptions common, Terminal terminal) => new("accounts", "People who sign in to the pages.")
    {
        List(common, terminal),
        Create(common, terminal),
        Change(common, terminal),
        Act(common, terminal, "suspend", "Sends the person out, until resumed.", async (web, hub, account, why, cancellation) =>
            await web.PostAsync<Account>(hub, $"{Path}/{account.Id}/suspension", () => JsonContent.Create(new { reason = why }), cancellation), reason: true),
        Act(common, terminal, "resume", "Lets the person come in again.", async (web, hub, account, _, cancellation) =>
            await web.DeleteAsync<Account>(hub, $"{Path}/{account.Id}/suspension", cancellation)),
        Act(common, terminal, "reset-password", "Gives a temporary password, told once; ends the sessions, and a lock after wrong passwords.", async (web, hub, account, _, cancellation) =>
            await web.PostAsync<Made>(hub, $"{Path}/{account.Id}/password", () => null, cancellation)),
        Act(common, terminal, "reset-totp", "Forgets the authenticator app, for one that is lost; ends the sessions.", async (web, hub, account, _, cancellation) =>
            await web.DeleteAsync<Account>(hub, $"{Path}/{account.Id}/authenticator", cancellation)),
        Act(common, terminal, "delete", "Forgets the account; the audit remembers its id.", async (web, hub, account, _, cancellation) =>
        {
            await web.DeleteAsync<JsonElement?>(hub, $"{Path}/{account.Id}", cancellation);
            return null;
        }),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "Accounts, and what they may be.");
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
        var email = new Argument<string>("EMAIL") { Description = "Address by which the person signs in." };
        var (name, roles, communes) = (Name(required: true), Roles(required: true), Communes());
        var command = new Command("create", "A new account; its temporary password is told once.") { email, name, roles, communes };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var made = await web.PostAsync<Made>(
                parsed.GetRequiredValue(common.Hub), Path,
                () => JsonContent.Create(new
                {
                    email = parsed.GetRequiredValue(email),
                    name = parsed.GetValue(name),
                    roles = parsed.GetValue(roles),
                    communes = parsed.GetValue(communes) ?? [],
                }),
                cancellation);
            Show(made, parsed.GetValue(common.Json), terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Change(CommonOptions common, Terminal terminal)
    {
        var who = Who();
        var email = new Option<string?>("--email") { Description = "Another address to sign in by.", HelpName = "EMAIL" };
        var (name, roles, communes) = (Name(required: false), Roles(required: false), Communes());
        var command = new Command("change", "Changes address, name, roles or communes; what is not named stays.") { who, email, name, roles, communes };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            var account = await FindAsync(web, hub, parsed.GetRequiredValue(who), cancellation);
            var given = parsed.GetValue(roles) is { Length: > 0 } some ? some : null;
            // Other roles may hold for no commune; those named are kept, or named anew, where they do.
            var kept = given is null || given.Contains("commune-agent") ? account.Communes : [];
            var changed = await web.PutAsync<Account>(
                hub, $"{Path}/{account.Id}",
                () => JsonContent.Create(new
                {
                    email = parsed.GetValue(email) ?? account.Email,
                    name = parsed.GetValue(name) ?? account.Name,
                    roles = given ?? account.Roles,
                    communes = parsed.GetValue(communes) is { Length: > 0 } named ? named : kept,
                }),
                cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(changed);
            else Write([changed], terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Act(
        CommonOptions common, Terminal terminal, string name, string description, Func<Web, Uri, Account, string?, CancellationToken, Task<object?>> act, bool reason = false)
    {
        var who = Who();
        var why = new Option<string?>("--reason") { Description = "Why; it stays on record.", HelpName = "TEXT", Required = reason };
        var command = new Command(name, description) { who };
        if (reason) command.Add(why);
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            var account = await FindAsync(web, hub, parsed.GetRequiredValue(who), cancellation);
            switch (await act(web, hub, account, reason ? parsed.GetValue(why) : null, cancellation))
            {
                case Made made: Show(made, parsed.GetValue(common.Json), terminal); break;
                case Account changed when !parsed.GetValue(common.Json): Write([changed], terminal); break;
                case { } changed: terminal.WriteJson(changed); break;
                case null: terminal.Say($"{account.Email ?? account.Id} is deleted."); break;
            }

            return Interco.Succeeded;
        });
        return command;
    }

    // By the list: an address in a URL would be in the logs of whatever stands between.
    private static async Task<Account> FindAsync(Web web, Uri hub, string who, CancellationToken cancellation) =>
        (await web.GetAsync<All>(hub, Path, cancellation)).Items.FirstOrDefault(account => account.Id == who || string.Equals(account.Email, who, StringComparison.OrdinalIgnoreCase))
        ?? throw new Failure("No account has that address or id: 'interco access accounts list' shows them.");

    private static Argument<string> Who() => new("ACCOUNT") { Description = "Its address, or its id." };

    private static Option<string?> Name(bool required) => new("--name") { Description = "Name to be shown.", HelpName = "TEXT", Required = required };

    private static Option<string[]> Roles(bool required) => new("--role")
    {
        Description = "commune-agent, epci-agent, administrator or dpo; may be given several times.",
        HelpName = "ROLE",
        Required = required,
    };

    private static Option<string[]> Communes() => new("--communes")
    {
        Description = "INSEE codes, separated by commas, for an agent of communes.",
        HelpName = "CODE[,CODE…]",
        CustomParser = result => result.Tokens[0].Value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
    };

    private static void Show(Made made, bool json, Terminal terminal)
    {
        if (json)
        {
            terminal.WriteJson(made);
            return;
        }

        terminal.Write($"account   {made.Email ?? made.Id}");
        terminal.Write(made.TemporaryPassword is { } password ? $"password  {password}" : "password  none: the person signs in by the provider");
        if (made.TemporaryPassword is not null) terminal.Say("The password is told this once, and changed at the first sign-in.");
    }

    private static void Write(IEnumerable<Account> accounts, Terminal terminal) => terminal.WriteTable(
        "Accounts",
        ["Address!", "Name", "Roles", "Communes", "Signs in by", "State", "Id!"],
        accounts.Select(account => new[]
        {
            account.Email ?? "", account.Name ?? "", string.Join(", ", account.Roles), string.Join(", ", account.Communes),
            account.Provider ?? (account.Authenticator ? "password and code" : "password"),
            account.Suspended ? "suspended" : account.LockedUntil is { } until ? $"locked until {Terminal.Time(until)}" : account.TemporaryPassword ? "temporary password" : "",
            account.Id,
        }));
}
