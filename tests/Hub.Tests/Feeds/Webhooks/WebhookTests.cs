using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>What the hub brings to endpoints of partners, on two nodes and real servers.</summary>
public sealed class WebhookTests(WebhookNodes nodes) : WebhookScenario(nodes), IClassFixture<WebhookNodes>
{
    [Fact]
    public async Task Given_an_agreement_with_personal_data_When_events_come_Then_the_endpoint_gets_them_signed_with_what_is_allowed_of_it()
    {
        await using var endpoint = await TestEndpoint.StartAsync(Hub.Authority);
        var partner = await AllowAsync(new SharedEvents(Births, ["date"], ["child.lastName"]));
        var made = await Hub.One.AskAsync(HttpMethod.Post, Path, partner, new { name = Name, start = "now", filter = Mine(), webhook = new { url = endpoint.Url } });
        Assert.True(made.Status == HttpStatusCode.Created, made.Body.ToString());
        var secret = made.Body.GetProperty("webhook").GetProperty("secret").GetString()!;
        Assert.Equal(("webhook", "hub.example"), (made.Body.GetProperty("kind").GetString(), endpoint.AskedOrigin));

        await BirthAsync("1");
        var received = await NextAsync(endpoint);

        Assert.True(received.IsSignedBy(secret));
        Assert.Equal("application/cloudevents+json; charset=utf-8", received.ContentType);
        Assert.InRange(DateTimeOffset.FromUnixTimeSeconds(long.Parse(received.Timestamp, System.Globalization.CultureInfo.InvariantCulture)), DateTimeOffset.UtcNow.AddMinutes(-1), DateTimeOffset.UtcNow.AddMinutes(1));
        Assert.Equal("""{"date":"2026-11-01","personal":{"child":{"lastName":"MARQUEUR-NOM"}}}""", received.Event.GetProperty("data").GetRawText());
        Assert.Equal(("1.0", Births, $"{Name}/1", 1), (received.Event.GetProperty("specversion").GetString(), received.Event.GetProperty("type").GetString(), received.Event.GetProperty("subject").GetString(), received.Attempt));
        Assert.False(received.Event.TryGetProperty("replay", out _));
        Assert.Equal(["1"], await Hub.Store.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner-{Name}'"));
        Assert.False(made.Body.GetProperty("webhook").TryGetProperty("note", out _));
        // It is told once, and kept wrapped.
        Assert.False((await ShowAsync()).GetProperty("webhook").TryGetProperty("secret", out _));
        Assert.Equal(["f"], await Hub.Store.RowsAsync($"SELECT CASE WHEN position(decode('{Convert.ToHexString(Convert.FromBase64String(secret["whsec_".Length..]))}', 'hex') IN secret) > 0 THEN 't' ELSE 'f' END FROM feeds.webhook WHERE subscription = '{Name}'"));
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("lag").GetInt64() == 0 && shown.GetProperty("webhook").TryGetProperty("lastSuccess", out _));
    }

    [Fact]
    public async Task Given_an_endpoint_without_tls_on_an_allowed_network_Then_it_gets_no_personal_data_and_none_is_noted_as_told()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var partner = await AllowAsync(new SharedEvents(Births, ["date"], ["child.lastName"]));
        await MakeAsync(endpoint, partner);

        await BirthAsync("1");

        Assert.Equal("""{"date":"2026-11-01"}""", (await NextAsync(endpoint)).Event.GetProperty("data").GetRawText());
        Assert.Equal(["0"], await Hub.Store.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner-{Name}'"));
        Assert.Contains("without personal data", (await ShowAsync()).GetProperty("webhook").GetProperty("note").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(null, null, 200, "WebHook-Allowed-Origin")]
    [InlineData("another.example", null, 200, "WebHook-Allowed-Origin")]
    [InlineData("hub.example", null, 405, "HTTP 405")]
    [InlineData("*", null, 302, "HTTP 302")]
    [InlineData("hub.example", "many", 200, "WebHook-Allowed-Rate")]
    [InlineData("*", null, 200, null)]
    [InlineData("HUB.example", "120", 204, null)]
    public async Task Given_an_endpoint_When_it_is_asked_Then_only_one_that_allows_this_hub_becomes_a_webhook(string? origin, string? rate, int status, string? refused)
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Handshake = context =>
        {
            context.Response.StatusCode = status;
            if (origin is not null) context.Response.Headers["WebHook-Allowed-Origin"] = origin;
            if (rate is not null) context.Response.Headers["WebHook-Allowed-Rate"] = rate;
        };

        var made = await PostAsync("", new { name = Name, start = "now", webhook = new { url = endpoint.Url } });

        Assert.Equal(refused is null ? HttpStatusCode.Created : HttpStatusCode.UnprocessableEntity, made.Status);
        if (refused is not null) Assert.Contains(refused, made.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal([refused is null ? "1" : "0"], await Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.webhook WHERE subscription = '{Name}'"));
        if (rate == "120") Assert.Equal(120, made.Body.GetProperty("webhook").GetProperty("requestsPerMinute").GetInt32());
    }

    [Fact]
    public async Task Given_a_record_that_is_refused_Then_its_events_wait_and_are_parked_and_the_others_come_in_order()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var refuses = true;
        endpoint.Answer = (received, _) => Task.FromResult<int?>(received.Record == "bad" && Volatile.Read(ref refuses) ? 422 : null);
        await MakeAsync(endpoint, maxAttempts: 2);

        await ArriveAsync(["bad", .. Enumerable.Range(0, 60).Select(index => $"r{index % 6}"), "bad"]);
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("parked").GetInt32() == 2 && shown.GetProperty("lag").GetInt64() == 0);

        Assert.Equal(60, endpoint.Taken.Count);
        AssertInOrder(endpoint.Taken);
        var bad = endpoint.Requests.Where(received => received.Record == "bad").ToList();
        Assert.Equal([1, 2], bad.Select(received => received.Attempt));
        Assert.Equal(bad[0].Id, bad[1].Id);
        var parked = (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}/parked", Hub.Administrator)).Body.GetProperty("items");
        Assert.Equal("HTTP 422", parked[0].GetProperty("reason").GetString());
        Assert.Equal("waits behind a parked event of the same record", parked[1].GetProperty("reason").GetString());
        Assert.InRange(endpoint.MostAtATime, 1, 8);

        Volatile.Write(ref refuses, false);
        Assert.Equal(2, (await PostAsync($"/{Name}/parked/replay", new { all = true })).Body.GetProperty("replayed").GetInt32());
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 62);
        Assert.Equal([3, 1], endpoint.Taken.Where(received => received.Record == "bad").Select(received => received.Attempt));
    }

    [Fact]
    public async Task Given_a_node_that_ends_in_the_middle_Then_another_one_goes_on_and_what_comes_twice_says_so()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = async (_, _) =>
        {
            await Task.Delay(20);
            return null;
        };
        var first = await AccessServer.StartAsync(Hub.Store, WebhookNodes.Settings(Hub.Authority));
        await MakeAsync(endpoint);
        await ArriveAsync([.. Enumerable.Range(0, 200).Select(index => $"r{index % 20}")]);
        await Eventually.Is(() => endpoint.Taken.Count, count => count > 40);
        // Whoever brings it now does so no more: two nodes of three end without a word.
        await Hub.Store.RowsAsync($"UPDATE feeds.webhook SET holder = gen_random_uuid() WHERE subscription = '{Name}'");
        await first.DisposeAsync();

        await Eventually.Is(() => endpoint.Taken.Select(received => received.Id).Distinct().Count(), count => count == 200, TimeSpan.FromMinutes(1));
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("lag").GetInt64() == 0);
        foreach (var same in endpoint.Taken.GroupBy(received => received.Id)) Assert.All(same.Skip(1), again => Assert.True(again.Attempt > 1));
        AssertInOrder(endpoint.Taken.GroupBy(received => received.Id).Select(same => same.First()));
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_gone_Then_the_subscription_is_suspended_until_it_is_resumed_and_the_endpoint_agrees()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        var gone = true;
        endpoint.Answer = (_, _) => Task.FromResult<int?>(Volatile.Read(ref gone) ? 410 : null);
        await MakeAsync(endpoint);
        await ArriveAsync("a");

        var shown = await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("state").GetString() == "suspended");
        Assert.Equal("the endpoint is gone (HTTP 410)", shown.GetProperty("reason").GetString());
        Assert.Equal(["hub the endpoint is gone (HTTP 410)"], await Hub.Store.RowsAsync($"SELECT who, why FROM audit.entry WHERE subject = '{Name}' AND act = 'subscriptions.suspended'"));
        var allowed = endpoint.Handshake;
        endpoint.Handshake = _ => { };
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"/{Name}/resumption", new { reason = "revenu" })).Status);
        (endpoint.Handshake, gone) = (allowed, false);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{Name}/resumption", new { reason = "revenu" })).Status);
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
        Assert.Equal(2, endpoint.Taken.Single().Attempt);
    }

    [Fact]
    public async Task Given_an_endpoint_that_allows_few_requests_a_minute_Then_it_gets_no_more()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Handshake = context =>
        {
            context.Response.Headers["WebHook-Allowed-Origin"] = "*";
            context.Response.Headers["WebHook-Allowed-Rate"] = "60";
        };
        await MakeAsync(endpoint);
        await ArriveAsync("a", "b", "c");

        await Eventually.Is(() => endpoint.Taken.Count, count => count == 3);

        // When they were sent, however long each was under way: in whole seconds, of two.
        var sent = endpoint.Requests.Select(received => long.Parse(received.Timestamp, System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.True(sent[2] - sent[0] >= 1);
        Assert.Equal(1, endpoint.MostAtATime);
    }

    [Fact]
    public async Task Given_another_secret_Then_both_sign_for_a_while_and_then_the_new_one_alone()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        const string Own = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        await MakeAsync(endpoint, secret: Own);
        var renewed = await PostAsync($"/{Name}/webhook/secret", new { });
        var secret = renewed.Body.GetProperty("secret").GetString()!;
        Assert.True(renewed.Body.GetProperty("previousUntil").GetDateTimeOffset() > DateTimeOffset.UtcNow.AddHours(23));
        await ArriveAsync("a");
        var first = await NextAsync(endpoint);
        // Known to the loop within a second.
        await Eventually.Is(async () =>
        {
            await ArriveAsync("b");
            return endpoint.Requests.Last();
        }, last => last.IsSignedBy(secret) && last.IsSignedBy(Own));
        Assert.True(first.IsSignedBy(Own));

        // A new master key, by which both are wrapped anew.
        var (old, both) = (Hub.One.Services.GetRequiredService<IKeyWrapping>(), Keys(Convert.ToBase64String(Enumerable.Repeat((byte)7, 32).ToArray()) + "\n" + TestDatabase.MasterKey));
        Assert.True(await Webhook.RewrapAsync(Hub.Store.Database, both, default) >= 2);
        Assert.Equal(0, await Webhook.RewrapAsync(Hub.Store.Database, both, default));
        Assert.True(await Webhook.RewrapAsync(Hub.Store.Database, Keys(TestDatabase.MasterKey + "\n" + Convert.ToBase64String(Enumerable.Repeat((byte)7, 32).ToArray())), default) >= 2);
        Assert.NotNull(old);

        await Hub.Store.RowsAsync($"UPDATE feeds.webhook SET previous_until = now() WHERE subscription = '{Name}'");
        await Eventually.Is(async () =>
        {
            await ArriveAsync("c");
            return endpoint.Requests.Last();
        }, last => last.IsSignedBy(secret) && !last.IsSignedBy(Own));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"/{Name}/webhook/secret", new { secret = "whsec_short" })).Status);

        static MasterKey Keys(string keys) => MasterKey.Read(new Microsoft.Extensions.Configuration.ConfigurationManager { ["Privacy:MasterKey"] = keys });
    }

    [Fact]
    public async Task Given_an_event_that_is_tried_again_When_the_agreement_was_narrowed_or_suspended_meanwhile_Then_that_holds_for_the_next_try()
    {
        await using var endpoint = await TestEndpoint.StartAsync(Hub.Authority);
        var fails = true;
        endpoint.Answer = (_, _) => Task.FromResult<int?>(Volatile.Read(ref fails) ? 500 : null);
        var partner = await AllowAsync(new SharedEvents(Births, ["date", "actNumber"], ["child.lastName"]));
        await MakeAsync(endpoint, partner);
        await BirthAsync("1");
        Assert.Contains("MARQUEUR", (await NextAsync(endpoint)).Body, StringComparison.Ordinal);

        await AllowAsync(new SharedEvents(Births, ["date"]));
        Volatile.Write(ref fails, false);
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
        Assert.Equal("""{"date":"2026-11-01"}""", endpoint.Taken.Single().Event.GetProperty("data").GetRawText());

        await Hub.One.ChangeAsync($"agreement-{Name}", Decide.Suspend);
        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("inForce").GetBoolean());
        var before = endpoint.Requests.Count;
        await BirthAsync("2");
        await Task.Delay(1500);
        Assert.Equal(before, endpoint.Requests.Count);
        await Hub.One.ChangeAsync($"agreement-{Name}", Decide.Resume);
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 2);
    }

    [Fact]
    public async Task Given_an_endpoint_that_redirects_Then_nobody_else_gets_anything()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await using var inner = await TestEndpoint.StartAsync();
        endpoint.Answer = (_, context) =>
        {
            context.Response.Headers.Location = inner.Url.ToString();
            return Task.FromResult<int?>(307);
        };
        await MakeAsync(endpoint);
        await ArriveAsync("a");

        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("lastFailure", out var why) && why.GetString() == "HTTP 307");
        Assert.Empty(inner.Requests);
    }

    [Fact]
    public async Task Given_a_webhook_that_was_moved_When_the_address_before_says_that_it_is_gone_or_away_Then_that_changes_nothing()
    {
        await using var before = await TestEndpoint.StartAsync();
        await using var after = await TestEndpoint.StartAsync();
        var moved = new TaskCompletionSource();
        before.Answer = async (_, context) =>
        {
            await moved.Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return 410;
        };
        await MakeAsync(before);
        await ArriveAsync("a");
        await NextAsync(before);
        var old = (await Webhook.FindAsync(Hub.Store.Database, Name, default))!;
        var made = (await Subscription.FindAsync(Hub.Store.Database, Name, default))!.CreatedAt;

        await MoveAsync(after);
        moved.SetResult();

        await Eventually.Is(() => after.Taken.Count, count => count == 1);
        await using (var connection = await Hub.Store.Database.OpenConnectionAsync())
            Assert.False(await old.SuspendAsync(connection, made, "gone", default));
        await old.AwayAsync(Hub.Store.Database, "HTTP 500", TimeSpan.FromHours(1), default);
        var shown = await ShowAsync();
        Assert.Equal("active", shown.GetProperty("state").GetString());
        Assert.False(shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        Assert.Equal(["0"], await Hub.Store.RowsAsync($"SELECT count(*) FROM audit.entry WHERE subject = '{Name}' AND act = 'subscriptions.suspended'"));
    }

    [Theory]
    [InlineData(422)]
    [InlineData(500)]
    public async Task Given_a_webhook_that_was_moved_When_the_address_before_answers_late_Then_that_is_no_failure_and_the_event_comes_at_once(int status)
    {
        await using var before = await TestEndpoint.StartAsync();
        await using var after = await TestEndpoint.StartAsync();
        var moved = new TaskCompletionSource();
        before.Answer = async (_, context) =>
        {
            await moved.Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return status;
        };
        var seen = new TaskCompletionSource();
        after.Answer = async (_, context) =>
        {
            await seen.Task.WaitAsync(context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return null;
        };
        await MakeAsync(before, maxAttempts: 1);
        await ArriveAsync("a");
        await NextAsync(before);

        await MoveAsync(after);
        moved.SetResult();

        await NextAsync(after);
        Assert.Equal(["0 -"], await Hub.Store.RowsAsync($"SELECT failures, failed_at FROM feeds.delivery WHERE subscription = '{Name}'"));
        seen.SetResult();
        await Eventually.Is(() => after.Taken.Count, count => count == 1);
    }

    [Fact]
    public async Task Given_an_attempt_by_https_When_the_webhook_is_moved_to_http_in_the_middle_Then_no_try_of_it_brings_personal_data_there()
    {
        await using var before = await TestEndpoint.StartAsync(Hub.Authority);
        await using var after = await TestEndpoint.StartAsync();
        var partner = await AllowAsync(new SharedEvents(Births, ["date"], ["child.lastName"]));
        var tries = 0;
        before.Answer = async (_, _) =>
        {
            if (Interlocked.Increment(ref tries) > 1) return 500;
            await MoveAsync(after);
            // Whoever brings it has seen that once it brings something else there.
            await BirthAsync("2");
            await Eventually.Is(() => after.Taken.Count, count => count == 1);
            return 503;
        };
        await MakeAsync(before, partner);

        await BirthAsync("1");

        await Eventually.Is(() => after.Taken.Count, count => count >= 2);
        Assert.All(after.Requests, received => Assert.Equal("""{"date":"2026-11-01"}""", received.Event.GetProperty("data").GetRawText()));
    }

    [Fact]
    public async Task Given_an_endpoint_that_allows_another_rate_When_the_webhook_is_resumed_Then_that_holds()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{Name}/suspension", new { reason = "maintenance" })).Status);
        endpoint.Handshake = context =>
        {
            context.Response.Headers["WebHook-Allowed-Origin"] = "*";
            context.Response.Headers["WebHook-Allowed-Rate"] = "120";
        };

        Assert.Equal(120, (await PostAsync($"/{Name}/resumption?dryRun=true", new { reason = "terminé" })).Body.GetProperty("webhook").GetProperty("requestsPerMinute").GetInt32());
        Assert.False((await ShowAsync()).GetProperty("webhook").TryGetProperty("requestsPerMinute", out _));
        Assert.Equal(120, (await PostAsync($"/{Name}/resumption", new { reason = "terminé" })).Body.GetProperty("webhook").GetProperty("requestsPerMinute").GetInt32());
    }

    [Fact]
    public async Task Given_an_endpoint_that_cannot_be_reached_Then_it_is_not_said_to_have_refused()
    {
        Uri url;
        await using (var endpoint = await TestEndpoint.StartAsync()) url = endpoint.Url;

        var made = await PostAsync("", new { name = Name, start = "now", webhook = new { url } });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, made.Status);
        Assert.Contains("could not be asked", made.Body.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("does not allow", made.Body.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_two_nodes_that_would_bring_to_the_same_endpoint_at_a_time_Then_one_does()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint, name: $"{Name}-other");
        await Hub.Store.RowsAsync($"INSERT INTO feeds.webhook (subscription, url, secret) SELECT '{Name}', 'https://nowhere.example/', secret FROM feeds.webhook LIMIT 1");
        var (one, other) = (Guid.NewGuid(), Guid.NewGuid());
        await using var connection = await Hub.Store.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var taken = new Npgsql.NpgsqlCommand(
            $"UPDATE feeds.webhook SET holder = '{one}' WHERE subscription = '{Name}'; INSERT INTO feeds.reader (id, subscription, seen_at) VALUES ('{one}', '{Name}', clock_timestamp())", connection);
        await taken.ExecuteNonQueryAsync();

        var late = Webhook.TakeAsync(Hub.Store.Database, Name, other, default);
        await SomebodyWaitsForAsync(connection);
        await transaction.CommitAsync();

        Assert.False(await late);
        Assert.True(await Webhook.TakeAsync(Hub.Store.Database, Name, one, default));
        await Hub.Store.RowsAsync($"DELETE FROM feeds.webhook WHERE subscription = '{Name}'; DELETE FROM feeds.reader WHERE subscription = '{Name}'");
    }

    [Fact]
    public async Task Given_a_webhook_made_before_requests_were_given_more_time_Then_what_is_under_way_is_held_as_long_as_they_take_now()
    {
        await Hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{Name}', 'administrator', 'webhook', '{JsonSerializer.Serialize(FeedFilter.All, ContractJson.Options)}', 0, 10, 60, 'active', now(), 'administrator');
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at) VALUES ('{Name}', '', 1, 'a', 0, 0, now())
            """);
        var deliveries = new Deliveries(Hub.Store.Database, new SubscriptionOptions(), new WebhookOptions { Timeout = TimeSpan.FromSeconds(100) });

        Assert.Single(await deliveries.ClaimAsync((await Subscription.FindAsync(Hub.Store.Database, Name, default))!, Guid.NewGuid(), 10, null, false, default));

        Assert.Equal(["330"], await Hub.Store.RowsAsync($"SELECT round(extract(epoch FROM held_until - first_given_at)) FROM feeds.delivery WHERE subscription = '{Name}'"));
        await Hub.Store.RowsAsync($"DELETE FROM feeds.subscription WHERE name = '{Name}'");
    }

    [Fact]
    public async Task Given_an_event_that_was_taken_When_that_cannot_be_noted_at_once_Then_it_is_noted_later_and_does_not_come_twice()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        // The first two times; what a sequence counts is not undone.
        await Hub.Store.RowsAsync($"""
            CREATE SEQUENCE tries;
            CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'no room'; END IF; RETURN OLD; END $$;
            CREATE TRIGGER fail_twice BEFORE DELETE ON feeds.delivery FOR EACH ROW WHEN (OLD.subscription = '{Name}') EXECUTE FUNCTION fail_twice()
            """);

        await ArriveAsync("a");

        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("lag").GetInt64() == 0 && shown.GetProperty("webhook").TryGetProperty("lastSuccess", out _));
        Assert.Equal(["3"], await Hub.Store.RowsAsync("SELECT last_value FROM tries"));
        Assert.Single(endpoint.Requests);
        await Hub.Store.RowsAsync("DROP TRIGGER fail_twice ON feeds.delivery; DROP FUNCTION fail_twice; DROP SEQUENCE tries");
    }

    [Fact]
    public async Task Given_a_webhook_of_which_too_much_is_parked_Then_it_waits_with_one_reader_and_goes_on_when_there_is_room()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        await Hub.Store.RowsAsync($"""
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at, parked_at, reason)
            SELECT '{Name}', '', -n, 'parked', 1, 1, now(), now(), 'HTTP 422' FROM generate_series(1, 10000) AS n
            """);
        await ArriveAsync("a");
        Assert.Equal("full", (await ShowAsync()).GetProperty("state").GetString());

        var begun = (await Eventually.Is(() => Hub.Store.RowsAsync($"SELECT id, clock_timestamp()::text FROM feeds.reader WHERE subscription = '{Name}'"), rows => rows.Count == 1))[0].Split(' ', 2);
        await Eventually.Is(() => Hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE id = '{begun[0]}' AND seen_at > '{begun[1]}'::timestamptz + interval '4 s'"), rows => rows is ["1"]);
        Assert.Empty(endpoint.Requests);

        await Hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{Name}' AND parked_at IS NOT NULL");
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
    }

    [Fact]
    public async Task Given_what_does_not_go_with_a_webhook_Then_it_is_refused()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync("", new { name = Name, start = "now", ackTimeoutSeconds = 5, webhook = new { url = endpoint.Url } })).Status);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync("", new { name = Name, start = "now", webhook = new { url = endpoint.Url, secret = "hunter2" } })).Status);
        await MakeAsync(endpoint);
        Assert.Equal(HttpStatusCode.OK, (await Hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{Name}", Hub.Administrator, new { webhook = new { url = new Uri(endpoint.Url, "/elsewhere") } })).Status);
        Assert.EndsWith("/elsewhere", (await ShowAsync()).GetProperty("webhook").GetProperty("url").GetString(), StringComparison.Ordinal);
        await using var reader = new Subscriptions.PullReader(Hub.One, Name, Hub.Administrator);
        Assert.Equal(Grpc.Core.StatusCode.FailedPrecondition, (await reader.EndedAsync()).StatusCode);
    }
}
