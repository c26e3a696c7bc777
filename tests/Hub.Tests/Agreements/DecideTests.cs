using Intercommunalite.Hub.Agreements;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Agreements;

public sealed class DecideTests
{
    private static readonly Func<Agreement?, Decision> s_draft = agreement => Decide.Draft(agreement, Terms(), Act());
    private static readonly Func<Agreement?, Decision> s_activate = agreement => Decide.Activate(agreement!, null, Act());
    private static readonly Func<Agreement?, Decision> s_suspend = agreement => Decide.Suspend(agreement!, Act());
    private static readonly Func<Agreement?, Decision> s_resume = agreement => Decide.Resume(agreement!, Act());
    private static readonly Func<Agreement?, Decision> s_end = agreement => Decide.End(agreement!, Act());

    [Fact]
    public void Given_a_draft_When_it_is_activated_suspended_resumed_and_ended_Then_it_is_in_force_only_in_between()
    {
        Assert.False(After(s_draft).IsInForceOn(Today));
        Assert.True(After(s_draft, s_activate).IsInForceOn(Today));
        Assert.False(After(s_draft, s_activate, s_suspend).IsInForceOn(Today));
        Assert.True(After(s_draft, s_activate, s_suspend, s_resume).IsInForceOn(Today));
        var ended = After(s_draft, s_activate, s_end);
        Assert.False(ended.IsInForceOn(Today));
        Assert.Equal((AgreementState.Ended, 3), (ended.StateOn(Today), ended.Revision));
    }

    [Fact]
    public void Given_one_in_force_When_another_version_is_drafted_Then_it_replaces_the_first_once_it_is_activated()
    {
        Func<Agreement?, Decision> redraft = agreement => Decide.Draft(agreement, Terms(new SharedEvents(Deaths)), Act());

        var waiting = After(s_draft, s_activate, redraft);
        Assert.Equal((1, 2, Births), (waiting.Current, waiting.Pending?.Number, waiting.On(Today)!.Terms.Events[0].Type));
        var replaced = After(s_draft, s_activate, redraft, s_activate);
        Assert.Equal((2, (int?)null, Deaths), (replaced.Current, replaced.Pending?.Number, replaced.On(Today)!.Terms.Events[0].Type));
        Assert.Equal(2, replaced.Versions.Count);
        // What was suspended for its terms is mended by other terms, not by first giving out under the old ones.
        Assert.True(After(s_draft, s_activate, s_suspend, redraft, s_activate).IsInForceOn(Today));
    }

    [Fact]
    public void Given_a_version_that_begins_later_When_it_is_activated_Then_the_one_before_goes_on_until_then()
    {
        var (eve, first) = (new DateOnly(2026, 12, 31), new DateOnly(2027, 1, 1));
        Func<Agreement?, Decision> Version(string type, DateOnly from, DateOnly? to = null) => agreement =>
            Decide.Draft(agreement, Terms(new SharedEvents(type)) with { From = from, To = to }, Act());

        var amended = After(s_draft, s_activate, Version(Deaths, first), s_activate);
        Assert.Equal((true, 1, 2), (amended.IsInForceOn(Today), amended.On(Today)!.Number, amended.NextAfter(Today)?.Number));
        Assert.Equal((true, 1), (amended.IsInForceOn(eve), amended.On(eve)!.Number));
        Assert.Equal((true, 2, null), (amended.IsInForceOn(first), amended.On(first)!.Number, amended.NextAfter(first)));
        // Its last day is that of the newest.
        Assert.Equal(AgreementState.Active, amended.StateOn(new(2027, 9, 1)));
        // Between the last day of the one and the first of the other it allows nothing, and has not ended.
        var gap = After(Version(Births, new(2026, 1, 1), eve.AddDays(-1)), s_activate, Version(Deaths, first), s_activate);
        Assert.Equal((true, false, true), (gap.IsInForceOn(Today), gap.IsInForceOn(eve), gap.IsInForceOn(first)));
        Assert.Equal(AgreementState.Active, gap.StateOn(eve));
        // Whatever is activated after it stands in its place, too.
        var again = After(s_draft, s_activate, Version(Deaths, first), s_activate, Version(Enrolments, Today), s_activate);
        Assert.Equal((3, 3), (again.On(Today)!.Number, again.On(first)!.Number));
        // What was suspended does not come back for the time until then.
        var suspended = After(s_draft, s_activate, s_suspend, Version(Deaths, first), s_activate);
        Assert.Equal((false, true), (suspended.IsInForceOn(Today), suspended.IsInForceOn(first)));
        // Suspended later, neither is in force.
        Assert.False(After(s_draft, s_activate, Version(Deaths, first), s_activate, s_suspend).IsInForceOn(first));
    }

    [Fact]
    public void Given_first_and_last_day_Then_it_is_in_force_from_the_one_to_the_other_and_then_has_ended_by_itself()
    {
        var agreement = After(s_draft, s_activate);
        Assert.False(agreement.IsInForceOn(new(2025, 12, 31)));
        Assert.True(agreement.IsInForceOn(new(2026, 1, 1)));
        Assert.True(agreement.IsInForceOn(new(2027, 8, 31)));
        Assert.False(agreement.IsInForceOn(new(2027, 9, 1)));
        Assert.Equal(AgreementState.Ended, agreement.StateOn(new(2027, 9, 1)));
        var later = Act(new DateOnly(2027, 9, 1));
        foreach (var refused in (Decision[])[Decide.Draft(agreement, Terms(), later), Decide.Suspend(agreement, later), Decide.Resume(agreement, later), Decide.End(agreement, later)])
            Assert.NotNull(refused.Refused);
    }

    [Fact]
    public void Given_what_makes_no_sense_When_it_is_decided_Then_it_is_refused_with_what_to_do()
    {
        var (draft, active, suspended, ended) = (After(s_draft), After(s_draft, s_activate), After(s_draft, s_activate, s_suspend), After(s_draft, s_end));
        Assert.Contains("draft", Decide.Suspend(draft, Act()).Refused, StringComparison.Ordinal);
        Assert.Contains("not suspended", Decide.Resume(draft, Act()).Refused, StringComparison.Ordinal);
        Assert.Contains("already", Decide.Activate(active, null, Act()).Refused, StringComparison.Ordinal);
        Assert.Contains("not suspended", Decide.Resume(active, Act()).Refused, StringComparison.Ordinal);
        Assert.Contains("already", Decide.Suspend(suspended, Act()).Refused, StringComparison.Ordinal);
        foreach (var refused in (Decision[])[Decide.Draft(ended, Terms(), Act()), Decide.Activate(ended, null, Act()), Decide.Suspend(ended, Act()), Decide.Resume(ended, Act()), Decide.End(ended, Act())])
            Assert.Contains("ended", refused.Refused, StringComparison.Ordinal);
    }

    [Fact]
    public void Given_another_version_than_the_one_read_When_it_is_activated_Then_it_is_refused() =>
        Assert.Contains("not version 1", Decide.Activate(After(s_draft, s_draft), 1, Act()).Refused, StringComparison.Ordinal);

    [Fact]
    public void Given_terms_not_signed_by_both_or_already_over_When_activated_Then_it_is_refused()
    {
        var signed = Terms().Signatures!;
        foreach (var terms in (AgreementTerms[])
            [
                Terms() with { Signatures = null },
                Terms() with { Signatures = [signed[0]] },
                Terms() with { Signatures = [signed[1], signed[1]] },
                Terms() with { Signatures = [signed[0], signed[1] with { On = Today.AddDays(1) }] },
                Terms() with { To = Today.AddDays(-1) },
            ])
        {
            Assert.Contains("cannot be put into force", Decide.Activate(After(_ => Decide.Draft(null, terms, Act())), null, Act()).Refused, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Given_its_events_When_asked_for_a_time_Then_it_is_as_it_was_then()
    {
        var events = After(s_draft, s_activate, s_suspend).Events.Select((happened, hour) => happened with { At = Now.AddHours(hour) }).ToList();
        var agreement = Agreement.Of("canteen", events)!;

        Assert.Null(agreement.AsOf(Now.AddSeconds(-1)));
        Assert.Equal(AgreementState.Draft, agreement.AsOf(Now)!.Said);
        Assert.True(agreement.AsOf(Now.AddHours(1.5))!.IsInForceOn(Today));
        Assert.Equal(AgreementState.Suspended, agreement.AsOf(Now.AddHours(2))!.Said);
    }
}
