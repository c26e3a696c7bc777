using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;

namespace Intercommunalite.Cli;

/// <summary>A projection as the hub shows it.</summary>
internal sealed record Projection(string Name, long Position, long HighWater, long Lag, double LagSeconds, string State, DateTimeOffset? PausedSince, string? Error, Rebuild? Rebuild);

/// <summary>The last rebuild of a projection, as the hub shows it; positions are events of its store gone through.</summary>
internal sealed record Rebuild(
    string State, long Position, long Target, double Percent, double? EventsPerSecond, double? SecondsLeft, string? Reason, bool DryRun, IReadOnlyList<string>? Communes,
    DateTimeOffset? AskedAt, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt, long? ComparedAt, long? Differences, string? WaitsFor, string? Error);

/// <summary><c>interco projections</c>: lists them, builds one again from all events, gives that up, shows what differed.</summary>
internal static class Projections
{
    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(500);

    private sealed record All(IReadOnlyList<Projection> Items);

    private sealed record Found(long Position, IReadOnlyList<TableFound> Tables, IReadOnlyList<RowFound> Items);

    private sealed record TableFound(string Table, long Differences);

    private sealed record RowFound(string Table, JsonElement Key, JsonElement? InService, JsonElement? Rebuilt);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("projections", "The hub's projections.")
    {
        List(common, terminal),
        RebuildOne(common, terminal, time),
        Cancel(common, terminal),
        Diff(common, terminal),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "Where each projection is.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), "/api/v1/admin/projections", cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(all);
            else Write(all.Items, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command RebuildOne(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var name = Name();
        var reason = new Option<string>("--reason") { Description = "Why; it stays on record.", HelpName = "TEXT", Required = true };
        var dryRun = new Option<bool>("--dry-run") { Description = "Build it and compare it; what is in service stays." };
        var communes = new Option<string[]>("--commune") { Description = "Only the rows of this commune; may be given several times.", HelpName = "CODE" };
        var noWait = new Option<bool>("--no-wait") { Description = "Ask for the rebuild and end." };
        var command = new Command("rebuild", "Builds a projection again from all events, beside the figures in service, which it replaces at the end.") { name, reason, dryRun, communes, noWait };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            using var once = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            var path = Path(parsed.GetRequiredValue(name));
            var asked = new { reason = parsed.GetRequiredValue(reason), dryRun = parsed.GetValue(dryRun), communes = parsed.GetValue(communes) is { Length: > 0 } given ? given : null };
            try
            {
                // Asked once: after an answer that was lost, the hub would refuse the second for the sake of the first.
                await once.PostAsync<object>(hub, $"{path}/rebuild", () => JsonContent.Create(asked), cancellation);
            }
            catch (Failure e) when (e.Status is null or >= System.Net.HttpStatusCode.InternalServerError)
            {
                throw new Failure($"{e.Message} The hub may have taken it all the same: 'interco projections list' shows whether a rebuild of {parsed.GetRequiredValue(name)} was asked for.", e);
            }

            var now = parsed.GetValue(noWait)
                ? await web.GetAsync<Projection>(hub, path, cancellation)
                : await FollowAsync(web, hub, path, parsed.GetRequiredValue(name), terminal, time, cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(now);
            else terminal.Write($"{now.Name}: {Describe(now.Rebuild)}");
            return now.Rebuild switch
            {
                { State: "failed" } failed => throw new Failure($"The rebuild of {now.Name} failed: {failed.Error} What is in service stays. Correct the cause, then rebuild it again."),
                { State: "cancelled" } => throw new Failure($"The rebuild of {now.Name} was cancelled. What is in service stays."),
                _ => Interco.Succeeded,
            };
        });
        return command;
    }

    private static Command Cancel(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var command = new Command("cancel", "Gives a rebuild up: what is in service stays.") { name };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var now = await web.DeleteAsync<Projection>(parsed.GetRequiredValue(common.Hub), $"{Path(parsed.GetRequiredValue(name))}/rebuild", cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(now);
            else terminal.Write($"{now.Name}: {Describe(now.Rebuild)}");
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command Diff(CommonOptions common, Terminal terminal)
    {
        var name = Name();
        var command = new Command("diff", "How the last rebuild differed from what was in service.") { name };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var found = await web.GetAsync<Found>(parsed.GetRequiredValue(common.Hub), $"{Path(parsed.GetRequiredValue(name))}/diff", cancellation);
            if (parsed.GetValue(common.Json))
            {
                terminal.WriteJson(found);
                return Interco.Succeeded;
            }

            terminal.WriteTable($"Rows that differ, at position {found.Position:N0}", ["Table", "Rows#"], found.Tables.Select(table => new[] { table.Table, $"{table.Differences:N0}" }));
            if (found.Items.Count > 0)
            {
                terminal.WriteTable(
                    found.Items.Count < found.Tables.Sum(table => table.Differences) ? $"The first {found.Items.Count:N0} of them" : "They are",
                    ["Table", "Key", "In service", "Rebuilt"],
                    found.Items.Select(row => new[] { row.Table, Columns(row.Key), Columns(row.InService), Columns(row.Rebuilt) }));
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static Argument<string> Name() => new("NAME") { Description = "Name of the projection, as 'projections list' shows it." };

    private static string Path(string name) => $"/api/v1/admin/projections/{Uri.EscapeDataString(name)}";

    private static string Columns(JsonElement? row) =>
        row is { ValueKind: JsonValueKind.Object } columns ? string.Join(", ", columns.EnumerateObject().Select(column => $"{column.Name} {column.Value}")) : "(no row)";

    private static Task<Projection> FollowAsync(Web web, Uri hub, string path, string name, Terminal terminal, TimeProvider time, CancellationToken cancellation) =>
        new Progress(terminal, time).ShowAsync($"Rebuilding {name}", async report =>
        {
            try
            {
                while (true)
                {
                    var now = await web.GetAsync<Projection>(hub, path, cancellation);
                    if (now.Rebuild is { State: "completed" or "failed" or "cancelled" }) return now;
                    if (now.Rebuild is { } rebuild) report(new(rebuild.Position, rebuild.Target, Describe(rebuild)));
                    await Task.Delay(s_betweenPolls, time, cancellation);
                }
            }
            catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
            {
                terminal.Say($"The rebuild of {name} goes on in the hub: 'interco projections list' shows how far it is, 'interco projections cancel {name}' gives it up.");
                throw;
            }
        });

    private static string Describe(Rebuild? rebuild)
    {
        if (rebuild is null) return "rebuild asked for";
        var text = $"{(rebuild.DryRun ? "dry run" : "rebuild")} {rebuild.State} at {rebuild.Position:N0} of {rebuild.Target:N0} events";
        if (rebuild.EventsPerSecond is > 0 and var rate) text += $", {rate:N0}/s";
        if (rebuild is { SecondsLeft: > 0 and var left, State: "running" }) text += $", {TimeSpan.FromSeconds(Math.Ceiling(left)):g} left";
        if (rebuild.WaitsFor is { } waits) text += $"; {waits}";
        return rebuild.Differences is { } differences ? $"{text}; {differences:N0} rows differ" : text;
    }

    private static void Write(IReadOnlyList<Projection> all, Terminal terminal) => terminal.WriteTable(
        "Projections",
        ["Projection", "State", "Position#", "High water#", "Behind#", "Rebuild", "Error"],
        all.Select(one => new[]
        {
            one.Name, one.State, $"{one.Position:N0}", $"{one.HighWater:N0}", $"{one.Lag:N0}",
            one.Rebuild is { } rebuild ? $"{rebuild.State} {rebuild.Position:N0}/{rebuild.Target:N0}{(rebuild.EventsPerSecond is > 0 and var rate ? $", {rate:N0}/s" : "")}{(rebuild.WaitsFor is { } waits ? $"; {waits}" : "")}" : "", one.Error ?? one.Rebuild?.Error ?? "",
        }));
}
