using System.CommandLine;
using Intercommunalite.Cli;

namespace Intercommunalite.Benchmarks;

/// <summary>The command: which parts are measured, with what, in which order.</summary>
internal sealed class Measurement
{
    private enum Part
    {
        Throughput,
        Latency,
        Limits,
    }

    // Long before the events that are measured, so that none is met again.
    private static readonly DateOnly s_warmUpFrom = new(2005, 10, 1);
    private static readonly DateOnly s_from = new(2010, 10, 1);
    private static readonly Pace[] s_usual = [new(500, 10), new(2000, 10), new(500, 1)];
    private const int WarmUpEvents = 60_000;

    private readonly Terminal _terminal;
    private readonly int _events;
    private readonly int _batch;
    private readonly int _inFlight;
    private readonly int _seconds;
    private readonly IReadOnlyList<Pace> _paces;
    private readonly Part? _only;
    private readonly FileInfo? _json;

    private Measurement(Terminal terminal, int events, int batch, int inFlight, int seconds, IReadOnlyList<Pace> paces, Part? only, FileInfo? json) =>
        (_terminal, _events, _batch, _inFlight, _seconds, _paces, _only, _json) = (terminal, events, batch, inFlight, seconds, paces, only, json);

    public static RootCommand Command(Terminal terminal)
    {
        var events = Number("--events", 300_000, "Events of the throughput.");
        var batch = Number("--batch", 200, "Events in a request of the throughput.");
        var inFlight = Number("--in-flight", 8, "Requests at once; 25 at most, one for each commune.");
        var seconds = Number("--seconds", 30, "Length of a run of the latency.");
        var paces = new Option<Pace[]>("--latency")
        {
            Description = $"Runs of the latency: events a second, x, events in a request. [default: {string.Join(',', s_usual)}]",
            HelpName = "RATExBATCH[,…]",
            CustomParser = result => Paces(result.Tokens[0].Value, result.AddError),
        };
        var only = new Option<Part?>("--only") { Description = "Measure this part alone." };
        var json = new Option<FileInfo?>("--json") { Description = "Write what was found to this file, too.", HelpName = "FILE" };
        var command = new RootCommand("Measures the whole pipeline on this machine: throughput, latency, memory, CPU time, and what the machine does at best.")
        {
            events, batch, inFlight, seconds, paces, only, json, Imports.Command(terminal), AccessChecks.Command(terminal), FeedReaders.Command(terminal), Rebuilding.Command(terminal),
        };
        command.SetAction((parsed, cancellation) => new Measurement(
            terminal, parsed.GetValue(events), parsed.GetValue(batch), parsed.GetValue(inFlight), parsed.GetValue(seconds), parsed.GetValue(paces) is { Length: > 0 } given ? given : s_usual,
            parsed.GetValue(only), parsed.GetValue(json)).RunAsync(cancellation));
        return command;

        static Option<int> Number(string name, int usual, string description)
        {
            var option = new Option<int>(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => usual };
            option.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<int>() < 1) result.AddError($"{name} takes 1 or more.");
            });
            return option;
        }
    }

    private async Task<int> RunAsync(CancellationToken cancellation)
    {
        var at = DateTimeOffset.Now;
        _terminal.Say("Preparing the events.");
        // The limits are measured with what the pipeline has stored: it is filled for them, too.
        var fill = _only == Part.Latency ? 0 : _events;
        var runs = _only is null or Part.Latency ? _paces : [];
        var warmUp = Workload.From(s_warmUpFrom, WarmUpEvents);
        var prepared = Workload.From(s_from, fill + runs.Sum(pace => Latency.EventsOf(pace, _seconds)));
        var batches = Batch.Of(prepared.Take(fill), _batch);

        _terminal.Say("Starting servers, hub and connectors.");
        await using var pipeline = await Pipeline.StartAsync(cancellation);
        var machine = await Machine.DescribeAsync(pipeline, cancellation);
        _terminal.Say($"Warming up with {warmUp.Count:N0} events.");
        await Throughput.RunAsync(pipeline, Batch.Of(warmUp, _batch), _inFlight, already: 0, cancellation);
        var sent = warmUp.Count;

        ThroughputResult? throughput = null;
        if (fill > 0)
        {
            _terminal.Say($"Sending {fill:N0} events: {Mix(prepared.Take(fill))}.");
            throughput = await Throughput.RunAsync(pipeline, batches, _inFlight, sent, cancellation);
            sent += fill;
            await VerifyAsync();
        }

        var latency = new List<LatencyResult>();
        foreach (var pace in runs)
        {
            _terminal.Say($"Sending {pace.EventsPerSecond:N0} events a second, {pace.EventsPerRequest} a request, for {_seconds + Latency.LeadInSeconds} s.");
            var events = prepared.Skip(sent - warmUp.Count).Take(Latency.EventsOf(pace, _seconds)).ToArray();
            latency.Add(await Latency.RunAsync(pipeline, events, pace, sent, cancellation));
            sent += events.Length;
        }

        if (runs.Count > 0) await VerifyAsync();
        IReadOnlyList<Limit> limits = [];
        if (_only is null or Part.Limits)
        {
            _terminal.Say("Stopping hub and connectors; measuring what the machine does at best.");
            await pipeline.StopServicesAsync();
            limits = await new Limits(pipeline, cancellation).RunAsync(batches, _inFlight);
        }

        var report = new Report(at, machine, _batch, _inFlight, _only == Part.Limits ? null : throughput, latency, limits, pipeline.Complaints());
        report.Write(_terminal);
        if (_json is not null) await File.WriteAllTextAsync(_json.FullName, report.ToJson(), cancellation);
        return 0;

        Task VerifyAsync() => Throughput.VerifyAsync(pipeline, sent, warmUp.Births() + prepared.Take(sent - warmUp.Count).Births(), cancellation);
    }

    private static string Mix(IEnumerable<Prepared> events) =>
        string.Join(", ", events.CountBy(e => e.Domain).OrderByDescending(pair => pair.Value).Select(pair => $"{pair.Value:N0} {pair.Key}"));

    private static Pace[]? Paces(string text, Action<string> refuse)
    {
        var paces = new List<Pace>();
        foreach (var part in text.Split(','))
        {
            if (part.Split('x') is [var rate, var batch] && int.TryParse(rate, out var perSecond) && int.TryParse(batch, out var size) && perSecond > 0 && size > 0)
                paces.Add(new(perSecond, size));
            else
                refuse($"'{part}' is no run of the latency: 500x10 is 500 events a second in requests of 10.");
        }

        return [.. paces];
    }
}
