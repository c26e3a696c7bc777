using System.CommandLine;
using System.Net.Http.Json;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access bootstrap</c>: makes the first administrator, on the hub's host.</summary>
internal static class Bootstrap
{
    private sealed record Account(string Email, string TemporaryPassword);

    private sealed record Made(string Id, string? Secret, Account? Account);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var file = new Option<FileInfo>("--secret-file")
        {
            Description = "File of the hub's setting Access__BootstrapSecretFile.",
            HelpName = "FILE",
            Required = true,
        };
        var save = new Option<FileInfo?>("--save") { Description = "File to which id and secret go, to be sourced by a shell; readable by its owner alone. Without it they are shown.", HelpName = "FILE" };
        var email = new Option<string?>("--email") { Description = "Whose account for the pages is made too.", HelpName = "ADDRESS" };
        var command = new Command("bootstrap", "Makes the first administrator. Works once.") { file, save, email };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var secret = (await File.ReadAllTextAsync(parsed.GetRequiredValue(file).FullName, cancellation)).Trim();
            var made = await web.PostAsync<Made>(
                parsed.GetRequiredValue(common.Hub), $"{Access.Path}/bootstrap", () => JsonContent.Create(new { secret, email = parsed.GetValue(email) }), cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(made);
                return Interco.Succeeded;
            }

            new ClientSecret(made.Id, made.Secret).Show(parsed.GetValue(save), json: false, terminal);
            if (made.Account is not { } account) return Interco.Succeeded;
            terminal.Write($"account   {account.Email}");
            terminal.Write($"password  {account.TemporaryPassword} (to be changed at the first sign-in)");
            return Interco.Succeeded;
        });
        return command;
    }
}

/// <summary>A client and its secret, which the hub tells once.</summary>
internal sealed record ClientSecret(string Id, string? Secret)
{
    /// <summary>Shows it, or saves it as lines that a shell can source.</summary>
    public void Show(FileInfo? file, bool json, Terminal terminal)
    {
        if (file is not null)
        {
            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows()) options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using (var writer = new StreamWriter(file.FullName, options))
            {
                writer.WriteLine($"export INTERCO_CLIENT_ID={Id}");
                writer.WriteLine($"export INTERCO_CLIENT_SECRET={Secret}");
            }

            terminal.Say($"Saved to {file}. To use it: . {file}");
        }
        else if (json)
        {
            terminal.WriteJson(this);
        }
        else
        {
            terminal.Write($"client  {Id}");
            terminal.Write(Secret is null ? "secret  none: it signs with its own key" : $"secret  {Secret}");
            if (Secret is not null) terminal.Say("The secret is told this once. To use it: INTERCO_CLIENT_ID and INTERCO_CLIENT_SECRET.");
        }
    }
}
