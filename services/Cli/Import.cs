using System.CommandLine;
using System.Net.Http.Headers;

namespace Intercommunalite.Cli;

/// <summary><c>interco import</c>: gives a commune's file to its connector and follows what becomes of it.</summary>
internal static class Import
{
    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(500);

    /// <summary>An import as the connector shows it.</summary>
    private sealed record State(
        string ImportId, string Status, long LinesRead, long Accepted, long Duplicates, long Rejected, long Elsewhere, string? Error = null, string? Waiting = null)
    {
        public bool IsOver => Status is "completed" or "held" or "refused";
    }

    private sealed record Outcome(
        Uri Connector,
        string? Commune,
        string ImportId,
        string Status,
        long LinesRead,
        long Accepted,
        long Duplicates,
        long Rejected,
        long Elsewhere,
        string? Error,
        Uri Rejects);

    /// <summary>Where a file goes: a connector, and the path under which it takes files and shows imports.</summary>
    private sealed record Destination(Uri Connector, string? Commune)
    {
        public string Path => Commune is null ? "" : $"/communes/{Commune}";
    }

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var format = new Argument<string>("FORMAT") { Description = "insee-deaths or cloudevents-jsonl." };
        var file = new Argument<FileInfo>("FILE") { Description = "The file." };
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
        var wait = new Option<bool>("--wait") { Description = "Wait for the end of the import (the default)." };
        var noWait = new Option<bool>("--no-wait") { Description = "End once the file is handed over." };
        var rejects = new Option<FileInfo?>("--rejects")
        {
            Description = "Save the rejected lines with their reasons here (CSV).",
            HelpName = "FILE",
        };
        var command = new Command("import", "Gives a file to the connector of its commune, or to all of them.")
        {
            format, file, commune, set, wait, noWait, rejects,
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
            using var web = Web.Patient(terminal, time);
            var destinations = await DestinationsAsync(web, common.RequiredConnectors(parsed), parsed.GetValue(commune), cancellation);
            var query = string.Join('&', parsed.GetValue(set)!.Select(Query));
            var call = $"/files/{Uri.EscapeDataString(parsed.GetRequiredValue(format))}{(query.Length > 0 ? "?" : "")}{query}";
            var states = new List<(Destination, State)>();
            foreach (var destination in destinations)
            {
                var state = await new Progress(terminal, time).ShowAsync($"Importing at {destination.Connector}", async report =>
                {
                    var state = await HandOverAsync(web, destination, call, parsed.GetRequiredValue(file), report, cancellation);
                    return parsed.GetValue(noWait) ? state : await FollowAsync(web, destination, state, time, report, cancellation);
                });
                states.Add((destination, state));
            }

            if (parsed.GetValue(rejects) is { } save) await SaveRejectsAsync(web, states, save, cancellation);
            Outcome[] outcomes = [.. states.Select(one => Of(one.Item1, one.Item2))];
            if (parsed.GetValue(common.Json)) terminal.WriteJson(new { imports = outcomes });
            else foreach (var outcome in outcomes) Write(outcome, terminal);
            return outcomes.Any(outcome => outcome.Status is "refused" or "held") ? throw Unfinished(outcomes) : Interco.Succeeded;
        });
        return command;
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
        while (!state.IsOver)
        {
            var waiting = state.Waiting is null ? "" : $"; waiting: {state.Waiting}";
            report(new(state.LinesRead, 0, $"{state.LinesRead:N0} lines read, {state.Accepted:N0} accepted, {state.Rejected:N0} rejected{waiting}"));
            await Task.Delay(s_betweenPolls, time, cancellation);
            state = await web.GetAsync<State>(to.Connector, $"{to.Path}/imports/{state.ImportId}", cancellation);
        }

        return state;
    }

    private static async Task SaveRejectsAsync(Web web, List<(Destination To, State State)> states, FileInfo file, CancellationToken cancellation)
    {
        var rejecting = states.Where(one => one.State.Rejected > 0).ToList();
        foreach (var (index, (to, state)) in rejecting.Index())
        {
            // One file for each connector that rejected lines: rejects.csv, rejects.2.csv, …
            var name = index == 0 ? file.FullName : Path.ChangeExtension(file.FullName, $"{index + 1}{file.Extension}");
            await web.SaveAsync(to.Connector, $"{to.Path}/imports/{state.ImportId}/rejects", name, cancellation);
        }
    }

    private static Outcome Of(Destination to, State state) => new(
        to.Connector, to.Commune, state.ImportId, state.Status, state.LinesRead, state.Accepted, state.Duplicates, state.Rejected, state.Elsewhere,
        state.Error, Web.At(to.Connector, $"{to.Path}/imports/{state.ImportId}/rejects"));

    private static void Write(Outcome outcome, Terminal terminal)
    {
        terminal.Write($"{outcome.Connector}: import {outcome.ImportId} {outcome.Status}: {outcome.LinesRead:N0} lines read, "
            + $"{outcome.Accepted:N0} events accepted, {outcome.Duplicates:N0} duplicates, "
            + $"{outcome.Rejected:N0} lines rejected, {outcome.Elsewhere:N0} of communes served elsewhere.");
        if (outcome.Rejected > 0) terminal.Write($"  Rejected lines with their reasons: {outcome.Rejects}");
    }

    private static Failure Unfinished(Outcome[] outcomes) => new(string.Join(Environment.NewLine, outcomes.Select(outcome => outcome.Status switch
    {
        "refused" => $"{outcome.Connector} refused the file: {outcome.Error ?? $"the reasons are at {outcome.Rejects}."} Is it of the format named?",
        "held" => $"{outcome.Connector} holds the file until somebody decides about it: {outcome.Error ?? $"the reasons are at {outcome.Rejects}."}",
        _ => null,
    }).OfType<string>()));

    private static string Query(string pair)
    {
        var at = pair.IndexOf('=');
        return $"{Uri.EscapeDataString(pair[..at])}={Uri.EscapeDataString(pair[(at + 1)..])}";
    }
}
