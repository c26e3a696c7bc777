using System.CommandLine;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access register</c>: the register of processing (RGPD art. 30).</summary>
internal static class Register
{
    private const string Path = "/api/v1/privacy/register";

    public static Command Command(CommonOptions common, Terminal terminal)
    {
        var file = new Option<FileInfo?>("--out") { Description = "Where to save it: as its name ends, .html, .md or .json. [default: standard output, as text]", HelpName = "FILE" };
        var command = new Command("register", "The register of processing (RGPD art. 30), from the catalogue and the agreements.") { file };
        command.Validators.Add(result =>
        {
            if (result.GetValue(file) is { } named && Format(named) is null) result.AddError("--out: a name that ends in .html, .md or .json expected.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            if (parsed.GetValue(file) is { } saved)
            {
                await web.SaveAsync(hub, $"{Path}?format={Format(saved)}", saved.FullName, cancellation);
                if (parsed.GetValue(common.Json)) terminal.WriteJson(new { file = saved.FullName });
                else terminal.Write($"{saved.FullName} is saved.");
                return Interco.Succeeded;
            }

            terminal.Write(await web.TextAsync(hub, $"{Path}?format={(parsed.GetValue(common.Json) ? "json" : "md")}", cancellation));
            return Interco.Succeeded;
        });
        return command;
    }

    private static string? Format(FileInfo file) => file.Extension is ".html" or ".md" or ".json" ? file.Extension[1..] : null;
}
