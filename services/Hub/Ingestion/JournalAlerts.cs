using System.Globalization;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>When somebody is to be told; section <c>Alerts</c>.</summary>
internal sealed class AlertOptions
{
    /// <summary>Shortest time without a new event that counts as silence, however often the commune sends.</summary>
    public TimeSpan MinSilence { get; init; } = TimeSpan.FromDays(1);

    /// <summary>How long a connector may give no sign of life; it gives one every 15 s (<c>Forwarding:Silence</c>).</summary>
    public TimeSpan UnheardAge { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>How long an event may be on its way.</summary>
    public TimeSpan UnreceivedAge { get; init; } = TimeSpan.FromMinutes(15);

    /// <summary>How long a gap may be open; the bus makes short ones that close by themselves.</summary>
    public TimeSpan ResendAge { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>For how long it is said that a journal is new.</summary>
    public TimeSpan NewJournalAge { get; init; } = TimeSpan.FromDays(7);
}

/// <summary>Something that somebody should look at.</summary>
/// <param name="Alert">One of <see cref="AlertRules.Kinds"/>.</param>
/// <param name="Since">Since when it is so.</param>
/// <param name="Detail">What is seen, and what to do.</param>
internal sealed record JournalAlert(string Alert, DateTimeOffset Since, string Detail);

/// <summary>Which alerts a journal gives, without I/O.</summary>
internal static class AlertRules
{
    private const double UsualTimes = 1.5;

    /// <summary>No new event for longer than usual.</summary>
    public const string Silent = "silent";

    /// <summary>No sign of life of the connector.</summary>
    public const string Unheard = "unheard";

    /// <summary>The connector has an event that does not arrive.</summary>
    public const string Unreceived = "unreceived";

    /// <summary>An event is missing before those that arrive, and is asked for.</summary>
    public const string Resending = "resending";

    /// <summary>The commune has begun another journal.</summary>
    public const string NewJournal = "new-journal";

    /// <summary>Events are in quarantine.</summary>
    public const string Quarantined = "quarantined";

    /// <summary>All of them.</summary>
    public static IReadOnlyList<string> Kinds { get; } = [Silent, Unheard, Unreceived, Resending, NewJournal, Quarantined];

    /// <summary>
    /// From when on a commune is silent for longer than usual: half as long again as its longest pause, and never less than
    /// <see cref="AlertOptions.MinSilence"/>. So nights, week-ends and holidays, and the days between two events of a small
    /// commune, are usual once they have been seen.
    /// </summary>
    /// <param name="longestPause">See <see cref="JournalStatus.LongestPause"/>.</param>
    /// <param name="options">The limits.</param>
    public static TimeSpan UsualSilence(TimeSpan longestPause, AlertOptions options) =>
        longestPause * UsualTimes > options.MinSilence ? longestPause * UsualTimes : options.MinSilence;

    /// <summary>The alerts of a journal. One that is superseded gives none but for its quarantine.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="options">The limits.</param>
    /// <param name="listening">Since when this node runs: what was said while no hub ran could not be heard.</param>
    /// <param name="now">The time.</param>
    public static IReadOnlyList<JournalAlert> Of(JournalStatus journal, AlertOptions options, DateTimeOffset listening, DateTimeOffset now)
    {
        var alerts = new List<JournalAlert>();
        if (!journal.Superseded)
        {
            var usual = UsualSilence(journal.LongestPause, options);
            if (now - journal.LastReceivedAt > usual)
                alerts.Add(new(Silent, journal.LastReceivedAt, $"No new event; its usual pauses are shorter than {Days(usual)}. See whether the commune's software still sends."));
            var heard = journal.HeardAt > listening ? journal.HeardAt.Value : listening;
            if (now - heard > options.UnheardAge)
                alerts.Add(new(Unheard, journal.HeardAt ?? journal.LastReceivedAt, "The connector gives no sign of life. See that it runs and reaches the broker."));
            if (journal.OldestUnreceivedAt is { } oldest && now - oldest > options.UnreceivedAge)
            {
                alerts.Add(new(Unreceived, oldest, string.Create(
                    CultureInfo.InvariantCulture,
                    $"{journal.Unreceived} events of the connector have not arrived, from position {journal.ReceivedThrough + 1} on. See that the connector and the broker run.")));
            }

            if (journal.ResendSince is { } gap && now - gap > options.ResendAge)
            {
                alerts.Add(new(Resending, gap, string.Create(
                    CultureInfo.InvariantCulture, $"Position {journal.ReceivedThrough + 1} is missing; it is asked for again and does not come. See the connector's log.")));
            }

            if (journal.HasPredecessor && journal.BegunAt is { } begun && now - begun <= options.NewJournalAge)
                alerts.Add(new(NewJournal, begun, "The commune's connector has begun a new journal: the one before was lost, or restored from an older copy. See whether all its events came."));
        }

        if (journal.Quarantined > 0)
        {
            alerts.Add(new(Quarantined, journal.QuarantinedSince ?? journal.LastReceivedAt, string.Create(
                CultureInfo.InvariantCulture, $"{journal.Quarantined} events are in quarantine. See interco quarantine reasons.")));
        }

        return alerts;
    }

    private static string Days(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalDays:0.#} days");
}
