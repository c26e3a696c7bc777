using Intercommunalite.Hub.Ingestion;
using Xunit;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class AlertRulesTests
{
    private static readonly AlertOptions s_options = new();
    private static readonly DateTimeOffset s_now = new(2026, 11, 24, 9, 30, 0, TimeSpan.Zero);

    // A journal in good order.
    private static readonly JournalStatus s_journal = new(
        "35085", Guid.NewGuid(), 40, null, s_now.AddHours(-2), 40, 0, 40, null, s_now.AddDays(-100), s_now.AddSeconds(-10), Superseded: false)
    { LongestPause = TimeSpan.FromDays(2) };

    private static IReadOnlyList<string> Alerts(JournalStatus journal, DateTimeOffset? listening = null) =>
        [.. AlertRules.Of(journal, s_options, listening ?? s_now.AddDays(-50), s_now).Select(alert => $"{alert.Alert} {(s_now - alert.Since).TotalMinutes:F0}")];

    [Fact]
    public void Given_a_journal_in_good_order_Then_there_is_no_alert() => Assert.Empty(Alerts(s_journal));

    [Theory]
    [InlineData(0.1, 1)]
    [InlineData(2.7, 4.05)]
    [InlineData(7, 10.5)]
    public void Given_the_longest_pause_Then_half_as_long_again_is_usual_and_never_less_than_a_day(double pause, double usual) =>
        Assert.Equal(TimeSpan.FromDays(usual), AlertRules.UsualSilence(TimeSpan.FromDays(pause), s_options));

    [Theory]
    [InlineData(2.9, false)]
    [InlineData(3.1, true)]
    public void Given_a_commune_that_pauses_two_days_at_week_ends_When_it_sends_nothing_Then_it_is_silent_after_three(double days, bool silent) =>
        Assert.Equal(silent ? ["silent 4464"] : [], Alerts(s_journal with { LastReceivedAt = s_now.AddDays(-days) }));

    [Theory]
    [InlineData(14, 1000, false)]
    [InlineData(16, 1000, true)]
    [InlineData(60, 10, false)]
    public void Given_no_sign_of_life_Then_it_is_an_alert_unless_this_node_did_not_run(int minutes, int listening, bool unheard) =>
        Assert.Equal(unheard ? ["unheard 16"] : [], Alerts(s_journal with { HeardAt = s_now.AddMinutes(-minutes) }, s_now.AddMinutes(-listening)));

    [Theory]
    [InlineData(14, false)]
    [InlineData(16, true)]
    public void Given_an_event_on_its_way_Then_it_is_an_alert_after_a_while(int minutes, bool alert) => Assert.Equal(
        alert ? ["unreceived 16"] : [], Alerts(s_journal with { LastPosition = 45, OldestUnreceivedAt = s_now.AddMinutes(-minutes) }));

    [Theory]
    [InlineData(0, false)]
    [InlineData(2, true)]
    public void Given_a_gap_Then_it_is_an_alert_when_it_does_not_close_by_itself(int minutes, bool alert) =>
        Assert.Equal(alert ? ["resending 2"] : [], Alerts(s_journal with { ResendSince = s_now.AddMinutes(-minutes) }));

    [Theory]
    [InlineData(true, 6, true)]
    [InlineData(true, 8, false)]
    [InlineData(false, 6, false)]
    public void Given_a_new_journal_Then_it_is_an_alert_for_a_week_when_the_commune_had_another(bool another, int days, bool alert) =>
        Assert.Equal(alert ? ["new-journal 8640"] : [], Alerts(s_journal with { HasPredecessor = another, BegunAt = s_now.AddDays(-days) }));

    [Fact]
    public void Given_a_journal_that_is_superseded_Then_only_its_quarantine_is_an_alert() => Assert.Equal(["quarantined 30"], Alerts(s_journal with
    {
        Superseded = true,
        LastReceivedAt = s_now.AddDays(-100),
        HeardAt = s_now.AddDays(-100),
        LastPosition = 45,
        OldestUnreceivedAt = s_now.AddDays(-100),
        ResendSince = s_now.AddDays(-100),
        Quarantined = 2,
        QuarantinedSince = s_now.AddMinutes(-30),
    }));
}
