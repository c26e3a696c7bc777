using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Encodings.Web;
using System.Text.Json;
using static System.FormattableString;

namespace Intercommunalite.Cli;

/// <summary><c>interco quarantine</c>: lists, shows, retries and discards what the hub did not accept.</summary>
internal static class Quarantine
{
    private const string Path = "/api/v1/admin/quarantine";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private sealed record Item(
        long Id, string Kind, string State, DateTimeOffset ReceivedAt, string? Commune, Guid? Journal, long? Position, string Reason, string? TraceId, long? Size,
        DateTimeOffset? EndedAt, string? EndReason);

    private sealed record Page(IReadOnlyList<Item> Items, long? Next);

    private sealed record Same(string Reason, string? Commune, string Kind, long Count, DateTimeOffset FirstReceivedAt, DateTimeOffset LastReceivedAt);

    private sealed record All(IReadOnlyList<Same> Items);

    private sealed record Shown(Item Item, string? Sha256, JsonElement? Event);

    private sealed record Counts(long Retried, long StillRefused);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("quarantine", "What the hub did not accept.")
    {
        List(common, terminal),
        Reasons(common, terminal),
        Show(common, terminal),
        Retry(common, terminal, time),
        Discard(common, terminal),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var commune = Commune();
        var reason = new Option<string?>("--reason") { Description = "Only what is there for exactly this reason.", HelpName = "TEXT" };
        var state = new Option<string>("--state") { Description = "kept, retried, discarded or all.", DefaultValueFactory = _ => "kept" };
        state.AcceptOnlyFromAmong("kept", "retried", "discarded", "all");
        var after = new Option<long>("--after") { Description = "Only those with a greater id: the next page.", HelpName = "ID" };
        var limit = new Option<int>("--limit") { Description = "Most to list, up to 1000.", HelpName = "N", DefaultValueFactory = _ => 100 };
        var command = new Command("list", "What is in quarantine, by arrival.") { commune, reason, state, after, limit };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var query = Invariant($"?state={parsed.GetValue(state)}&after={parsed.GetValue(after)}&limit={parsed.GetValue(limit)}")
                + And("commune", parsed.GetValue(commune)) + And("reason", parsed.GetValue(reason));
            var page = await web.GetAsync<Page>(parsed.GetRequiredValue(common.Hub), Path + query, cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(page);
            else Write(page, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Reasons(CommonOptions common, Terminal terminal)
    {
        var command = new Command("reasons", "How many are in quarantine, by reason and commune.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), $"{Path}/reasons", cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(all);
            }
            else
            {
                terminal.WriteTable(
                    "In quarantine, by reason",
                    ["Count#", "Kind", "Commune", "First", "Last", "Reason"],
                    all.Items.Select(one => new[]
                    {
                        $"{one.Count:N0}", one.Kind, one.Commune ?? "", Terminal.Time(one.FirstReceivedAt), Terminal.Time(one.LastReceivedAt), one.Reason,
                    }));
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Show(CommonOptions common, Terminal terminal)
    {
        var id = Id();
        var command = new Command("show", "One of them, with its event; what may name a person is not shown.") { id };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var shown = await web.GetAsync<Shown>(parsed.GetRequiredValue(common.Hub), Invariant($"{Path}/{parsed.GetRequiredValue(id)}"), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(shown);
            else Write(shown, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Retry(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var id = Id();
        id.Arity = ArgumentArity.ZeroOrOne;
        var reason = new Option<string?>("--reason") { Description = "Retry all that are there for exactly this reason.", HelpName = "TEXT" };
        var commune = Commune();
        var command = new Command("retry", "Checks events again and stores those that are accepted by now.") { id, reason, commune };
        command.Validators.Add(result =>
        {
            if (result.GetResult(id) is { Tokens.Count: > 0 } == result.GetValue(reason) is not null) result.AddError("Give either an ID or --reason.");
            if (result.GetValue(commune) is not null && result.GetValue(reason) is null) result.AddError("--commune goes with --reason.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            if (parsed.GetValue(reason) is not { } why)
            {
                var item = await web.PostAsync<Item>(hub, Invariant($"{Path}/{parsed.GetRequiredValue(id)}/retry"), () => null, cancellation);
                if (parsed.GetValue(common.Json)) terminal.WriteJson(item);
                else terminal.Write(Invariant($"{item.Id}: {item.State}, {item.EndReason}"));
                return Interco.Succeeded;
            }

            var query = $"?reason={Uri.EscapeDataString(why)}{And("commune", parsed.GetValue(commune))}";
            var counts = await new Progress(terminal, time).ShowAsync("Retrying", report =>
            {
                report(new(0, 0, why));
                return web.UploadAsync<Counts>(hub, $"{Path}/retry{query}", () => new ByteArrayContent([]), cancellation);
            });
            if (parsed.GetValue(common.Json)) terminal.WriteJson(counts);
            else terminal.Write($"{counts.Retried:N0} retried, {counts.StillRefused:N0} still refused");
            return counts.StillRefused == 0 ? Interco.Succeeded : throw new Failure("Some stay in quarantine: 'interco quarantine reasons' says why.");
        });
        return command;
    }

    private static Command Discard(CommonOptions common, Terminal terminal)
    {
        var id = Id();
        var reason = new Option<string>("--reason") { Description = "Why; it stays on record.", HelpName = "TEXT", Required = true };
        var command = new Command("discard", "Erases the content of one for good.") { id, reason };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var item = await web.PostAsync<Item>(
                parsed.GetRequiredValue(common.Hub), Invariant($"{Path}/{parsed.GetRequiredValue(id)}/discard"),
                () => JsonContent.Create(new { reason = parsed.GetRequiredValue(reason) }), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(item);
            else terminal.Write(Invariant($"{item.Id}: {item.State}, {item.EndReason}"));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Argument<long> Id() => new("ID") { Description = "Its id, as 'quarantine list' shows it." };

    private static Option<string?> Commune() => new("--commune") { Description = "Only of this commune.", HelpName = "CODE" };

    private static string And(string name, string? value) => value is null ? "" : $"&{name}={Uri.EscapeDataString(value)}";

    private static void Write(Page page, Terminal terminal)
    {
        terminal.WriteTable(
            "Quarantine",
            ["Id#", "Kind", "State", "Received", "Commune", "Position#", "Size#", "Reason"],
            page.Items.Select(one => new[]
            {
                Invariant($"{one.Id}"), one.Kind, one.State, Terminal.Time(one.ReceivedAt), one.Commune ?? "", Invariant($"{one.Position}"), $"{one.Size:N0}",
                one.EndReason is null ? one.Reason : $"{one.Reason} ({one.EndReason})",
            }));
        if (page.Next is { } next) terminal.Write(Invariant($"There are more: --after {next}"));
    }

    private static void Write(Shown shown, Terminal terminal)
    {
        var item = shown.Item;
        terminal.Write(Invariant($"{item.Id}: {item.Kind}, {item.State}"));
        Line("reason", item.Reason);
        Line("received", Terminal.Time(item.ReceivedAt));
        Line("commune", item.Commune);
        if (item.Journal is { } journal) Line("journal", Invariant($"{journal}, position {item.Position}"));
        Line("trace", item.TraceId);
        if (item.EndedAt is { } ended) Line(item.State, $"{Terminal.Time(ended)}: {item.EndReason}");
        if (shown.Sha256 is { } hash) Line("content", $"{item.Size:N0} bytes, SHA-256 {hash}");
        if (shown.Event is { ValueKind: not JsonValueKind.Null } seen) terminal.Write(JsonSerializer.Serialize(seen, s_indented));

        void Line(string name, string? value)
        {
            if (value is not null) terminal.Write($"  {name,-9} {value}");
        }
    }
}
