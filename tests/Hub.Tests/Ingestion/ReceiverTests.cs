using Intercommunalite.Hub.Ingestion;
using Xunit;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class ReceiverTests
{
    private static readonly Guid s_one = Guid.NewGuid();
    private static readonly Guid s_other = Guid.NewGuid();

    [Theory]
    [InlineData(0, 1, (int)Reception.Next)]
    [InlineData(0, 2, (int)Reception.Gap)]
    [InlineData(7, 7, (int)Reception.Duplicate)]
    [InlineData(7, 1, (int)Reception.Duplicate)]
    [InlineData(7, 8, (int)Reception.Next)]
    [InlineData(7, 9, (int)Reception.Gap)]
    public void Given_what_is_received_When_a_position_comes_Then_it_is_next_or_known_or_too_early(long through, long position, int reception) =>
        Assert.Equal((Reception)reception, Receiver.Receive(new(through, s_one), position, null, null));

    [Fact]
    public void Given_what_is_received_When_another_event_comes_at_its_place_or_after_another_Then_the_journal_has_forked()
    {
        Assert.Equal(Reception.Forked, Receiver.Receive(new(7, s_one), 7, s_other, null));
        Assert.Equal(Reception.Duplicate, Receiver.Receive(new(7, s_one), 7, s_one, null));
        Assert.Equal(Reception.Forked, Receiver.Receive(new(7, s_one), 8, s_other, s_other));
        Assert.Equal(Reception.Next, Receiver.Receive(new(7, s_one), 8, s_other, s_one));
        Assert.Equal(Reception.Next, Receiver.Receive(new(7, null), 8, s_other, s_one));
    }

    [Fact]
    public void Given_a_gap_When_many_messages_are_beyond_it_Then_the_journal_is_asked_for_once_until_patience_ends()
    {
        var pace = new ResendPace(TimeSpan.FromSeconds(5));
        var (journal, now) = (Guid.NewGuid(), DateTimeOffset.UnixEpoch);

        Assert.True(pace.MayAsk("35085", journal, 10, now));
        Assert.False(pace.MayAsk("35085", journal, 10, now.AddSeconds(4)));
        Assert.True(pace.MayAsk("35085", journal, 12, now.AddSeconds(4)));
        Assert.True(pace.MayAsk("35085", journal, 12, now.AddSeconds(9)));
        Assert.False(pace.MayAsk("35085", journal, 12, now.AddSeconds(18)));
        Assert.True(pace.MayAsk("35085", journal, 12, now.AddSeconds(19)));
        Assert.True(pace.MayAsk("35085", Guid.NewGuid(), 12, now.AddSeconds(9)));
    }
}
