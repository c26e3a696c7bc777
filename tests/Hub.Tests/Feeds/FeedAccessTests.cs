using System.Diagnostics;
using System.Globalization;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;
using Xunit.Abstractions;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>What leaves the hub by its feed, for whom, and for how long.</summary>
public sealed class FeedAccessTests(FeedAccessTests.Server server, ITestOutputHelper output) : IClassFixture<FeedAccessTests.Server>
{
    private const string Requests = "fr.intercommunalite.requests.request-submitted.v1";

    private static int s_last;

    private readonly AccessServer _server = server.Access;
    private readonly string _partner = $"partner-{Interlocked.Increment(ref s_last)}";

    [Fact]
    public async Task Given_an_agreement_When_its_partner_reads_Then_it_gets_its_types_of_its_communes_with_its_fields_and_the_cursor_moves_over_the_rest()
    {
        var token = await AllowAsync("trimmed", [new(Births, ["date"]), new(Enrolments, [])], communes: ["35085"]);

        var page = await ReadAsync(token);

        Assert.Equal(["birth-1", "pupil-1"], page.Events.Select(read => read.Id));
        Assert.Equal("""{"date":"2026-11-01"}""", page.Events[0].Data);
        Assert.Equal(("{}", "enrolment/1", "35085"), (page.Events[1].Data, page.Events[1].Subject, page.Events[1].Commune));
        Assert.All(page.Events, read => Assert.Equal("", read.Personal));
        Assert.DoesNotContain("MARQUEUR", page.ToString(), StringComparison.Ordinal);
        // Also where everything that follows is withheld.
        var end = await CursorAsync("(SELECT max(seq_id) FROM hub.mt_events)");
        Assert.Equal((true, end), (page.CaughtUp, page.NextCursor));
        var messages = await MessagesAsync(token, new());
        Assert.Equal(["birth-1", "pupil-1"], messages.Where(message => message.Event is not null).Select(message => message.Event.Id));
        Assert.Equal(end, messages.Single(message => message.Checkpoint is not null).Checkpoint.Cursor);
    }

    [Fact]
    public async Task Given_some_personal_fields_When_its_partner_reads_Then_it_gets_these_alone_and_whose_went_to_whom_is_noted_before()
    {
        var token = await AllowAsync("persons", [new(Births, ["date"], ["child.lastName", "parents.phone"]), new(Enrolments, [], ["ine"]), new("fr.intercommunalite.payments.*")]);

        var page = await ReadAsync(token);

        Assert.Equal(
            [
                """{"child":{"lastName":"MARQUEUR-É\"NOM"},"parents":[{"phone":"MARQUEUR-TELEPHONE"}]}""", """{"child":{"lastName":"MARQUEUR-É\"NOM"}}""", """{"ine":"123456789AB"}""", "",
            ],
            page.Events.Select(read => read.Personal));
        Assert.DoesNotContain("MARQUEUR-ADRESSE", page.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("MARQUEUR-PRENOM", page.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("MARQUEUR", string.Concat(page.Events.Select(read => read.Data)), StringComparison.Ordinal);
        // The child once for each event, the parent once; what stands beside the pupil counts as the pupil's.
        Assert.Equal(["4"], await server.Hub.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE recipient = '{_partner}' AND agreement = '{Id("persons")}'"));
        Assert.Equal(
            ["Préparer les repas {\"version\":1,\"events\":3,\"persons\":2,\"first\":1,\"last\":3}"],
            await server.Hub.RowsAsync($"SELECT why, details FROM audit.entry WHERE who = '{_partner}' AND act = 'feed.personal-data-sent' AND subject = '{Id("persons")}'"));

        // The stream gives the same, and stands in the audit, too; nothing personal does.
        var streamed = (await MessagesAsync(token, new())).Where(message => message.Event is not null).Select(message => message.Event.Personal);
        Assert.Equal(page.Events.Select(read => read.Personal), streamed);
        Assert.Equal(["2"], await server.Hub.RowsAsync($"SELECT count(*) FROM audit.entry WHERE who = '{_partner}' AND act = 'feed.personal-data-sent'"));
        Assert.Equal(["0"], await server.Hub.RowsAsync("SELECT count(*) FROM audit.entry e WHERE e::text LIKE '%MARQUEUR%'"));
    }

    [Fact]
    public async Task Given_that_it_cannot_be_noted_to_whom_data_goes_When_its_partner_reads_Then_nothing_goes()
    {
        var token = await AllowAsync("unnoted", [new(Births, null, ["child.lastName"])]);
        await RunAsync("ALTER TABLE privacy.disclosure RENAME TO disclosure_away");
        try
        {
            var error = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(token));
            Assert.DoesNotContain("MARQUEUR", error.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            await RunAsync("ALTER TABLE privacy.disclosure_away RENAME TO disclosure");
        }
    }

    [Fact]
    public async Task Given_an_administrator_When_the_feed_is_read_Then_it_has_every_event_whole_without_personal_data()
    {
        var page = await ReadAsync(server.Administrator);
        Assert.Equal(["birth-1", "birth-2", "pupil-1", "invoice-1"], page.Events.Select(read => read.Id).Take(4));
        Assert.Contains("residenceCommune", page.Events[0].Data, StringComparison.Ordinal);
        Assert.All(page.Events, read => Assert.Equal("", read.Personal));
        Assert.DoesNotContain("MARQUEUR", page.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_filter_beyond_the_agreement_When_read_Then_it_is_refused_and_names_what_is_not_allowed()
    {
        var token = await AllowAsync("narrow", [new("fr.intercommunalite.civil-records.*")], communes: ["35085"]);

        await RefusedAsync(token, StatusCode.PermissionDenied, "35337", new Filter { Communes = { "35085", "35337" } });
        await RefusedAsync(token, StatusCode.PermissionDenied, Enrolments, new Filter { Types_ = { Births, Enrolments } });
        await RefusedAsync(token, StatusCode.PermissionDenied, "fr.intercommunalite.payments.*", new Filter { Types_ = { "fr.intercommunalite.payments.*" } });
        await RefusedAsync(token, StatusCode.InvalidArgument, "filter.types", new Filter { Types_ = { "fr' OR 1=1 --" } });
        await RefusedAsync(token, StatusCode.InvalidArgument, "filter.communes", new Filter { Communes = { "35085' OR '1'='1" } });
        // Of what begins so, what is allowed.
        Assert.Equal(["birth-1"], (await ReadAsync(token, new Filter { Types_ = { "fr.intercommunalite.*" }, Communes = { "35085" } })).Events.Select(read => read.Id));
    }

    [Fact]
    public async Task Given_no_agreement_in_force_When_the_feed_is_read_Then_it_is_refused_with_what_to_do()
    {
        var nobody = await _server.LetInAsync($"{_partner}-nobody", Roles.Partner);
        await RefusedAsync(nobody, StatusCode.PermissionDenied, "No agreement is in force");
        var token = await AllowAsync("others", [new(Births)]);
        await RefusedAsync(nobody, StatusCode.PermissionDenied, "in force", agreement: Id("others"));
        await _server.ChangeAsync(Id("others"), Decide.End);
        await Eventually.Passes(() => RefusedAsync(token, StatusCode.PermissionDenied, "No agreement is in force"));
        await RefusedAsync(token, StatusCode.PermissionDenied, "suspended or have ended", agreement: Id("others"));
        await RefusedAsync(await _server.LetInAsync($"{_partner}-agent", Roles.EpciAgent), StatusCode.PermissionDenied, "");
        await RefusedAsync("x", StatusCode.Unauthenticated, "");
    }

    [Fact]
    public async Task Given_two_agreements_When_none_is_named_Then_both_are_told_and_under_each_it_gets_what_that_one_allows()
    {
        var token = await AllowAsync("births", [new(Births)]);
        await AllowAsync("pupils", [new(Enrolments)]);

        await RefusedAsync(token, StatusCode.InvalidArgument, $"{Id("births")}, {Id("pupils")}");
        Assert.Equal(["birth-1", "birth-2"], (await ReadAsync(token, agreement: Id("births"))).Events.Select(read => read.Id));
        Assert.Equal(["pupil-1"], (await ReadAsync(token, agreement: Id("pupils"))).Events.Select(read => read.Id));
    }

    [Fact]
    public async Task Given_an_open_stream_When_its_agreement_is_suspended_Then_it_ends_within_a_second_and_goes_on_from_its_cursor_once_resumed()
    {
        var token = await AllowAsync("suspended", [new(Births)]);
        using var call = await CaughtUpAsync(token);

        var error = await EndAsync(call, () => _server.ChangeAsync(Id("suspended"), Decide.Suspend), "Suspension");

        Assert.Equal(StatusCode.PermissionDenied, error.StatusCode);
        Assert.Contains("may be suspended or have ended", error.Status.Detail, StringComparison.Ordinal);
        await _server.ChangeAsync(Id("suspended"), Decide.Resume);
        await Eventually.Is(() => ReadAsync(token), page => page.Events.Count == 2);
    }

    [Fact]
    public async Task Given_an_open_stream_on_another_node_When_the_agreement_is_ended_Then_it_ends_within_a_second_there_too()
    {
        await using var other = await AccessServer.StartAsync(server.Hub);
        var token = await AllowAsync("elsewhere", [new(Births)]);
        await Eventually.Is(() => other.Feed.ReadAsync(new ReadRequest(), AccessServer.Headers(token)).ResponseAsync, page => page.Events.Count == 2);
        using var call = await CaughtUpAsync(token, other);

        Assert.Equal(StatusCode.PermissionDenied, (await EndAsync(call, () => _server.ChangeAsync(Id("elsewhere"), Decide.End), "End, seen by another node")).StatusCode);
    }

    [Fact]
    public async Task Given_an_open_stream_When_the_notification_is_lost_Then_it_ends_all_the_same()
    {
        var token = await AllowAsync("unheard", [new(Births)]);
        using var call = await CaughtUpAsync(token);

        // The event alone, without the notification that goes with it.
        var error = await EndAsync(call, () => RunAsync($$"""
            INSERT INTO agreements.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived)
            SELECT nextval('agreements.mt_events_sequence'), gen_random_uuid(), stream_id, 3, '{"by":"x","at":"2026-11-24T09:30:00Z"}', 'agreement-suspended.v1',
                tenant_id, timestamp, '{{typeof(AgreementSuspended).FullName}}, {{typeof(AgreementSuspended).Assembly.GetName().Name}}', FALSE
            FROM agreements.mt_events WHERE stream_id = '{{Id("unheard")}}' AND version = 2
            """), "Suspension that nobody told of");

        Assert.Equal(StatusCode.PermissionDenied, error.StatusCode);
    }

    [Fact]
    public async Task Given_an_open_stream_When_the_last_day_has_passed_Then_it_ends()
    {
        await using var later = await AccessServer.StartAsync(server.Hub);
        var token = await AllowAsync("dated", [new(Births)], to: DateOnly.FromDateTime(_server.Now.UtcDateTime).AddDays(2));
        await Eventually.Is(() => later.Feed.ReadAsync(new ReadRequest(), AccessServer.Headers(token)).ResponseAsync, page => page.Events.Count == 2);
        using var call = await CaughtUpAsync(token, later);

        var error = await EndAsync(call, () => { later.Move(TimeSpan.FromDays(3)); return Task.CompletedTask; }, "Last day");

        Assert.Equal(StatusCode.PermissionDenied, error.StatusCode);
    }

    [Fact]
    public async Task Given_an_open_stream_When_the_agreement_gets_another_version_Then_it_goes_on_with_what_that_one_allows_or_ends()
    {
        var token = await AllowAsync("changed", [new(Births)]);
        using var call = await CaughtUpAsync(token);
        using var narrow = await CaughtUpAsync(token, filter: new Filter { Types_ = { Births } });

        await AllowAsync("changed", [new(Deaths, [])]);
        await server.Hub.ArriveAsync(Event(new DeathRegistered(PartialDate.Parse("2026-11-02")), "death/1", id: $"death-{_partner}"));

        Event? next = null;
        while (next?.Id != $"death-{_partner}" && await call.ResponseStream.MoveNext(default))
        {
            next = call.ResponseStream.Current.Event;
            Assert.NotEqual(Births, next?.Type);
        }

        Assert.Equal("{}", next?.Data);
        Assert.Equal(StatusCode.PermissionDenied, (await EndAsync(narrow, () => Task.CompletedTask, "Filter no longer allowed")).StatusCode);
    }

    [Fact]
    public async Task Given_a_page_on_its_way_When_a_narrower_version_comes_into_force_Then_the_rest_of_it_goes_out_under_that_one()
    {
        await AllowAsync("on-its-way", [new(Births)]);
        await using var stream = new HeldStream(_server, _partner);
        Assert.Contains("actNumber", (await stream.NextAsync()).Event.Data, StringComparison.Ordinal);

        await AllowAsync("on-its-way", [new(Births, ["date"])]);

        var rest = (await stream.NextAsync()).Event;
        Assert.Equal(("birth-2", """{"date":"2026-11-02"}"""), (rest.Id, rest.Data));
        Assert.NotNull((await stream.NextAsync()).Checkpoint);
    }

    [Fact]
    public async Task Given_a_page_on_its_way_When_a_person_in_it_is_erased_Then_nothing_more_of_that_person_goes_out()
    {
        var person = await SubmitTwiceAsync();
        await AllowAsync("erased", [new(Requests, [], ["applicant.lastName"])]);
        await using var stream = new HeldStream(_server, _partner);
        Event next;
        do next = (await stream.NextAsync()).Event;
        while (next.Subject != $"{_partner}/1");
        Assert.Contains("MARQUEUR-DEMANDE", next.Personal, StringComparison.Ordinal);

        var inForce = _server.Services.GetRequiredService<AgreementsInForce>();
        var epoch = inForce.Epoch;
        Assert.Equal(Erasure.Erased, (await _server.Services.GetRequiredService<Rights>().EraseAsync(person, "officer", "asked for", default)).Outcome);
        await Eventually.Is(() => inForce.Epoch, known => known > epoch, TimeSpan.FromSeconds(1));

        next = (await stream.NextAsync()).Event;
        Assert.Equal(($"{_partner}/2", ""), (next.Subject, next.Personal));
    }

    [Fact]
    public async Task Given_an_erasure_that_is_being_done_When_the_feed_is_read_Then_it_waits_for_it_and_nothing_of_the_person_goes_out()
    {
        var person = await SubmitTwiceAsync();
        var token = await AllowAsync("meanwhile", [new(Requests, [], ["applicant.lastName"])]);
        await using var connection = await server.Hub.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await Forgetting.LockAsync(connection, default);
        var reading = ReadAsync(token);
        await Eventually.Is(
            () => server.Hub.RowsAsync("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"),
            waiting => waiting is ["1"]);

        await _server.Services.GetRequiredService<Forgetting>().RegisterAsync(connection, [person], erased: true, default);
        await transaction.CommitAsync();

        var mine = (await reading).Events.Where(read => read.Subject.StartsWith(_partner, StringComparison.Ordinal)).ToList();
        Assert.Equal(["", ""], mine.Select(read => read.Personal));
        Assert.Equal(["0"], await server.Hub.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE person = '{person}'"));
    }

    [Fact]
    public async Task Given_a_version_that_begins_later_When_it_is_activated_Then_the_stream_goes_on_under_the_one_before_and_changes_on_that_day()
    {
        await using var later = await AccessServer.StartAsync(server.Hub);
        var token = await AllowAsync("amended", [new(Births)]);
        await Eventually.Is(() => later.Feed.ReadAsync(new ReadRequest(), AccessServer.Headers(token)).ResponseAsync, page => page.Events.Count == 2);
        await using var stream = new HeldStream(later, _partner);
        Assert.Equal("birth-1", (await stream.NextAsync()).Event.Id);

        await _server.ChangeAsync(Id("amended"), (agreement, act) => Decide.Draft(agreement, Terms(new SharedEvents(Births, ["date"])) with
        {
            Partner = new("Partner", [_partner]),
            From = DateOnly.FromDateTime(_server.Now.UtcDateTime).AddDays(5),
            To = null,
        }, act));
        await _server.ChangeAsync(Id("amended"), (agreement, act) => Decide.Activate(agreement, 2, act));
        // What is activated next is known when that is known, too.
        await AllowAsync("beside", [new(Deaths)]);
        await Eventually.Is(() => later.Feed.ReadAsync(new ReadRequest { Agreement = Id("beside") }, AccessServer.Headers(token)).ResponseAsync, page => page.CaughtUp);

        Assert.Contains("actNumber", (await stream.NextAsync()).Event.Data, StringComparison.Ordinal);
        later.Move(TimeSpan.FromDays(6));
        var page = await Eventually.Is(() => later.Feed.ReadAsync(new ReadRequest { Agreement = Id("amended") }, AccessServer.Headers(token)).ResponseAsync, page => page.Events.Count == 2);
        Assert.Equal("""{"date":"2026-11-01"}""", page.Events[0].Data);
        Assert.NotNull((await stream.NextAsync()).Checkpoint);
    }

    [Fact]
    public async Task Given_a_type_that_is_rare_When_it_is_asked_for_Then_each_page_looks_through_so_much_and_the_cursor_moves_on()
    {
        await AllowAsync("rare", [new(Enrolments)]);
        await using var stream = new HeldStream(_server, _partner, new FeedOptions { PositionsPerPage = 2, TailEvents = 0 });

        Assert.Equal(await CursorAsync("2"), (await stream.NextAsync()).Checkpoint.Cursor);
        Assert.Equal("pupil-1", (await stream.NextAsync()).Event.Id);
        Assert.Equal(await CursorAsync("4"), (await stream.NextAsync()).Checkpoint.Cursor);
    }

    [Fact]
    public async Task Given_as_many_streams_as_a_client_may_have_When_it_opens_another_Then_it_is_refused_with_what_to_do_until_one_ends()
    {
        var token = await AllowAsync("many", [new(Births)]);
        var open = new List<AsyncServerStreamingCall<SubscribeResponse>>();
        try
        {
            for (var stream = 0; stream < new FeedOptions().StreamsPerClient; stream++) open.Add(await CaughtUpAsync(token));

            var error = await Assert.ThrowsAsync<RpcException>(() => CaughtUpAsync(token));

            Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);
            Assert.Contains("End one of them first", error.Status.Detail, StringComparison.Ordinal);
            // Others are not hindered, and one that ends makes place.
            (await CaughtUpAsync(server.Administrator)).Dispose();
            open[0].Dispose();
            open.Add(await Eventually.Is<AsyncServerStreamingCall<SubscribeResponse>>(() => CaughtUpAsync(token), _ => true));
        }
        finally
        {
            open.ForEach(call => call.Dispose());
        }
    }

    [Theory]
    [InlineData("agreements.mt_events")]
    [InlineData("""access."OpenIddictApplications" """)]
    public async Task Given_an_open_stream_When_the_database_does_not_answer_what_is_in_force_Then_it_ends_all_the_same(string table)
    {
        var token = await AllowAsync("silent", [new(Births)]);
        using var call = await CaughtUpAsync(token);
        await using var connection = await server.Hub.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var silence = new NpgsqlCommand($"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", connection);

        // It is given up after a second or so; a question that was waited for would be given up after thirty.
        var error = await EndAsync(call, () => silence.ExecuteNonQueryAsync(), "A database that does not answer", TimeSpan.FromSeconds(5));

        Assert.Equal(StatusCode.Unavailable, error.StatusCode);
        await transaction.RollbackAsync();
        await Eventually.Is(() => ReadAsync(token), page => page.Events.Count == 2);
    }

    [Fact]
    public async Task Given_an_open_stream_When_its_token_expires_or_its_client_is_suspended_Then_it_ends()
    {
        await AllowAsync("expiring", [new(Births)]);
        await using var later = await AccessServer.StartAsync(server.Hub);
        var shortLived = later.Token(_partner, TimeSpan.FromMinutes(10));
        await Eventually.Is(() => later.Feed.ReadAsync(new ReadRequest(), AccessServer.Headers(shortLived)).ResponseAsync, page => page.Events.Count == 2);
        using var expiring = await CaughtUpAsync(shortLived, later);
        Assert.Equal(StatusCode.Unauthenticated, (await EndAsync(expiring, () => { later.Move(TimeSpan.FromMinutes(11)); return Task.CompletedTask; }, "Expiry")).StatusCode);

        using var suspended = await CaughtUpAsync(_server.Token(_partner, TimeSpan.FromDays(1)));
        var error = await EndAsync(
            suspended,
            () => RunAsync($$$"""UPDATE access."OpenIddictApplications" SET "Properties" = '{"rights":{"roles":["partner"],"communes":[],"suspended":true}}' WHERE "ClientId" = '{{{_partner}}}'"""),
            "Suspension of the client", TimeSpan.FromSeconds(1.5));
        Assert.Equal(StatusCode.Unauthenticated, error.StatusCode);
    }

    [Fact]
    public async Task Given_a_slow_reader_When_its_agreement_is_suspended_Then_the_stream_ends_before_it_has_everything()
    {
        // More than the buffers on the way hold.
        var number = new string('9', 900);
        foreach (var some in Enumerable.Range(0, 2000).Chunk(500))
            await server.Hub.ArriveAsync([.. some.Select(act => Event(new MarriageRegistered(PartialDate.Parse("2026-01-01"), number), $"marriage/{act}", Tinteniac))]);
        var token = await AllowAsync("slow", [new("fr.intercommunalite.civil-records.marriage-registered.v1")]);
        using var call = _server.Feed.Subscribe(new SubscribeRequest(), AccessServer.Headers(token));
        Assert.True(await call.ResponseStream.MoveNext(default));

        await _server.ChangeAsync(Id("slow"), Decide.Suspend);
        var received = 1;
        await Assert.ThrowsAsync<RpcException>(async () =>
        {
            for (; await call.ResponseStream.MoveNext(default); received++) await Task.Delay(5);
        });
        output.WriteLine($"A slow reader got {received} of 2000.");
        Assert.InRange(received, 1, 1000);
    }

    private string Id(string name) => $"{name}-{_partner}";

    // Of the test's own person; whose random id it gives.
    private async Task<Guid> SubmitTwiceAsync()
    {
        var applicant = new ApplicantPersonal(new Person("MARQUEUR-DEMANDE", _partner, BirthDate: PartialDate.Parse("1980-01-01")));
        await server.Hub.ArriveAsync(
            [.. Enumerable.Range(1, 2).Select(number => Event(new RequestSubmitted(Slug.Parse("birth-certificate"), HubStore.Now) { Personal = applicant }, $"{_partner}/{number}"))]);
        var end = long.Parse((await server.Hub.RowsAsync("SELECT max(seq_id) FROM hub.mt_events"))[0], CultureInfo.InvariantCulture);
        await Eventually.Is(() => _server.Services.GetRequiredService<Positions>().HighWater, high => high >= end);
        return Guid.Parse((await server.Hub.RowsAsync($"SELECT person FROM privacy.personal_data d JOIN hub.mt_events e ON e.id = d.event_id WHERE split_part(e.stream_id, '/', 3) = '{_partner}' LIMIT 1"))[0]);
    }

    private async Task<string> AllowAsync(string name, SharedEvents[] events, string[]? communes = null, DateOnly? to = null)
    {
        var token = await _server.LetInAsync(_partner, Roles.Partner);
        var signed = Terms(events) with { Title = Guid.NewGuid().ToString(), Partner = new("Partner", [_partner]), Communes = communes ?? ["*"], To = to };
        await _server.ActivateAsync(Id(name), signed);
        return token;
    }

    private async Task<string> CursorAsync(string position)
    {
        var found = (await server.Hub.RowsAsync($"SELECT seq_id, id FROM hub.mt_events WHERE seq_id = {position}"))[0].Split(' ');
        return (await Cursors.OfAsync(server.Hub.Database, default)).Of(new(long.Parse(found[0], CultureInfo.InvariantCulture), Guid.Parse(found[1])));
    }

    private Task<ReadResponse> ReadAsync(string token, Filter? filter = null, string agreement = "") =>
        _server.Feed.ReadAsync(new ReadRequest { Limit = 1000, Filter = filter, Agreement = agreement }, AccessServer.Headers(token)).ResponseAsync;

    private async Task RefusedAsync(string token, StatusCode status, string detail, Filter? filter = null, string agreement = "")
    {
        var read = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(token, filter, agreement));
        Assert.Equal(status, read.StatusCode);
        Assert.Contains(detail, read.Status.Detail, StringComparison.Ordinal);
        using var call = _server.Feed.Subscribe(new SubscribeRequest { Filter = filter, Agreement = agreement }, AccessServer.Headers(token));
        var subscribed = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(default));
        Assert.Equal(status, subscribed.StatusCode);
    }

    private async Task<List<SubscribeResponse>> MessagesAsync(string token, SubscribeRequest request)
    {
        using var call = _server.Feed.Subscribe(request, AccessServer.Headers(token));
        var messages = new List<SubscribeResponse>();
        while (await call.ResponseStream.MoveNext(default) && call.ResponseStream.Current.CaughtUp is null) messages.Add(call.ResponseStream.Current);
        return messages;
    }

    private async Task<AsyncServerStreamingCall<SubscribeResponse>> CaughtUpAsync(string token, AccessServer? node = null, Filter? filter = null)
    {
        var call = (node ?? _server).Feed.Subscribe(new SubscribeRequest { Filter = filter }, AccessServer.Headers(token));
        while (await call.ResponseStream.MoveNext(default) && call.ResponseStream.Current.CaughtUp is null) continue;
        return call;
    }

    private async Task<RpcException> EndAsync(AsyncServerStreamingCall<SubscribeResponse> call, Func<Task> act, string what, TimeSpan? within = null)
    {
        await act();
        var clock = Stopwatch.StartNew();
        var error = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext(default)) continue;
        }).WaitAsync(Eventually.DefaultTimeout);
        output.WriteLine($"{what}: the stream ended after {clock.ElapsedMilliseconds} ms.");
        Assert.InRange(clock.Elapsed, TimeSpan.Zero, within ?? TimeSpan.FromSeconds(1));
        return error;
    }

    private async Task RunAsync(string sql)
    {
        await using var command = server.Hub.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }

    public sealed class Server : IAsyncLifetime
    {
        internal HubStore Hub { get; } = new();

        internal AccessServer Access { get; private set; } = null!;

        internal string Administrator { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            await Hub.InitializeAsync();
            Access = await AccessServer.StartAsync(Hub);
            Administrator = await Access.LetInAsync("administrator", Roles.Administrator);
            var child = new Person("MARQUEUR-É\"NOM", "MARQUEUR-PRENOM", BirthDate: PartialDate.Parse("2026-11-01"), Address: "MARQUEUR-ADRESSE");
            await Hub.ArriveAsync(
                Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac) { Personal = new BirthPersonal(child, [new Person("MARQUEUR-PARENT", Phone: "MARQUEUR-TELEPHONE")]) }, "birth/1", id: "birth-1"),
                Event(new BirthRegistered(PartialDate.Parse("2026-11-02"), "2") { Personal = new BirthPersonal(child) }, "birth/2", Tinteniac, "birth-2"),
                Event(new PupilEnrolled(Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, Combourg, new(2026, 9, 1)) { Personal = new PupilPersonal(child, "123456789AB") }, "enrolment/1", id: "pupil-1"),
                Event(new InvoiceIssued(Slug.Parse("canteen"), new Cents(100), new(2026, 9, 30)) { Personal = new DebtorPersonal(child) }, "i/1", id: "invoice-1"));
            await Eventually.Is(() => Access.Feed.ReadAsync(new ReadRequest(), AccessServer.Headers(Administrator)).ResponseAsync, page => page.Events.Count == 4);
        }

        public async Task DisposeAsync()
        {
            await Access.DisposeAsync();
            await Hub.DisposeAsync();
        }
    }
}
