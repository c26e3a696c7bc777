using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using Xunit.Abstractions;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>Durable subscriptions on two nodes of a hub: what is given to whom, how often, in which order.</summary>
public sealed class SubscriptionsTests(SubscriptionNodes nodes, ITestOutputHelper output) : SubscriptionScenario(nodes), IClassFixture<SubscriptionNodes>
{
    [Fact]
    public async Task Given_readers_that_compete_on_two_nodes_When_they_fail_now_and_then_Then_nothing_is_missed_and_of_a_record_one_comes_after_the_other()
    {
        const int Records = 12, Each = 20;
        await CreateAsync();
        await ArriveAsync([.. Enumerable.Range(0, Records * Each).Select(index => $"r{index % Records}")]);
        var (held, last, done) = (new ConcurrentDictionary<string, bool>(), new ConcurrentDictionary<string, long>(), new ConcurrentDictionary<long, int>());

        await Task.WhenAll(Enumerable.Range(0, 4).Select(async number =>
        {
            var random = new Random(number);
            while (done.Count < Records * Each)
            {
                // A reader that ends in the middle, and another one in its place.
                await using var reader = new PullReader(number % 2 == 0 ? Hub.One : Hub.Other, Name, Hub.Administrator, 7);
                for (var taken = 0; taken < 40 && done.Count < Records * Each; taken++)
                {
                    Delivery delivery;
                    try
                    {
                        delivery = await reader.NextAsync(TimeSpan.FromSeconds(2));
                    }
                    catch (TimeoutException)
                    {
                        continue;
                    }

                    var (subject, position) = (delivery.Event.Subject, await PositionAsync(delivery));
                    Assert.True(held.TryAdd(subject, true), $"{subject} was given twice at a time");
                    Assert.True(position > last.GetValueOrDefault(subject), $"{subject} came out of order");
                    await Task.Delay(random.Next(3));
                    var fails = random.Next(20) == 0;
                    if (!fails) last[subject] = position;
                    held.TryRemove(subject, out _);
                    if (fails) await reader.RejectAsync(delivery, "now and then");
                    else if (await reader.AcknowledgeAsync(delivery) == 1) done.AddOrUpdate(position, 1, (_, times) => times + 1);
                    // What the reader was given and has not taken goes to another one when it ends.
                    if (taken == 39) break;
                }
            }
        })).WaitAsync(TimeSpan.FromMinutes(2));

        Assert.Equal(Records * Each, done.Count);
        Assert.All(done.Values, times => Assert.Equal(1, times));
        Assert.Equal(["0"], await RowsAsync());
    }

    [Fact]
    public async Task Given_a_delivery_that_is_not_acknowledged_in_time_Then_it_comes_again_as_the_second_attempt_and_what_was_given_first_changes_nothing()
    {
        await CreateAsync();
        await ArriveAsync("a");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator);

        var first = await reader.NextAsync();
        // Its time is over.
        await Hub.Store.RowsAsync($"UPDATE feeds.delivery SET held_until = clock_timestamp() WHERE subscription = '{Name}'");
        var again = await reader.NextAsync();

        Assert.Equal((1, 2, first.Event.Id), (first.Attempt, again.Attempt, again.Event.Id));
        var failing = (await ShowAsync()).GetProperty("failing")[0];
        Assert.Equal(("not acknowledged within 60 s", 1, 2), (failing.GetProperty("reason").GetString(), failing.GetProperty("failures").GetInt32(), failing.GetProperty("attempts").GetInt32()));
        Assert.Equal(0, await reader.AcknowledgeAsync(first));
        Assert.Equal(1, await reader.AcknowledgeAsync(again));
        Assert.Equal(0, await reader.AcknowledgeAsync(again));
    }

    [Fact]
    public async Task Given_a_node_that_is_gone_with_what_its_readers_held_Then_that_comes_again_without_counting_as_failed_and_nothing_that_was_acknowledged_does()
    {
        await CreateAsync(new { name = Name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync("a", "b", "c", "d", "a");
        // A reader of a node that gives no sign of life any more.
        var deliveries = Hub.One.Services.GetRequiredService<Deliveries>();
        var gone = Guid.NewGuid();
        var held = await ClaimAsync(Hub.One, gone, 10);
        Assert.Equal([1, 1, 1, 1], held.Select(one => one.Attempt));
        Assert.Equal(1, await deliveries.AcknowledgeAsync(Name, [(gone, held[1])], default));
        // Nothing has been heard of it for long, and its time to acknowledge is over since.
        await Hub.Store.RowsAsync($"""
            UPDATE feeds.reader SET seen_at = clock_timestamp() - interval '20 s' WHERE id = '{gone}';
            UPDATE feeds.delivery SET held_until = clock_timestamp() - interval '5 s' WHERE subscription = '{Name}'
            """);

        await using var reader = new PullReader(Hub.Other, Name, Hub.Administrator);
        var given = await reader.NextAsync(3);

        Assert.Equal(["a", "c", "d"], given.Select(Record));
        Assert.All(given, one => Assert.Equal(2, one.Attempt));
        Assert.Equal(0, (await ShowAsync()).GetProperty("parked").GetInt32());
        Assert.Equal(0, await deliveries.AcknowledgeAsync(Name, [(gone, held[0])], default));
        Assert.Equal(3, await reader.AcknowledgeAsync([.. given]));
        var last = await reader.NextAsync();
        Assert.Equal(("a", 1), (Record(last), last.Attempt));
    }

    [Fact]
    public async Task Given_a_reader_that_ends_Then_what_it_held_is_given_to_another_at_once()
    {
        await CreateAsync(new { name = Name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync("a", "b");
        await using (var first = new PullReader(Hub.One, Name, Hub.Administrator)) await first.NextAsync(2);

        await using var other = new PullReader(Hub.Other, Name, Hub.Administrator);

        Assert.All(await other.NextAsync(2), one => Assert.Equal(2, one.Attempt));
    }

    [Fact]
    public async Task Given_a_delivery_that_fails_again_and_again_Then_it_is_parked_with_what_follows_of_its_record_the_others_go_on_and_all_come_in_order_when_replayed()
    {
        await CreateAsync(new { name = Name, start = "now", filter = Mine(), maxAttempts = 2 });
        await ArriveAsync("bad", "good", "bad");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator);
        var (bad, good) = (await reader.NextAsync(), await reader.NextAsync());
        Assert.Equal(("bad", "good"), (Record(bad), Record(good)));

        Assert.False(await reader.RejectAsync(bad, "le schéma ne convient pas"));
        await reader.AcknowledgeAsync(good);
        var second = await reader.NextAsync();
        Assert.Equal(("bad", 2), (Record(second), second.Attempt));
        Assert.True(await reader.RejectAsync(second, "le schéma ne convient pas"));
        // What comes later of the same record waits behind it; others do not.
        await ArriveAsync("bad", "good");
        Assert.Equal("good", Record(await reader.NextAsync()));

        var parked = await Eventually.Is(() => ParkedAsync(), items => items.Count == 3);
        Assert.Equal("le schéma ne convient pas", parked[0].GetProperty("reason").GetString());
        Assert.All(parked.Skip(1), item => Assert.Equal("waits behind a parked event of the same record", item.GetProperty("reason").GetString()));
        Assert.Equal((Deaths, "35085", $"{Name}/bad", 2), (parked[0].GetProperty("type").GetString(), parked[0].GetProperty("commune").GetString(), parked[0].GetProperty("subject").GetString(), parked[0].GetProperty("attempts").GetInt32()));
        Assert.DoesNotContain("personal", parked[0].ToString(), StringComparison.OrdinalIgnoreCase);
        // One behind it alone would come out of order.
        var refused = await PostAsync($"{Name}/parked/replay", new { cursor = parked[1].GetProperty("cursor").GetString() });
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Contains(parked[0].GetProperty("cursor").GetString()!, refused.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(3, (await PostAsync($"{Name}/parked/replay?dryRun=true", new { cursor = parked[0].GetProperty("cursor").GetString(), record = true })).Body.GetProperty("replayed").GetInt32());
        Assert.Equal(3, (await ParkedAsync()).Count);
        Assert.Equal(3, (await PostAsync($"{Name}/parked/replay", new { all = true })).Body.GetProperty("replayed").GetInt32());

        var positions = new List<long>();
        foreach (var _ in parked)
        {
            var next = await reader.NextAsync();
            positions.Add(Hub.PositionOf(next));
            await reader.AcknowledgeAsync(next);
        }

        Assert.Equal(positions.Order(), positions);
        Assert.Equal(Hub.PositionOf(bad), positions[0]);
        Assert.Empty(await ParkedAsync());
    }

    [Fact]
    public async Task Given_parked_deliveries_When_they_are_replayed_one_by_one_or_discarded_Then_those_and_no_others()
    {
        await CreateAsync();
        await ArriveAsync("a", "a", "a", "b");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator, 2);
        var first = (await reader.NextAsync(2))[0];

        // By hand, while a reader has it.
        Assert.Equal(3, (await PostAsync($"{Name}/parked", new { cursor = first.Event.Cursor, reason = "attend un correctif" })).Body.GetProperty("parked").GetInt32());
        Assert.Equal(0, await reader.AcknowledgeAsync(first));
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync($"{Name}/parked", new { cursor = first.Event.Cursor, reason = "encore" })).Status);
        var parked = await ParkedAsync();
        Assert.Equal("attend un correctif", parked[0].GetProperty("reason").GetString());
        var page = (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}/parked?limit=2", Hub.Administrator)).Body;
        Assert.Equal(2, page.GetProperty("items").GetArrayLength());
        Assert.Single((await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}/parked?after={page.GetProperty("next").GetString()}", Hub.Administrator)).Body.GetProperty("items").EnumerateArray());

        Assert.Equal(1, (await PostAsync($"{Name}/parked/replay", new { cursor = first.Event.Cursor, reason = "corrigé" })).Body.GetProperty("replayed").GetInt32());
        var again = await reader.NextAsync();
        Assert.Equal((first.Event.Id, 2), (again.Event.Id, again.Attempt));
        await reader.AcknowledgeAsync(again);
        Assert.Equal(1, (await PostAsync($"{Name}/parked/discard", new { cursor = parked[1].GetProperty("cursor").GetString(), reason = "doublon" })).Body.GetProperty("discarded").GetInt32());
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync($"{Name}/parked/discard", new { cursor = parked[1].GetProperty("cursor").GetString(), reason = "doublon" })).Status);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"{Name}/parked/discard", new { all = true })).Status);
        Assert.Equal(parked[2].GetProperty("cursor").GetString(), Assert.Single(await ParkedAsync()).GetProperty("cursor").GetString());
        Assert.Equal(
            ["subscriptions.created -", "subscriptions.delivery-parked attend un correctif", "subscriptions.parked-replayed corrigé", "subscriptions.parked-discarded doublon"],
            await Hub.Store.RowsAsync($"SELECT act, why FROM audit.entry WHERE subject = '{Name}' ORDER BY seq"));
    }

    [Fact]
    public async Task Given_a_subscriber_that_was_away_for_long_When_it_comes_back_Then_it_gets_everything_and_the_hub_has_few_rows_for_it_at_any_time()
    {
        const int Behind = 50_000;
        await using var store = new StoreOf();
        await store.Hub.InitializeAsync();
        await using var node = await AccessServer.StartAsync(store.Hub);
        var token = await node.LetInAsync("administrator", Roles.Administrator);
        await store.Hub.ArriveAsync(new DeathRegistered(PartialDate.Parse("2026-11-02")), "death/0");
        Assert.Equal(HttpStatusCode.Created, (await node.AskAsync(HttpMethod.Post, Path, token, new { name = Name, start = "beginning" })).Status);
        // The same event again and again, each of a record of its own.
        await store.Hub.RowsAsync($"""
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), gen_random_uuid(), '35085/civil-records/death/' || (n % 5000), n / 5000 + 2, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers
            FROM hub.mt_events CROSS JOIN generate_series(1, {Behind - 1}) n
            """);
        await Eventually.Is(() => store.Hub.RowsAsync("SELECT count(*) FROM hub.mt_events"), rows => rows is ["50000"]);
        Assert.Equal(["0"], await store.Hub.RowsAsync("SELECT count(*) FROM feeds.delivery"));

        await using var reader = new PullReader(node, Name, token, 1000);
        var (most, pages, positions) = (0, 0, new HashSet<string>());
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (positions.Count < Behind)
        {
            var page = new List<Delivery> { await reader.NextAsync() };
            while (reader.HasMore) page.Add(await reader.NextAsync());
            foreach (var one in page) Assert.True(positions.Add(one.Event.Cursor));
            await reader.AcknowledgeAsync([.. page]);
            if (pages++ % 10 == 0) most = Math.Max(most, int.Parse((await store.Hub.RowsAsync("SELECT count(*) FROM feeds.delivery"))[0], CultureInfo.InvariantCulture));
        }

        output.WriteLine($"{Behind} deliveries in {clock.Elapsed.TotalSeconds:F1} s, {most} rows at most.");
        Assert.InRange(most, 1, 1000);
        await Eventually.Is(() => node.AskAsync(HttpMethod.Get, $"{Path}/{Name}", token), shown => shown.Body.GetProperty("lag").GetInt64() == 0);
    }

    [Fact]
    public async Task Given_an_agreement_When_it_is_suspended_Then_nothing_is_given_or_looked_up_and_once_resumed_it_goes_on_where_it_was()
    {
        var partner = $"partner-{Name}";
        var token = await AllowAsync(partner, new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await Hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = Name, start = "now", filter = Mine() })).Status);
        await ArriveAsync("a", "b");
        await using var reader = new PullReader(Hub.One, Name, token, 1);
        var first = await reader.NextAsync();

        await Hub.One.ChangeAsync(partner, Decide.Suspend);
        Assert.Equal(StatusCode.PermissionDenied, (await reader.EndedAsync()).StatusCode);
        var before = await Hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{Name}'");
        await ArriveAsync("c");
        await using (var refused = new PullReader(Hub.One, Name, token)) Assert.Equal(StatusCode.PermissionDenied, (await refused.EndedAsync()).StatusCode);
        Assert.Equal(before, await Hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{Name}'"));
        Assert.False((await ShowAsync()).GetProperty("inForce").GetBoolean());

        await Hub.One.ChangeAsync(partner, Decide.Resume);
        await Eventually.Is(() => Hub.One.Services.GetRequiredService<AgreementsInForce>().Of(partner), found => found.Count == 1);
        await using var again = new PullReader(Hub.One, Name, token);
        Assert.Equal([(first.Event.Id, 2), ("b", 1), ("c", 1)], (await again.NextAsync(3)).Select(one => (one.Attempt == 2 ? one.Event.Id : Record(one), one.Attempt)));
    }

    [Fact]
    public async Task Given_events_that_wait_When_the_agreement_is_narrowed_Then_those_it_no_longer_allows_are_not_given_and_the_others_under_its_terms()
    {
        var partner = $"partner-{Name}";
        var token = await AllowAsync(partner, new(Births), new(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await Hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = Name, start = "now", filter = Mine() })).Status);
        await Hub.Store.ArriveAsync(
            Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1"), $"{Name}/1"), Event(new DeathRegistered(PartialDate.Parse("2026-11-01")), $"{Name}/2"),
            Event(new BirthRegistered(PartialDate.Parse("2026-11-03"), "3"), $"{Name}/3"));
        await using var reader = new PullReader(Hub.One, Name, token, 1);
        var first = await reader.NextAsync();
        Assert.Contains("actNumber", first.Event.Data, StringComparison.Ordinal);
        Assert.Equal(["3"], await RowsAsync());

        await AllowAsync(partner, new SharedEvents(Births, ["date"]));
        await reader.AcknowledgeAsync(first);

        var next = await reader.NextAsync();
        Assert.Equal(("3", """{"date":"2026-11-03"}"""), (Record(next), next.Event.Data));
        await reader.AcknowledgeAsync(next);
        Assert.Equal(["0"], await RowsAsync());
    }

    [Fact]
    public async Task Given_a_reader_with_a_limit_Then_it_holds_no_more_and_gets_the_next_when_it_acknowledges_one()
    {
        await CreateAsync();
        await ArriveAsync("a", "b", "c", "d", "e");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator, 2);
        var first = await reader.NextAsync(2);
        await using var second = new PullReader(Hub.Other, Name, Hub.Administrator, 2);
        await second.NextAsync(2);

        Assert.False(reader.HasMore || second.HasMore);
        Assert.Equal(["4"], await Hub.Store.RowsAsync($"SELECT count(holder) FROM feeds.delivery WHERE subscription = '{Name}'"));
        await reader.AcknowledgeAsync(first[0]);
        Assert.Equal("e", Record(await reader.NextAsync()));
        Assert.False(reader.HasMore || second.HasMore);
    }

    [Fact]
    public async Task Given_a_reader_that_does_not_read_Then_the_rest_goes_to_another_at_once_and_what_it_is_being_given_too_when_its_time_is_over_as_a_failure()
    {
        var partner = $"partner-{Name}";
        var token = await AllowAsync(partner, new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await Hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = Name, start = "now", filter = Mine(), ackTimeoutSeconds = 5 })).Status);
        await ArriveAsync("a", "b", "c");
        var service = ActivatorUtilities.CreateInstance<SubscriptionsService>(Hub.One.Services);
        using var end = new CancellationTokenSource();
        var writer = new StuckWriter();
        var call = service.Consume(new ConsumeRequest { Subscription = Name }, writer, new HeldStream.Call(partner, Roles.Partner, end.Token));
        var first = await writer.Given.Task.WaitAsync(Eventually.DefaultTimeout);

        await using (var other = new PullReader(Hub.Other, Name, token))
        {
            var given = await other.NextAsync(2);
            Assert.Equal([("a", 1), ("b", 1), ("c", 1)], new[] { first.Delivery, given[0], given[1] }.Select(one => (Record(one), one.Attempt)));
            await other.AcknowledgeAsync([.. given]);
        }

        // Its call stands still.
        var failed = (await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("failing").EnumerateArray().Any(one => one.GetProperty("subject").GetString() == $"{Name}/a"))).GetProperty("failing")
            .EnumerateArray().Single(one => one.GetProperty("subject").GetString() == $"{Name}/a");
        Assert.Equal(("not taken by its reader within 5 s", 1), (failed.GetProperty("reason").GetString(), failed.GetProperty("failures").GetInt32()));
        Assert.False(call.IsCompleted);
        await using var next = new PullReader(Hub.Other, Name, token);
        Delivery again;
        while (Record(again = await next.NextAsync()) != "a") await next.AcknowledgeAsync(again);
        Assert.Equal((first.Delivery.Event.Id, 2), (again.Event.Id, again.Attempt));
        await end.CancelAsync();
        await call.WaitAsync(Eventually.DefaultTimeout);
    }

    [Fact]
    public async Task Given_an_open_reader_When_events_come_or_none_do_Then_it_has_them_at_once_or_a_heartbeat()
    {
        await using var node = await AccessServer.StartAsync(Hub.Store, ("Feed:Heartbeat", "00:00:00.2"), ("Feed:StreamsPerClient", "1"));
        await CreateAsync();
        await using var reader = new PullReader(node, Name, Hub.Administrator);
        await Eventually.Is(() => reader.Heartbeats, beats => beats > 2);
        // It counts as one of the client's streams.
        await using (var second = new PullReader(node, Name, Hub.Administrator)) Assert.Equal(StatusCode.ResourceExhausted, (await second.EndedAsync()).StatusCode);

        await ArriveAsync("a");
        Assert.Equal("a", Record(await reader.NextAsync()));

        await PostAsync($"{Name}/suspension", new { reason = "maintenance chez l'abonné" });
        var ended = await reader.EndedAsync();
        Assert.Equal(StatusCode.FailedPrecondition, ended.StatusCode);
        Assert.Contains("maintenance chez l'abonné", ended.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(("suspended", "maintenance chez l'abonné"), ((await ShowAsync()).GetProperty("state").GetString(), (await ShowAsync()).GetProperty("reason").GetString()));
        Assert.Equal("active", (await PostAsync($"{Name}/resumption", new { reason = "terminé" })).Body.GetProperty("state").GetString());
        await using var again = new PullReader(Hub.One, Name, Hub.Administrator);
        Assert.Equal(2, (await again.NextAsync()).Attempt);
        Assert.Equal(HttpStatusCode.NoContent, (await Hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{Name}", Hub.Administrator)).Status);
        Assert.Equal(StatusCode.NotFound, (await again.EndedAsync()).StatusCode);
    }

    [Fact]
    public async Task Given_an_open_reader_When_its_subscription_is_deleted_and_another_one_made_under_its_name_Then_it_gets_nothing_of_that()
    {
        await CreateAsync();
        await ArriveAsync("a");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator);
        await reader.NextAsync();
        var partner = await AllowAsync($"partner-{Name}", new SharedEvents(Deaths));

        Assert.Equal(HttpStatusCode.NoContent, (await Hub.Other.AskAsync(HttpMethod.Delete, $"{Path}/{Name}", Hub.Administrator)).Status);
        Assert.Equal(HttpStatusCode.Created, (await Hub.Other.AskAsync(HttpMethod.Post, Path, partner, new { name = Name, start = "now", filter = Mine() })).Status);
        await ArriveAsync("b");

        Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using var other = new PullReader(Hub.One, Name, partner);
        Assert.Equal(("b", 1), (await other.NextAsync()) is var first ? (Record(first), first.Attempt) : default);
    }

    [Fact]
    public async Task Given_what_was_looked_through_for_a_subscription_When_it_is_made_anew_meanwhile_Then_that_one_gets_nothing_of_it_nor_is_anything_decided_on_it()
    {
        await CreateAsync();
        await ArriveAsync("a", "b");
        var before = (await Subscription.FindAsync(Hub.Store.Database, Name, default))!;
        var stretch = new Stretch(before.Fetched, before.Fetched + 2, [(before.Fetched + 1, "another record")]);
        await Hub.Store.RowsAsync($"UPDATE feeds.subscription SET created_at = created_at + interval '1 s' WHERE name = '{Name}'");
        await Hub.Store.RowsAsync($"""
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at) VALUES ('{Name}', 'again', 1, 'a', 0, 0, now());
            INSERT INTO feeds.replay (id, subscription, selection, after, through, position, rate, found, filled_at, state, reason, asked_by, asked_at)
            VALUES ('{Name}-replay', '{Name}', '{"{}"}', 0, {before.Fetched + 2}, 0, 100, 0, now() - interval '1 h', 'running', 'x', 'administrator', now())
            """);
        var (deliveries, replays, acts) = (
            Hub.One.Services.GetRequiredService<Deliveries>(), Hub.One.Services.GetRequiredService<Replays>(), Hub.One.Services.GetRequiredService<SubscriptionActs>());

        Assert.Empty(await deliveries.ClaimAsync(before, Guid.NewGuid(), 10, stretch, false, default));
        // What is found for the one before is put nowhere.
        await Eventually.Is(() => replays.AdvanceAsync(before, Access(Hub.One), default), advanced => advanced.Found);
        var result = await acts.ActAsync(Name, new DefaultHttpContext(), false, new("x"), _ => throw new InvalidOperationException("It is another one."), before);

        Assert.Equal(404, Assert.IsType<ProblemHttpResult>(result).StatusCode);
        Assert.Equal([$"{before.Fetched}"], await Hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{Name}'"));
        Assert.Equal(["0"], await Hub.Store.RowsAsync($"SELECT position FROM feeds.replay WHERE subscription = '{Name}'"));
        Assert.Equal(["1"], await RowsAsync());
        // For the one that has the name now all that is done.
        var now = (await Subscription.FindAsync(Hub.Store.Database, Name, default))!;
        Assert.Equal(2, (await deliveries.ClaimAsync(now, Guid.NewGuid(), 10, stretch, false, default)).Count);
        await replays.AdvanceAsync(now, Access(Hub.One), default);
        Assert.NotEqual(["0"], await Hub.Store.RowsAsync($"SELECT position FROM feeds.replay WHERE subscription = '{Name}'"));
    }

    [Fact]
    public async Task Given_as_many_parked_events_as_there_may_be_Then_nothing_more_is_looked_up_or_given_until_some_are_decided_on_and_nothing_is_lost()
    {
        await using var node = await AccessServer.StartAsync(Hub.Store, ("Subscriptions:MostParked", "3"), ("Subscriptions:Window", "10"));
        await CreateAsync(new { name = Name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync([.. Enumerable.Range(0, 30).Select(index => $"r{index}")]);
        await using (var reader = new PullReader(node, Name, Hub.Administrator, 1))
        {
            for (var index = 0; index < 3; index++) Assert.True(await reader.RejectAsync(await reader.NextAsync(), "non"));
            var ended = await reader.EndedAsync();
            Assert.Equal(StatusCode.FailedPrecondition, ended.StatusCode);
            Assert.Contains("3 events or more are parked", ended.Status.Detail, StringComparison.Ordinal);
        }

        var shown = (await node.AskAsync(HttpMethod.Get, $"{Path}/{Name}", Hub.Administrator)).Body;
        Assert.Equal("full", shown.GetProperty("state").GetString());
        Assert.Contains("3 events or more are parked", shown.GetProperty("reason").GetString(), StringComparison.Ordinal);
        var fetched = await Hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{Name}'");
        await using (var refused = new PullReader(node, Name, Hub.Administrator)) Assert.Equal(StatusCode.FailedPrecondition, (await refused.EndedAsync()).StatusCode);
        Assert.Equal(fetched, await Hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{Name}'"));

        Assert.Equal(3, (await node.AskAsync(HttpMethod.Post, $"{Path}/{Name}/parked/replay", Hub.Administrator, new { all = true })).Body.GetProperty("replayed").GetInt32());
        await using var again = new PullReader(node, Name, Hub.Administrator, 1);
        var records = new List<string>();
        for (var index = 0; index < 30; index++)
        {
            var next = await again.NextAsync();
            records.Add(Record(next));
            await again.AcknowledgeAsync(next);
        }

        Assert.Equal(Enumerable.Range(0, 30).Select(index => $"r{index}"), records);
    }

    [Fact]
    public async Task Given_what_was_never_given_out_When_it_is_acknowledged_Then_it_is_refused_or_changes_nothing()
    {
        await CreateAsync();
        await ArriveAsync("a");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator);
        var delivery = await reader.NextAsync();

        Assert.Equal(StatusCode.InvalidArgument, (await Assert.ThrowsAsync<RpcException>(() => reader.AcknowledgeAsync(new Delivery { Delivery_ = "x" }))).StatusCode);
        var guessed = new Claimed("", Hub.PositionOf(delivery), 1).Token(Guid.NewGuid());
        Assert.Equal(0, await reader.AcknowledgeAsync(new Delivery { Delivery_ = guessed }));
        Assert.False(await reader.RejectAsync(new Delivery { Delivery_ = guessed }, "x"));
        Assert.Equal(StatusCode.InvalidArgument, (await Assert.ThrowsAsync<RpcException>(() => reader.RejectAsync(delivery, "a\0b"))).StatusCode);
        Assert.Equal(1, await reader.AcknowledgeAsync(delivery, delivery));
    }

    /// <summary>Takes nothing.</summary>
    private sealed class StuckWriter : IServerStreamWriter<ConsumeResponse>
    {
        public TaskCompletionSource<ConsumeResponse> Given { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(ConsumeResponse message) => WriteAsync(message, CancellationToken.None);

        public Task WriteAsync(ConsumeResponse message, CancellationToken cancellationToken)
        {
            Given.TrySetResult(message);
            return Task.Delay(Timeout.Infinite, cancellationToken);
        }
    }

    private sealed class StoreOf : IAsyncDisposable
    {
        public HubStore Hub { get; } = new();

        public async ValueTask DisposeAsync() => await Hub.DisposeAsync();
    }
}
