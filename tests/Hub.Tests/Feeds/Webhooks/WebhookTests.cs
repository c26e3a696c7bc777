using System.Collections.Concurrent;
using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>What the hub brings to endpoints of partners, on two nodes and real servers.</summary>
public sealed class WebhookTests(WebhookTests.Hub hub) : IClassFixture<WebhookTests.Hub>
{
    private const string Path = "/api/v1/subscriptions";

    private static int s_last;

    private readonly string _name = $"hook-{Interlocked.Increment(ref s_last)}";

    [Fact]
    public async Task Given_an_agreement_with_personal_data_When_events_come_Then_the_endpoint_gets_them_signed_with_what_is_allowed_of_it()
    {
        await using var endpoint = await TestEndpoint.StartAsync(hub.Authority);
        var partner = await AllowAsync(new SharedEvents(Births, ["date"], ["child.lastName"]));
        var made = await hub.One.AskAsync(HttpMethod.Post, Path, partner, new { name = _name, start = "now", filter = Mine(), webhook = new { url = endpoint.Url } });
        Assert.True(made.Status == HttpStatusCode.Created, made.Body.ToString());
        var secret = made.Body.GetProperty("webhook").GetProperty("secret").GetString()!;
        Assert.Equal(("webhook", "hub.example"), (made.Body.GetProperty("kind").GetString(), endpoint.AskedOrigin));

        await BirthAsync("1");
        var received = await NextAsync(endpoint);

        Assert.True(received.IsSignedBy(secret));
        Assert.Equal("application/cloudevents+json; charset=utf-8", received.ContentType);
        Assert.InRange(DateTimeOffset.FromUnixTimeSeconds(long.Parse(received.Timestamp, System.Globalization.CultureInfo.InvariantCulture)), DateTimeOffset.UtcNow.AddMinutes(-1), DateTimeOffset.UtcNow.AddMinutes(1));
        Assert.Equal("""{"date":"2026-11-01","personal":{"child":{"lastName":"MARQUEUR-NOM"}}}""", received.Event.GetProperty("data").GetRawText());
        Assert.Equal(("1.0", Births, $"{_name}/1", 1), (received.Event.GetProperty("specversion").GetString(), received.Event.GetProperty("type").GetString(), received.Event.GetProperty("subject").GetString(), received.Attempt));
        Assert.False(received.Event.TryGetProperty("replay", out _));
        Assert.Equal(["1"], await hub.Store.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner-{_name}'"));
        Assert.False(made.Body.GetProperty("webhook").TryGetProperty("note", out _));
        // It is told once, and kept wrapped.
        Assert.False((await ShowAsync()).GetProperty("webhook").TryGetProperty("secret", out _));
        Assert.Equal(["f"], await hub.Store.RowsAsync($"SELECT CASE WHEN position(decode('{Convert.ToHexString(Convert.FromBase64String(secret["whsec_".Length..]))}', 'hex') IN secret) > 0 THEN 't' ELSE 'f' END FROM feeds.webhook WHERE subscription = '{_name}'"));
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
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner-{_name}'"));
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

        var made = await PostAsync("", new { name = _name, start = "now", webhook = new { url = endpoint.Url } });

        Assert.Equal(refused is null ? HttpStatusCode.Created : HttpStatusCode.UnprocessableEntity, made.Status);
        if (refused is not null) Assert.Contains(refused, made.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal([refused is null ? "1" : "0"], await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.webhook WHERE subscription = '{_name}'"));
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
        var parked = (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}/parked", hub.Administrator)).Body.GetProperty("items");
        Assert.Equal("HTTP 422", parked[0].GetProperty("reason").GetString());
        Assert.Equal("waits behind a parked event of the same record", parked[1].GetProperty("reason").GetString());
        Assert.InRange(endpoint.MostAtATime, 1, 8);

        Volatile.Write(ref refuses, false);
        Assert.Equal(2, (await PostAsync($"/{_name}/parked/replay", new { all = true })).Body.GetProperty("replayed").GetInt32());
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 62);
        Assert.Equal([3, 1], endpoint.Taken.Where(received => received.Record == "bad").Select(received => received.Attempt));
    }

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
        await MakeAsync(other, name: $"{_name}-other");

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
    public async Task Given_a_node_that_ends_in_the_middle_Then_another_one_goes_on_and_what_comes_twice_says_so()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        endpoint.Answer = async (_, _) =>
        {
            await Task.Delay(20);
            return null;
        };
        var first = await AccessServer.StartAsync(hub.Store, Hub.Settings(hub.Authority));
        await MakeAsync(endpoint);
        await ArriveAsync([.. Enumerable.Range(0, 200).Select(index => $"r{index % 20}")]);
        await Eventually.Is(() => endpoint.Taken.Count, count => count > 40);
        // Whoever brings it now does so no more: two nodes of three end without a word.
        await hub.Store.RowsAsync($"UPDATE feeds.webhook SET holder = gen_random_uuid() WHERE subscription = '{_name}'");
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
        Assert.Equal(["hub the endpoint is gone (HTTP 410)"], await hub.Store.RowsAsync($"SELECT who, why FROM audit.entry WHERE subject = '{_name}' AND act = 'subscriptions.suspended'"));
        var allowed = endpoint.Handshake;
        endpoint.Handshake = _ => { };
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"/{_name}/resumption", new { reason = "revenu" })).Status);
        (endpoint.Handshake, gone) = (allowed, false);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{_name}/resumption", new { reason = "revenu" })).Status);
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
        Assert.Equal(2, endpoint.Taken.Single().Attempt);
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
        var renewed = await PostAsync($"/{_name}/webhook/secret", new { });
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
        var (old, both) = (hub.One.Services.GetRequiredService<IKeyWrapping>(), Keys(Convert.ToBase64String(Enumerable.Repeat((byte)7, 32).ToArray()) + "\n" + TestDatabase.MasterKey));
        Assert.True(await Webhook.RewrapAsync(hub.Store.Database, both, default) >= 2);
        Assert.Equal(0, await Webhook.RewrapAsync(hub.Store.Database, both, default));
        Assert.True(await Webhook.RewrapAsync(hub.Store.Database, Keys(TestDatabase.MasterKey + "\n" + Convert.ToBase64String(Enumerable.Repeat((byte)7, 32).ToArray())), default) >= 2);
        Assert.NotNull(old);

        await hub.Store.RowsAsync($"UPDATE feeds.webhook SET previous_until = now() WHERE subscription = '{_name}'");
        await Eventually.Is(async () =>
        {
            await ArriveAsync("c");
            return endpoint.Requests.Last();
        }, last => last.IsSignedBy(secret) && !last.IsSignedBy(Own));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync($"/{_name}/webhook/secret", new { secret = "whsec_short" })).Status);

        static MasterKey Keys(string keys) => MasterKey.Read(new Microsoft.Extensions.Configuration.ConfigurationManager { ["Privacy:MasterKey"] = keys });
    }

    [Fact]
    public async Task Given_an_event_that_is_tried_again_When_the_agreement_was_narrowed_or_suspended_meanwhile_Then_that_holds_for_the_next_try()
    {
        await using var endpoint = await TestEndpoint.StartAsync(hub.Authority);
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

        await hub.One.ChangeAsync($"agreement-{_name}", Decide.Suspend);
        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("inForce").GetBoolean());
        var before = endpoint.Requests.Count;
        await BirthAsync("2");
        await Task.Delay(1500);
        Assert.Equal(before, endpoint.Requests.Count);
        await hub.One.ChangeAsync($"agreement-{_name}", Decide.Resume);
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

    [Theory]
    [InlineData("https://localhost:{0}/events")]
    [InlineData("https://127.0.0.1:{0}/events")]
    [InlineData("https://[::ffff:127.0.0.1]:{0}/events")]
    [InlineData("https://2130706433:{0}/events")]
    [InlineData("https://0x7f.1:{0}/events")]
    [InlineData("https://0.0.0.0:{0}/events")]
    [InlineData("https://169.254.169.254/latest/meta-data")]
    [InlineData("http://localhost:{0}/events")]
    public async Task Given_a_hub_without_allowed_networks_When_an_endpoint_is_not_public_Then_it_is_not_even_asked(string url)
    {
        await using var endpoint = await TestEndpoint.StartAsync(hub.Authority);

        var made = await hub.Public.AskAsync(
            HttpMethod.Post, Path, hub.PublicAdministrator, new { name = _name, start = "now", webhook = new { url = url.Replace("{0}", $"{endpoint.Url.Port}", StringComparison.Ordinal) } });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, made.Status);
        Assert.Matches("not public|https expected", made.Body.ToString());
        Assert.Null(endpoint.AskedOrigin);
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
        var old = (await Webhook.FindAsync(hub.Store.Database, _name, default))!;
        var made = (await Subscription.FindAsync(hub.Store.Database, _name, default))!.CreatedAt;

        await MoveAsync(after);
        moved.SetResult();

        await Eventually.Is(() => after.Taken.Count, count => count == 1);
        await using (var connection = await hub.Store.Database.OpenConnectionAsync())
            Assert.False(await old.SuspendAsync(connection, made, "gone", default));
        await old.AwayAsync(hub.Store.Database, "HTTP 500", TimeSpan.FromHours(1), default);
        var shown = await ShowAsync();
        Assert.Equal("active", shown.GetProperty("state").GetString());
        Assert.False(shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT count(*) FROM audit.entry WHERE subject = '{_name}' AND act = 'subscriptions.suspended'"));
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

        if (isResumed) Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{_name}/resumption", new { reason = "réparé" })).Status);
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

        await hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'suspended' WHERE name = '{_name}'");
        await Eventually.Is(() => hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE subscription = '{_name}'"), rows => rows is ["0"]);
        await hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'active' WHERE name = '{_name}'; UPDATE feeds.delivery SET due_at = now() WHERE subscription = '{_name}'");

        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
        Assert.True(endpoint.Taken.Single().At - endpoint.Requests.First().At >= TimeSpan.FromSeconds(4.9));
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
        Assert.Equal(["0 -"], await hub.Store.RowsAsync($"SELECT failures, failed_at FROM feeds.delivery WHERE subscription = '{_name}'"));
        seen.SetResult();
        await Eventually.Is(() => after.Taken.Count, count => count == 1);
    }

    [Fact]
    public async Task Given_an_attempt_by_https_When_the_webhook_is_moved_to_http_in_the_middle_Then_no_try_of_it_brings_personal_data_there()
    {
        await using var before = await TestEndpoint.StartAsync(hub.Authority);
        await using var after = await TestEndpoint.StartAsync();
        var partner = await AllowAsync(new SharedEvents(Births, ["date"], ["child.lastName"]));
        var tries = 0;
        before.Answer = async (_, _) =>
        {
            if (Interlocked.Increment(ref tries) > 1) return 500;
            await MoveAsync(after);
            // Until whoever brings it has surely seen that.
            await Task.Delay(TimeSpan.FromSeconds(2.5));
            return 503;
        };
        await MakeAsync(before, partner);

        await BirthAsync("1");

        await Eventually.Is(() => after.Taken.Count, count => count >= 1);
        Assert.All(after.Requests, received => Assert.Equal("""{"date":"2026-11-01"}""", received.Event.GetProperty("data").GetRawText()));
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
        var states = hub.One.Services.GetRequiredService<SubscriptionStates>();
        Assert.NotNull((await states.NowAsync(_name, default))[_name].FailingSince);

        Assert.False((await PostAsync($"/{_name}/suspension", new { reason = "maintenance" })).Body.GetProperty("webhook").GetProperty("alert").GetBoolean());
        Assert.Null((await states.NowAsync(_name, default))[_name].FailingSince);
        await PostAsync($"/{_name}/resumption", new { reason = "terminé" });
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        // As when the agreement allows it no longer.
        await hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{_name}'");
        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
    }

    [Fact]
    public async Task Given_an_endpoint_that_is_failing_When_its_agreement_ends_Then_it_is_failing_no_longer()
    {
        await using var endpoint = await TestEndpoint.StartAsync(hub.Authority);
        endpoint.Answer = (_, _) => Task.FromResult<int?>(500);
        await MakeAsync(endpoint, await AllowAsync(new SharedEvents(Births, ["date"])));
        await BirthAsync("1");
        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("webhook").TryGetProperty("failingSince", out _));

        await hub.One.ChangeAsync($"agreement-{_name}", Decide.Suspend);

        await Eventually.Is(() => ShowAsync(), shown => !shown.GetProperty("webhook").TryGetProperty("failingSince", out _));
        Assert.Equal(["1"], await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{_name}'"));
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
        var holder = $"SELECT holder FROM feeds.webhook WHERE subscription = '{_name}'";
        var before = await hub.Store.RowsAsync(holder);
        await hub.Store.RowsAsync($"UPDATE feeds.webhook SET holder = NULL WHERE subscription = '{_name}'; UPDATE feeds.subscription SET created_at = created_at + interval '1 us' WHERE name = '{_name}'");
        await Eventually.Is(() => hub.Store.RowsAsync(holder), rows => rows[0] != "-" && rows[0] != before[0]);
        var tried = endpoint.Requests.Count;
        await Eventually.Is(() => endpoint.Requests.Count, count => count > tried);

        await PostAsync($"/{_name}/suspension", new { reason = "maintenance" });

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
        await hub.Store.RowsAsync($"UPDATE feeds.subscription SET state = 'suspended' WHERE name = '{_name}'");
        await Eventually.Is(() => hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE subscription = '{_name}'"), rows => rows is ["0"]);
        await ArriveAsync([.. Enumerable.Range(0, 20).Select(index => $"r{index}")]);

        await hub.Store.RowsAsync($"UPDATE feeds.webhook SET failing_since = now() - interval '1 h' WHERE subscription = '{_name}'; UPDATE feeds.subscription SET state = 'active' WHERE name = '{_name}'");

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
        await Eventually.Is(() => hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{_name}'"), rows => rows is ["40"]);
        await hub.Store.RowsAsync($"UPDATE feeds.delivery SET attempts = 3, failed_at = now() WHERE subscription = '{_name}' AND holder IS NULL");

        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{_name}/resumption", new { reason = "réparé" })).Status);
        var before = endpoint.Requests.Count;

        // Five that fail, with seven that are under way meanwhile, and one of before; then one a second.
        await Eventually.Is(() => endpoint.Requests.Count, count => count >= before + 16);
        var after = endpoint.Requests.Skip(before).Take(16).ToList();
        Assert.True(after[15].At - after[14].At >= TimeSpan.FromSeconds(0.9));
    }

    [Fact]
    public async Task Given_an_endpoint_that_allows_another_rate_When_the_webhook_is_resumed_Then_that_holds()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync($"/{_name}/suspension", new { reason = "maintenance" })).Status);
        endpoint.Handshake = context =>
        {
            context.Response.Headers["WebHook-Allowed-Origin"] = "*";
            context.Response.Headers["WebHook-Allowed-Rate"] = "120";
        };

        Assert.Equal(120, (await PostAsync($"/{_name}/resumption?dryRun=true", new { reason = "terminé" })).Body.GetProperty("webhook").GetProperty("requestsPerMinute").GetInt32());
        Assert.False((await ShowAsync()).GetProperty("webhook").TryGetProperty("requestsPerMinute", out _));
        Assert.Equal(120, (await PostAsync($"/{_name}/resumption", new { reason = "terminé" })).Body.GetProperty("webhook").GetProperty("requestsPerMinute").GetInt32());
    }

    [Fact]
    public async Task Given_an_endpoint_that_cannot_be_reached_Then_it_is_not_said_to_have_refused()
    {
        Uri url;
        await using (var endpoint = await TestEndpoint.StartAsync()) url = endpoint.Url;

        var made = await PostAsync("", new { name = _name, start = "now", webhook = new { url } });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, made.Status);
        Assert.Contains("could not be asked", made.Body.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("does not allow", made.Body.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_two_nodes_that_would_bring_to_the_same_endpoint_at_a_time_Then_one_does()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint, name: $"{_name}-other");
        await hub.Store.RowsAsync($"INSERT INTO feeds.webhook (subscription, url, secret) SELECT '{_name}', 'https://nowhere.example/', secret FROM feeds.webhook LIMIT 1");
        var (one, other) = (Guid.NewGuid(), Guid.NewGuid());
        await using var connection = await hub.Store.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using var taken = new Npgsql.NpgsqlCommand(
            $"UPDATE feeds.webhook SET holder = '{one}' WHERE subscription = '{_name}'; INSERT INTO feeds.reader (id, subscription, seen_at) VALUES ('{one}', '{_name}', clock_timestamp())", connection);
        await taken.ExecuteNonQueryAsync();

        var late = Webhook.TakeAsync(hub.Store.Database, _name, other, default);
        await SomebodyWaitsForAsync(connection);
        await transaction.CommitAsync();

        Assert.False(await late);
        Assert.True(await Webhook.TakeAsync(hub.Store.Database, _name, one, default));
        await hub.Store.RowsAsync($"DELETE FROM feeds.webhook WHERE subscription = '{_name}'; DELETE FROM feeds.reader WHERE subscription = '{_name}'");
    }

    [Fact]
    public async Task Given_a_webhook_made_before_requests_were_given_more_time_Then_what_is_under_way_is_held_as_long_as_they_take_now()
    {
        await hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{_name}', 'administrator', 'webhook', '{"{}"}', 0, 10, 60, 'active', now(), 'administrator');
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at) VALUES ('{_name}', '', 1, 'a', 0, 0, now())
            """);
        var deliveries = new Deliveries(hub.Store.Database, new SubscriptionOptions(), new WebhookOptions { Timeout = TimeSpan.FromSeconds(100) });

        Assert.Single(await deliveries.ClaimAsync(_name, Guid.NewGuid(), 10, null, false, default));

        Assert.Equal(["330"], await hub.Store.RowsAsync($"SELECT round(extract(epoch FROM held_until - first_given_at)) FROM feeds.delivery WHERE subscription = '{_name}'"));
        await hub.Store.RowsAsync($"DELETE FROM feeds.subscription WHERE name = '{_name}'");
    }

    [Fact]
    public async Task Given_an_event_that_was_taken_When_that_cannot_be_noted_at_once_Then_it_is_noted_later_and_does_not_come_twice()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        // The first two times; what a sequence counts is not undone.
        await hub.Store.RowsAsync($"""
            CREATE SEQUENCE tries;
            CREATE FUNCTION fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'no room'; END IF; RETURN OLD; END $$;
            CREATE TRIGGER fail_twice BEFORE DELETE ON feeds.delivery FOR EACH ROW WHEN (OLD.subscription = '{_name}') EXECUTE FUNCTION fail_twice()
            """);

        await ArriveAsync("a");

        await Eventually.Is(() => ShowAsync(), shown => shown.GetProperty("lag").GetInt64() == 0 && shown.GetProperty("webhook").TryGetProperty("lastSuccess", out _));
        Assert.Equal(["3"], await hub.Store.RowsAsync("SELECT last_value FROM tries"));
        Assert.Single(endpoint.Requests);
        await hub.Store.RowsAsync("DROP TRIGGER fail_twice ON feeds.delivery; DROP FUNCTION fail_twice; DROP SEQUENCE tries");
    }

    [Fact]
    public async Task Given_a_webhook_of_which_the_hub_did_not_note_an_answer_in_time_Then_that_does_not_count_towards_parking()
    {
        await hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{_name}', 'administrator', 'webhook', '{"{}"}', 0, 1, 60, 'active', now(), 'administrator');
            INSERT INTO feeds.reader (id, subscription, seen_at) VALUES ('{Guid.NewGuid()}', '{_name}', now());
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at, holder, held_until)
            SELECT '{_name}', '', 1, 'a', 1, 0, now() - interval '1 min', id, now() - interval '1 s' FROM feeds.reader WHERE subscription = '{_name}'
            """);

        Assert.Empty(await hub.One.Services.GetRequiredService<Deliveries>().ClaimAsync(_name, Guid.NewGuid(), 10, null, false, default));

        Assert.Equal(["0 - -"], await hub.Store.RowsAsync($"SELECT failures, holder, parked_at FROM feeds.delivery WHERE subscription = '{_name}'"));
        await hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{_name}'; DELETE FROM feeds.subscription WHERE name = '{_name}'; DELETE FROM feeds.reader WHERE subscription = '{_name}'");
    }

    [Fact]
    public async Task Given_what_waits_because_an_endpoint_took_nothing_When_it_is_back_Then_that_is_due_once_nobody_else_decides_on_it()
    {
        await hub.Store.RowsAsync($"""
            INSERT INTO feeds.subscription (name, client, kind, filter, fetched, max_attempts, ack_timeout, state, created_at, created_by)
            VALUES ('{_name}', 'administrator', 'webhook', '{"{}"}', 0, 10, 60, 'suspended', now(), 'administrator');
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at)
            VALUES ('{_name}', '', 1, 'a', 1, 0, now() + interval '1 h'), ('{_name}', '', 2, 'refused', 1, 1, now() + interval '1 h')
            """);
        await using var connection = await hub.Store.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await Deliveries.HoldAsync(connection, _name, default);

        var back = hub.One.Services.GetRequiredService<Deliveries>().BackAsync(_name, default);
        await SomebodyWaitsForAsync(connection);
        await transaction.CommitAsync();
        await back;

        Assert.Equal(["1 t", "2 f"], await hub.Store.RowsAsync($"SELECT position, CASE WHEN due_at <= now() THEN 't' ELSE 'f' END FROM feeds.delivery WHERE subscription = '{_name}' ORDER BY position"));
        await hub.Store.RowsAsync($"DELETE FROM feeds.subscription WHERE name = '{_name}'");
    }

    [Fact]
    public async Task Given_a_webhook_of_which_too_much_is_parked_Then_it_waits_with_one_reader_and_goes_on_when_there_is_room()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        await MakeAsync(endpoint);
        await hub.Store.RowsAsync($"""
            INSERT INTO feeds.delivery (subscription, replay, position, stream, attempts, failures, due_at, parked_at, reason)
            SELECT '{_name}', '', -n, 'parked', 1, 1, now(), now(), 'HTTP 422' FROM generate_series(1, 10000) AS n
            """);
        await ArriveAsync("a");
        Assert.Equal("full", (await ShowAsync()).GetProperty("state").GetString());

        var begun = (await Eventually.Is(() => hub.Store.RowsAsync($"SELECT id, clock_timestamp()::text FROM feeds.reader WHERE subscription = '{_name}'"), rows => rows.Count == 1))[0].Split(' ', 2);
        await Eventually.Is(() => hub.Store.RowsAsync($"SELECT count(*) FROM feeds.reader WHERE id = '{begun[0]}' AND seen_at > '{begun[1]}'::timestamptz + interval '4 s'"), rows => rows is ["1"]);
        Assert.Empty(endpoint.Requests);

        await hub.Store.RowsAsync($"DELETE FROM feeds.delivery WHERE subscription = '{_name}' AND parked_at IS NOT NULL");
        await Eventually.Is(() => endpoint.Taken.Count, count => count == 1);
    }

    [Fact]
    public async Task Given_what_does_not_go_with_a_webhook_Then_it_is_refused()
    {
        await using var endpoint = await TestEndpoint.StartAsync();
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync("", new { name = _name, start = "now", ackTimeoutSeconds = 5, webhook = new { url = endpoint.Url } })).Status);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await PostAsync("", new { name = _name, start = "now", webhook = new { url = endpoint.Url, secret = "hunter2" } })).Status);
        await MakeAsync(endpoint);
        Assert.Equal(HttpStatusCode.OK, (await hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{_name}", hub.Administrator, new { webhook = new { url = new Uri(endpoint.Url, "/elsewhere") } })).Status);
        Assert.EndsWith("/elsewhere", (await ShowAsync()).GetProperty("webhook").GetProperty("url").GetString(), StringComparison.Ordinal);
        await using var reader = new Subscriptions.PullReader(hub.One, _name, hub.Administrator);
        Assert.Equal(Grpc.Core.StatusCode.FailedPrecondition, (await reader.EndedAsync()).StatusCode);
    }

    private static void AssertInOrder(IEnumerable<Received> received)
    {
        foreach (var record in received.GroupBy(one => one.Record))
        {
            var times = record.Select(one => one.Event.GetProperty("data").GetProperty("date").GetString()).ToList();
            Assert.Equal(times.Order(StringComparer.Ordinal), times);
        }
    }

    private int Said(string words) => hub.Logged.Count(line => line.Contains($"webhook {_name} {words}", StringComparison.Ordinal));

    // For what that very connection holds: rows that nobody but the test knows.
    private async Task SomebodyWaitsForAsync(Npgsql.NpgsqlConnection connection) => await Eventually.Is(
        () => hub.Store.RowsAsync($"SELECT count(*) FROM pg_stat_activity WHERE {connection.ProcessID} = ANY (pg_blocking_pids(pid))"), rows => rows is not ["0"]);

    private object Mine() => new { subjects = new[] { $"{_name}/*" } };

    private async Task MakeAsync(TestEndpoint endpoint, string? token = null, int maxAttempts = 10, string? secret = null, string? name = null)
    {
        var made = await hub.One.AskAsync(HttpMethod.Post, Path, token ?? hub.Administrator, new { name = name ?? _name, start = "now", filter = Mine(), maxAttempts, webhook = new { url = endpoint.Url, secret } });
        Assert.True(made.Status == HttpStatusCode.Created, made.Body.ToString());
    }

    private async Task MoveAsync(TestEndpoint endpoint, string? secret = null)
    {
        var moved = await hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{_name}", hub.Administrator, new { webhook = new { url = endpoint.Url, secret } });
        Assert.True(moved.Status == HttpStatusCode.OK, moved.Body.ToString());
    }

    private async Task<string> AllowAsync(params SharedEvents[] events)
    {
        var token = await hub.One.LetInAsync($"partner-{_name}", Roles.Partner);
        await hub.One.ActivateAsync($"agreement-{_name}", Terms(events) with { Title = Guid.NewGuid().ToString(), Partner = new("Partner", [$"partner-{_name}"]), To = null });
        return token;
    }

    private Task BirthAsync(string record) => hub.Store.ArriveAsync(
        Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1") { Personal = new BirthPersonal(new Person("MARQUEUR-NOM", "MARQUEUR-PRENOM", BirthDate: PartialDate.Parse("2026-11-01")), []) }, $"{_name}/{record}"));

    private int _day;

    private Task ArriveAsync(params string[] records) => hub.Store.ArriveAsync(
        [.. records.Select(record => Event(new DeathRegistered(PartialDate.Parse($"{2000 + (++_day / 300)}-{1 + (_day % 300 / 28):00}-{1 + (_day % 300 % 28):00}")), $"{_name}/{record}"))]);

    private static Task<Received> NextAsync(TestEndpoint endpoint) => Eventually.Is(() => endpoint.Requests.FirstOrDefault()!, received => received is not null);

    private async Task<JsonElement> ShowAsync() => (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{_name}", hub.Administrator)).Body;

    private Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> PostAsync(string path, object body) => hub.One.AskAsync(HttpMethod.Post, $"{Path}{path}", hub.Administrator, body);

    public sealed class Hub : IAsyncLifetime, ILoggerProvider, ILogger
    {
        /// <summary>What the two nodes wrote to the log.</summary>
        internal ConcurrentQueue<string> Logged { get; } = new();

        internal HubStore Store { get; } = new();

        private readonly HubStore _elsewhere = new();

        internal TestAuthority Authority { get; } = new();

        internal AccessServer One { get; private set; } = null!;

        internal AccessServer Other { get; private set; } = null!;

        /// <summary>Another hub, without settings.</summary>
        internal AccessServer Public { get; private set; } = null!;

        internal string PublicAdministrator { get; private set; } = null!;

        internal string Administrator { get; private set; } = null!;

        internal static (string Key, string Value)[] Settings(TestAuthority authority) =>
        [
            ("Webhooks:AllowedNetworks", "127.0.0.1/32, ::1/128"), ("Webhooks:Origin", "hub.example"), ("Webhooks:Timeout", "00:00:05"), ("Webhooks:LongestWait", "00:00:01"),
            ("Webhooks:AlertAfter", "00:00:02"), ("Webhooks:Ca", authority.File), ("Logging:LogLevel:Intercommunalite.Hub.Feeds.Webhooks", "Information"),
        ];

        public async Task InitializeAsync()
        {
            await Store.InitializeAsync();
            One = await AccessServer.StartAsync(Store, Settings(Authority));
            Other = await AccessServer.StartAsync(Store, Settings(Authority));
            foreach (var node in new[] { One, Other }) node.Services.GetRequiredService<ILoggerFactory>().AddProvider(this);
            Administrator = await One.LetInAsync("administrator", Roles.Administrator);
            await _elsewhere.InitializeAsync();
            Public = await AccessServer.StartAsync(_elsewhere, ("Webhooks:Origin", "hub.example"));
            PublicAdministrator = await Public.LetInAsync("administrator", Roles.Administrator);
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Logged.Enqueue(formatter(state, exception));

        void IDisposable.Dispose()
        {
            // The nodes end by themselves.
        }

        public async Task DisposeAsync()
        {
            await One.DisposeAsync();
            await Other.DisposeAsync();
            await Public.DisposeAsync();
            Authority.Dispose();
            await Store.DisposeAsync();
            await _elsewhere.DisposeAsync();
        }
    }
}
