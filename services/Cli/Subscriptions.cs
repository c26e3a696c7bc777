using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using static System.FormattableString;

namespace Intercommunalite.Cli;

/// <summary>
/// <c>interco subscriptions</c>: durable subscriptions, how far each is, and what of it is parked. With <c>--dry-run</c> the hub tries what
/// is asked for, says what would come of it, and changes nothing.
/// </summary>
internal static class Subscriptions
{
    private const string Path = "/api/v1/subscriptions";

    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private sealed record Item(
        string Name, string Client, string? Agreement, string Kind, JsonElement Filter, string State, string? Reason, string? SuspendedBy, bool? InForce, string Position, long Lag, long Unacknowledged,
        DateTimeOffset? OldestUnacknowledged, long Parked, IReadOnlyDictionary<string, long>? Replaying, int MaxAttempts, int AckTimeoutSeconds, DateTimeOffset CreatedAt, string CreatedBy,
        Webhook? Webhook, IReadOnlyList<Failing>? Failing);

    private sealed record Webhook(Uri Url, int? RequestsPerMinute, bool Alert, DateTimeOffset? FailingSince, string? LastFailure, DateTimeOffset? LastSuccess, string? Note, string? Secret);

    private sealed record Failing(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, int Failures, string? Reason, DateTimeOffset DueAt);

    private sealed record All(IReadOnlyList<Item> Items);

    private sealed record Parked(string Cursor, string Replay, string Type, string Commune, string Subject, int Attempts, string Reason, DateTimeOffset Since);

    private sealed record Page(IReadOnlyList<Parked> Items, string? Next);

    public static Command Command(CommonOptions common, Terminal terminal) => new("subscriptions", "Durable subscriptions: what is delivered to whom, and what is not done.")
    {
        List(common, terminal),
        Show(common, terminal),
        Create(common, terminal),
        Deciding(common, terminal, "suspend", "suspension", "Gives nothing until it is resumed; its place stays."),
        Deciding(common, terminal, "resume", "resumption", "Goes on where it was."),
        ListParked(common, terminal),
        Park(common, terminal),
        OfParked(common, terminal, "replay-parked", "replay", "replayed", "Gives parked deliveries again.", needsReason: false),
        OfParked(common, terminal, "discard", "discard", "discarded", "Gives parked deliveries up for good.", needsReason: true),
        RenewSecret(common, terminal),
        Delete(common, terminal),
    };

    /// <summary>Why a subscription takes nothing now, as far as the hub knows: a sentence.</summary>
    public static async Task<string> WhyNothingIsTakenAsync(Web web, Uri hub, string name, CancellationToken cancellation)
    {
        var item = await web.GetAsync<Item>(hub, At(name), cancellation);
        return item switch
        {
            { State: "suspended" } or { InForce: false } => $"{name} is {State(item)}.",
            { Webhook: { } webhook } => $"The endpoint of {name} takes nothing now{(webhook.LastFailure is { } failure ? $": {failure.TrimEnd('.')}" : "")}.",
            { Unacknowledged: > 0 } => $"Whoever reads {name} has not acknowledged anything of it for some seconds.",
            _ => $"Nobody reads {name} now.",
        };
    }

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "Subscriptions, and how far each is.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), Path, cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(all);
                return Interco.Succeeded;
            }

            terminal.WriteTable("Subscriptions", ["Name!", "Client", "Agreement", "Kind", "State", "Lag#", "Unacknowledged#", "Oldest", "Parked#"], all.Items.Select(one => new[]
            {
                one.Name, one.Client, one.Agreement ?? "", one.Kind, State(one), Invariant($"{one.Lag}"), Invariant($"{one.Unacknowledged}"),
                one.OldestUnacknowledged is { } since ? Terminal.Time(since) : "", Invariant($"{one.Parked}"),
            }));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Show(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var command = new Command("show", "One of them, with the deliveries that failed and come again.") { name };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var shown = await web.GetAsync<JsonElement>(parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(name)), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(shown);
            else Write(shown, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Create(CommonOptions common, Terminal terminal)
    {
        var (name, dryRun) = (new Argument<string>("NAME") { Description = "Its name: small letters, digits and hyphens; one for the whole hub." }, DryRun());
        var start = new Option<string>("--start") { Description = "beginning, now, a time, or a cursor.", HelpName = "WHERE", Required = true };
        var agreement = new Option<string?>("--agreement") { Description = "The agreement under which; needed when several are in force.", HelpName = "ID" };
        var client = new Option<string?>("--client") { Description = "Of an administrator: the client whose it is to be.", HelpName = "ID" };
        var maxAttempts = new Option<int?>("--max-attempts") { Description = "Failures after which a delivery is parked (10).", HelpName = "N" };
        var ackTimeout = new Option<int?>("--ack-timeout") { Description = "Seconds within which a delivery is to be acknowledged (60).", HelpName = "SECONDS" };
        var webhook = new Option<string?>("--webhook") { Description = "Have it brought to this endpoint, which is asked first; the secret that signs is shown this once.", HelpName = "URL" };
        var reason = OptionalReason();
        var command = new Command("create", "Makes a subscription.") { name, start, agreement, client, maxAttempts, ackTimeout, webhook, reason, dryRun };
        var filter = new EventFilter(command);
        command.SetAction(async (parsed, cancellation) =>
        {
            var body = new JsonObject { ["name"] = parsed.GetRequiredValue(name), ["start"] = parsed.GetRequiredValue(start), ["filter"] = filter.JsonOf(parsed) };
            if (parsed.GetValue(agreement) is { } id) body["agreement"] = id;
            if (parsed.GetValue(client) is { } of) body["client"] = of;
            if (parsed.GetValue(maxAttempts) is { } most) body["maxAttempts"] = most;
            if (parsed.GetValue(ackTimeout) is { } seconds) body["ackTimeoutSeconds"] = seconds;
            if (parsed.GetValue(reason) is { } why) body["reason"] = why;
            if (parsed.GetValue(webhook) is { } url) body["webhook"] = new JsonObject { ["url"] = url };
            using var web = Web.Impatient(common.Credentials(parsed));
            Tell(parsed, common, terminal, await PostAsync(web, parsed, common, "", body, dryRun, cancellation), parsed.GetValue(dryRun));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Deciding(CommonOptions common, Terminal terminal, string name, string act, string description)
    {
        var (subscription, reason, dryRun) = (Name(), Reason(), DryRun());
        var command = new Command(name, description) { subscription, reason, dryRun };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var body = new JsonObject { ["reason"] = parsed.GetRequiredValue(reason) };
            var shown = await PostAsync(web, parsed, common, $"/{Uri.EscapeDataString(parsed.GetRequiredValue(subscription))}/{act}", body, dryRun, cancellation);
            Tell(parsed, common, terminal, shown, parsed.GetValue(dryRun));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command ListParked(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var after = new Option<string>("--after") { Description = "Where the page before ended.", HelpName = "CURSOR", DefaultValueFactory = _ => "" };
        var limit = new Option<int>("--limit") { Description = "Most to list, up to 1000.", HelpName = "N", DefaultValueFactory = _ => 100 };
        var command = new Command("parked", "What is parked, in order.") { name, after, limit };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var page = await web.GetAsync<Page>(
                parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(name), Invariant($"/parked?limit={parsed.GetValue(limit)}&after={Uri.EscapeDataString(parsed.GetRequiredValue(after))}")), cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(page);
                return Interco.Succeeded;
            }

            terminal.WriteTable("Parked", ["Cursor!", "Commune", "Subject", "Type", "Attempts#", "Since", "Reason"], page.Items.Select(one => new[]
            {
                one.Cursor, one.Commune, one.Subject, one.Type, Invariant($"{one.Attempts}"), Terminal.Time(one.Since), one.Reason,
            }));
            if (page.Next is { } next) terminal.Write($"There are more: --after {next}");
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Park(CommonOptions common, Terminal terminal)
    {
        var (name, reason, dryRun) = (Name(), Reason(), DryRun());
        var cursor = new Argument<string>("CURSOR") { Description = "Cursor of the event, as 'subscriptions show' and the delivery have it." };
        var command = new Command("park", "Parks a delivery that waits, with what follows of its record, so that the others go on.") { name, cursor, reason, dryRun };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var body = new JsonObject { ["cursor"] = parsed.GetRequiredValue(cursor), ["reason"] = parsed.GetRequiredValue(reason) };
            Count(parsed, common, terminal, await PostAsync(web, parsed, common, $"/{Uri.EscapeDataString(parsed.GetRequiredValue(name))}/parked", body, dryRun, cancellation), "parked", parsed.GetValue(dryRun));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command OfParked(CommonOptions common, Terminal terminal, string name, string act, string done, string description, bool needsReason)
    {
        var (subscription, dryRun) = (Name(), DryRun());
        var cursor = new Option<string?>("--cursor") { Description = "That of this cursor, as 'subscriptions parked' shows it.", HelpName = "CURSOR" };
        var record = new Option<bool>("--record") { Description = "With all others of its record." };
        var all = new Option<bool>("--all") { Description = "All that are parked." };
        var reason = needsReason ? Reason() : OptionalReason();
        var command = new Command(name, description) { subscription, cursor, record, all, reason, dryRun };
        command.Validators.Add(result =>
        {
            if (result.GetValue(cursor) is not null == result.GetValue(all)) result.AddError("Give either --cursor or --all.");
            if (result.GetValue(record) && result.GetValue(cursor) is null) result.AddError("--record goes with --cursor.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            var body = parsed.GetValue(cursor) is { } one ? new JsonObject { ["cursor"] = one, ["record"] = parsed.GetValue(record) } : new JsonObject { ["all"] = true };
            if (parsed.GetValue(reason) is { } why) body["reason"] = why;
            using var web = Web.Impatient(common.Credentials(parsed));
            var answer = await PostAsync(web, parsed, common, $"/{Uri.EscapeDataString(parsed.GetRequiredValue(subscription))}/parked/{act}", body, dryRun, cancellation);
            Count(parsed, common, terminal, answer, done, parsed.GetValue(dryRun));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command RenewSecret(CommonOptions common, Terminal terminal)
    {
        var (name, dryRun) = (Name(), DryRun());
        var command = new Command("renew-secret", "Gives a webhook another secret, shown this once; the one before signs too for a while.") { name, dryRun };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var answer = await PostAsync(web, parsed, common, $"/{Uri.EscapeDataString(parsed.GetRequiredValue(name))}/webhook/secret", [], dryRun, cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(answer);
            else if (!parsed.GetValue(dryRun)) terminal.Write($"{answer.GetProperty("secret").GetString()}\nThe secret before signs too until {Terminal.Time(answer.GetProperty("previousUntil").GetDateTimeOffset())}.");
            if (parsed.GetValue(dryRun)) terminal.Say($"Nothing was changed (--dry-run): the secret would be replaced, and sign until {Terminal.Time(answer.GetProperty("previousUntil").GetDateTimeOffset())}.");
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Delete(CommonOptions common, Terminal terminal)
    {
        var (name, dryRun) = (Name(), DryRun());
        var command = new Command("delete", "Ends a subscription for good; what is parked goes too.") { name, dryRun };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var (hub, of) = (parsed.GetRequiredValue(common.Hub), parsed.GetRequiredValue(name));
            var before = await web.GetAsync<JsonElement>(hub, At(of), cancellation);
            await web.DeleteAsync<object>(hub, At(of, parsed.GetValue(dryRun) ? "?dryRun=true" : ""), cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(new { name = of, deleted = !parsed.GetValue(dryRun), was = before });
                return Interco.Succeeded;
            }

            var was = before.Deserialize<Item>(JsonSerializerOptions.Web)!;
            terminal.Write(Invariant($"{of}: {Would(parsed.GetValue(dryRun), "deleted")}, with {was.Lag} events to come and {was.Parked} parked."));
            return Interco.Succeeded;
        });
        return command;
    }

    private static Task<JsonElement> PostAsync(Web web, ParseResult parsed, CommonOptions common, string path, JsonObject body, Option<bool> dryRun, CancellationToken cancellation) =>
        web.PostAsync<JsonElement>(parsed.GetRequiredValue(common.Hub), $"{Path}{path}{(parsed.GetValue(dryRun) ? "?dryRun=true" : "")}", () => JsonContent.Create(body), cancellation);

    private static void Tell(ParseResult parsed, CommonOptions common, Terminal terminal, JsonElement shown, bool dryRun)
    {
        if (parsed.GetValue(common.Json)) terminal.WriteJson(shown);
        else Write(shown, terminal);
        if (dryRun) terminal.Say("Nothing was changed (--dry-run): the hub would take it.");
    }

    private static void Count(ParseResult parsed, CommonOptions common, Terminal terminal, JsonElement answer, string what, bool dryRun)
    {
        if (parsed.GetValue(common.Json)) terminal.WriteJson(answer);
        else terminal.Write($"{answer.GetProperty(what)} {(answer.GetProperty(what).GetInt64() == 1 ? "delivery" : "deliveries")} {Would(dryRun, what)}");
        if (dryRun) terminal.Say("Nothing was changed (--dry-run).");
    }

    private static void Write(JsonElement shown, Terminal terminal)
    {
        var item = shown.Deserialize<Item>(JsonSerializerOptions.Web)!;
        terminal.Write($"{item.Name}: {item.Kind}, {State(item)}, of {item.Client}{(item.Agreement is { } agreement ? $" under {agreement}" : "")}");
        if (item is { State: "suspended", SuspendedBy: { } by }) terminal.Write($"  suspended by {by}");
        if (item is { State: "full", Reason: { } full }) terminal.Write($"  {full}");
        terminal.Write(Invariant($"  lag {item.Lag} events; {item.Unacknowledged} unacknowledged{(item.OldestUnacknowledged is { } since ? $" since {Terminal.Time(since)}" : "")}; {item.Parked} parked"));
        terminal.Write($"  done up to {item.Position}");
        foreach (var (replay, left) in item.Replaying ?? new Dictionary<string, long>()) terminal.Write(Invariant($"  replay {replay}: {left} to come"));
        terminal.Write(Invariant($"  parked after {item.MaxAttempts} failures; to be acknowledged within {item.AckTimeoutSeconds} s; made {Terminal.Time(item.CreatedAt)} by {item.CreatedBy}"));
        terminal.Write($"  filter {JsonSerializer.Serialize(item.Filter, s_indented)}");
        if (item.Webhook is { } webhook)
        {
            terminal.Write($"  brought to {webhook.Url}{(webhook.RequestsPerMinute is { } rate ? Invariant($", {rate} requests a minute at most") : "")}{(webhook.LastSuccess is { } taken ? $", last taken {Terminal.Time(taken)}" : "")}");
            if (webhook.FailingSince is { } failingSince) terminal.Write($"  {(webhook.Alert ? "ALERT: " : "")}takes nothing since {Terminal.Time(failingSince)}: {webhook.LastFailure}");
            if (webhook.Note is { } note) terminal.Write($"  {note}");
            if (webhook.Secret is { } secret) terminal.Write($"  secret {secret} (shown this once)");
        }

        if (item.Failing is not { Count: > 0 } failing) return;
        terminal.WriteTable("Failing", ["Cursor!", "Commune", "Subject", "Failures#", "Again at", "Reason"], failing.Select(one => new[]
        {
            one.Cursor, one.Commune, one.Subject, Invariant($"{one.Failures}"), Terminal.Time(one.DueAt), one.Reason ?? "",
        }));
    }

    private static string State(Item item) =>
        item is { State: "active", Webhook.Alert: true } ? "failing"
        : item.State == "suspended" ? $"suspended ({item.Reason})" : item.InForce == false ? "waiting (the agreement allows nothing now)" : item.State;

    private static string Would(bool dryRun, string done) => dryRun ? $"would be {done}" : done;

    private static Argument<string> Name() => new("NAME") { Description = "Its name, as 'subscriptions list' shows it." };

    private static Option<string> Reason() => new("--reason") { Description = "Why; it stays on record: name nobody.", HelpName = "TEXT", Required = true };

    private static Option<string> OptionalReason() => new("--reason") { Description = "Why, if it is to be on record: name nobody.", HelpName = "TEXT" };

    private static Option<bool> DryRun() => new("--dry-run") { Description = "Try it, say what would come of it, and change nothing." };

    private static string At(string name, string behind = "") => $"{Path}/{Uri.EscapeDataString(name)}{behind}";
}
