using System.CommandLine;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli.Simulate;

/// <summary><c>interco simulate</c>: plays the software of every commune of a territory.</summary>
internal static class Simulation
{
    private sealed record TerritoryAnswer(string Siren, string Name, string Kind, IReadOnlyList<CommuneAnswer> Communes);

    private sealed record CommuneAnswer(string Code, string Name, int Population);

    private sealed record Summary(
        string Territory, string Name, long Seed, DateOnly? From, DateOnly? Through, long Events, long Accepted, long Duplicates,
        IReadOnlyDictionary<string, long> ByType, IReadOnlyList<string> NotServed, double Seconds);

    /// <summary>What to play.</summary>
    private sealed record Plan(
        SimulatedTerritory Territory, IReadOnlyList<CommuneSoftware> Communes, Period? Past, double? LiveRate, IReadOnlyList<string> NotServed);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var backfill = new Option<int?>("--backfill") { Description = "Months of the past to play.", HelpName = "MONTHS" };
        var until = new Option<DateOnly?>("--until")
        {
            Description = "Last day of the past to play. [default: today, up to now]",
            HelpName = "YYYY-MM-DD",
        };
        var live = new Option<bool>("--live") { Description = "Then go on with events of the present, until Ctrl-C." };
        var rate = new Option<double>("--rate")
        {
            Description = "Live events a second.",
            HelpName = "PER_SECOND",
            DefaultValueFactory = _ => 1,
        };
        var seed = new Option<long>("--seed")
        {
            Description = "Another seed is another past; the same gives the same events, which the connectors recognise.",
            HelpName = "N",
            DefaultValueFactory = _ => 1,
        };
        var territory = new Option<string?>("--territory") { Description = "SIREN of the territory. [default: the hub's]", HelpName = "SIREN" };
        var directory = new Option<DirectoryInfo?>("--out")
        {
            Description = "Write a cloudevents-jsonl file for each commune here instead of sending.",
            HelpName = "DIR",
        };
        var command = new Command("simulate", "Plays the software of every commune of a territory, with people who do not exist.")
        {
            backfill, until, live, rate, seed, territory, directory,
        };
        rate.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (> 0 and <= 100_000)) result.AddError("--rate takes more than 0, and 100,000 at most.");
        });
        command.Validators.Add(result =>
        {
            if (result.GetValue(backfill) is null && !result.GetValue(live))
                result.AddError("Nothing to simulate: give --backfill MONTHS, --live, or both.");
            if (result.GetValue(backfill) is < 1 or > 1200) result.AddError("--backfill takes 1 to 1200 months.");
            if (result.GetValue(live) && result.GetValue(directory) is not null)
                result.AddError("--live sends to connectors; it cannot go with --out.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var epci = await TerritoryAsync(web, parsed.GetValue(territory), parsed.GetRequiredValue(common.Hub), cancellation);
            var played = new SimulatedTerritory(epci, parsed.GetValue(seed));
            var past = parsed.GetValue(backfill) is { } months ? PastOf(months, parsed.GetValue(until), time.GetUtcNow()) : null;
            var liveRate = parsed.GetValue(live) ? parsed.GetValue(rate) : (double?)null;

            var (deliver, served) = parsed.GetValue(directory) is { } files
                ? (Delivery.ToFiles(files, epci.Communes.Select(commune => commune.Code)), epci.Communes)
                : await ConnectAsync(web, common.RequiredConnectors(parsed), epci, cancellation);
            string[] notServed = [.. epci.Communes.Except(served).Select(commune => $"{commune.Code} {commune.Name}")];
            if (notServed.Length > 0) terminal.Say($"No connector given serves {string.Join(", ", notServed)}: left out.");

            var plan = new Plan(played, [.. served.Select(commune => new CommuneSoftware(played, commune))], past, liveRate, notServed);
            await PlayAsync(plan, deliver, parsed.GetValue(common.Json), terminal, time, cancellation);
            return Interco.Succeeded;
        });
        return command;
    }

    private static async Task PlayAsync(
        Plan plan, Deliver deliver, bool json, Terminal terminal, TimeProvider time, CancellationToken cancellation)
    {
        var (outbox, progress, started) = (new Outbox(deliver), new Progress(terminal, time), time.GetTimestamp());
        try
        {
            if (plan.Past is { } past)
                await progress.ShowAsync("Backfill", report => Backfill.RunAsync(plan.Communes, past, outbox, report, time, cancellation));
            else
                await Live.DeclareSchoolsAsync(plan.Communes, outbox, time.GetUtcNow(), cancellation);
            if (plan.LiveRate is { } rate)
                await GoOnAsync(plan, rate, outbox, progress, time, cancellation);
        }
        catch (OperationCanceledException)
        {
            terminal.Say("Stopped half-way. Run it again with the same seed and dates: what was sent already is recognised.");
            throw;
        }
        finally
        {
            Write(Summarise(plan, outbox.Tally, time.GetElapsedTime(started)), json, terminal);
        }
    }

    private static async Task GoOnAsync(Plan plan, double rate, Outbox outbox, Progress progress, TimeProvider time, CancellationToken cancellation)
    {
        var served = plan.Communes.Select(software => software.Commune.Code).ToHashSet();
        var events = new LiveEvents(plan.Territory, time.GetUtcNow());
        try
        {
            await progress.ShowAsync("Live", report => Live.RunAsync(events, rate, served, outbox, report, time, cancellation));
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            // Ctrl-C is how live events end.
        }
    }

    private static Period PastOf(int months, DateOnly? until, DateTimeOffset now) => until is { } day
        ? Period.Months(months, day, FrenchTime.At(day.AddDays(1), 0).AddTicks(-1))
        : Period.Months(months, FrenchTime.DayOf(now), now);

    private static async Task<Epci> TerritoryAsync(Web web, string? siren, Uri hub, CancellationToken cancellation)
    {
        if (siren is not null)
            return Epci.Find(siren) ?? throw new Failure($"No territory has the SIREN '{siren}'. It takes nine digits, such as 243500733.");
        var answer = await web.GetAsync<TerritoryAnswer>(hub, "/api/v1/territory", cancellation);
        return new(answer.Siren, answer.Name, answer.Kind, [.. answer.Communes
            .OrderBy(commune => commune.Code, StringComparer.Ordinal)
            .Select(commune => new Commune(CommuneCode.Parse(commune.Code), commune.Name, commune.Population))]);
    }

    private static async Task<(Deliver Deliver, IReadOnlyList<Commune> Served)> ConnectAsync(
        Web web, Uri[] connectors, Epci epci, CancellationToken cancellation)
    {
        var byCommune = await web.DiscoverAsync(connectors, cancellation);
        Commune[] served = [.. epci.Communes.Where(commune => byCommune.ContainsKey(commune.Code.ToString()))];
        return served.Length > 0
            ? (Delivery.ToConnectors(web, byCommune), served)
            : throw new Failure($"The connectors given serve no commune of {epci.Name}; they serve {string.Join(", ", byCommune.Keys.Order())}.");
    }

    private static Summary Summarise(Plan plan, Tally tally, TimeSpan elapsed)
    {
        var epci = plan.Territory.Epci;
        return new(
            epci.Siren, epci.Name, plan.Territory.Seed, plan.Past?.From, plan.Past?.Through, tally.Events, tally.Events - tally.Duplicates,
            tally.Duplicates, tally.ByType, plan.NotServed, Math.Round(elapsed.TotalSeconds, 3));
    }

    private static void Write(Summary summary, bool json, Terminal terminal)
    {
        if (json)
        {
            terminal.WriteJson(summary);
            return;
        }

        var days = summary.From is { } from ? $", {from:yyyy-MM-dd} to {summary.Through:yyyy-MM-dd}" : "";
        terminal.Write($"{summary.Name} ({summary.Territory}), seed {summary.Seed}{days}: {summary.Events:N0} events in {summary.Seconds:N1} s, "
            + $"{summary.Accepted:N0} accepted, {summary.Duplicates:N0} there already.");
        terminal.WriteTable("Events", ["Type", "Number#"], summary.ByType.Select(pair => new[] { pair.Key, $"{pair.Value:N0}" }));
    }
}
