using System.CommandLine;
using System.Text.Json.Serialization;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Cli;

/// <summary><c>interco status</c>: how far the hub, its projections and the communes' journals are.</summary>
internal static class Status
{
    private static readonly TimeSpan s_pause = TimeSpan.FromSeconds(3);

    private sealed record Territory(string Siren, string Name, string Kind);

    private sealed record Page<T>(long? Position, IReadOnlyList<T> Items);

    private sealed record Received(long? Position, IReadOnlyList<Ingested> Items, IReadOnlyList<string>? NeverSent);

    private sealed record Ingested(
        string Commune, Guid Journal, long ReceivedThrough, DateTimeOffset? LastReceivedAt, long Events, long Quarantined,
        long LastPosition, long Unreceived, DateTimeOffset? OldestUnreceivedAt, DateTimeOffset? BegunAt, DateTimeOffset? HeardAt, bool Superseded,
        IReadOnlyList<Alert>? Alerts);

    private sealed record Alert([property: JsonPropertyName("alert")] string Kind, DateTimeOffset Since, string Detail);

    private sealed record JournalState(
        Guid Journal, long LastPosition, long PublishedThrough, long ReceivedThrough, DateTimeOffset? OldestUnreceivedAt, bool? Accepting, string? Reason);

    private sealed record JournalOf(string Commune, string Connector, JournalState? State, string? Error);

    private sealed record Report(
        Territory Territory,
        long? Position,
        IReadOnlyList<Ingested> Ingestion,
        IReadOnlyList<string> NeverSent,
        IReadOnlyList<Projection> Projections,
        IReadOnlyList<JournalOf> Journals)
    {
        public long Accepted => Journals.Sum(journal => journal.State?.LastPosition ?? 0);

        public long Received => Journals.Sum(journal => journal.State?.ReceivedThrough ?? 0);

        /// <summary>Whether an answer is missing, so that waiting would be in vain.</summary>
        public bool Incomplete => Journals.Any(journal => journal.Error is not null);

        /// <summary>Whether the figures hold every event that the connectors accepted.</summary>
        public bool CaughtUp => Journals.All(journal => journal.State?.ReceivedThrough >= journal.State?.LastPosition) && Projections.All(projection => projection.Lag == 0);
    }

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var command = new Command("status", "How far the hub, its projections and the communes' journals are.");
        var wait = new Option<bool>("--wait") { Description = "Wait until the figures hold every event that the connectors have accepted." };
        command.Options.Add(wait);
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var report = await AskAsync(web, parsed.GetRequiredValue(common.Hub), parsed.GetValue(common.Connectors)!, cancellation);
            while (parsed.GetValue(wait) && !report.CaughtUp && !report.Incomplete)
            {
                terminal.Say($"{report.Received:N0} of {report.Accepted:N0} events received");
                await Task.Delay(s_pause, time, cancellation);
                report = await AskAsync(web, parsed.GetRequiredValue(common.Hub), parsed.GetValue(common.Connectors)!, cancellation);
            }

            if (parsed.GetValue(common.Json)) terminal.WriteJson(report);
            else Write(report, terminal, time.GetUtcNow());
            foreach (var error in report.Journals.Select(journal => journal.Error).OfType<string>().Distinct()) terminal.Say(error);
            return report.Incomplete ? Interco.Failed : Interco.Succeeded;
        });
        return command;
    }

    private static async Task<Report> AskAsync(Web web, Uri hub, Uri[] connectors, CancellationToken cancellation)
    {
        var territory = web.GetAsync<Territory>(hub, "/api/v1/territory", cancellation);
        var ingestion = web.GetAsync<Received>(hub, "/api/v1/ingestion", cancellation);
        var projections = web.GetAsync<Page<Projection>>(hub, "/api/v1/admin/projections", cancellation);
        var journals = Task.WhenAll(connectors.Select(connector => JournalsAsync(web, connector, cancellation)));
        await Task.WhenAll(territory, ingestion, projections, journals);
        return new Report(
            await territory, (await ingestion).Position, (await ingestion).Items, (await ingestion).NeverSent ?? [], (await projections).Items,
            [.. (await journals).SelectMany(all => all).OrderBy(journal => journal.Commune, StringComparer.Ordinal)]);
    }

    // A connector that is down must not hide the state of the others.
    private static async Task<JournalOf[]> JournalsAsync(Web web, Uri connector, CancellationToken cancellation)
    {
        try
        {
            var communes = await web.CommunesAsync(connector, cancellation);
            return await Task.WhenAll(communes.Select(commune => JournalAsync(web, connector, commune, cancellation)));
        }
        catch (Failure e)
        {
            return [new("", connector.AbsoluteUri, null, e.Message)];
        }
    }

    private static async Task<JournalOf> JournalAsync(Web web, Uri connector, string commune, CancellationToken cancellation)
    {
        try
        {
            var state = await web.GetAsync<JournalState>(connector, $"/communes/{commune}/journal", cancellation);
            return new(commune, connector.AbsoluteUri, state, null);
        }
        catch (Failure e)
        {
            return new(commune, connector.AbsoluteUri, null, e.Message);
        }
    }

    private static void Write(Report report, Terminal terminal, DateTimeOffset now)
    {
        var names = Epci.Find(report.Territory.Siren)?.Communes.ToDictionary(commune => commune.Code.ToString(), commune => commune.Name) ?? [];
        string Name(string commune) => $"{commune} {names.GetValueOrDefault(commune)}".TrimEnd();

        terminal.Write($"{report.Territory.Name} ({report.Territory.Siren}), hub at position {report.Position}");
        terminal.WriteTable(
            "Received from the communes",
            ["Commune", "Journal", "Received through#", "Events#", "Quarantined#", "Last received#"],
            report.Ingestion.Select(one => new[]
            {
                Name(one.Commune), one.Journal.ToString("N")[..8],
                $"{one.ReceivedThrough:N0}", $"{one.Events:N0}", $"{one.Quarantined:N0}", Ago(one.LastReceivedAt, now),
            }));
        if (report.NeverSent.Count > 0) terminal.Write($"Nothing yet from {string.Join(", ", report.NeverSent.Select(Name))}");
        terminal.WriteTable(
            "Projections",
            ["Projection", "State", "Position#", "Behind#", "For#", "Error"],
            report.Projections.Select(one => new[] { one.Name, one.State, $"{one.Position:N0}", $"{one.Lag:N0}", Length(TimeSpan.FromSeconds(one.LagSeconds)), one.Error ?? "" }));
        WriteAlerts(report, terminal, Name, now);
        if (report.Journals.Count == 0) return;
        terminal.WriteTable(
            "Journals of the communes",
            ["Commune", "Connector", "Journal", "Last#", "Published#", "Received#", "Oldest not received#"],
            report.Journals.Select(one => one.State is { } journal
                ? new[]
                {
                    Name(one.Commune), one.Connector, journal.Journal.ToString("N")[..8],
                    $"{journal.LastPosition:N0}", $"{journal.PublishedThrough:N0}", $"{journal.ReceivedThrough:N0}",
                    Ago(journal.OldestUnreceivedAt, now),
                }
                : [Name(one.Commune), one.Connector, "no answer", "", "", "", ""]));
    }

    // What the hub reports of the communes and its projections, and the connectors of their journals, in one list.
    private static void WriteAlerts(Report report, Terminal terminal, Func<string, string> name, DateTimeOffset now)
    {
        var alerts = report.Ingestion.SelectMany(one => (one.Alerts ?? []).Select(alert => (Of: name(one.Commune), alert.Kind, Since: (DateTimeOffset?)alert.Since, alert.Detail)))
            .Concat(report.Projections.Where(one => one.State == "paused").Select(one => (Of: one.Name, Kind: "paused", Since: one.PausedSince, Detail: one.Error ?? "")))
            .Concat(report.Journals.Where(one => one.State is { Accepting: false })
                .Select(one => (Of: name(one.Commune), Kind: "not-accepting", Since: (DateTimeOffset?)null, Detail: one.State!.Reason ?? "")))
            .ToList();
        if (alerts.Count == 0) return;
        terminal.WriteTable("To look at", ["Of", "Alert", "Since#", "Detail"], alerts.Select(alert => new[] { alert.Of, alert.Kind, Ago(alert.Since, now), alert.Detail }));
    }

    private static string Ago(DateTimeOffset? then, DateTimeOffset now) => then is not { } instant ? "" : Length(now - instant) is { Length: > 0 } length ? $"{length} ago" : "now";

    private static string Length(TimeSpan time) => time switch
    {
        { TotalSeconds: < 1 } => "",
        { TotalMinutes: < 2 } => $"{time.TotalSeconds:F0} s",
        { TotalHours: < 2 } => $"{time.TotalMinutes:F0} min",
        { TotalDays: < 2 } => $"{time.TotalHours:F0} h",
        _ => $"{time.TotalDays:F0} days",
    };
}
