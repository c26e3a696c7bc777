using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>Endpoints that take nothing, refuse an event, or ask for a pause: what waits, what is parked, how often they are tried, and when somebody is told.</summary>
public sealed class FailingEndpointTests(WebhookNodes nodes) : WebhookScenario(nodes), IClassFixture<WebhookNodes>
{
    [Fact]
    public async Task Given_an_error_for_one_event_while_others_are_taken_Then_it_counts_and_is_parked_in_the_end()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = (received, _) => Task.FromResult<int?>(received.Record == "bad" ? 500 : null);
        await MakeAsync(endpoint, maxAttempts: 1);
        await ArriveAsync("bad", "good");
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);

        // The first failure tells nothing: nothing was taken since an earlier one.
        var number = 0;
        await Eventually.Is(async () =>
        {
            await ArriveAsync($"good{number++}");
            await Task.Delay(100);
            return await ShowAsync();
        }, shown => shown.GetProperty("parked").GetInt32() == 1);
        Assert.True(endpoint.Requests.Count(received => received.Record == "bad") >= 2);
    }

    [Fact]
    public async Task Given_an_endpoint_that_takes_nothing_Then_nothing_is_parked_it_slows_no_other_and_gets_everything_when_it_is_back()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await using var other = await TestEndpoint.StartAsync();
        var (down, log) = (true, 0);
        endpoint.Answer = async (_, context) =>
        {
            Interlocked.Increment(ref log);
            if (!Volatile.Read(ref down)) return null;
            // It holds on to the request, then has an error.
            await Task.Delay(TimeSpan.FromMinutes(1), context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return 500;
        };
        await MakeAsync(endpoint, maxAttempts: 1);
        await MakeAsync(other, name: $"{Name}-other");

        await ArriveAsync([.. Enumerable.Range(0, 40).Select(index => $"r{index}")]);
        await Eventually.Is(() => other.Taken.Count, count => count == 40);
        var shown = await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").GetProperty("alert").GetBoolean());
        Assert.Equal("no answer within 5 s", shown.GetProperty("webhook").GetProperty("lastFailure").GetString());
        Assert.Empty(endpoint.Taken);
        // After the first ones it is only probed.
        await Eventually.Is(() => Volatile.Read(ref log), tried => tried > 10, TimeSpan.FromMinutes(2));
        Assert.Equal(0, (await ShowAsync()).GetProperty("parked").GetInt32());

        Volatile.Write(ref down, false);
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 40);
        Assert.Equal(40, endpoint.Taken.Select(received => received.Id).Distinct().Count());
        shown = await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").GetProperty("alert").GetBoolean());
        Assert.Equal(0, shown.GetProperty("parked").GetInt32());
    }

    [Fact]
    public async Task Given_an_endpoint_that_asks_for_a_pause_Then_it_is_left_alone_that_long()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var asked = 0;
        endpoint.Answer = (_, context) =>
        {
            if (Interlocked.Increment(ref asked) > 1) return Task.FromResult<int?>(null);
            context.Response.Headers.RetryAfter = "3";
            return Task.FromResult<int?>(429);
        };
        await MakeAsync(endpoint, maxAttempts: 1);
        await ArriveAsync("a");
        // Its answer is known.
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        await ArriveAsync("b");

        await Eventually.Is(() => endpoint.Taken.Count, count => count == 2);

        Assert.True(endpoint.Taken.Min(taken => taken.At) - endpoint.Requests.First().At >= TimeSpan.FromSeconds(2.9));
    }

    [Fact]
    public async Task Given_an_endpoint_that_asked_for_a_long_pause_When_the_webhook_is_moved_with_another_secret_Then_the_new_address_has_everything_at_once_signed_by_it()
    {
        await using var before = await TestEndpoint.StartAsync();
        await using var after = await TestEndpoint.StartAsync();
        before.Answer = (_, context) =>
        {
            context.Response.Headers.RetryAfter = "3600";
            return Task.FromResult<int?>(429);
        };
        const string Own = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        await MakeAsync(before);
        await ArriveAsync("a");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        await MoveAsync(after, Own);

        Assert.True((await NextAsync(after)).IsSignedBy(Own));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Given_an_endpoint_that_asked_for_a_long_pause_When_the_webhook_is_resumed_or_given_the_same_address_Then_it_has_everything_at_once(bool isResumed)
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var asked = 0;
        endpoint.Answer = (_, context) =>
        {
            if (Interlocked.Increment(ref asked) > 1) return Task.FromResult<int?>(null);
            context.Response.Headers.RetryAfter = "3600";
            return Task.FromResult<int?>(429);
        };
        await MakeAsync(endpoint);
        await ArriveAsync("a");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        if (isResumed) Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{Name}/resumption", new { reason = "réparé" })).Status);
        else await MoveAsync(endpoint);

        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
    }

    [Fact]
    public async Task Given_an_endpoint_that_asked_for_a_pause_When_another_node_begins_to_bring_to_it_Then_it_is_left_alone_all_the_same()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var asked = 0;
        endpoint.Answer = (_, context) =>
        {
            if (Interlocked.Increment(ref asked) > 1) return Task.FromResult<int?>(null);
            context.Response.Headers.RetryAfter = "5";
            return Task.FromResult<int?>(429);
        };
        await MakeAsync(endpoint);
        await ArriveAsync("a");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        await Hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'suspended' WHERE name = '{Name}'");
        await Eventually.Is(() => Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE subscription = '{Name}'"), rows => rows is ["0"]);
        await Hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'active' WHERE name = '{Name}'; UPDATE feeds.delivery SET due_at = now() WHERE subscription = '{Name}'");

        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
        Assert.True(endpoint.Taken.Single().At - endpoint.Requests.First().At >= TimeSpan.FromSeconds(4.9));
    }

    [Fact]
    public async Task Given_an_event_that_is_refused_Then_the_endpoint_is_not_taken_to_be_failing()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = (_, _) => Task.FromResult<int?>(422);
        await MakeAsync(endpoint);
        await ArriveAsync("bad");

        var shown = await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("failing").GetArrayLength() == 1);

        Assert.Equal("HTTP 422", shown.GetProperty("failing")[0].GetProperty("reason").GetString());
        Assert.False(shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_failing_When_it_is_suspended_or_nothing_waits_any_more_Then_there_is_no_alert()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = (_, _) => Task.FromResult<int?>(500);
        await MakeAsync(endpoint);
        await ArriveAsync("a");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").GetProperty("alert").GetBoolean());
        var states = Hub.One.Services.GetRequiredService<SubscriptionStates>();
        Assert.NotNull((await states.NowAsync(Name, default))[Name].FailingSince);

        Assert.False((await PostAsync($"/{Name}/suspension", new { reason = "maintenance" })).Body.GetProperty("webhook").GetProperty("alert").GetBoolean());
        Assert.Null((await states.NowAsync(Name, default))[Name].FailingSince);
        await PostAsync($"/{Name}/resumption", new { reason = "terminé" });
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        // As when the agreement allows it no longer.
        await Hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{Name}'");
        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_failing_When_its_agreement_ends_Then_it_is_failing_no_longer()
    {
        await using var endpoint = await TestEndpoint.StartAsync(Hub.Authority);
        endpoint.Answer = (_, _) => Task.FromResult<int?>(500);
        await MakeAsync(endpoint, await AllowAsync(new SharedEvents(Births, ["date"])));
        await BirthAsync("1");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        await Hub.One.ChangeAsync($"agreement-{Name}", Decide.Suspend);

        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        Assert.Equal(["1"], await Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{Name}'"));
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_failing_When_it_refuses_an_event_Then_it_is_failing_no_longer()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var status = 500;
        endpoint.Answer = (_, _) => Task.FromResult<int?>(Volatile.Read(ref status));
        await MakeAsync(endpoint);
        await ArriveAsync("a");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        Volatile.Write(ref status, 422);

        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        Assert.Equal(1, (await ShowAsync()).GetProperty("lag").GetInt32());
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_failing_When_it_is_brought_to_by_another_loop_and_then_suspended_Then_the_log_says_once_that_the_alert_began_and_ended()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = (_, _) => Task.FromResult<int?>(500);
        await MakeAsync(endpoint);
        await ArriveAsync("a");
        await Eventually.Is(() => Said("has taken nothing since"), count => count == 1);
        var holder = $"SELECT holder FROM feeds.webhook WHERE subscription = '{Name}'";
        var before = await Hub.Store.RowsAsync(holder);
        await Hub.Store.RowsAsync($"UPDATE feeds.webhook SET holder = NULL WHERE subscription = '{Name}'; UPDATE feeds.subscription SET created_at = created_at + interval '1 us' WHERE name = '{Name}'");
        await Eventually.Is(() => Hub.Store.RowsAsync(holder), rows => rows[0] != "-" && rows[0] != before[0]);
        var tried = endpoint.Requests.Count;
        await Eventually.Is(() => endpoint.Requests.Count, count => count > tried);

        await PostAsync($"/{Name}/suspension", new { reason = "maintenance" });

        await Eventually.Is(() => Said("has ended"), count => count == 1);
        Assert.Equal(1, Said("has taken nothing since"));
    }

    [Fact]
    public async Task Given_an_endpoint_that_was_failing_When_a_node_begins_to_bring_to_it_Then_it_is_tried_with_one_event_at_a_time()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = async (_, _) =>
        {
            await Task.Delay(200);
            return 500;
        };
        await MakeAsync(endpoint);
        await Hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'suspended' WHERE name = '{Name}'");
        await Eventually.Is(() => Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE subscription = '{Name}'"), rows => rows is ["0"]);
        await ArriveAsync([.. Enumerable.Range(0, 20).Select(index => $"r{index}")]);

        await Hub.Store.RowsAsync($"UPDATE feeds.webhook SET failing_since = now() - interval '1 h' WHERE subscription = '{Name}'; UPDATE feeds.subscription SET state = 'active' WHERE name = '{Name}'");

        await Eventually.Is(() => endpoint.Requests.Count, count => count >= 3);
        Assert.Equal(1, endpoint.MostAtATime);
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_dead_When_it_is_resumed_with_nothing_but_what_has_failed_before_Then_it_is_soon_only_probed()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = (_, _) => Task.FromResult<int?>(500);
        await MakeAsync(endpoint);
        await ArriveAsync([.. Enumerable.Range(0, 40).Select(index => $"r{index}")]);
        await Eventually.Is(() => Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{Name}'"), rows => rows is ["40"]);
        await Hub.Store.RowsAsync($"UPDATE feeds.delivery SET attempts = 3, failed_at = now() WHERE subscription = '{Name}' AND holder IS NULL");

        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{Name}/resumption", new { reason = "réparé" })).Status);
        var before = endpoint.Requests.Count;

        // Five that fail, with seven that are under way meanwhile, and one of before; then one a second.
        await Eventually.Is(() => endpoint.Requests.Count, count => count >= before + 16);
        var after = endpoint.Requests.Skip(before).Take(16).ToList();
        Assert.True(after[15].At - after[14].At >= TimeSpan.FromSeconds(0.9));
    }

    [Fact]
    public async Task Given_a_webhook_of_which_the_hub_did_not_note_an_answer_in_time_Then_that_does_not_count_towards_parking()
    {
        await Hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{Name}', 'administrator', 'webhook', '{JsonSerializer.Serialize(FeedFilter.All, ContractJson.Options)}', 0, 1, 60, 'active', now(), 'administrator');
            INSERT INTO feeds.reader (id, subscription, seen_at) VALUES ('{Guid.NewGuid()}', '{Name}', now());
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at, holder, held_until)
            SELECT '{Name}', '', 1, 'a', 1, 0, now() - interval '1 min', id, now() - interval '1 s' FROM feeds.reader WHERE subscription = '{Name}'
            """);

        Assert.Empty(await Hub.One.Services.GetRequiredService<Deliveries>().ClaimAsync((await Subscription.FindAsync(Hub.Store.Database, Name, default))!, Guid.NewGuid(), 10, null, false, default));

        Assert.Equal(["0 - -"], await Hub.Store.RowsAsync($"SELECT failures, holder, parked_at FROM feeds.delivery WHERE subscription = '{Name}'"));
        await Hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{Name}'; DELETE FROM feeds.subscription WHERE name = '{Name}'; DELETE FROM feeds.reader WHERE subscription = '{Name}'");
    }

    [Fact]
    public async Task Given_what_waits_because_an_endpoint_took_nothing_When_it_is_back_Then_that_is_due_once_nobody_else_decides_on_it()
    {
        await Hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{Name}', 'administrator', 'webhook', '{"{}"}', 0, 10, 60, 'suspended', now(), 'administrator');
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at)
            VALUES ('{Name}', '', 1, 'a', 1, 0, now() + interval '1 h'), ('{Name}', '', 2, 'refused', 1, 1, now() + interval '1 h')
            """);
        await using var connection = await Hub.Store.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await Deliveries.HoldAsync(connection, Name, default);

        var back = Hub.One.Services.GetRequiredService<Deliveries>().BackAsync(Name, default);
        await SomebodyWaitsForAsync(connection);
        await transaction.CommitAsync();
        await back;

        Assert.Equal(["1 t", "2 f"], await Hub.Store.RowsAsync($"SELECT position, CASE WHEN due_at <= now() THEN 't' ELSE 'f' END FROM feeds.delivery WHERE subscription = '{Name}' ORDER BY position"));
        await Hub.Store.RowsAsync($"DELETE FROM feeds.subscription WHERE name = '{Name}'");
    }
}
