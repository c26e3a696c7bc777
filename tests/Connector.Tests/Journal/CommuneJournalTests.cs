using System.Text.Json;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Tests.Journal;

public sealed class CommuneJournalTests : IAsyncLifetime, IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private CommuneJournal _journal;

    public CommuneJournalTests() => _journal = Open();

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _journal.DisposeAsync();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Given_a_new_journal_When_events_are_appended_Then_they_take_the_positions_from_1_on()
    {
        var first = await AppendAsync("a", "b");
        var second = await AppendAsync("c");

        Assert.Equal([new("a", 1, false), new("b", 2, false)], first);
        Assert.Equal([new("c", 3, false)], second);
        Assert.Equal(3, _journal.Last);
    }

    [Fact]
    public async Task Given_an_event_in_the_journal_When_it_is_appended_again_Then_it_keeps_its_first_position()
    {
        await AppendAsync("a", "b");

        var again = await AppendAsync("c", "a", "c");

        Assert.Equal([new("c", 3, false), new("a", 1, true), new("c", 3, true)], again);
        Assert.Equal(["a", "b", "c"], Ids());
    }

    [Fact]
    public async Task Given_the_same_id_from_two_systems_of_the_commune_When_they_are_appended_Then_they_are_two_events()
    {
        var other = SampleEvents.Birth("a") with { Source = EventSource.Parse("urn:insee:commune:35085:registry") };

        var posted = await _journal.AppendAsync([SampleEvents.Birth("a"), other], CancellationToken.None);

        Assert.All(posted, place => Assert.False(place.Duplicate));
    }

    [Fact]
    public async Task Given_events_When_the_journal_is_opened_again_Then_it_has_the_same_id_and_goes_on_after_the_last()
    {
        var id = _journal.Id;
        await AppendAsync("a", "b");
        _journal.Note(_journal.Id, published: 2, received: 1);

        await _journal.DisposeAsync();
        _journal = Open();

        Assert.Equal((id, 2, 2, 1), (_journal.Id, _journal.Last, _journal.PublishedThrough, _journal.ReceivedThrough));
        Assert.Equal([new("b", 2, true), new("c", 3, false)], await AppendAsync("b", "c"));
    }

    [Fact]
    public async Task Given_many_callers_at_once_When_all_append_Then_positions_have_no_gap_and_each_call_has_its_own_in_order()
    {
        var calls = Enumerable.Range(0, 200).Select(call => Task.Run(() => AppendAsync($"{call}-1", $"{call}-2", $"{call}-3"))).ToList();
        var commits = 0;
        _journal.Appended += _ => Interlocked.Increment(ref commits);

        var posted = await Task.WhenAll(calls);

        Assert.Equal(Enumerable.Range(1, 600).Select(position => (long)position), posted.SelectMany(call => call).Select(place => place.Position).Order());
        Assert.All(posted, call => Assert.Equal([call[0].Position, call[0].Position + 1, call[0].Position + 2], call.Select(place => place.Position)));
        Assert.Equal(Enumerable.Range(1, 600).Select(position => (long)position), _journal.Read(1, 1000, int.MaxValue).Select(stored => stored.Position));
        Assert.InRange(commits, 1, 199);
    }

    [Fact]
    public async Task Given_events_When_they_are_read_Then_each_holds_journal_and_position()
    {
        await AppendAsync("a", "b");

        var json = JsonElement.Parse(Assert.Single(_journal.Read(2, 10, int.MaxValue)).Json);

        Assert.Equal("b", json.GetProperty("id").GetString());
        Assert.Equal(2, json.GetProperty("position").GetInt64());
        Assert.Equal(_journal.Id, json.GetProperty("journal").GetGuid());
        Assert.Equal("MARTIN", json.GetProperty("data").GetProperty("personal").GetProperty("child").GetProperty("lastName").GetString());
    }

    [Fact]
    public async Task Given_limits_When_events_are_read_Then_both_hold_but_one_event_comes_in_any_case()
    {
        await AppendAsync("a", "b", "c", "d");
        var size = _journal.Read(1, 1, int.MaxValue)[0].Json.Length;

        Assert.Equal([2, 3], Positions(_journal.Read(2, 2, int.MaxValue)));
        Assert.Equal([1, 2], Positions(_journal.Read(1, 10, (2 * size) + 1)));
        Assert.Equal([1], Positions(_journal.Read(1, 10, 1)));
        Assert.Empty(_journal.Read(5, 10, int.MaxValue));
    }

    [Fact]
    public async Task Given_events_received_long_ago_When_they_are_deleted_Then_what_was_received_since_stays_and_the_last_too()
    {
        var (start, retention) = (DateTimeOffset.UtcNow, TimeSpan.FromDays(30));
        await AppendAsync("a", "b", "c", "d");
        _journal.Note(_journal.Id, published: 4, received: 2);
        Assert.Equal(0, _journal.DeleteReceived(start, retention));
        _journal.Note(_journal.Id, published: 4, received: 4);
        Assert.Equal(0, _journal.DeleteReceived(start.AddDays(29), retention));

        Assert.Equal(2, _journal.DeleteReceived(start.AddDays(31), retention));
        Assert.Equal(["c", "d"], Ids());

        Assert.Equal(1, _journal.DeleteReceived(start.AddDays(60), retention));
        Assert.Equal(["d"], Ids());
        await _journal.DisposeAsync();
        _journal = Open();
        Assert.Equal([new("e", 5, false)], await AppendAsync("e"));
    }

    [Fact]
    public async Task Given_a_hub_that_was_restored_When_it_has_the_events_again_Then_their_time_begins_anew()
    {
        var (start, retention) = (DateTimeOffset.UtcNow, TimeSpan.FromDays(30));
        await AppendAsync("a", "b", "c");
        _journal.Note(_journal.Id, published: 3, received: 3);
        _journal.DeleteReceived(start, retention);

        _journal.Note(_journal.Id, published: 3, received: 1);
        Assert.Equal(1, _journal.DeleteReceived(start.AddDays(31), retention));
        _journal.Note(_journal.Id, published: 3, received: 3);

        Assert.Equal(0, _journal.DeleteReceived(start.AddDays(32), retention));
        Assert.Equal(["b", "c"], Ids());
    }

    [Fact]
    public async Task Given_a_position_When_its_event_is_asked_for_Then_it_is_known_while_it_is_there()
    {
        await AppendAsync("a");

        Assert.Equal(SampleEvents.Birth("a").EventId, _journal.EventIdAt(1));
        Assert.Null(_journal.EventIdAt(0));
        Assert.Null(_journal.EventIdAt(2));
    }

    [Fact]
    public async Task Given_many_events_received_long_ago_When_they_are_deleted_Then_their_space_goes_back_to_the_disk()
    {
        var start = DateTimeOffset.UtcNow;
        for (var batch = 0; batch < 20; batch++)
        {
            await _journal.AppendAsync([.. Enumerable.Range(1, 1_000).Select(i => Large($"{batch}-{i}"))], CancellationToken.None);
        }

        var (used, onDisk) = (_journal.UsedBytes(), SizeOnDisk());
        Assert.True(used > 40_000_000);
        _journal.Note(_journal.Id, _journal.Last, _journal.Last);
        _journal.DeleteReceived(start, TimeSpan.FromDays(30));
        _journal.DeleteReceived(start.AddDays(31), TimeSpan.FromDays(30));

        Assert.InRange(_journal.UsedBytes(), 1, 1_000_000);
        Assert.InRange(SizeOnDisk(), 1, onDisk - 20_000_000);
        Assert.Equal([new("next", 20_001, false)], await AppendAsync("next"));

        static CloudEvent Large(string id) => SampleEvents.Birth(id) with { Subject = $"birth/2026/{id}/{new string('x', 2_000)}" };

        long SizeOnDisk() => new FileInfo(_folder.Combine("journal.db")).Length;
    }

    [Fact]
    public async Task Given_an_older_copy_of_a_journal_When_it_is_begun_anew_Then_its_events_have_a_new_id_and_positions_from_one()
    {
        await AppendAsync("a", "b", "c", "d");
        _journal.Note(_journal.Id, published: 4, received: 4);
        _journal.DeleteReceived(DateTimeOffset.UtcNow, TimeSpan.Zero);
        _journal.DeleteReceived(DateTimeOffset.UtcNow.AddDays(1), TimeSpan.Zero);
        await AppendAsync("e");
        var before = _journal.Id;

        await _journal.BeginAnewAsync();

        Assert.NotEqual(before, _journal.Id);
        Assert.Equal((2L, 0L, 0L), (_journal.Last, _journal.PublishedThrough, _journal.ReceivedThrough));
        var json = JsonElement.Parse(_journal.Read(2, 1, int.MaxValue)[0].Json);
        Assert.Equal(("e", _journal.Id.ToString(), 2L), (json.GetProperty("id").GetString(), json.GetProperty("journal").GetString(), json.GetProperty("position").GetInt64()));
        Assert.Equal([new("d", 1, true), new("f", 3, false)], await AppendAsync("d", "f"));
        var id = _journal.Id;
        await _journal.DisposeAsync();
        _journal = Open();
        Assert.Equal((id, 3L), (_journal.Id, _journal.Last));
    }

    [Fact]
    public async Task Given_events_When_the_hub_has_them_Then_the_oldest_unreceived_moves_on()
    {
        Assert.Null(_journal.OldestUnreceivedAt());
        var before = DateTimeOffset.UtcNow.AddSeconds(-1);
        await AppendAsync("a", "b");

        Assert.InRange(_journal.OldestUnreceivedAt()!.Value, before, DateTimeOffset.UtcNow);
        _journal.Note(_journal.Id, published: 2, received: 2);
        Assert.Null(_journal.OldestUnreceivedAt());
    }

    [Fact]
    public async Task Given_no_events_When_nothing_is_appended_Then_nothing_happens()
    {
        Assert.Empty(await _journal.AppendAsync([], CancellationToken.None));
        Assert.Equal(0, _journal.Last);
    }

    private CommuneJournal Open() => CommuneJournal.Open(CommuneCode.Parse(SampleEvents.Commune), _folder.FullPath);

    private Task<IReadOnlyList<Posted>> AppendAsync(params IEnumerable<string> ids) =>
        _journal.AppendAsync([.. ids.Select(id => SampleEvents.Birth(id))], CancellationToken.None);

    private IEnumerable<string?> Ids() => _journal.Read(1, 1000, int.MaxValue).Select(stored => JsonElement.Parse(stored.Json).GetProperty("id").GetString());

    private static IEnumerable<long> Positions(IReadOnlyList<StoredEvent> events) => events.Select(stored => stored.Position);
}
