using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Ingestion;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Ingestion;

/// <summary>What the hub notes of the journals while it stores their events.</summary>
public sealed class JournalAlertsTests(HubStore hub) : IClassFixture<HubStore>
{
    private static readonly DateTimeOffset s_morning = new(2026, 11, 24, 9, 0, 0, TimeSpan.Zero);

    private readonly Guid _journal = Guid.NewGuid();

    [Fact]
    public async Task Given_a_connector_with_more_than_has_come_When_some_come_Then_what_is_missing_is_known_until_all_are_there()
    {
        await ArriveAsync(0, 1, last: 3, acceptedAt: -20);
        Assert.Equal((3, 2, s_morning.AddMinutes(-20)), await UnreceivedAsync());

        await ArriveAsync(1, 2, last: 4, acceptedAt: -10);
        Assert.Equal((4, 2, s_morning.AddMinutes(-10)), await UnreceivedAsync());

        // A message that was on its way for long says less than is known.
        await ArriveAsync(2, 3, last: 3, acceptedAt: -5);
        Assert.Equal((4, 1, s_morning.AddMinutes(-5)), await UnreceivedAsync());

        await ArriveAsync(3, 4, last: 4, acceptedAt: -1);
        Assert.Equal((4, 0, null), await UnreceivedAsync());
    }

    [Fact]
    public async Task Given_a_journal_received_whole_When_an_old_event_comes_again_with_the_word_of_newer_ones_Then_they_are_known_to_be_missing()
    {
        await ArriveAsync(0, 1, last: 1, acceptedAt: 0);
        await ArriveAsync(5, 1, last: 9, acceptedAt: 0);

        var journal = await JournalAsync();
        Assert.Equal((9, 8, s_morning), (journal.LastPosition, journal.Unreceived, journal.OldestUnreceivedAt!.Value));
        Assert.Equal((s_morning, s_morning.AddMinutes(5)), (journal.LastReceivedAt, journal.HeardAt!.Value));
    }

    [Fact]
    public async Task Given_events_beyond_a_missing_one_When_they_come_Then_the_gap_has_a_beginning_and_an_end()
    {
        await ArriveAsync(0, 1, last: 1, acceptedAt: 0);
        await ArriveAsync(1, 3, last: 3, acceptedAt: 0);
        await ArriveAsync(2, 4, last: 4, acceptedAt: 0);
        Assert.Equal(s_morning.AddMinutes(1), (await JournalAsync()).ResendSince);

        await ArriveAsync(3, 2, last: 4, acceptedAt: 0);
        Assert.Null((await JournalAsync()).ResendSince);
    }

    [Fact]
    public async Task Given_a_journal_that_the_hub_sees_from_the_middle_When_it_comes_Then_that_is_a_gap()
    {
        await ArriveAsync(0, 7, last: 7, acceptedAt: -30);

        var journal = await JournalAsync();
        Assert.Equal((s_morning, s_morning.AddMinutes(-30)), (journal.ResendSince!.Value, journal.OldestUnreceivedAt!.Value));
    }

    [Fact]
    public async Task Given_a_pause_When_events_come_again_Then_it_is_remembered_and_counts_half_after_thirty_days()
    {
        await ArriveAsync(0, 1, last: 1, acceptedAt: 0);
        Assert.Equal(7, (await JournalAsync()).LongestPause.TotalDays);
        await ArriveAsync(20 * 24 * 60, 2, last: 2, acceptedAt: 0);
        Assert.Equal(20, (await JournalAsync()).LongestPause.TotalDays);
        for (var day = 21; day <= 50; day++) await ArriveAsync(day * 24 * 60, day - 18, last: day - 18, acceptedAt: 0);
        Assert.Equal(10, (await JournalAsync()).LongestPause.TotalDays, 6);
    }

    [Fact]
    public async Task Given_a_lost_journal_When_a_new_one_comes_Then_the_old_one_is_superseded_and_the_new_one_an_alert()
    {
        var old = _journal;
        await ArriveAsync(0, 1, last: 3, acceptedAt: -60);
        var anew = Guid.NewGuid();
        await hub.Journals.StoreAsync([Incoming(Birth("anew"), anew, 1, 1, s_morning)], s_morning.AddMinutes(1), CancellationToken.None);

        var clock = new FixedClock(s_morning.AddMinutes(30));
        using var watch = new JournalWatch(hub.Journals, null!, Epci.Find("243500733")!, new AlertOptions(), clock, NullLogger<JournalWatch>.Instance);
        var (journals, neverSent) = await watch.LookAsync(CancellationToken.None);

        Assert.Empty(journals.Single(journal => journal.Journal == old).Alerts);
        Assert.True(journals.Single(journal => journal.Journal == old).Superseded);
        Assert.Equal([("new-journal", s_morning.AddMinutes(1))], journals.Single(journal => journal.Journal == anew).Alerts.Select(alert => (alert.Alert, alert.Since)));
        Assert.Contains("35337", neverSent);
        Assert.DoesNotContain("35085", neverSent);
    }

    private static CloudEvent Birth(string subject) => Event(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")), subject);

    private Task<Outcome> ArriveAsync(int minutes, long position, long last, int acceptedAt) => hub.Journals.StoreAsync(
        [Incoming(Birth($"{_journal}/{position}"), _journal, position, last, s_morning.AddMinutes(acceptedAt))], s_morning.AddMinutes(minutes), CancellationToken.None);

    private async Task<JournalStatus> JournalAsync() => (await hub.Journals.AllAsync(CancellationToken.None)).Single(journal => journal.Journal == _journal);

    private async Task<(long LastPosition, long Unreceived, DateTimeOffset? OldestAt)> UnreceivedAsync()
    {
        var journal = await JournalAsync();
        return (journal.LastPosition, journal.Unreceived, journal.OldestUnreceivedAt);
    }

    private sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }
}
