using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;
using Xunit.Abstractions;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>Durable subscriptions on two nodes of a hub: what is given to whom, how often, in which order.</summary>
public sealed class SubscriptionsTests(SubscriptionsTests.Hub hub, ITestOutputHelper output) : IClassFixture<SubscriptionsTests.Hub>
{
    private const string Path = "/api/v1/subscriptions";

    private static int s_last;

    private readonly string _name = $"sub-{Interlocked.Increment(ref s_last)}";

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
                await using var reader = new PullReader(number % 2 == 0 ? hub.One : hub.Other, _name, hub.Administrator, 7);
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
        await using var reader = new PullReader(hub.One, _name, hub.Administrator);

        var first = await reader.NextAsync();
        // Its time is over.
        await hub.Store.RowsAsync($"UPDATE feeds.delivery SET held_until = clock_timestamp() WHERE subscription = '{_name}'");
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
        await CreateAsync(new { name = _name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync("a", "b", "c", "d", "a");
        // A reader of a node that gives no sign of life any more.
        var deliveries = hub.One.Services.GetRequiredService<Deliveries>();
        var gone = Guid.NewGuid();
        var held = await ClaimAsync(hub.One, gone, 10);
        Assert.Equal([1, 1, 1, 1], held.Select(one => one.Attempt));
        Assert.Equal(1, await deliveries.AcknowledgeAsync(_name, [(gone, held[1])], default));
        // Nothing has been heard of it for long, and its time to acknowledge is over since.
        await hub.Store.RowsAsync($"""
            UPDATE feeds.reader SET seen_at = clock_timestamp() - interval '20 s' WHERE id = '{gone}';
            UPDATE feeds.delivery SET held_until = clock_timestamp() - interval '5 s' WHERE subscription = '{_name}'
            """);

        await using var reader = new PullReader(hub.Other, _name, hub.Administrator);
        var given = await reader.NextAsync(3);

        Assert.Equal(["a", "c", "d"], given.Select(Record));
        Assert.All(given, one => Assert.Equal(2, one.Attempt));
        Assert.Equal(0, (await ShowAsync()).GetProperty("parked").GetInt32());
        Assert.Equal(0, await deliveries.AcknowledgeAsync(_name, [(gone, held[0])], default));
        Assert.Equal(3, await reader.AcknowledgeAsync([.. given]));
        var last = await reader.NextAsync();
        Assert.Equal(("a", 1), (Record(last), last.Attempt));
    }

    [Fact]
    public async Task Given_a_reader_that_ends_Then_what_it_held_is_given_to_another_at_once()
    {
        await CreateAsync(new { name = _name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync("a", "b");
        await using (var first = new PullReader(hub.One, _name, hub.Administrator)) await first.NextAsync(2);

        await using var other = new PullReader(hub.Other, _name, hub.Administrator);

        Assert.All(await other.NextAsync(2), one => Assert.Equal(2, one.Attempt));
    }

    [Fact]
    public async Task Given_a_delivery_that_fails_again_and_again_Then_it_is_parked_with_what_follows_of_its_record_the_others_go_on_and_all_come_in_order_when_replayed()
    {
        await CreateAsync(new { name = _name, start = "now", filter = Mine(), maxAttempts = 2 });
        await ArriveAsync("bad", "good", "bad");
        await using var reader = new PullReader(hub.One, _name, hub.Administrator);
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
        Assert.Equal((Deaths, "35085", $"{_name}/bad", 2), (parked[0].GetProperty("type").GetString(), parked[0].GetProperty("commune").GetString(), parked[0].GetProperty("subject").GetString(), parked[0].GetProperty("attempts").GetInt32()));
        Assert.DoesNotContain("personal", parked[0].ToString(), StringComparison.OrdinalIgnoreCase);
        // One behind it alone would come out of order.
        var refused = await PostAsync($"{_name}/parked/replay", new { cursor = parked[1].GetProperty("cursor").GetString() });
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Contains(parked[0].GetProperty("cursor").GetString()!, refused.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Equal(3, (await PostAsync($"{_name}/parked/replay?dryRun=true", new { cursor = parked[0].GetProperty("cursor").GetString(), record = true })).Body.GetProperty("replayed").GetInt32());
        Assert.Equal(3, (await ParkedAsync()).Count);
        Assert.Equal(3, (await PostAsync($"{_name}/parked/replay", new { all = true })).Body.GetProperty("replayed").GetInt32());

        var positions = new List<long>();
        foreach (var _ in parked)
        {
            var next = await reader.NextAsync();
            positions.Add(hub.PositionOf(next));
            await reader.AcknowledgeAsync(next);
        }

        Assert.Equal(positions.Order(), positions);
        Assert.Equal(hub.PositionOf(bad), positions[0]);
        Assert.Empty(await ParkedAsync());
    }

    [Fact]
    public async Task Given_parked_deliveries_When_they_are_replayed_one_by_one_or_discarded_Then_those_and_no_others()
    {
        await CreateAsync();
        await ArriveAsync("a", "a", "a", "b");
        await using var reader = new PullReader(hub.One, _name, hub.Administrator, 2);
        var first = (await reader.NextAsync(2))[0];

        // By hand, while a reader has it.
        Assert.Equal(3, (await PostAsync($"{_name}/parked", new { cursor = first.Event.Cursor, reason = "attend un correctif" })).Body.GetProperty("parked").GetInt32());
        Assert.Equal(0, await reader.AcknowledgeAsync(first));
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync($"{_name}/parked", new { cursor = first.Event.Cursor, reason = "encore" })).Status);
        var parked = await ParkedAsync();
        Assert.Equal("attend un correctif", parked[0].GetProperty("reason").GetString());
        var page = (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}/parked?limit=2", hub.Administrator)).Body;
        Assert.Equal(2, page.GetProperty("items").GetArrayLength());
        Assert.Single((await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}/parked?after={page.GetProperty("next").GetString()}", hub.Administrator)).Body.GetProperty("items").EnumerateArray());

        Assert.Equal(1, (await PostAsync($"{_name}/parked/replay", new { cursor = first.Event.Cursor, reason = "corrigé" })).Body.GetProperty("replayed").GetInt32());
        var again = await reader.NextAsync();
        Assert.Equal((first.Event.Id, 2), (again.Event.Id, again.Attempt));
        await reader.AcknowledgeAsync(again);
        Assert.Equal(1, (await PostAsync($"{_name}/parked/discard", new { cursor = parked[1].GetProperty("cursor").GetString(), reason = "doublon" })).Body.GetProperty("discarded").GetInt32());
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync($"{_name}/parked/discard", new { cursor = parked[1].GetProperty("cursor").GetString(), reason = "doublon" })).Status);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"{_name}/parked/discard", new { all = true })).Status);
        Assert.Equal(parked[2].GetProperty("cursor").GetString(), Assert.Single(await ParkedAsync()).GetProperty("cursor").GetString());
        Assert.Equal(
            ["subscriptions.created -", "subscriptions.delivery-parked attend un correctif", "subscriptions.parked-replayed corrigé", "subscriptions.parked-discarded doublon"],
            await hub.Store.RowsAsync($"SELECT act, why FROM audit.entry WHERE subject = '{_name}' ORDER BY seq"));
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
        Assert.Equal(HttpStatusCode.Created, (await node.AskAsync(HttpMethod.Post, Path, token, new { name = _name, start = "beginning" })).Status);
        // The same event again and again, each of a record of its own.
        await store.Hub.RowsAsync($"""
            INSERT INTO hub.mt_events (seq_id, id, stream_id, version, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers)
            SELECT nextval('hub.mt_events_sequence'), gen_random_uuid(), '35085/civil-records/death/' || (n % 5000), n / 5000 + 2, data, type, tenant_id, timestamp, mt_dotnet_type, is_archived, headers
            FROM hub.mt_events CROSS JOIN generate_series(1, {Behind - 1}) n
            """);
        await Eventually.Is(() => store.Hub.RowsAsync("SELECT count(*) FROM hub.mt_events"), rows => rows is ["50000"]);
        Assert.Equal(["0"], await store.Hub.RowsAsync("SELECT count(*) FROM feeds.delivery"));

        await using var reader = new PullReader(node, _name, token, 1000);
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
        await Eventually.Is(() => node.AskAsync(HttpMethod.Get, $"{Path}/{_name}", token), shown => shown.Body.GetProperty("lag").GetInt64() == 0);
    }

    [Fact]
    public async Task Given_an_agreement_When_it_is_suspended_Then_nothing_is_given_or_looked_up_and_once_resumed_it_goes_on_where_it_was()
    {
        var partner = $"partner-{_name}";
        var token = await AllowAsync(partner, new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = _name, start = "now", filter = Mine() })).Status);
        await ArriveAsync("a", "b");
        await using var reader = new PullReader(hub.One, _name, token, 1);
        var first = await reader.NextAsync();

        await hub.One.ChangeAsync(partner, Decide.Suspend);
        Assert.Equal(StatusCode.PermissionDenied, (await reader.EndedAsync()).StatusCode);
        var before = await hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{_name}'");
        await ArriveAsync("c");
        await using (var refused = new PullReader(hub.One, _name, token)) Assert.Equal(StatusCode.PermissionDenied, (await refused.EndedAsync()).StatusCode);
        Assert.Equal(before, await hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{_name}'"));
        Assert.False((await ShowAsync()).GetProperty("inForce").GetBoolean());

        await hub.One.ChangeAsync(partner, Decide.Resume);
        await Eventually.Is(() => hub.One.Services.GetRequiredService<AgreementsInForce>().Of(partner), found => found.Count == 1);
        await using var again = new PullReader(hub.One, _name, token);
        Assert.Equal([(first.Event.Id, 2), ("b", 1), ("c", 1)], (await again.NextAsync(3)).Select(one => (one.Attempt == 2 ? one.Event.Id : Record(one), one.Attempt)));
    }

    [Fact]
    public async Task Given_events_that_wait_When_the_agreement_is_narrowed_Then_those_it_no_longer_allows_are_not_given_and_the_others_under_its_terms()
    {
        var partner = $"partner-{_name}";
        var token = await AllowAsync(partner, new(Births), new(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = _name, start = "now", filter = Mine() })).Status);
        await hub.Store.ArriveAsync(
            Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1"), $"{_name}/1"), Event(new DeathRegistered(PartialDate.Parse("2026-11-01")), $"{_name}/2"),
            Event(new BirthRegistered(PartialDate.Parse("2026-11-03"), "3"), $"{_name}/3"));
        await using var reader = new PullReader(hub.One, _name, token, 1);
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
    public async Task Given_a_subscription_Then_for_another_client_there_is_none()
    {
        await CreateAsync();
        await ArriveAsync("a");
        var partner = await AllowAsync($"partner-{_name}", new SharedEvents(Deaths));
        await using var own = new PullReader(hub.One, _name, hub.Administrator);
        var delivery = await own.NextAsync();

        await using (var reader = new PullReader(hub.One, _name, partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using (var reader = new PullReader(hub.One, "there-is-none", partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using (var reader = new PullReader(hub.One, "no\0name", partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using var other = new PullReader(hub.One, _name, partner);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => other.AcknowledgeAsync(delivery))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => other.RejectAsync(delivery, "x"))).StatusCode);
        foreach (var (method, path) in new[] { (HttpMethod.Get, ""), (HttpMethod.Get, "/parked"), (HttpMethod.Delete, "") })
            Assert.Equal(HttpStatusCode.NotFound, (await hub.One.AskAsync(method, $"{Path}/{_name}{path}", partner)).Status);
        foreach (var (path, body) in new (string, object)[] { ("/suspension", new { reason = "x" }), ("/resumption", new { reason = "x" }), ("/parked/replay", new { all = true }), ("/parked/discard", new { all = true, reason = "x" }) })
            Assert.Equal(HttpStatusCode.NotFound, (await hub.One.AskAsync(HttpMethod.Post, $"{Path}/{_name}{path}", partner, body)).Status);
        Assert.DoesNotContain(_name, (await hub.One.AskAsync(HttpMethod.Get, Path, partner)).Body.ToString().Replace($"partner-{_name}", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal(1, await own.AcknowledgeAsync(delivery));
        // An agent has no subscriptions at all.
        Assert.Equal(HttpStatusCode.Forbidden, (await hub.One.AskAsync(HttpMethod.Get, Path, await hub.One.LetInAsync($"agent-{_name}", Roles.EpciAgent))).Status);
    }

    [Fact]
    public async Task Given_a_reader_with_a_limit_Then_it_holds_no_more_and_gets_the_next_when_it_acknowledges_one()
    {
        await CreateAsync();
        await ArriveAsync("a", "b", "c", "d", "e");
        await using var reader = new PullReader(hub.One, _name, hub.Administrator, 2);
        var first = await reader.NextAsync(2);
        await using var second = new PullReader(hub.Other, _name, hub.Administrator, 2);
        await second.NextAsync(2);

        Assert.False(reader.HasMore || second.HasMore);
        Assert.Equal(["4"], await hub.Store.RowsAsync($"SELECT count(holder) FROM feeds.delivery WHERE subscription = '{_name}'"));
        await reader.AcknowledgeAsync(first[0]);
        Assert.Equal("e", Record(await reader.NextAsync()));
        Assert.False(reader.HasMore || second.HasMore);
    }

    [Fact]
    public async Task Given_a_reader_that_does_not_read_Then_the_rest_goes_to_another_at_once_and_what_it_is_being_given_too_when_its_time_is_over_as_a_failure()
    {
        var partner = $"partner-{_name}";
        var token = await AllowAsync(partner, new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await hub.One.AskAsync(HttpMethod.Post, Path, token, new { name = _name, start = "now", filter = Mine(), ackTimeoutSeconds = 5 })).Status);
        await ArriveAsync("a", "b", "c");
        var service = ActivatorUtilities.CreateInstance<SubscriptionsService>(hub.One.Services);
        using var end = new CancellationTokenSource();
        var writer = new StuckWriter();
        var call = service.Consume(new ConsumeRequest { Subscription = _name }, writer, new HeldStream.Call(partner, Roles.Partner, end.Token));
        var first = await writer.Given.Task.WaitAsync(Eventually.DefaultTimeout);

        await using (var other = new PullReader(hub.Other, _name, token))
        {
            var given = await other.NextAsync(2);
            Assert.Equal([("a", 1), ("b", 1), ("c", 1)], new[] { first.Delivery, given[0], given[1] }.Select(one => (Record(one), one.Attempt)));
            await other.AcknowledgeAsync([.. given]);
        }

        // Its call stands still.
        var failed = (await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("failing").EnumerateArray().Any(one => one.GetProperty("subject").GetString() == $"{_name}/a"))).GetProperty("failing")
            .EnumerateArray().Single(one => one.GetProperty("subject").GetString() == $"{_name}/a");
        Assert.Equal(("not taken by its reader within 5 s", 1), (failed.GetProperty("reason").GetString(), failed.GetProperty("failures").GetInt32()));
        Assert.False(call.IsCompleted);
        await using var next = new PullReader(hub.Other, _name, token);
        Delivery again;
        while (Record(again = await next.NextAsync()) != "a") await next.AcknowledgeAsync(again);
        Assert.Equal((first.Delivery.Event.Id, 2), (again.Event.Id, again.Attempt));
        await end.CancelAsync();
        await call.WaitAsync(Eventually.DefaultTimeout);
    }

    [Fact]
    public async Task Given_an_open_reader_When_events_come_or_none_do_Then_it_has_them_at_once_or_a_heartbeat()
    {
        await using var node = await AccessServer.StartAsync(hub.Store, ("Feed:Heartbeat", "00:00:00.2"), ("Feed:StreamsPerClient", "1"));
        await CreateAsync();
        await using var reader = new PullReader(node, _name, hub.Administrator);
        await Eventually.Is(() => reader.Heartbeats, beats => beats > 2);
        // It counts as one of the client's streams.
        await using (var second = new PullReader(node, _name, hub.Administrator)) Assert.Equal(StatusCode.ResourceExhausted, (await second.EndedAsync()).StatusCode);

        await ArriveAsync("a");
        Assert.Equal("a", Record(await reader.NextAsync()));

        await PostAsync($"{_name}/suspension", new { reason = "maintenance chez l'abonné" });
        var ended = await reader.EndedAsync();
        Assert.Equal(StatusCode.FailedPrecondition, ended.StatusCode);
        Assert.Contains("maintenance chez l'abonné", ended.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(("suspended", "maintenance chez l'abonné"), ((await ShowAsync()).GetProperty("state").GetString(), (await ShowAsync()).GetProperty("reason").GetString()));
        Assert.Equal("active", (await PostAsync($"{_name}/resumption", new { reason = "terminé" })).Body.GetProperty("state").GetString());
        await using var again = new PullReader(hub.One, _name, hub.Administrator);
        Assert.Equal(2, (await again.NextAsync()).Attempt);
        Assert.Equal(HttpStatusCode.NoContent, (await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{_name}", hub.Administrator)).Status);
        Assert.Equal(StatusCode.NotFound, (await again.EndedAsync()).StatusCode);
    }

    [Fact]
    public async Task Given_an_open_reader_When_its_subscription_is_deleted_and_another_one_made_under_its_name_Then_it_gets_nothing_of_that()
    {
        await CreateAsync();
        await ArriveAsync("a");
        await using var reader = new PullReader(hub.One, _name, hub.Administrator);
        await reader.NextAsync();
        var partner = await AllowAsync($"partner-{_name}", new SharedEvents(Deaths));

        Assert.Equal(HttpStatusCode.NoContent, (await hub.Other.AskAsync(HttpMethod.Delete, $"{Path}/{_name}", hub.Administrator)).Status);
        Assert.Equal(HttpStatusCode.Created, (await hub.Other.AskAsync(HttpMethod.Post, Path, partner, new { name = _name, start = "now", filter = Mine() })).Status);
        await ArriveAsync("b");

        Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using var other = new PullReader(hub.One, _name, partner);
        Assert.Equal(("b", 1), (await other.NextAsync()) is var first ? (Record(first), first.Attempt) : default);
    }

    [Fact]
    public async Task Given_what_was_looked_through_for_a_subscription_When_it_is_made_anew_meanwhile_Then_that_one_gets_nothing_of_it_nor_is_anything_decided_on_it()
    {
        await CreateAsync();
        await ArriveAsync("a", "b");
        var before = (await Subscription.FindAsync(hub.Store.Database, _name, default))!;
        var stretch = new Stretch(before.Fetched, before.Fetched + 2, [(before.Fetched + 1, "another record")]);
        await hub.Store.RowsAsync($"UPDATE feeds.subscription SET created_at = created_at + interval '1 s' WHERE name = '{_name}'");
        await hub.Store.RowsAsync($"""
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at) VALUES ('{_name}', 'again', 1, 'a', 0, 0, now());
            INSERT INTO feeds.replay (id, subscription, selection, after, through, position, rate, found, filled_at, state, reason, asked_by, asked_at)
            VALUES ('{_name}-replay', '{_name}', '{"{}"}', 0, {before.Fetched + 2}, 0, 100, 0, now() - interval '1 h', 'running', 'x', 'administrator', now())
            """);
        var (deliveries, replays, acts) = (
            hub.One.Services.GetRequiredService<Deliveries>(), hub.One.Services.GetRequiredService<Replays>(), hub.One.Services.GetRequiredService<SubscriptionActs>());

        Assert.Empty(await deliveries.ClaimAsync(before, Guid.NewGuid(), 10, stretch, false, default));
        // What is found for the one before is put nowhere.
        await Eventually.Is(() => replays.AdvanceAsync(before, Access(hub.One), default), advanced => advanced.Found);
        var result = await acts.ActAsync(_name, new DefaultHttpContext(), false, new("x"), _ => throw new InvalidOperationException("It is another one."), before);

        Assert.Equal(404, Assert.IsType<ProblemHttpResult>(result).StatusCode);
        Assert.Equal([$"{before.Fetched}"], await hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{_name}'"));
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT position FROM feeds.replay WHERE subscription = '{_name}'"));
        Assert.Equal(["1"], await RowsAsync());
        // For the one that has the name now all that is done.
        var now = (await Subscription.FindAsync(hub.Store.Database, _name, default))!;
        Assert.Equal(2, (await deliveries.ClaimAsync(now, Guid.NewGuid(), 10, stretch, false, default)).Count);
        await replays.AdvanceAsync(now, Access(hub.One), default);
        Assert.NotEqual(["0"], await hub.Store.RowsAsync($"SELECT position FROM feeds.replay WHERE subscription = '{_name}'"));
    }

    [Fact]
    public async Task Given_places_to_begin_at_When_subscriptions_are_made_Then_each_begins_there()
    {
        await ArriveAsync("a");
        var mine = new ReadRequest { Filter = new Filter { Subjects = { $"{_name}/*" } } };
        var after = (await Eventually.Is(() => hub.One.Feed.ReadAsync(mine, AccessServer.Headers(hub.Administrator)).ResponseAsync, page => page.Events.Count == 1)).Events[0].Cursor;
        await ArriveAsync("b");
        await MakeAsync("beginning", "beginning");
        await MakeAsync("now", "now");
        await MakeAsync("cursor", after);
        await MakeAsync("time", DateTimeOffset.UtcNow.AddHours(-1).ToString("O", CultureInfo.InvariantCulture));
        await ArriveAsync("c");

        Assert.Equal(["a", "b", "c"], await FirstAsync("beginning", 3));
        Assert.Equal(["c"], await FirstAsync("now", 1));
        Assert.Equal(["b", "c"], await FirstAsync("cursor", 2));
        Assert.Equal(["a", "b", "c"], await FirstAsync("time", 3));

        async Task MakeAsync(string kind, string start) => Assert.Equal(
            HttpStatusCode.Created, (await hub.One.AskAsync(HttpMethod.Post, Path, hub.Administrator, new { name = $"{_name}-{kind}", start, filter = Mine() })).Status);

        async Task<IEnumerable<string>> FirstAsync(string kind, int count)
        {
            await using var reader = new PullReader(hub.One, $"{_name}-{kind}", hub.Administrator);
            return (await reader.NextAsync(count)).Select(Record);
        }
    }

    [Theory]
    [InlineData("""{"name":"x","start":"now","filter":{"types":["fr' OR 1=1"]}}""", 422, "filter.types")]
    [InlineData("""{"name":"x","start":"now","filter":{"facts":[{"field":"nothing","values":["1"]}]}}""", 422, "filter.facts")]
    [InlineData("""{"name":"x","start":"now","filter":{"subject":["a"]}}""", 422, "filter.subject")]
    [InlineData("""{"name":"x","start":"now","filter":{"types":[null]}}""", 422, "types")]
    [InlineData("""{"name":"x","start":"now","filter":{"facts":[null]}}""", 422, "facts")]
    [InlineData("""{"name":"x","start":"now","filter":{"facts":[{"field":"date","values":[null]}]}}""", 422, "facts")]
    [InlineData("""{"name":"X Y","start":"now"}""", 422, "name")]
    [InlineData("""{"name":"x","start":"yesterday"}""", 422, "cursor")]
    [InlineData("""{"name":"x","start":""}""", 422, "start")]
    [InlineData("""{"name":"x","start":"2999-01-01T00:00:00Z"}""", 422, "since")]
    [InlineData("""{"name":"x"}""", 422, "start")]
    [InlineData("""{"name":"x","start":"now","maxAttempts":0}""", 422, "maxAttempts")]
    [InlineData("""{"name":"x","start":"now","ackTimeoutSeconds":100000}""", 422, "ackTimeoutSeconds")]
    [InlineData("""{"name":"x","start":"now","agreement":"another"}""", 403, "agreement")]
    [InlineData("""{"name":"x","start":"now","client":"canteen"}""", 422, "agreement")]
    [InlineData("""{"name":"x","start":"now","client":"a\u0000","agreement":"b"}""", 422, "client")]
    public async Task Given_a_subscription_that_cannot_be_made_Then_the_answer_says_what_is_wrong(string body, int status, string named)
    {
        var answer = await hub.One.AskAsync(HttpMethod.Post, Path, hub.Administrator, JsonElement.Parse(body));

        Assert.Equal(status, (int)answer.Status);
        Assert.Contains(named, answer.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal(["0"], await hub.Store.RowsAsync("SELECT count(*) FROM feeds.subscription WHERE name = 'x'"));
    }

    [Theory]
    [InlineData("parked")]
    [InlineData("parked/replay")]
    [InlineData("parked/discard")]
    public async Task Given_a_replay_that_is_no_text_When_something_of_it_is_decided_on_Then_the_answer_says_what_is_wrong(string path)
    {
        await CreateAsync();

        var answer = await PostAsync($"{_name}/{path}", new { cursor = "x", replay = "\0", reason = "x" });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.Status);
        Assert.Equal("replay", answer.Body.GetProperty("errors")[0].GetProperty("field").GetString());
    }

    [Fact]
    public async Task Given_a_dry_run_When_something_would_be_changed_Then_nothing_is()
    {
        await ArriveAsync("a");
        var made = await PostAsync("?dryRun=true", new { name = _name, start = "beginning" });
        Assert.Equal(HttpStatusCode.OK, made.Status);
        // All that is stored is still to come.
        Assert.Equal(await hub.Store.RowsAsync("SELECT max(seq_id) FROM hub.mt_events"), [made.Body.GetProperty("lag").ToString()]);
        Assert.Equal(HttpStatusCode.NotFound, (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}", hub.Administrator)).Status);
        await CreateAsync();
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync("", new { name = _name, start = "now" })).Status);
        var would = (await PostAsync($"{_name}/suspension?dryRun=true", new { reason = "maintenance" })).Body;
        Assert.Equal(("suspended", "maintenance"), (would.GetProperty("state").GetString(), would.GetProperty("reason").GetString()));
        Assert.Equal((3, 5), Limits((await hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{_name}?dryRun=true", hub.Administrator, new { maxAttempts = 3, ackTimeoutSeconds = 5 })).Body));
        Assert.Equal((10, 60), Limits(await ShowAsync()));
        Assert.Equal(HttpStatusCode.NoContent, (await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{_name}?dryRun=true", hub.Administrator)).Status);
        Assert.Equal("active", (await ShowAsync()).GetProperty("state").GetString());
        Assert.Equal((3, 5), Limits((await hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{_name}", hub.Administrator, new { maxAttempts = 3, ackTimeoutSeconds = 5 })).Body));
        Assert.Equal("suspended", (await PostAsync($"{_name}/suspension", new { reason = "maintenance" })).Body.GetProperty("state").GetString());
        would = (await PostAsync($"{_name}/resumption?dryRun=true", new { reason = "terminé" })).Body;
        Assert.Equal("active", would.GetProperty("state").GetString());
        Assert.False(would.TryGetProperty("reason", out _));
        Assert.Equal("suspended", (await ShowAsync()).GetProperty("state").GetString());
        Assert.Equal(["subscriptions.created", "subscriptions.changed", "subscriptions.suspended"], await hub.Store.RowsAsync($"SELECT act FROM audit.entry WHERE subject = '{_name}' ORDER BY seq"));

        static (int, int) Limits(JsonElement shown) => (shown.GetProperty("maxAttempts").GetInt32(), shown.GetProperty("ackTimeoutSeconds").GetInt32());
    }

    [Fact]
    public async Task Given_a_subscription_that_an_administrator_suspended_Then_its_partner_does_not_resume_it_and_its_own_suspension_it_does()
    {
        var partner = await AllowAsync($"partner-{_name}", new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await AskAsync(partner, "", new { name = _name, start = "now", filter = Mine(), reason = "repas de la cantine" })).Status);

        Assert.Equal(HttpStatusCode.OK, (await AskAsync(partner, "/suspension", new { reason = "maintenance" })).Status);
        Assert.Equal("active", (await AskAsync(partner, "/resumption", new { reason = "terminé" })).Body.GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(hub.Administrator, "/suspension", new { reason = "trop de refus" })).Status);

        var refused = await AskAsync(partner, "/resumption", new { reason = "terminé" });
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Contains("administrator", refused.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        // Nor by making the suspension its own first.
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync(partner, "/suspension", new { reason = "à nous" })).Status);
        // Nor by making it anew.
        foreach (var query in (string[])["?dryRun=true", ""])
            Assert.Equal(HttpStatusCode.Conflict, (await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{_name}{query}", partner)).Status);
        var shown = await ShowAsync();
        Assert.Equal(("suspended", "trop de refus", "administrator"), (shown.GetProperty("state").GetString(), shown.GetProperty("reason").GetString(), shown.GetProperty("suspendedBy").GetString()));
        Assert.Equal("active", (await AskAsync(hub.Administrator, "/resumption", new { reason = "corrigé" })).Body.GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.NoContent, (await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{_name}", partner)).Status);
        Assert.Equal(
            [$"repas de la cantine pull partner-{_name}"],
            await hub.Store.RowsAsync($"SELECT why, details::jsonb ->> 'kind', details::jsonb ->> 'agreement' FROM audit.entry WHERE subject = '{_name}' AND act = 'subscriptions.created'"));

        Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AskAsync(string who, string path, object body) =>
            hub.One.AskAsync(HttpMethod.Post, path.Length == 0 ? Path : $"{Path}/{_name}{path}", who, body);
    }

    [Fact]
    public async Task Given_a_client_with_as_many_subscriptions_as_it_may_have_Then_no_other_one_is_made_also_at_the_same_time()
    {
        await using var node = await AccessServer.StartAsync(hub.Store, ("Feed:SubscriptionsPerClient", "2"));
        var partner = await AllowAsync($"partner-{_name}", new SharedEvents(Deaths));

        var made = await Task.WhenAll(Enumerable.Range(0, 5).Select(MakeAsync));

        Assert.Equal(2, made.Count(one => one.Status == HttpStatusCode.Created));
        Assert.All(made.Where(one => one.Status != HttpStatusCode.Created), one =>
        {
            Assert.Equal(HttpStatusCode.Conflict, one.Status);
            Assert.Contains("Feed__SubscriptionsPerClient", one.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        });
        // Others may.
        Assert.Equal(HttpStatusCode.OK, (await PostAsync("?dryRun=true", new { name = _name, start = "now" })).Status);

        // One after the other: whoever is told that another one is being made asks again.
        async Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> MakeAsync(int number) => await Eventually.Is(
            () => node.AskAsync(HttpMethod.Post, Path, partner, new { name = $"{_name}-{number}", start = "now" }), answer => answer.Status != HttpStatusCode.TooManyRequests);
    }

    [Fact]
    public async Task Given_a_node_with_few_connections_When_more_calls_than_those_make_subscriptions_or_replay_what_is_parked_Then_each_is_answered()
    {
        const int Connections = 8;
        await using var node = await AccessServer.StartAsync(
            hub.Store, ("ConnectionStrings:Hub", new NpgsqlConnectionStringBuilder(hub.Store.ConnectionString) { MaxPoolSize = Connections, ApplicationName = _name, Timeout = 5 }.ConnectionString));
        await CreateAsync();
        await ArriveAsync("a", "a");
        await using (var reader = new PullReader(hub.One, _name, hub.Administrator))
        {
            await PostAsync($"{_name}/parked", new { cursor = (await reader.NextAsync()).Event.Cursor, reason = "x" });
        }

        var last = (await Eventually.Is(ParkedAsync, parked => parked.Count == 2))[1].GetProperty("cursor").GetString();

        var made = await AskAsync(Path + "?dryRun=true", new { name = $"{_name}-made", start = "now" });
        var replayed = await AskAsync($"{Path}/{_name}/parked/replay", new { cursor = last });

        Assert.Contains(HttpStatusCode.OK, made);
        Assert.All(made, status => Assert.True(status is HttpStatusCode.OK or HttpStatusCode.TooManyRequests, $"{status}"));
        Assert.All(replayed, status => Assert.Equal(HttpStatusCode.Conflict, status));

        async Task<HttpStatusCode[]> AskAsync(string path, object body) =>
            await Task.WhenAll(Enumerable.Range(0, 4 * Connections).Select(async _ => (await node.AskAsync(HttpMethod.Post, path, hub.Administrator, body)).Status));
    }

    [Fact]
    public async Task Given_a_client_of_which_one_is_being_made_When_it_makes_another_Then_it_is_told_at_once_to_ask_again()
    {
        await using var connection = await hub.Store.Database.OpenConnectionAsync();
        await using (await connection.BeginTransactionAsync())
        {
            Assert.NotNull(await Subscription.CountAsync(connection, "administrator", default));
            Assert.Equal(HttpStatusCode.TooManyRequests, (await PostAsync("", new { name = _name, start = "now" })).Status);
        }

        await CreateAsync();
    }

    [Fact]
    public async Task Given_as_many_parked_events_as_there_may_be_Then_nothing_more_is_looked_up_or_given_until_some_are_decided_on_and_nothing_is_lost()
    {
        await using var node = await AccessServer.StartAsync(hub.Store, ("Subscriptions:MostParked", "3"), ("Subscriptions:Window", "10"));
        await CreateAsync(new { name = _name, start = "now", filter = Mine(), maxAttempts = 1 });
        await ArriveAsync([.. Enumerable.Range(0, 30).Select(index => $"r{index}")]);
        await using (var reader = new PullReader(node, _name, hub.Administrator, 1))
        {
            for (var index = 0; index < 3; index++) Assert.True(await reader.RejectAsync(await reader.NextAsync(), "non"));
            var ended = await reader.EndedAsync();
            Assert.Equal(StatusCode.FailedPrecondition, ended.StatusCode);
            Assert.Contains("3 events or more are parked", ended.Status.Detail, StringComparison.Ordinal);
        }

        var shown = (await node.AskAsync(HttpMethod.Get, $"{Path}/{_name}", hub.Administrator)).Body;
        Assert.Equal("full", shown.GetProperty("state").GetString());
        Assert.Contains("3 events or more are parked", shown.GetProperty("reason").GetString(), StringComparison.Ordinal);
        var fetched = await hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{_name}'");
        await using (var refused = new PullReader(node, _name, hub.Administrator)) Assert.Equal(StatusCode.FailedPrecondition, (await refused.EndedAsync()).StatusCode);
        Assert.Equal(fetched, await hub.Store.RowsAsync($"SELECT fetched FROM feeds.subscription WHERE name = '{_name}'"));

        Assert.Equal(3, (await node.AskAsync(HttpMethod.Post, $"{Path}/{_name}/parked/replay", hub.Administrator, new { all = true })).Body.GetProperty("replayed").GetInt32());
        await using var again = new PullReader(node, _name, hub.Administrator, 1);
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
        await using var reader = new PullReader(hub.One, _name, hub.Administrator);
        var delivery = await reader.NextAsync();

        Assert.Equal(StatusCode.InvalidArgument, (await Assert.ThrowsAsync<RpcException>(() => reader.AcknowledgeAsync(new Delivery { Delivery_ = "x" }))).StatusCode);
        var guessed = new Claimed("", hub.PositionOf(delivery), 1).Token(Guid.NewGuid());
        Assert.Equal(0, await reader.AcknowledgeAsync(new Delivery { Delivery_ = guessed }));
        Assert.False(await reader.RejectAsync(new Delivery { Delivery_ = guessed }, "x"));
        Assert.Equal(StatusCode.InvalidArgument, (await Assert.ThrowsAsync<RpcException>(() => reader.RejectAsync(delivery, "a\0b"))).StatusCode);
        Assert.Equal(1, await reader.AcknowledgeAsync(delivery, delivery));
    }

    [Fact]
    public async Task Given_subscriptions_When_they_are_measured_Then_lag_and_what_is_not_done_are_there()
    {
        await CreateAsync();
        await ArriveAsync("a", "b", "c");
        await using var reader = new PullReader(hub.One, _name, hub.Administrator, 1);
        await reader.NextAsync();

        var states = hub.One.Services.GetRequiredService<SubscriptionStates>();
        var state = (await states.NowAsync(_name, default))[_name];

        Assert.Equal((3L, 1L, 0L), (state.Lag, state.Unacknowledged, state.Parked));
        Assert.NotNull(state.OldestUnacknowledged);
        var shown = await ShowAsync();
        Assert.Equal((3, 1), (shown.GetProperty("lag").GetInt32(), shown.GetProperty("unacknowledged").GetInt32()));
    }

    private static string Record(Delivery delivery) => delivery.Event.Subject.Split('/')[^1];

    private object Mine() => new { subjects = new[] { $"{_name}/*" } };

    private Task CreateAsync(object? asked = null) => hub.CreateAsync(asked ?? new { name = _name, start = "now", filter = Mine() });

    private Task ArriveAsync(params string[] records) =>
        hub.Store.ArriveAsync([.. records.Select(record => Event(new DeathRegistered(PartialDate.Parse("2026-11-02")), $"{_name}/{record}"))]);

    private Task<IReadOnlyList<string>> RowsAsync() => hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{_name}'");

    private async Task<JsonElement> ShowAsync() => (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}", hub.Administrator)).Body;

    private Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> PostAsync(string path, object body) =>
        hub.One.AskAsync(HttpMethod.Post, path.StartsWith('?') || path.Length == 0 ? $"{Path}{path}" : $"{Path}/{path}", hub.Administrator, body);

    private async Task<IReadOnlyList<JsonElement>> ParkedAsync() =>
        [.. (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}/parked", hub.Administrator)).Body.GetProperty("items").EnumerateArray()];

    private Task<long> PositionAsync(Delivery delivery) => Task.FromResult(hub.PositionOf(delivery));

    private async Task<string> AllowAsync(string partner, params SharedEvents[] events)
    {
        var token = await hub.One.LetInAsync(partner, Roles.Partner);
        await hub.One.ActivateAsync(partner, Terms(events) with { Title = Guid.NewGuid().ToString(), Partner = new("Partner", [partner]), To = null });
        return token;
    }

    // Claims as a reader of a node would that ends without a word.
    private async Task<IReadOnlyList<Claimed>> ClaimAsync(AccessServer node, Guid reader, int most)
    {
        var access = Access(node);
        var finding = node.Services.GetRequiredService<Finding>();
        var subscription = (await Subscription.FindAsync(hub.Store.Database, _name, default))!;
        return (await Eventually.Is(() => finding.NextAsync(subscription, reader, most, most, access, false, default), found => found.Claimed.Count > 0)).Claimed;
    }

    private FeedAccess Access(AccessServer node) => new(
        Reader.OfClient("administrator", true, node.Services.GetRequiredService<Intercommunalite.Hub.Access.CurrentRights>()), "", new FeedFilter([], [], [$"{_name}/*"], []),
        node.Services.GetRequiredService<AgreementsInForce>());

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

    public sealed class Hub : IAsyncLifetime
    {
        internal HubStore Store { get; } = new();

        internal AccessServer One { get; private set; } = null!;

        internal AccessServer Other { get; private set; } = null!;

        internal string Administrator { get; private set; } = null!;

        private Cursors _cursors = null!;

        public async Task InitializeAsync()
        {
            await Store.InitializeAsync();
            One = await AccessServer.StartAsync(Store);
            Other = await AccessServer.StartAsync(Store);
            Administrator = await One.LetInAsync("administrator", Roles.Administrator);
            _cursors = await Cursors.OfAsync(Store.Database, default);
        }

        public async Task DisposeAsync()
        {
            await One.DisposeAsync();
            await Other.DisposeAsync();
            await Store.DisposeAsync();
        }

        internal long PositionOf(Delivery delivery) => _cursors.Read(delivery.Event.Cursor).Position;

        internal async Task CreateAsync(object asked)
        {
            var answer = await One.AskAsync(HttpMethod.Post, Path, Administrator, asked);
            Assert.True(answer.Status == HttpStatusCode.Created, answer.Body.ToString());
        }
    }
}
