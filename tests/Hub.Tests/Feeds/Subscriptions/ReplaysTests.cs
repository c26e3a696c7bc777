using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>A subscription is given events again, marked, beside what comes by itself.</summary>
public sealed class ReplaysTests(SubscriptionNodes hub) : IClassFixture<SubscriptionNodes>
{
    private const string Path = "/api/v1/admin/replays";

    private static int s_last;

    private readonly string _name = $"replayed-{Interlocked.Increment(ref s_last)}";

    [Fact]
    public async Task Given_events_that_were_done_When_those_of_a_record_are_replayed_Then_they_come_marked_in_order_beside_new_ones_and_it_is_known_how_far_that_is()
    {
        await using var reader = await DoneAsync("a", "b", "a", "c", "a");

        var begun = await BeginAsync(new { subscription = _name, reason = "perdu chez l'abonné", record = $"35085/civil-records/{_name}/a" });
        var id = begun.GetProperty("id").GetString()!;
        var given = new List<Delivery>();
        for (var count = 0; count < 3; count++)
        {
            given.Add(await reader.NextAsync());
            if (count == 0)
            {
                // Beside the replay: it does not wait for it, though it is of the same record.
                await ArriveAsync("a");
                var live = await reader.NextAsync();
                Assert.Equal(("", "a5"), (live.Replay, live.Event.Id.Split('/')[^1]));
                await reader.AcknowledgeAsync(live);
            }

            await reader.AcknowledgeAsync(given[^1]);
        }

        Assert.Equal(["a0", "a2", "a4"], given.Select(one => one.Event.Id.Split('/')[^1]));
        Assert.All(given, one => Assert.Equal(id, one.Replay));
        var ended = await Eventually.Is(() => ShowAsync(id), shown => shown.GetProperty("state").GetString() == "completed");
        Assert.Equal((100.0, 3, 3, 0), (ended.GetProperty("percent").GetDouble(), Number(ended, "found"), Number(ended, "delivered"), Number(ended, "waiting")));
        Assert.Equal(["replays.begun perdu chez l'abonné"], await hub.Store.RowsAsync($"SELECT act || ' ' || why FROM audit.entry WHERE subject = '{id}'"));
        Assert.Equal(HttpStatusCode.Conflict, (await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{id}", hub.Administrator)).Status);
    }

    [Fact]
    public async Task Given_many_events_When_they_are_replayed_at_a_rate_Then_no_more_than_that_come_and_cancelled_no_more_at_all()
    {
        await using var reader = await DoneAsync([.. Enumerable.Range(0, 60).Select(number => $"r{number}")]);
        var clock = Stopwatch.StartNew();

        var id = (await BeginAsync(new { subscription = _name, reason = "essai", rate = 20 })).GetProperty("id").GetString()!;
        var given = 0;
        for (; given < 25; given++) await reader.AcknowledgeAsync(await reader.NextAsync());

        // 20 at once at most, the others by the second.
        Assert.True(given <= (clock.Elapsed.TotalSeconds * 20) + 1, $"{given} in {clock.Elapsed}");
        var cancelled = await hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{id}", hub.Administrator, new { reason = "trop tôt" });
        Assert.Equal([$"{_name} trop tôt"], await hub.Store.RowsAsync($"SELECT (details::jsonb ->> 'subscription') || ' ' || why FROM audit.entry WHERE act = 'replays.cancelled' AND subject = '{id}'"));
        Assert.Equal((HttpStatusCode.OK, "cancelled"), (cancelled.Status, cancelled.Body.GetProperty("state").GetString()));
        Assert.InRange(Number(cancelled.Body, "delivered"), 25, 59);
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE replay = '{id}'"));
        await ArriveAsync("last");
        Delivery next;
        // What was on its way is still given, and is no longer to be acknowledged.
        while ((next = await reader.NextAsync()).Replay == id) Assert.Equal(0, await reader.AcknowledgeAsync(next));
        Assert.Equal("last", next.Event.Subject.Split('/')[^1]);
    }

    [Fact]
    public async Task Given_a_replay_of_more_than_a_reader_can_take_When_something_new_comes_Then_it_comes_next()
    {
        await using var reader = await DoneAsync([.. Enumerable.Range(0, 40).Select(number => $"r{number}")]);
        await reader.DisposeAsync();
        await using var slow = new PullReader(hub.One, _name, hub.Administrator, 1);
        await BeginAsync(new { subscription = _name, reason = "essai", rate = 1000 });
        var first = await slow.NextAsync();
        await Eventually.Is(async () => (await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.delivery WHERE subscription = '{_name}'"))[0], waiting => waiting == "40");

        await ArriveAsync("new");
        var end = long.Parse((await hub.Store.RowsAsync("SELECT max(seq_id) FROM hub.mt_events"))[0], System.Globalization.CultureInfo.InvariantCulture);
        await Eventually.Is(() => hub.One.Services.GetRequiredService<Positions>().HighWater, high => high >= end);
        await slow.AcknowledgeAsync(first);

        Assert.Equal("new", (await slow.NextAsync()).Event.Subject.Split('/')[^1]);
    }

    [Fact]
    public async Task Given_a_period_types_and_communes_When_replayed_Then_it_gives_what_falls_under_them_of_what_the_subscription_may_have()
    {
        var partner = $"partner-{_name}";
        var token = await hub.One.LetInAsync(partner, Roles.Partner);
        await hub.One.ActivateAsync(partner, Terms([new(Deaths, ["date"])]) with { Title = partner, Partner = new("Partner", [partner]), Communes = ["*"], To = null });
        Assert.Equal(HttpStatusCode.Created, (await hub.One.AskAsync(
            HttpMethod.Post, "/api/v1/subscriptions", token, new { name = _name, start = "now", filter = new { subjects = new[] { $"{_name}/*" } } })).Status);
        await using var reader = new PullReader(hub.One, _name, token);
        await hub.Store.ArriveAsync(
            Event(new DeathRegistered(PartialDate.Parse("2026-11-02"), "1"), $"{_name}/a", Combourg, $"{_name}/old"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-02"), "1"), $"{_name}/b", Tinteniac, $"{_name}/elsewhere"),
            Event(new BirthRegistered(PartialDate.Parse("2026-11-02"), "1"), $"{_name}/c", Combourg, $"{_name}/withheld"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-02"), "1"), $"other-{_name}", Combourg, $"{_name}/unasked"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-02"), "1"), $"{_name}/d", Combourg, $"{_name}/new"));
        await reader.AcknowledgeAsync([.. await reader.NextAsync(3)]);
        await RunAsync($"UPDATE hub.mt_events SET timestamp = timestamp - interval '3 d' WHERE seq_id <= (SELECT seq_id FROM hub.mt_events WHERE headers ->> 'id' = '{_name}/old')");
        var today = DateTimeOffset.UtcNow.AddDays(-1).ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);

        var dry = await hub.One.AskAsync(HttpMethod.Post, $"{Path}?dryRun=true", hub.Administrator, new { subscription = _name, reason = "x", from = today });
        Assert.Equal((HttpStatusCode.OK, 2), (dry.Status, Number(dry.Body, "events")));
        await BeginAsync(new { subscription = _name, reason = "x", from = today, communes = new[] { "35085" }, types = new[] { "fr.intercommunalite.civil-records.*" } });

        var delivery = await reader.NextAsync();
        Assert.Equal(($"{_name}/new", """{"date":"2026-11-02"}"""), (delivery.Event.Id, delivery.Event.Data));
        await reader.AcknowledgeAsync(delivery);
        var id = delivery.Replay;
        await Eventually.Is(() => ShowAsync(id), shown => shown.GetProperty("state").GetString() == "completed" && Number(shown, "delivered") == 1);
    }

    [Fact]
    public async Task Given_a_replay_of_which_one_fails_When_it_is_parked_Then_the_rest_goes_on_and_it_can_be_given_again()
    {
        await using var reader = await DoneAsync("a", "b", "a");
        Assert.Equal(HttpStatusCode.OK, (await hub.One.AskAsync(HttpMethod.Patch, $"/api/v1/subscriptions/{_name}", hub.Administrator, new { maxAttempts = 1 })).Status);
        var id = (await BeginAsync(new { subscription = _name, reason = "x" })).GetProperty("id").GetString()!;

        foreach (var one in await reader.NextAsync(2))
        {
            if (one.Event.Subject.EndsWith("/a", StringComparison.Ordinal)) Assert.True(await reader.RejectAsync(one, "x"));
            else await reader.AcknowledgeAsync(one);
        }

        var parked = await Eventually.Is(() => ShowAsync(id), shown => Number(shown, "parked") == 2 && shown.GetProperty("state").GetString() == "completed");
        Assert.Equal(1, Number(parked, "delivered"));
        await ArriveAsync("a");
        var live = await reader.NextAsync();
        Assert.Equal("", live.Replay);
        await reader.AcknowledgeAsync(live);
        Assert.Equal(HttpStatusCode.OK, (await hub.One.AskAsync(HttpMethod.Post, $"/api/v1/subscriptions/{_name}/parked/replay", hub.Administrator, new { all = true })).Status);
        for (var again = 0; again < 2; again++)
        {
            var next = await reader.NextAsync();
            Assert.Equal(id, next.Replay);
            await reader.AcknowledgeAsync(next);
        }
    }

    [Fact]
    public async Task Given_a_replay_of_which_as_many_are_parked_as_may_be_Then_it_alone_finds_no_more_until_some_are_decided_on()
    {
        await using var node = await AccessServer.StartAsync(hub.Store, ("Subscriptions:MostParked", "2"), ("Subscriptions:Window", "10"));
        await using (await DoneAsync([.. Enumerable.Range(0, 30).Select(number => $"r{number}")]))
            Assert.Equal(HttpStatusCode.OK, (await hub.One.AskAsync(HttpMethod.Patch, $"/api/v1/subscriptions/{_name}", hub.Administrator, new { maxAttempts = 1 })).Status);
        var id = (await BeginAsync(new { subscription = _name, reason = "x", rate = 10_000 })).GetProperty("id").GetString()!;

        await using var reader = new PullReader(node, _name, hub.Administrator, 1);
        var given = 0;
        // What had been looked up before is given still.
        for (; Number(await ShowAsync(id), "parked") < 2 || Number(await ShowAsync(id), "waiting") > 0; given++) Assert.True(await reader.RejectAsync(await reader.NextAsync(), "non"));
        Assert.InRange(given, 2, 2 + 10);
        await ArriveAsync("new");
        var live = await reader.NextAsync();

        Assert.Equal(("", "new"), (live.Replay, live.Event.Subject.Split('/')[^1]));
        await reader.AcknowledgeAsync(live);
        var shown = (await node.AskAsync(HttpMethod.Get, $"/api/v1/subscriptions/{_name}", hub.Administrator)).Body;
        Assert.Equal(("active", given), (shown.GetProperty("state").GetString(), Number(shown, "parked")));
        Assert.Equal(("running", given), ((await ShowAsync(id)).GetProperty("state").GetString(), Number(await ShowAsync(id), "found")));
        Assert.Equal(HttpStatusCode.OK, (await node.AskAsync(HttpMethod.Post, $"/api/v1/subscriptions/{_name}/parked/discard", hub.Administrator, new { all = true, reason = "x" })).Status);
        for (; given < 30; given++) await reader.AcknowledgeAsync(await reader.NextAsync());
        await Eventually.Is(() => ShowAsync(id), now => now.GetProperty("state").GetString() == "completed");
    }

    [Theory]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"\"}", 422, "reason")]
    [InlineData("{\"subscription\":\"none-such\",\"reason\":\"x\"}", 404, "subscription")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"from\":\"yesterday\"}", 422, "from")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"from\":\"2026-02-01\",\"to\":\"2026-01-01\"}", 422, "from")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"to\":\"2026-13-01\"}", 422, "to")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"types\":[\"'\"]}", 422, "types")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"types\":[null]}", 422, "types")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"types\":[\"fr.intercommunalite.civil-records.*\",\"fr.none.*\"]}", 422, "there is no type that begins with")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"communes\":[\"Combourg\"]}", 422, "communes")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"record\":\"a\"}", 422, "record")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"record\":\"birth/2026/0001\"}", 422, "commune/domain/subject")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"record\":\"a/b/\\u0000\"}", 422, "record")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"rate\":0}", 422, "rate")]
    [InlineData("{\"subscription\":\"NAME\",\"reason\":\"x\",\"record\":\"35085/none/a\"}", 422, "record")]
    public async Task Given_a_replay_that_cannot_be_When_asked_for_Then_the_answer_says_what_is_wrong(string body, int status, string named)
    {
        await hub.CreateAsync(new { name = _name, start = "now" });

        var answer = await hub.One.AskAsync(HttpMethod.Post, Path, hub.Administrator, JsonElement.Parse(body.Replace("NAME", _name, StringComparison.Ordinal)));

        Assert.Equal(status, (int)answer.Status);
        Assert.Contains(named, answer.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.replay WHERE subscription = '{_name}'"));
    }

    [Fact]
    public async Task Given_a_replay_When_its_subscription_is_deleted_Then_it_is_gone_and_others_than_administrators_have_none()
    {
        await using (await DoneAsync("a")) await BeginAsync(new { subscription = _name, reason = "x" });
        var partner = await hub.One.LetInAsync($"partner-{_name}", Roles.Partner);
        Assert.Equal(HttpStatusCode.Forbidden, (await hub.One.AskAsync(HttpMethod.Get, Path, partner)).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await hub.One.AskAsync(HttpMethod.Delete, $"/api/v1/subscriptions/{_name}", hub.Administrator)).Status);
        Assert.Equal(["0"], await hub.Store.RowsAsync($"SELECT count(*) FROM feeds.replay WHERE subscription = '{_name}'"));
        Assert.Equal(HttpStatusCode.NotFound, (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/x%20y", hub.Administrator)).Status);
    }

    // The events of the test's own subscription, all acknowledged; each has its record and its number as the end of its id.
    private async Task<PullReader> DoneAsync(params string[] records)
    {
        await hub.CreateAsync(new { name = _name, start = "now", filter = new { subjects = new[] { $"{_name}/*" } } });
        await ArriveAsync(records);
        var reader = new PullReader(hub.One, _name, hub.Administrator);
        for (var done = 0; done < records.Length; done++) await reader.AcknowledgeAsync(await reader.NextAsync());
        return reader;
    }

    private int _arrived;

    private Task ArriveAsync(params string[] records) => hub.Store.ArriveAsync(
        [.. records.Select(record => Event(new DeathRegistered(PartialDate.Parse("2026-11-02")), $"{_name}/{record}", id: $"{_name}/{record}{_arrived++}"))]);

    private async Task<JsonElement> BeginAsync(object asked)
    {
        var answer = await hub.One.AskAsync(HttpMethod.Post, Path, hub.Administrator, asked);
        Assert.Equal(HttpStatusCode.Created, answer.Status);
        return answer.Body;
    }

    private async Task<JsonElement> ShowAsync(string id) => (await hub.One.AskAsync(HttpMethod.Get, $"{Path}/{id}", hub.Administrator)).Body;

    private static int Number(JsonElement shown, string field) => shown.GetProperty(field).GetInt32();

    private async Task RunAsync(string sql)
    {
        await using var command = hub.Store.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
