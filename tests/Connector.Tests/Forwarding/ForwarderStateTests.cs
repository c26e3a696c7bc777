using Intercommunalite.Connector.Forwarding;

namespace Intercommunalite.Connector.Tests.Forwarding;

public sealed class ForwarderStateTests
{
    private static readonly DateTimeOffset s_start = new(2026, 11, 24, 9, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_silence = TimeSpan.FromMinutes(1);

    [Fact]
    public void Given_a_journal_When_it_is_forwarded_Then_positions_go_in_order_and_once()
    {
        var state = State(last: 5);

        Assert.Equal(1, state.Next);
        state.Sent(3);
        Assert.Equal(4, state.Next);
        state.Sent(5);
        Assert.Null(state.Next);
        state.Appended(6);
        Assert.Equal(6, state.Next);
    }

    [Fact]
    public void Given_an_empty_journal_When_asked_Then_there_is_nothing_to_send_nor_to_probe()
    {
        var state = State(last: 0);

        Assert.Null(state.Next);
        Assert.Null(state.Probe(s_start.AddDays(1), s_patience, s_silence));
    }

    [Fact]
    public void Given_a_restart_When_forwarding_begins_Then_it_goes_on_after_what_was_published_or_received()
    {
        Assert.Equal(8, State(last: 10, published: 7, received: 3).Next);
        Assert.Equal(10, State(last: 10, published: 7, received: 9).Next);
    }

    [Fact]
    public void Given_a_full_window_When_a_message_is_confirmed_Then_the_next_may_go()
    {
        var state = State(last: 100);
        for (var message = 1; message <= ForwarderState.Window; message++) state.Sent(message);

        Assert.Null(state.Next);
        state.Confirmed(1);
        Assert.Equal(ForwarderState.Window + 1, state.Next);
        Assert.Equal(1, state.Published);
    }

    [Fact]
    public void Given_a_hub_that_receives_nothing_When_enough_is_published_Then_the_journal_holds_the_rest()
    {
        var state = State(last: 10_000);
        while (state.Next is { } next)
        {
            state.Sent(next + 199);
            state.Confirmed(next);
        }

        Assert.Equal(ForwarderState.MaxUnreceived, state.Published);
        state.Heard(200, resend: false, forked: false, s_start);
        Assert.Equal(ForwarderState.MaxUnreceived + 1, state.Next);
    }

    [Fact]
    public void Given_messages_in_flight_When_one_fails_Then_it_goes_again_with_all_after_it()
    {
        var state = State(last: 9);
        state.Sent(3);
        state.Sent(6);
        state.Sent(9);
        state.Confirmed(1);

        state.Failed(4);

        Assert.Equal(4, state.Next);
        state.Confirmed(7);
        Assert.Equal((4L, 3L), (state.Next, state.Published));
    }

    [Fact]
    public void Given_published_events_When_the_hub_misses_one_Then_they_go_again_from_there()
    {
        var state = Published(last: 9);

        state.Heard(4, resend: true, forked: false, s_start);

        Assert.Equal((5L, 4L, 4L), (state.Next, state.Received, state.Published));
    }

    [Fact]
    public void Given_published_events_When_the_hub_has_them_Then_nothing_goes_again()
    {
        var state = Published(last: 9);

        state.Heard(4, resend: false, forked: false, s_start);
        Assert.Null(state.Next);
        state.Heard(9, resend: false, forked: false, s_start);

        Assert.Null(state.Next);
        Assert.Equal((9L, 9L), (state.Received, state.Published));
    }

    [Fact]
    public void Given_events_that_the_hub_had_When_it_was_restored_to_less_Then_they_go_again()
    {
        var state = State(last: 9, published: 9, received: 9);

        state.Heard(2, resend: false, forked: false, s_start);

        Assert.Equal((3L, 2L), (state.Next, state.Received));
    }

    [Theory]
    [InlineData(10, false)]
    [InlineData(9, true)]
    public void Given_an_older_copy_of_the_journal_When_the_hub_has_more_or_other_events_Then_it_is_known(long through, bool forked)
    {
        var state = State(last: 9);

        state.Heard(through, resend: false, forked, s_start);

        Assert.True(state.IsOlderCopy);
        Assert.Equal(0, state.Received);
    }

    [Fact]
    public void Given_events_that_the_hub_got_otherwise_When_it_says_so_Then_they_are_passed_over()
    {
        var state = State(last: 9);

        state.Heard(6, resend: false, forked: false, s_start);

        Assert.Equal(7, state.Next);
    }

    [Fact]
    public void Given_no_receipt_When_patience_ends_Then_the_first_unreceived_event_is_probed_once_per_patience()
    {
        var state = Published(last: 9, received: 3);

        Assert.Null(state.Probe(s_start.AddSeconds(9), s_patience, s_silence));
        Assert.Equal(4, state.Probe(s_start.AddSeconds(10), s_patience, s_silence));
        Assert.Null(state.Probe(s_start.AddSeconds(11), s_patience, s_silence));
        Assert.Equal(4, state.Probe(s_start.AddSeconds(20), s_patience, s_silence));
    }

    [Fact]
    public void Given_a_probe_When_the_hub_has_what_is_behind_it_Then_nothing_goes_again()
    {
        var state = Published(last: 9, received: 3);
        state.Probe(s_start.AddSeconds(10), s_patience, s_silence);

        state.Heard(9, resend: false, forked: false, s_start.AddSeconds(10));

        Assert.Null(state.Next);
    }

    [Fact]
    public void Given_a_probe_When_the_hub_takes_it_as_the_next_with_nothing_behind_Then_the_rest_was_lost_and_goes_again()
    {
        var state = Published(last: 9, received: 3);
        state.Probe(s_start.AddSeconds(10), s_patience, s_silence);

        state.Heard(4, resend: false, forked: false, s_start.AddSeconds(10));

        Assert.Equal((5L, 4L), (state.Next, state.Received));
    }

    [Fact]
    public void Given_messages_in_flight_When_nothing_is_heard_Then_no_probe_is_sent()
    {
        var state = State(last: 9);
        state.Sent(9);

        Assert.Null(state.Probe(s_start.AddDays(1), s_patience, s_silence));
    }

    [Fact]
    public void Given_a_journal_that_the_hub_has_whole_When_it_was_silent_for_long_Then_the_last_event_asks_whether_that_still_holds()
    {
        var state = State(last: 9, published: 9, received: 9);

        Assert.Null(state.Probe(s_start + s_patience, s_patience, s_silence));
        Assert.Equal(9, state.Probe(s_start + s_silence, s_patience, s_silence));
        state.Heard(9, resend: false, forked: false, s_start + s_silence);
        Assert.Null(state.Next);
    }

    [Fact]
    public void Given_an_idle_probe_When_the_hub_was_restored_Then_all_that_it_lacks_goes_again()
    {
        var state = State(last: 9, published: 9, received: 9);
        state.Probe(s_start + s_silence, s_patience, s_silence);

        state.Heard(5, resend: true, forked: false, s_start + s_silence);

        Assert.Equal(6, state.Next);
    }

    private static ForwarderState State(long last, long published = 0, long received = 0) => new(last, published, received, s_start);

    private static ForwarderState Published(long last, long received = 0)
    {
        var state = State(last, received, received);
        state.Sent(last);
        state.Confirmed(received + 1);
        return state;
    }
}
