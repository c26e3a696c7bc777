using System.CommandLine;
using System.Text.Json;
using static System.FormattableString;

namespace Intercommunalite.Cli.Access;

/// <summary><c>interco access audit</c>: who did what, and whether that was tampered with.</summary>
internal static class Audit
{
    private const string Path = "/api/v1/audit";

    private sealed record Entry(long Seq, DateTimeOffset At, string Who, string Act, string? Subject, string? Why, string? TraceId, JsonElement? Details, string Hash);

    private sealed record Page(IReadOnlyList<Entry> Items, long? Next);

    private sealed record Check(long Entries, string LastHash, string? Wrong);

    public static Command Command(CommonOptions common, Terminal terminal) => new("audit", "Who did what, when and why.")
    {
        List(common, terminal),
        Verify(common, terminal),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var after = new Option<long>("--after") { Description = "Only entries behind this number: the next page.", HelpName = "N" };
        var limit = new Option<int>("--limit") { Description = "Most to list, up to 1000.", HelpName = "N", DefaultValueFactory = _ => 100 };
        var who = new Option<string?>("--who") { Description = "Only of this caller.", HelpName = "ID" };
        var act = new Option<string?>("--act") { Description = "Only acts that begin so: privacy., access.client-created.", HelpName = "TEXT" };
        var subject = new Option<string?>("--subject") { Description = "Only on this subject.", HelpName = "ID" };
        var command = new Command("list", "The entries, in order. For the data-protection officer.") { after, limit, who, act, subject };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var query = Invariant($"?after={parsed.GetValue(after)}&limit={parsed.GetValue(limit)}")
                + string.Concat(((string, string?)[])[("who", parsed.GetValue(who)), ("act", parsed.GetValue(act)), ("subject", parsed.GetValue(subject))]
                    switch
                { var given => given.Where(one => one.Item2 is not null).Select(one => $"&{one.Item1}={Uri.EscapeDataString(one.Item2!)}") });
            var page = await web.GetAsync<Page>(parsed.GetRequiredValue(common.Hub), Path + query, cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(page);
                return Interco.Succeeded;
            }

            terminal.WriteTable(
                "Audit",
                ["No#", "When!", "Who!", "What", "On!", "Why", "Details"],
                page.Items.Select(entry => new[]
                {
                    Invariant($"{entry.Seq}"), Terminal.Time(entry.At), entry.Who, entry.Act, entry.Subject ?? "", entry.Why ?? "", Details(entry.Details),
                }));
            if (page.Next is { } next) terminal.Write(Invariant($"There are more: --after {next}"));
            return Interco.Succeeded;
        });
        return command;
    }

    // As a line: what is null says nothing.
    private static string Details(JsonElement? details) => details is not { ValueKind: JsonValueKind.Object } given ? "" : string.Join(", ", given.EnumerateObject()
        .Where(detail => detail.Value.ValueKind != JsonValueKind.Null)
        .Select(detail => $"{detail.Name} {(detail.Value.ValueKind == JsonValueKind.String ? detail.Value.GetString() : detail.Value.GetRawText())}"));

    private static Command Verify(CommonOptions common, Terminal terminal)
    {
        var expect = new Option<string?>("--expect") { Description = "A last hash that was noted before: it must still be there, else the end was cut off.", HelpName = "HASH" };
        var command = new Command("verify", "Whether every entry is as it was written. Note the last hash elsewhere.") { expect };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var noted = parsed.GetValue(expect);
            var check = await web.GetAsync<Check>(
                parsed.GetRequiredValue(common.Hub), $"{Path}/verification{(noted is null ? "" : $"?expect={Uri.EscapeDataString(noted)}")}", cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(check);
            else terminal.Write($"{check.Entries:N0} entries are as they were written; the last hash is {check.LastHash}");
            return check.Wrong is null ? Interco.Succeeded : throw new Failure($"The audit was tampered with: {check.Wrong}.");
        });
        return command;
    }
}
