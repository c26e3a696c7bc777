using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>Where a reader of the feed begins, what it asks for, and that it is told when its cursor is none of this store.</summary>
public sealed class FeedReadingTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();
    private AccessServer _server = null!;
    private string _administrator = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await AccessServer.StartAsync(_hub);
        _administrator = await _server.LetInAsync("administrator", Roles.Administrator);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_events_of_several_records_When_subjects_and_facts_are_asked_for_Then_those_alone_come_and_the_cursor_moves_over_the_rest()
    {
        await ArriveAsync(
            Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac), "birth/1", id: "birth-1"),
            Event(new BirthRegistered(PartialDate.Parse("2026-11-02"), "2", Combourg), "birth/2", id: "birth-2"),
            Event(new SchoolDeclared(Uai.Parse("0350122T"), "École", new SchoolYear(2026), [SchoolLevel.CP, SchoolLevel.CE1], 50), "school/1", id: "school-1"),
            Event(new InvoiceIssued(Slug.Parse("canteen"), new Cents(1250), new(2026, 9, 30)), "birth/10%", id: "invoice-1"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-02")), "birth_1", id: "death-1"));

        await GetsAsync(new() { Facts = { Fact("residenceCommune", "35337") } }, "birth-1");
        await GetsAsync(new() { Facts = { Fact("residenceCommune", "35337", "35085") } }, "birth-1", "birth-2");
        await GetsAsync(new() { Facts = { Fact("residenceCommune", "35085"), Fact("actNumber", "2") } }, "birth-2");
        await GetsAsync(new() { Facts = { Fact("residenceCommune", "35085"), Fact("actNumber", "1") } });
        await GetsAsync(new() { Facts = { Fact("levels", "CE1", "ULIS") } }, "school-1");
        await GetsAsync(new() { Facts = { Fact("places", "50") } }, "school-1");
        await GetsAsync(new() { Facts = { Fact("amount", "1250") } }, "invoice-1");
        await GetsAsync(new() { Subjects = { "birth/*" } }, "birth-1", "birth-2", "invoice-1");
        await GetsAsync(new() { Subjects = { "birth/1", "birth/10%" } }, "birth-1", "invoice-1");
        await GetsAsync(new() { Subjects = { "birth_1" } }, "death-1");
        await GetsAsync(new() { Subjects = { "birth/*" }, Facts = { Fact("actNumber", "2") }, Types_ = { "fr.intercommunalite.civil-records.*" } }, "birth-2");

        await RefusedAsync(StatusCode.InvalidArgument, "\"personal\"", new() { Facts = { Fact("personal", "x") } });
        await RefusedAsync(StatusCode.InvalidArgument, "\"places\"", new() { Types_ = { Births }, Facts = { Fact("places", "50") } });
        await RefusedAsync(StatusCode.InvalidArgument, "values", new() { Facts = { Fact("places") } });
        await RefusedAsync(StatusCode.InvalidArgument, "values", new() { Facts = { Fact("places", "\0") } });
        await RefusedAsync(StatusCode.InvalidArgument, "subjects", new() { Subjects = { "" } });
    }

    [Theory]
    [InlineData("fr.intercommunalite.schools.pupil-enroled.v1", "near to it are fr.intercommunalite.schools.pupil-enrolled.v1,")]
    [InlineData("birth-registered", "near to it are fr.intercommunalite.civil-records.birth-registered.v1,")]
    [InlineData("fr.intercommunalite.civil-records.birth-registered.v2", "near to it are fr.intercommunalite.civil-records.birth-registered.v1,")]
    [InlineData("fr.intercommunalite.payments.collected*", "near to it are fr.intercommunalite.payments.")]
    [InlineData("Births", "a type's name")]
    public async Task Given_a_type_that_there_is_not_When_it_is_asked_for_beside_one_that_there_is_Then_it_is_named_with_those_near_to_it(string type, string near)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(new() { Filter = new() { Types_ = { Births, type } } }));

        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
        Assert.Contains(near, error.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(type == "Births" ? null : "unknown-type", error.Trailers.GetValue("reason"));
        // The same of a stream, and of a durable subscription before it is kept.
        using var call = _server.Feed.Subscribe(new() { Filter = new() { Types_ = { type } } }, AccessServer.Headers(_administrator));
        Assert.Equal(error.Status.Detail, (await Assert.ThrowsAsync<RpcException>(() => NextAsync(call))).Status.Detail);
        var made = await _server.AskAsync(HttpMethod.Post, "/api/v1/subscriptions", _administrator, new { name = "unknown", start = "now", filter = new { types = new[] { type } } });
        Assert.Equal(System.Net.HttpStatusCode.UnprocessableEntity, made.Status);
        Assert.Contains(near, made.Body.GetProperty("errors")[0].GetProperty("reason").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_agreement_that_withholds_a_field_When_a_fact_of_it_is_asked_for_Then_nothing_can_be_learnt_of_it()
    {
        await ArriveAsync(
            Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac), "birth/1", id: "birth-1"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac), "death/1", id: "death-1"));
        var token = await _server.LetInAsync("partner", Roles.Partner);
        await _server.ActivateAsync("asking", Terms([new(Births, ["date"]), new(Deaths, ["date", "actNumber"])]) with { Title = "asking", Partner = new("Partner", ["partner"]), Communes = ["*"] });

        await RefusedAsync(StatusCode.PermissionDenied, "residenceCommune", new() { Facts = { Fact("residenceCommune", "35337") } }, token);
        await RefusedAsync(StatusCode.PermissionDenied, "actNumber", new() { Types_ = { Births }, Facts = { Fact("actNumber", "1") } }, token);
        // Of deaths it may be asked for: of births, which have it, too, none comes.
        await GetsByTokenAsync(token, new() { Facts = { Fact("actNumber", "1") } }, "death-1");
        // Nor does a page end where one has it, whether the events are in memory or not.
        await using var stream = new HeldStream(_server, "partner", new FeedOptions { TailEvents = 0, PositionsPerPage = 1 }, new() { Facts = { Fact("actNumber", "1") } });
        var first = (await stream.NextAsync()).Checkpoint.Cursor;
        await using var other = new HeldStream(_server, "partner", new FeedOptions { TailEvents = 0, PositionsPerPage = 1 }, new() { Facts = { Fact("actNumber", "2") } });
        Assert.Equal(first, (await other.NextAsync()).Checkpoint.Cursor);
    }

    [Fact]
    public async Task Given_events_When_read_from_a_time_or_from_now_Then_what_was_stored_then_or_later_comes()
    {
        await ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026")), "d/1", id: "one"), Event(new DeathRegistered(PartialDate.Parse("2026")), "d/2", id: "two"));
        var first = (await ReadAsync(new())).Events[0];
        Assert.InRange(first.Recorded.ToDateTimeOffset(), DateTimeOffset.UtcNow.AddMinutes(-5), DateTimeOffset.UtcNow.AddMinutes(5));
        await RunAsync("UPDATE hub.mt_events SET timestamp = timestamp - interval '2 h' WHERE seq_id = 1");

        Assert.Equal(["two"], (await ReadAsync(new() { Since = first.Recorded })).Events.Select(read => read.Id));
        Assert.Equal(["one", "two"], (await ReadAsync(new() { Since = (first.Recorded.ToDateTimeOffset() - TimeSpan.FromHours(2)).ToTimestamp() })).Events.Select(read => read.Id));
        Assert.Equal(["two"], (await ReadAsync(new() { SinceText = first.Recorded.ToDateTimeOffset().ToString("o", System.Globalization.CultureInfo.InvariantCulture) })).Events.Select(read => read.Id));
        Assert.Equal(["one", "two"], (await ReadAsync(new() { SinceText = "2026-01-01" })).Events.Select(read => read.Id));
        // A day begins by the clock of the territory: in Paris, an hour before it does in Greenwich.
        await RunAsync("UPDATE hub.mt_events SET timestamp = '2026-10-31T22:30:00Z' WHERE seq_id = 1");
        await RunAsync("UPDATE hub.mt_events SET timestamp = '2026-10-31T23:30:00Z' WHERE seq_id = 2");
        Assert.Equal(["two"], (await ReadAsync(new() { SinceText = "2026-11-01" })).Events.Select(read => read.Id));
        Assert.Equal(["one", "two"], (await ReadAsync(new() { SinceText = "2026-10-31" })).Events.Select(read => read.Id));
        await ErrorAsync(StatusCode.InvalidArgument, "since", new() { SinceText = "yesterday" });
        await ErrorAsync(StatusCode.InvalidArgument, "since", new() { SinceText = "2026-01-01", Since = first.Recorded });
        await ErrorAsync(StatusCode.InvalidArgument, "since", new() { Since = DateTimeOffset.UtcNow.AddDays(1).ToTimestamp() });
        await ErrorAsync(StatusCode.InvalidArgument, "since", new() { Since = new() { Seconds = long.MaxValue } });
        await ErrorAsync(StatusCode.InvalidArgument, "At most one", new() { Since = first.Recorded, Cursor = first.Cursor });

        using var call = _server.Feed.Subscribe(new() { FromNow = true }, AccessServer.Headers(_administrator));
        Assert.NotNull((await NextAsync(call)).CaughtUp);
        await ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026")), "d/3", id: "three"));
        Assert.Equal("three", (await NextAsync(call)).Event.Id);
    }

    [Fact]
    public async Task Given_cursors_When_they_are_changed_or_of_another_store_or_of_one_before_a_restore_Then_the_reader_is_told_which_and_what_to_do()
    {
        await ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026")), "d/1", id: "one"), Event(new DeathRegistered(PartialDate.Parse("2026")), "d/2", id: "two"));
        var events = (await ReadAsync(new())).Events;
        Assert.Equal(["two"], (await ReadAsync(new() { Cursor = events[0].Cursor })).Events.Select(read => read.Id));

        foreach (var wrong in (string[])["x", "é", new string('A', 55), events[0].Cursor[..^1], events[0].Cursor + "A", Changed(events[0].Cursor, 20), Changed(events[0].Cursor, 50)])
            await ErrorAsync(StatusCode.InvalidArgument, "cursor", new() { Cursor = wrong }, "cursor-malformed");
        await ErrorAsync(StatusCode.FailedPrecondition, "cursor", new() { Cursor = "17" }, "cursor-too-old");

        var other = new HubStore();
        await other.InitializeAsync();
        await ErrorAsync(
            StatusCode.FailedPrecondition, "another hub", new() { Cursor = (await Cursors.OfAsync(other.Database, default)).Of(new(1, Guid.NewGuid())) }, "cursor-of-another-store");
        await other.DisposeAsync();

        // Restored to before the second event, and by then another one has come to its place; or none has.
        await RunAsync("UPDATE hub.mt_events SET id = gen_random_uuid() WHERE seq_id = 2");
        await ErrorAsync(StatusCode.OutOfRange, "restored", new() { Cursor = events[1].Cursor }, "cursor-of-another-history");
        await RunAsync("DELETE FROM hub.mt_events WHERE seq_id = 2");
        await ErrorAsync(StatusCode.OutOfRange, "restored", new() { Cursor = events[1].Cursor }, "cursor-of-another-history");
        Assert.True((await ReadAsync(new() { Cursor = events[0].Cursor })).CaughtUp);

        // Another node of this store, or this one after it was started anew, takes it.
        await using var node = await AccessServer.StartAsync(_hub);
        Assert.True((await node.Feed.ReadAsync(new() { Cursor = events[0].Cursor }, AccessServer.Headers(node.Token("administrator", TimeSpan.FromMinutes(5))))).CaughtUp);

        static string Changed(string cursor, int at) => cursor[..at] + (cursor[at] == 'A' ? 'B' : 'A') + cursor[(at + 1)..];
    }

    [Fact]
    public async Task Given_a_stream_on_which_nothing_matches_When_time_passes_Then_checkpoints_tell_what_was_looked_at_and_heartbeats_that_it_lives()
    {
        await ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026")), "d/1"));
        await using var stream = new HeldStream(_server, "administrator", new FeedOptions { Heartbeat = TimeSpan.FromMilliseconds(100) }, new() { Types_ = { Births } }, Roles.Administrator);
        Assert.NotNull((await stream.NextAsync()).Checkpoint);
        Assert.NotNull((await stream.NextAsync()).CaughtUp);
        var end = (await ReadAsync(new())).NextCursor;
        Assert.Equal(end, (await stream.NextAsync()).Heartbeat.Cursor);

        await ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026")), "d/2"));
        var next = await stream.NextAsync();
        while (next.Heartbeat?.Cursor == end) next = await stream.NextAsync();
        Assert.Equal((await ReadAsync(new())).NextCursor, next.Checkpoint.Cursor);
    }

    [Fact]
    public async Task Given_readers_near_the_end_and_far_from_it_When_events_come_Then_each_has_every_one_of_its_own_once_and_in_order()
    {
        // A tail of few events, which readers fall behind of and come up to again.
        var options = new FeedOptions { TailEvents = 7, PositionsPerPage = 20 };
        var pages = ActivatorUtilities.CreateInstance<FeedPages>(_server.Services, options, new Tail(_hub.Database, options));
        var feed = ActivatorUtilities.CreateInstance<FeedStreams>(_server.Services, options, pages);
        var filters = new FeedFilter[] { FeedFilter.All, FeedFilter.All with { Communes = ["35337"] }, FeedFilter.All with { Subjects = ["d/1*"] }, FeedFilter.All with { Facts = [new("actNumber", ["3"])] } };
        var read = filters.Select(_ => (After: default(Place), Ids: new List<string>())).ToArray();
        for (var round = 0; round < 30; round++)
        {
            await ArriveAsync([.. Enumerable.Range(0, round % 11).Select(number => Event(
                new DeathRegistered(PartialDate.Parse("2026"), $"{number % 5}"), $"d/{round}-{number}", number % 2 == 0 ? Tinteniac : Combourg, $"{round}-{number}"))]);
            for (var reader = 0; reader < filters.Length; reader++)
            {
                // Not all of them each time.
                if ((round + reader) % (reader + 1) != 0 && round != 29) continue;
                var access = new FeedAccess(new Reader("administrator", true, _ => new(true)), "", filters[reader], _server.Services.GetRequiredService<AgreementsInForce>());
                var limit = 3 + reader;
                FeedPage page;
                do
                {
                    page = await feed.ReadAsync(read[reader].After, access, limit, default);
                    Assert.InRange(page.Events.Count, 0, limit);
                    read[reader].Ids.AddRange(page.Events.Select(one => one.Message.Id));
                    read[reader].After = page.Through;
                }
                while (!page.CaughtUp);
            }
        }

        string[] conditions = ["true", "stream_id LIKE '35337/%'", "stream_id LIKE '%/d/1%'", "data ->> 'actNumber' = '3'"];
        for (var reader = 0; reader < filters.Length; reader++)
            Assert.Equal(await _hub.RowsAsync($"SELECT headers ->> 'id' FROM hub.mt_events WHERE {conditions[reader]} ORDER BY seq_id"), read[reader].Ids);
    }

    private static Fact Fact(string field, params string[] values) => new() { Field = field, Values = { values } };

    private async Task ArriveAsync(params CloudEvent[] events)
    {
        await _hub.ArriveAsync(events);
        var end = long.Parse((await _hub.RowsAsync("SELECT coalesce(max(seq_id), 0) FROM hub.mt_events"))[0], System.Globalization.CultureInfo.InvariantCulture);
        await Eventually.Is(() => _server.Services.GetRequiredService<Positions>().HighWater, high => high >= end);
    }

    private Task<ReadResponse> ReadAsync(ReadRequest request, string? token = null)
    {
        request.Limit = 1000;
        return _server.Feed.ReadAsync(request, AccessServer.Headers(token ?? _administrator)).ResponseAsync;
    }

    private Task GetsAsync(Filter filter, params string[] ids) => GetsByTokenAsync(_administrator, filter, ids);

    private async Task GetsByTokenAsync(string token, Filter filter, params string[] ids)
    {
        // By the events in memory, and by the store.
        var page = await ReadAsync(new() { Filter = filter }, token);
        Assert.Equal(ids, page.Events.Select(read => read.Id));
        Assert.True(page.CaughtUp);
        await using var stream = new HeldStream(
            _server, token == _administrator ? "administrator" : "partner", new FeedOptions { TailEvents = 0 }, filter, token == _administrator ? Roles.Administrator : Roles.Partner);
        foreach (var id in ids) Assert.Equal(id, (await stream.NextAsync()).Event.Id);
        var end = await stream.NextAsync();
        Assert.Equal(page.NextCursor, end.Checkpoint?.Cursor ?? end.CaughtUp.Cursor);
    }

    private async Task RefusedAsync(StatusCode status, string detail, Filter filter, string? token = null)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(new() { Filter = filter }, token));
        Assert.Equal(status, error.StatusCode);
        Assert.Contains(detail, error.Status.Detail, StringComparison.Ordinal);
    }

    private async Task ErrorAsync(StatusCode status, string detail, ReadRequest request, string? reason = null)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(request));
        Assert.Equal((status, reason), (error.StatusCode, error.Trailers.GetValue("reason")));
        Assert.Contains(detail, error.Status.Detail, StringComparison.Ordinal);
    }

    private static async Task<SubscribeResponse> NextAsync(AsyncServerStreamingCall<SubscribeResponse> call)
    {
        Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Eventually.DefaultTimeout));
        return call.ResponseStream.Current;
    }

    private async Task RunAsync(string sql)
    {
        await using var command = _hub.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
