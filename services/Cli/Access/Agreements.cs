using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using static System.FormattableString;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access agreements</c>: what partners may get, from the first draft to the end.</summary>
internal static class Agreements
{
    private const string Path = "/api/v1/agreements";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private sealed record Summary(
        string Id, string State, bool InForce, string Title, string Partner, int? Version, int? NextVersion, int? PendingVersion, DateOnly From, DateOnly? To, bool PersonalData);

    private sealed record All(IReadOnlyList<Summary> Items);

    private sealed record Version(int Number, JsonElement Terms, DateTimeOffset DraftedAt, DateTimeOffset? ActivatedAt);

    private sealed record Agreement(
        string Id, string State, bool InForce, long Revision, int? Version, int? NextVersion, int? PendingVersion, JsonElement Terms, IReadOnlyList<Version> Versions,
        IReadOnlyList<JsonElement>? Acts);

    public static Command Command(CommonOptions common, Terminal terminal) => new("agreements", "What partners may get: agreements (conventions).")
    {
        List(common, terminal),
        Show(common, terminal),
        Versions(common, terminal),
        Draft(common, terminal),
        Acting(common, terminal, "activate", "activation", "Puts the version drafted last into force, from its first day on.", withVersion: true),
        Acting(common, terminal, "suspend", "suspension", "Suspends it: its feeds end within a second."),
        Acting(common, terminal, "resume", "resumption", "Puts it into force again."),
        Acting(common, terminal, "end", "end", "Ends it for good: its feeds end within a second."),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var asOf = AsOf();
        var command = new Command("list", "The agreements; with --as-of, those that were in force then.") { asOf };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), $"{Path}{Query(parsed.GetValue(asOf))}", cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(all);
                return Interco.Succeeded;
            }

            terminal.WriteTable("Agreements", ["Id!", "State", "In force", "Version#", "Pending#", "From", "To", "Persons", "Partner", "Title"], all.Items.Select(one => new[]
            {
                one.Id, one.State, one.InForce ? "yes" : "no", Invariant($"{one.Version}"), Invariant($"{one.PendingVersion}"), Day(one.From), one.To is { } to ? Day(to) : "",
                one.PersonalData ? "yes" : "no", one.Partner, one.Title,
            }));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Show(CommonOptions common, Terminal terminal)
    {
        var (id, asOf) = (Id(), AsOf());
        var command = new Command("show", "One of them: its terms, and what happened to it.") { id, asOf };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var agreement = await web.GetAsync<Agreement>(parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(id), Query(parsed.GetValue(asOf))), cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(agreement);
                return Interco.Succeeded;
            }

            Tell(agreement, terminal);
            terminal.Write(JsonSerializer.Serialize(agreement.Terms, s_indented));
            foreach (var act in agreement.Acts ?? [])
                terminal.Write($"  {Text(act, "at")}  {Text(act, "act")}{(act.TryGetProperty("version", out var version) ? $" {version}" : "")} by {Text(act, "by")}: {Text(act, "why")}");
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Versions(CommonOptions common, Terminal terminal)
    {
        var id = Id();
        var number = new Option<int?>("--version") { Description = "Only this one, with its terms.", HelpName = "N" };
        var command = new Command("versions", "Its versions: when each was drafted and put into force.") { id, number };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var agreement = await web.GetAsync<Agreement>(parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(id)), cancellation);
            if (parsed.GetValue(number) is { } wanted)
            {
                var found = agreement.Versions.FirstOrDefault(version => version.Number == wanted) ?? throw new Failure(Invariant($"{agreement.Id} has no version {wanted}."));
                if (parsed.GetValue(common.Json)) terminal.WriteJson(found);
                else terminal.Write(JsonSerializer.Serialize(found.Terms, s_indented));
                return Interco.Succeeded;
            }

            if (parsed.GetValue(common.Json)) terminal.WriteJson(agreement.Versions);
            else
            {
                terminal.WriteTable($"Versions of {agreement.Id}", ["Version#", "Drafted", "Put into force", ""], agreement.Versions.Select(version => new[]
                {
                    Invariant($"{version.Number}"), Terminal.Time(version.DraftedAt), version.ActivatedAt is { } at ? Terminal.Time(at) : "", version.Number == agreement.Version ? "the one in force last" : "",
                }));
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Draft(CommonOptions common, Terminal terminal)
    {
        var file = new Argument<FileInfo>("FILE") { Description = "The agreement as JSON: {\"id\", \"reason\", \"terms\"}. One that is there gets a new version." };
        var command = new Command("draft", "Drafts an agreement, or a new version of one.") { file };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            var drafted = Read(parsed.GetRequiredValue(file));
            var id = drafted["id"] is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
            var before = id is null ? null : await web.FindAsync<Agreement>(hub, At(id), cancellation);
            var agreement = before is null
                ? await web.PostAsync<Agreement>(hub, Path, () => JsonContent.Create(drafted), cancellation)
                : await web.PutAsync<Agreement>(hub, At(before.Id), () => JsonContent.Create(drafted), Invariant($"\"{before.Revision}\""), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(agreement);
            else terminal.Write(Invariant($"{agreement.Id}: version {agreement.PendingVersion} is drafted. 'interco access agreements activate {agreement.Id} --reason …' puts it into force."));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Acting(CommonOptions common, Terminal terminal, string name, string act, string description, bool withVersion = false)
    {
        var id = Id();
        var reason = new Option<string>("--reason") { Description = "Why; it stays on record.", HelpName = "TEXT", Required = true };
        var number = new Option<int?>("--version") { Description = "The version that is meant: refused when another was drafted since.", HelpName = "N" };
        var command = new Command(name, description) { id, reason };
        if (withVersion) command.Options.Add(number);
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var body = new JsonObject { ["reason"] = parsed.GetRequiredValue(reason) };
            if (withVersion && parsed.GetValue(number) is { } version) body["version"] = version;
            var agreement = await web.PostAsync<Agreement>(parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(id), $"/{act}"), () => JsonContent.Create(body), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(agreement);
            else Tell(agreement, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static JsonObject Read(FileInfo file)
    {
        try
        {
            using var content = file.OpenRead();
            return JsonNode.Parse(content) as JsonObject ?? throw new Failure($"{file.FullName} is no agreement: a JSON object expected.");
        }
        catch (JsonException e)
        {
            throw new Failure($"{file.FullName} is not JSON (line {e.LineNumber + 1}).", e);
        }
    }

    private static void Tell(Agreement agreement, Terminal terminal) => terminal.Write(
        Invariant($"{agreement.Id}: {agreement.State}{(agreement.Version is { } version ? Invariant($", version {version}") : "")}{(agreement.InForce ? ", in force today" : "")}")
        + (agreement.NextVersion is { } next ? Invariant($"; version {next} takes its place on {agreement.Versions.Single(one => one.Number == next).Terms.GetProperty("from")}") : "")
        + (agreement.PendingVersion is { } pending ? Invariant($"; version {pending} waits to be activated") : ""));

    private static Argument<string> Id() => new("ID") { Description = "Its id, as 'agreements list' shows it." };

    private static Option<string?> AsOf() => new("--as-of") { Description = "As it was at this time.", HelpName = "TIME" };

    private static string At(string id, string behind = "") => $"{Path}/{Uri.EscapeDataString(id)}{behind}";

    private static string Query(string? asOf) => asOf is null ? "" : $"?asOf={Uri.EscapeDataString(asOf)}";

    private static string Text(JsonElement json, string name) => json.TryGetProperty(name, out var value) ? value.ToString() : "";

    private static string Day(DateOnly day) => Invariant($"{day:yyyy-MM-dd}");
}
