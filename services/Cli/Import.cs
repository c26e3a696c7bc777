using System.CommandLine;
using System.Net.Http.Headers;

namespace Intercommunalite.Cli;

/// <summary><c>interco import</c>: gives a commune's file to its connector and follows what becomes of it.</summary>
internal static class Import
{
    private static readonly TimeSpan s_firstPoll = TimeSpan.FromMilliseconds(30);
    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(500);

    /// <summary>An import as the connector shows it.</summary>
    private sealed record State(
        string ImportId, string Status, long LinesRead, long Accepted, long Duplicates, long Rejected, long Elsewhere,
        long Withdrawn = 0, long Remarks = 0, long BytesRead = 0, long Bytes = 0, string? Error = null, string? ToDo = null, string? Waiting = null)
    {
        public bool IsOver => Status is "completed" or "held" or "refused";
    }

    private sealed record Outcome(
        string File,
        Uri Connector,
        string? Commune,
        string ImportId,
        string Status,
        long LinesRead,
        long Accepted,
        long Duplicates,
        long Rejected,
        long Elsewhere,
        long Withdrawn,
        long Remarks,
        string? Error,
        string? ToDo,
        Uri? Rejects);

    /// <summary>Where a file goes: a connector, and the path under which it takes files and shows imports.</summary>
    private sealed record Destination(Uri Connector, string? Commune)
    {
        public string Path => Commune is null ? "" : $"/communes/{Commune}";
    }

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var format = new Argument<string>("FORMAT") { Description = "insee-deaths, onde-pupils, concerto-enrolments, pes-retour, payfip or cloudevents-jsonl." };
        var file = new Argument<FileSystemInfo>("FILE") { Description = "The file, or a folder: the files in it, in the order of their names." };
        file.AcceptExistingOnly();
        var commune = new Option<string?>("--commune")
        {
            Description = "INSEE code of the commune that the file is of. Without it, every connector takes what is its own.",
            HelpName = "CODE",
        };
        var set = new Option<string[]>("--set")
        {
            Description = "What the file does not say itself, for formats that need it: uai=0350122T.",
            HelpName = "NAME=VALUE",
        };
        var confirm = new Option<bool>("--confirm") { Description = "The file is right though it looks wrong: take it instead of holding it, or take it that is held." };
        var wait = new Option<bool>("--wait") { Description = "Wait for the end of the import (the default)." };
        var noWait = new Option<bool>("--no-wait") { Description = "End once the file is handed over." };
        var rejects = new Option<FileInfo?>("--rejects")
        {
            Description = "Save the rejected lines with their reasons here (CSV).",
            HelpName = "FILE",
        };
        var command = new Command("import", "Gives a file to the connector of its commune, or to all of them.")
        {
            format, file, commune, set, confirm, wait, noWait, rejects,
        };
        command.Validators.Add(result =>
        {
            if (result.GetValue(wait) && result.GetValue(noWait)) result.AddError("--wait and --no-wait exclude each other.");
            if (result.GetValue(rejects) is not null && result.GetValue(noWait))
                result.AddError("--rejects needs the end of the import: leave --no-wait out.");
        });
        set.Validators.Add(result =>
        {
            if (result.Tokens.Any(pair => pair.Value.IndexOf('=') < 1)) result.AddError("--set takes NAME=VALUE.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var destinations = await DestinationsAsync(web, common.RequiredConnectors(parsed), parsed.GetValue(commune), cancellation);
            var query = string.Join('&', [.. parsed.GetValue(set)!.Select(Query), .. parsed.GetValue(confirm) ? ["confirm=true"] : Array.Empty<string>()]);
            var call = $"/files/{Uri.EscapeDataString(parsed.GetRequiredValue(format))}{(query.Length > 0 ? "?" : "")}{query}";
            var isFolder = parsed.GetRequiredValue(file) is DirectoryInfo;
            var states = new List<(FileInfo File, Destination To, State State)>();
            foreach (var (one, destination) in FilesOf(parsed.GetRequiredValue(file)).SelectMany(_ => destinations, (one, destination) => (one, destination)))
            {
                var state = await new Progress(terminal, time).ShowAsync($"{one.Name} at {destination.Connector}", async report =>
                {
                    try
                    {
                        var state = await HandOverAsync(web, destination, call, one, report, cancellation);
                        return parsed.GetValue(noWait) ? state : await FollowAsync(web, destination, state, time, report, cancellation);
                    }
                    catch (Failure failure) when (isFolder)
                    {
                        // The files behind it are no worse for it.
                        return new State("", "failed", 0, 0, 0, 0, 0, Error: failure.Message);
                    }
                });
                states.Add((one, destination, state));
                if (!parsed.GetValue(common.Json)) Write(Of(one, destination, state), terminal);
            }

            if (parsed.GetValue(rejects) is { } save) await SaveRejectsAsync(web, states, save, cancellation);
            Outcome[] outcomes = [.. states.Select(one => Of(one.File, one.To, one.State))];
            if (parsed.GetValue(common.Json)) terminal.WriteJson(new { imports = outcomes });
            else if (outcomes.Length > 1) WriteSum(outcomes, terminal);
            return outcomes.Any(outcome => outcome.Status is "refused" or "held" or "failed" || outcome is { LinesRead: > 0, Accepted: 0, Duplicates: 0, Elsewhere: 0, Status: "completed" }) ? throw Unfinished(outcomes) : Interco.Succeeded;
        });
        return command;
    }

    // As in a drop folder: what is hidden or still arrives is not meant.
    private static List<FileInfo> FilesOf(FileSystemInfo path)
    {
        if (path is FileInfo file) return [file];
        var files = ((DirectoryInfo)path).GetFiles()
            .Where(found => !found.Name.StartsWith('.') && found.Extension.ToLowerInvariant() is not (".part" or ".tmp"))
            .OrderBy(found => found.Name, StringComparer.Ordinal).ToList();
        return files.Count > 0 ? files : throw new Failure($"There is no file in {path.FullName}.");
    }

    private static async Task<IReadOnlyList<Destination>> DestinationsAsync(
        Web web, Uri[] connectors, string? commune, CancellationToken cancellation)
    {
        if (commune is null) return [.. connectors.Select(connector => new Destination(connector, null))];
        var served = await web.DiscoverAsync(connectors, cancellation);
        return served.TryGetValue(commune, out var connector)
            ? [new(connector, commune)]
            : throw new Failure($"No connector given serves commune {commune}; they serve {string.Join(", ", served.Keys.Order())}.");
    }

    private static Task<State> HandOverAsync(
        Web web, Destination to, string call, FileInfo file, Action<Advance> report, CancellationToken cancellation) =>
        web.UploadAsync<State>(to.Connector, to.Path + call, () =>
        {
            var upload = new UploadStream(file.OpenRead(), sent => report(new(sent, file.Length, $"{sent / 1024:N0} KiB sent")));
            var content = new StreamContent(upload);
            content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
            return content;
        }, cancellation);

    private static async Task<State> FollowAsync(
        Web web, Destination to, State state, TimeProvider time, Action<Advance> report, CancellationToken cancellation)
    {
        for (var wait = s_firstPoll; !state.IsOver; wait = wait * 2 > s_betweenPolls ? s_betweenPolls : wait * 2)
        {
            var waiting = state.Waiting is null ? "" : $"; waiting: {state.Waiting}";
            report(new(state.BytesRead, state.Bytes, $"{state.LinesRead:N0} lines read, {state.Accepted:N0} accepted, {state.Rejected:N0} rejected{waiting}"));
            await Task.Delay(wait, time, cancellation);
            state = await web.GetAsync<State>(to.Connector, $"{to.Path}/imports/{state.ImportId}", cancellation);
        }

        return state;
    }

    private static async Task SaveRejectsAsync(Web web, List<(FileInfo File, Destination To, State State)> states, FileInfo file, CancellationToken cancellation)
    {
        var rejecting = states.Where(one => one.State is { ImportId.Length: > 0 } and ({ Rejected: > 0 } or { Remarks: > 0 } or { Status: "refused" or "held" })).ToList();
        foreach (var (index, (_, to, state)) in rejecting.Index())
        {
            // One for each import that rejected lines: rejects.csv, rejects.2.csv, …
            var name = index == 0 ? file.FullName : Path.ChangeExtension(file.FullName, $"{index + 1}{file.Extension}");
            await web.SaveAsync(to.Connector, $"{to.Path}/imports/{state.ImportId}/rejects", name, cancellation);
        }
    }

    private static Outcome Of(FileInfo file, Destination to, State state) => new(
        file.Name, to.Connector, to.Commune, state.ImportId, state.Status, state.LinesRead, state.Accepted, state.Duplicates, state.Rejected, state.Elsewhere,
        state.Withdrawn, state.Remarks, state.Error, state.ToDo, state.ImportId.Length > 0 ? Web.At(to.Connector, $"{to.Path}/imports/{state.ImportId}/rejects") : null);

    private static void Write(Outcome outcome, Terminal terminal)
    {
        if (outcome.Status == "failed") terminal.Write($"{outcome.File} at {outcome.Connector}: not taken.");
        else terminal.Write($"{outcome.File} at {outcome.Connector}: import {outcome.ImportId} {outcome.Status}: {outcome.LinesRead:N0} lines read, "
            + $"{outcome.Accepted:N0} events accepted, {outcome.Duplicates:N0} duplicates, "
            + $"{outcome.Rejected:N0} lines rejected, {outcome.Elsewhere:N0} of communes not served here{(outcome.Withdrawn > 0 ? $", {outcome.Withdrawn:N0} pupils withdrawn" : "")}.");
        if (outcome.Rejected + outcome.Remarks > 0) terminal.Write($"  {outcome.Rejected:N0} rejected lines and {outcome.Remarks:N0} remarks, with what to do: {outcome.Rejects}");
    }

    private static void WriteSum(Outcome[] outcomes, Terminal terminal) => terminal.Write(
        $"{outcomes.Length:N0} imports ({string.Join(", ", outcomes.CountBy(outcome => outcome.Status).Select(pair => $"{pair.Value:N0} {pair.Key}"))}): "
        + $"{outcomes.Sum(outcome => outcome.LinesRead):N0} lines read, {outcomes.Sum(outcome => outcome.Accepted):N0} events accepted, "
        + $"{outcomes.Sum(outcome => outcome.Duplicates):N0} duplicates, {outcomes.Sum(outcome => outcome.Rejected):N0} lines rejected.");

    private static Failure Unfinished(Outcome[] outcomes) => new(string.Join(Environment.NewLine, outcomes.Select(outcome => outcome.Status switch
    {
        "refused" => $"{outcome.Connector} refused {outcome.File}: {outcome.Error ?? $"the reasons are at {outcome.Rejects}."} {outcome.ToDo}".TrimEnd(),
        "failed" => $"{outcome.File}: {outcome.Error}",
        "completed" when outcome is { LinesRead: > 0, Accepted: 0, Duplicates: 0, Elsewhere: 0 } => $"{outcome.Connector} rejected every line of {outcome.File}; the reasons are at {outcome.Rejects}.",
        "held" => $"{outcome.Connector} holds {outcome.File}: {outcome.Error ?? $"the reasons are at {outcome.Rejects}."} If the file is right, import it again with --confirm.",
        _ => null,
    }).OfType<string>()));

    private static string Query(string pair)
    {
        var at = pair.IndexOf('=');
        return $"{Uri.EscapeDataString(pair[..at])}={Uri.EscapeDataString(pair[(at + 1)..])}";
    }
}
