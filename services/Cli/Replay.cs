using System.CommandLine;
using System.Net.Http.Json;
using static System.FormattableString;

namespace Intercommunalite.Cli;

/// <summary><c>interco replay</c>: a subscription is given events again; connectors are asked for what of their journals is not there.</summary>
internal static class Replay
{
    private const string Path = "/api/v1/admin/replays";
    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(500);

    // After how long without any progress it is said why.
    private static readonly TimeSpan s_stillness = TimeSpan.FromSeconds(5);

    private sealed record Shown(
        string Id, string Subscription, string State, double Percent, long Found, long Delivered, long Waiting, long Parked, int Rate, IReadOnlyList<string>? Types, IReadOnlyList<string>? Communes,
        string? Record, string Reason, string AskedBy, DateTimeOffset AskedAt, DateTimeOffset? EndedAt);

    private sealed record All(IReadOnlyList<Shown> Items);

    private sealed record Counted(string Subscription, long Events, bool OrMore);

    private sealed record AskedJournal(string Commune, Guid Journal, long From);

    private sealed record AskedJournals(IReadOnlyList<AskedJournal> Items);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("replay", "Gives a subscription events again; asks connectors for their journals again.")
    {
        Start(common, terminal, time),
        List(common, terminal),
        Show(common, terminal, time),
        Cancel(common, terminal),
        AskAgain(common, terminal),
    };

    private static Command Start(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var subscription = new Argument<string>("SUBSCRIPTION") { Description = "Name of the subscription or webhook, as 'subscriptions list' shows it." };
        var reason = Reason();
        var from = new Option<string?>("--from") { Description = "What the hub stored from this day, or time, on.", HelpName = "DAY|TIME" };
        var to = new Option<string?>("--to") { Description = "What the hub stored until the end of this day, or until this time.", HelpName = "DAY|TIME" };
        var record = new Option<string?>("--record") { Description = "Only events of this record: commune/domain/subject.", HelpName = "RECORD" };
        var rate = new Option<int?>("--rate") { Description = "Most events a second. [default: 100]", HelpName = "N" };
        var dryRun = new Option<bool>("--dry-run") { Description = "Tell how many events it would be." };
        var noWait = new Option<bool>("--no-wait") { Description = "Ask for it and end, instead of waiting until the subscription has taken everything: for as long as nobody reads it, that does not end." };
        var command = new Command("start", "Gives a subscription events again, marked, beside what comes by itself: of what it asks for and may have.")
        {
            subscription, reason, from, to, record, rate, dryRun, noWait,
        };
        var filter = new EventFilter(command, bySubjectAndFact: false);
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var hub = parsed.GetRequiredValue(common.Hub);
            var asked = new
            {
                subscription = parsed.GetRequiredValue(subscription),
                reason = parsed.GetRequiredValue(reason),
                from = parsed.GetValue(from),
                to = parsed.GetValue(to),
                types = Given(parsed.GetValue(filter.Types)),
                communes = Given(parsed.GetValue(filter.Communes)),
                record = parsed.GetValue(record),
                rate = parsed.GetValue(rate),
            };
            if (parsed.GetValue(dryRun))
            {
                var counted = await web.PostAsync<Counted>(hub, $"{Path}?dryRun=true", () => JsonContent.Create(asked), cancellation);
                if (parsed.GetValue(common.Json)) terminal.WriteJson(counted);
                else terminal.Write($"{counted.Subscription} would be given {counted.Events:N0} events{(counted.OrMore ? " or more" : "")} again.");
                return Interco.Succeeded;
            }

            var begun = await web.PostAsync<Shown>(hub, Path, () => JsonContent.Create(asked), cancellation);
            var now = parsed.GetValue(noWait) ? begun : await FollowAsync(web, hub, begun, terminal, time, cancellation);
            Write(now, parsed.GetValue(common.Json), terminal);
            return now.State == "cancelled" ? throw new Failure($"{now.Id} was cancelled.") : Interco.Succeeded;
        });
        return command;
    }

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var subscription = new Option<string?>("--subscription") { Description = "Only those of this subscription.", HelpName = "NAME" };
        var command = new Command("list", "Replays, the newest first.") { subscription };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var query = parsed.GetValue(subscription) is { } name ? $"?subscription={Uri.EscapeDataString(name)}" : "";
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), Path + query, cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(all);
            }
            else
            {
                terminal.WriteTable(
                    "Replays",
                    ["Replay!", "Subscription!", "State", "Looked through#", "Delivered#", "Waiting#", "Parked#", "Asked", "By", "Reason"],
                    all.Items.Select(one => new[]
                    {
                        one.Id, one.Subscription, one.State, Invariant($"{one.Percent:0.#} %"), $"{one.Delivered:N0}", $"{one.Waiting:N0}", $"{one.Parked:N0}",
                        Terminal.Time(one.AskedAt), one.AskedBy, one.Reason,
                    }));
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Show(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var id = Id();
        var follow = new Option<bool>("--follow") { Description = "Until it has ended." };
        var command = new Command("show", "How far one of them is.") { id, follow };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var hub = parsed.GetRequiredValue(common.Hub);
            var now = await web.GetAsync<Shown>(hub, At(parsed.GetRequiredValue(id)), cancellation);
            if (parsed.GetValue(follow)) now = await FollowAsync(web, hub, now, terminal, time, cancellation);
            Write(now, parsed.GetValue(common.Json), terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Cancel(CommonOptions common, Terminal terminal)
    {
        var id = Id();
        var reason = new Option<string?>("--reason") { Description = "Why; it stays on record: name nobody.", HelpName = "TEXT" };
        var command = new Command("cancel", "It gives nothing more.") { id, reason };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            Func<HttpContent>? why = parsed.GetValue(reason) is { } text ? () => JsonContent.Create(new { reason = text }) : null;
            Write(await web.DeleteAsync<Shown>(parsed.GetRequiredValue(common.Hub), At(parsed.GetRequiredValue(id)), cancellation, why), parsed.GetValue(common.Json), terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command AskAgain(CommonOptions common, Terminal terminal)
    {
        var reason = Reason();
        var commune = new Option<string?>("--commune") { Description = "Only the journal of this commune.", HelpName = "CODE" };
        var command = new Command("journals", "Asks connectors for their journals again, from the first event that the hub does not have.") { reason, commune };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var asked = new { reason = parsed.GetRequiredValue(reason), commune = parsed.GetValue(commune) };
            var journals = await web.PostAsync<AskedJournals>(parsed.GetRequiredValue(common.Hub), "/api/v1/admin/ingestion/resend", () => JsonContent.Create(asked), cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(journals);
            else terminal.WriteTable("Asked for again", ["Commune", "Journal!", "From#"], journals.Items.Select(one => new[] { one.Commune, $"{one.Journal}", $"{one.From:N0}" }));
            return Interco.Succeeded;
        });
        return command;
    }

    // Ctrl-C leaves it running: it goes on by itself.
    private static Task<Shown> FollowAsync(Web web, Uri hub, Shown begun, Terminal terminal, TimeProvider time, CancellationToken cancellation) =>
        new Progress(terminal, time).ShowAsync($"Replaying to {begun.Subscription}", async report =>
        {
            var (moved, since, told) = (begun, time.GetTimestamp(), false);
            for (var now = begun; ; now = await web.GetAsync<Shown>(hub, At(begun.Id), cancellation))
            {
                if (now.State != "running") return now;
                report(new(now.Percent, 100, $"{now.Delivered:N0} delivered, {now.Waiting:N0} waiting"));
                if ((now.Percent, now.Delivered, now.Parked) != (moved.Percent, moved.Delivered, moved.Parked)) (moved, since, told) = (now, time.GetTimestamp(), false);
                if (!told && time.GetElapsedTime(since) >= s_stillness)
                {
                    told = true;
                    var why = await Subscriptions.WhyNothingIsTakenAsync(web, hub, begun.Subscription, cancellation);
                    terminal.Say($"{why} The replay goes on by itself when that is over; Ctrl-C ends the waiting alone, and so does --no-wait from the start.");
                }

                try
                {
                    await Task.Delay(s_betweenPolls, time, cancellation);
                }
                catch (OperationCanceledException)
                {
                    terminal.Say($"{begun.Id} goes on. 'interco replay show {begun.Id} --follow' waits for it, 'interco replay cancel {begun.Id}' ends it.");
                    throw;
                }
            }
        });

    private static void Write(Shown now, bool json, Terminal terminal)
    {
        if (json) terminal.WriteJson(now);
        else terminal.Write(Invariant($"{now.Id}: {now.State}, {now.Percent:0.#} % looked through, ") + $"{now.Delivered:N0} delivered, {now.Waiting:N0} waiting, {now.Parked:N0} parked");
    }

    private static string[]? Given(string[]? values) => values is { Length: > 0 } ? values : null;

    private static string At(string id) => $"{Path}/{Uri.EscapeDataString(id)}";

    private static Argument<string> Id() => new("ID") { Description = "Id of the replay, as 'replay list' shows it." };

    private static Option<string> Reason() => new("--reason") { Description = "Why; it stays on record: name nobody.", HelpName = "TEXT", Required = true };
}
