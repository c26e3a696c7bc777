using System.Globalization;
using System.Net;
using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Feeds.Subscriptions;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Feeds.Subscriptions;

/// <summary>Durable subscriptions as they are made, shown and decided on: by whom, how many, from where on.</summary>
public sealed class SubscriptionsApiTests(SubscriptionNodes nodes) : SubscriptionScenario(nodes), IClassFixture<SubscriptionNodes>
{
    [Fact]
    public async Task Given_a_subscription_Then_for_another_client_there_is_none()
    {
        await CreateAsync();
        await ArriveAsync("a");
        var partner = await AllowAsync($"partner-{Name}", new SharedEvents(Deaths));
        await using var own = new PullReader(Hub.One, Name, Hub.Administrator);
        var delivery = await own.NextAsync();

        await using (var reader = new PullReader(Hub.One, Name, partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using (var reader = new PullReader(Hub.One, "there-is-none", partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using (var reader = new PullReader(Hub.One, "no\0name", partner)) Assert.Equal(StatusCode.NotFound, (await reader.EndedAsync()).StatusCode);
        await using var other = new PullReader(Hub.One, Name, partner);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => other.AcknowledgeAsync(delivery))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => other.RejectAsync(delivery, "x"))).StatusCode);
        foreach (var (method, path) in new[] { (HttpMethod.Get, ""), (HttpMethod.Get, "/parked"), (HttpMethod.Delete, "") })
            Assert.Equal(HttpStatusCode.NotFound, (await Hub.One.AskAsync(method, $"{Path}/{Name}{path}", partner)).Status);
        foreach (var (path, body) in new (string, object)[] { ("/suspension", new { reason = "x" }), ("/resumption", new { reason = "x" }), ("/parked/replay", new { all = true }), ("/parked/discard", new { all = true, reason = "x" }) })
            Assert.Equal(HttpStatusCode.NotFound, (await Hub.One.AskAsync(HttpMethod.Post, $"{Path}/{Name}{path}", partner, body)).Status);
        Assert.DoesNotContain(Name, (await Hub.One.AskAsync(HttpMethod.Get, Path, partner)).Body.ToString().Replace($"partner-{Name}", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal(1, await own.AcknowledgeAsync(delivery));
        // An agent has no subscriptions at all.
        Assert.Equal(HttpStatusCode.Forbidden, (await Hub.One.AskAsync(HttpMethod.Get, Path, await Hub.One.LetInAsync($"agent-{Name}", Roles.EpciAgent))).Status);
    }

    [Fact]
    public async Task Given_places_to_begin_at_When_subscriptions_are_made_Then_each_begins_there()
    {
        await ArriveAsync("a");
        var mine = new ReadRequest { Filter = new Filter { Subjects = { $"{Name}/*" } } };
        var after = (await Eventually.Is(() => Hub.One.Feed.ReadAsync(mine, AccessServer.Headers(Hub.Administrator)).ResponseAsync, page => page.Events.Count == 1)).Events[0].Cursor;
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
            HttpStatusCode.Created, (await Hub.One.AskAsync(HttpMethod.Post, Path, Hub.Administrator, new { name = $"{Name}-{kind}", start, filter = Mine() })).Status);

        async Task<IEnumerable<string>> FirstAsync(string kind, int count)
        {
            await using var reader = new PullReader(Hub.One, $"{Name}-{kind}", Hub.Administrator);
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
        var answer = await Hub.One.AskAsync(HttpMethod.Post, Path, Hub.Administrator, JsonElement.Parse(body));

        Assert.Equal(status, (int)answer.Status);
        Assert.Contains(named, answer.Body.ToString(), StringComparison.Ordinal);
        Assert.Equal(["0"], await Hub.Store.RowsAsync("SELECT count(*) FROM feeds.subscription WHERE name = 'x'"));
    }

    [Theory]
    [InlineData("parked")]
    [InlineData("parked/replay")]
    [InlineData("parked/discard")]
    public async Task Given_a_replay_that_is_no_text_When_something_of_it_is_decided_on_Then_the_answer_says_what_is_wrong(string path)
    {
        await CreateAsync();

        var answer = await PostAsync($"{Name}/{path}", new { cursor = "x", replay = "\0", reason = "x" });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.Status);
        Assert.Equal("replay", answer.Body.GetProperty("errors")[0].GetProperty("field").GetString());
    }

    [Fact]
    public async Task Given_a_dry_run_When_something_would_be_changed_Then_nothing_is()
    {
        await ArriveAsync("a");
        var made = await PostAsync("?dryRun=true", new { name = Name, start = "beginning" });
        Assert.Equal(HttpStatusCode.OK, made.Status);
        // All that is stored is still to come.
        Assert.Equal(await Hub.Store.RowsAsync("SELECT max(seq_id) FROM hub.mt_events"), [made.Body.GetProperty("lag").ToString()]);
        Assert.Equal(HttpStatusCode.NotFound, (await Hub.One.AskAsync(HttpMethod.Get, $"{Path}/{Name}", Hub.Administrator)).Status);
        await CreateAsync();
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync("", new { name = Name, start = "now" })).Status);
        var would = (await PostAsync($"{Name}/suspension?dryRun=true", new { reason = "maintenance" })).Body;
        Assert.Equal(("suspended", "maintenance"), (would.GetProperty("state").GetString(), would.GetProperty("reason").GetString()));
        Assert.Equal((3, 5), Limits((await Hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{Name}?dryRun=true", Hub.Administrator, new { maxAttempts = 3, ackTimeoutSeconds = 5 })).Body));
        Assert.Equal((10, 60), Limits(await ShowAsync()));
        Assert.Equal(HttpStatusCode.NoContent, (await Hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{Name}?dryRun=true", Hub.Administrator)).Status);
        Assert.Equal("active", (await ShowAsync()).GetProperty("state").GetString());
        Assert.Equal((3, 5), Limits((await Hub.One.AskAsync(HttpMethod.Patch, $"{Path}/{Name}", Hub.Administrator, new { maxAttempts = 3, ackTimeoutSeconds = 5 })).Body));
        Assert.Equal("suspended", (await PostAsync($"{Name}/suspension", new { reason = "maintenance" })).Body.GetProperty("state").GetString());
        would = (await PostAsync($"{Name}/resumption?dryRun=true", new { reason = "terminé" })).Body;
        Assert.Equal("active", would.GetProperty("state").GetString());
        Assert.False(would.TryGetProperty("reason", out _));
        Assert.Equal("suspended", (await ShowAsync()).GetProperty("state").GetString());
        Assert.Equal(["subscriptions.created", "subscriptions.changed", "subscriptions.suspended"], await Hub.Store.RowsAsync($"SELECT act FROM audit.entry WHERE subject = '{Name}' ORDER BY seq"));

        static (int, int) Limits(JsonElement shown) => (shown.GetProperty("maxAttempts").GetInt32(), shown.GetProperty("ackTimeoutSeconds").GetInt32());
    }

    [Fact]
    public async Task Given_a_subscription_that_an_administrator_suspended_Then_its_partner_does_not_resume_it_and_its_own_suspension_it_does()
    {
        var partner = await AllowAsync($"partner-{Name}", new SharedEvents(Deaths));
        Assert.Equal(HttpStatusCode.Created, (await AskAsync(partner, "", new { name = Name, start = "now", filter = Mine(), reason = "repas de la cantine" })).Status);

        Assert.Equal(HttpStatusCode.OK, (await AskAsync(partner, "/suspension", new { reason = "maintenance" })).Status);
        Assert.Equal("active", (await AskAsync(partner, "/resumption", new { reason = "terminé" })).Body.GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(Hub.Administrator, "/suspension", new { reason = "trop de refus" })).Status);

        var refused = await AskAsync(partner, "/resumption", new { reason = "terminé" });
        Assert.Equal(HttpStatusCode.Conflict, refused.Status);
        Assert.Contains("administrator", refused.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        // Nor by making the suspension its own first.
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync(partner, "/suspension", new { reason = "à nous" })).Status);
        // Nor by making it anew.
        foreach (var query in (string[])["?dryRun=true", ""])
            Assert.Equal(HttpStatusCode.Conflict, (await Hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{Name}{query}", partner)).Status);
        var shown = await ShowAsync();
        Assert.Equal(("suspended", "trop de refus", "administrator"), (shown.GetProperty("state").GetString(), shown.GetProperty("reason").GetString(), shown.GetProperty("suspendedBy").GetString()));
        Assert.Equal("active", (await AskAsync(Hub.Administrator, "/resumption", new { reason = "corrigé" })).Body.GetProperty("state").GetString());
        Assert.Equal(HttpStatusCode.NoContent, (await Hub.One.AskAsync(HttpMethod.Delete, $"{Path}/{Name}", partner)).Status);
        Assert.Equal(
            [$"repas de la cantine pull partner-{Name}"],
            await Hub.Store.RowsAsync($"SELECT why, details::jsonb ->> 'kind', details::jsonb ->> 'agreement' FROM audit.entry WHERE subject = '{Name}' AND act = 'subscriptions.created'"));

        Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AskAsync(string who, string path, object body) =>
            Hub.One.AskAsync(HttpMethod.Post, path.Length == 0 ? Path : $"{Path}/{Name}{path}", who, body);
    }

    [Fact]
    public async Task Given_a_client_with_as_many_subscriptions_as_it_may_have_Then_no_other_one_is_made_also_at_the_same_time()
    {
        await using var node = await AccessServer.StartAsync(Hub.Store, ("Feed:SubscriptionsPerClient", "2"));
        var partner = await AllowAsync($"partner-{Name}", new SharedEvents(Deaths));

        var made = await Task.WhenAll(Enumerable.Range(0, 5).Select(MakeAsync));

        Assert.Equal(2, made.Count(one => one.Status == HttpStatusCode.Created));
        Assert.All(made.Where(one => one.Status != HttpStatusCode.Created), one =>
        {
            Assert.Equal(HttpStatusCode.Conflict, one.Status);
            Assert.Contains("Feed__SubscriptionsPerClient", one.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        });
        // Others may.
        Assert.Equal(HttpStatusCode.OK, (await PostAsync("?dryRun=true", new { name = Name, start = "now" })).Status);

        // One after the other: whoever is told that another one is being made asks again.
        async Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> MakeAsync(int number) => await Eventually.Is(
            () => node.AskAsync(HttpMethod.Post, Path, partner, new { name = $"{Name}-{number}", start = "now" }), answer => answer.Status != HttpStatusCode.TooManyRequests);
    }

    [Fact]
    public async Task Given_a_node_with_few_connections_When_more_calls_than_those_make_subscriptions_or_replay_what_is_parked_Then_each_is_answered()
    {
        const int Connections = 8;
        await using var node = await AccessServer.StartAsync(
            Hub.Store, ("ConnectionStrings:Hub", new NpgsqlConnectionStringBuilder(Hub.Store.ConnectionString) { MaxPoolSize = Connections, ApplicationName = Name, Timeout = 5 }.ConnectionString));
        await CreateAsync();
        await ArriveAsync("a", "a");
        await using (var reader = new PullReader(Hub.One, Name, Hub.Administrator))
        {
            await PostAsync($"{Name}/parked", new { cursor = (await reader.NextAsync()).Event.Cursor, reason = "x" });
        }

        var last = (await Eventually.Is(ParkedAsync, parked => parked.Count == 2))[1].GetProperty("cursor").GetString();

        var made = await AskAsync(Path + "?dryRun=true", new { name = $"{Name}-made", start = "now" });
        var replayed = await AskAsync($"{Path}/{Name}/parked/replay", new { cursor = last });

        Assert.Contains(HttpStatusCode.OK, made);
        Assert.All(made, status => Assert.True(status is HttpStatusCode.OK or HttpStatusCode.TooManyRequests, $"{status}"));
        Assert.All(replayed, status => Assert.Equal(HttpStatusCode.Conflict, status));

        async Task<HttpStatusCode[]> AskAsync(string path, object body) =>
            await Task.WhenAll(Enumerable.Range(0, 4 * Connections).Select(async _ => (await node.AskAsync(HttpMethod.Post, path, Hub.Administrator, body)).Status));
    }

    [Fact]
    public async Task Given_a_client_of_which_one_is_being_made_When_it_makes_another_Then_it_is_told_at_once_to_ask_again()
    {
        await using var connection = await Hub.Store.Database.OpenConnectionAsync();
        await using (await connection.BeginTransactionAsync())
        {
            Assert.NotNull(await Subscription.CountAsync(connection, "administrator", default));
            Assert.Equal(HttpStatusCode.TooManyRequests, (await PostAsync("", new { name = Name, start = "now" })).Status);
        }

        await CreateAsync();
    }

    [Fact]
    public async Task Given_subscriptions_When_they_are_measured_Then_lag_and_what_is_not_done_are_there()
    {
        await CreateAsync();
        await ArriveAsync("a", "b", "c");
        await using var reader = new PullReader(Hub.One, Name, Hub.Administrator, 1);
        await reader.NextAsync();

        var states = Hub.One.Services.GetRequiredService<SubscriptionStates>();
        var state = (await states.NowAsync(Name, default))[Name];

        Assert.Equal((3L, 1L, 0L), (state.Lag, state.Unacknowledged, state.Parked));
        Assert.NotNull(state.OldestUnacknowledged);
        var shown = await ShowAsync();
        Assert.Equal((3, 1), (shown.GetProperty("lag").GetInt32(), shown.GetProperty("unacknowledged").GetInt32()));
    }
}
