using System.Globalization;
using System.Net;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Agreements;

public sealed class AgreementsApiTests(AgreementsApiTests.Server server) : IClassFixture<AgreementsApiTests.Server>
{
    private readonly AccessServer _server = server.Access;

    [Fact]
    public async Task Given_an_administrator_When_an_agreement_goes_through_its_life_Then_each_act_is_told_with_who_when_and_why_and_is_in_the_audit()
    {
        var (status, drafted, tag) = await AskAsync(HttpMethod.Post, "", new { id = "life", reason = "projet", terms = Terms() });
        Assert.Equal((HttpStatusCode.Created, "draft", "\"1\""), (status, drafted.GetProperty("state").GetString(), tag));
        await DoneAsync("life/activation", new { reason = "délibération rendue exécutoire", version = 1 }, "active");
        await DoneAsync("life/suspension", new { reason = "incident" }, "suspended");
        await DoneAsync("life/resumption", new { reason = "incident clos" }, "active");

        var (_, redrafted, newTag) = await AskAsync(HttpMethod.Put, "life", new { terms = Terms(new SharedEvents(Deaths)), reason = "avenant" }, "\"4\"");
        Assert.Equal((1, 2, "\"5\""), (redrafted.GetProperty("version").GetInt32(), redrafted.GetProperty("pendingVersion").GetInt32(), newTag));
        Assert.Equal(Births, redrafted.GetProperty("terms").GetProperty("events")[0].GetProperty("type").GetString());
        await DoneAsync("life/activation", new { reason = "avenant signé" }, "active");
        await DoneAsync("life/end", new { reason = "résiliation" }, "ended");

        var (_, shown, _) = await AskAsync(HttpMethod.Get, "life");
        Assert.Equal(
            ["drafted 1 projet", "activated 1 délibération rendue exécutoire", "suspended  incident", "resumed  incident clos", "drafted 2 avenant", "activated 2 avenant signé", "ended  résiliation"],
            shown.GetProperty("acts").EnumerateArray().Select(act => $"{act.GetProperty("act")} {(act.TryGetProperty("version", out var version) ? version : "")} {act.GetProperty("why")}"));
        Assert.All(shown.GetProperty("acts").EnumerateArray(), act => Assert.Equal("administrator", act.GetProperty("by").GetString()));
        Assert.Equal(2, shown.GetProperty("versions").GetArrayLength());
        Assert.Equal(
            ["agreements.drafted projet {\"version\":1}", "agreements.activated délibération rendue exécutoire {\"version\":1}", "agreements.suspended incident -", "agreements.resumed incident clos -", "agreements.drafted avenant {\"version\":2}", "agreements.activated avenant signé {\"version\":2}", "agreements.ended résiliation -"],
            await server.Hub.RowsAsync("SELECT act, why, details FROM audit.entry WHERE subject = 'life' AND who = 'administrator' ORDER BY seq"));
        // Nothing of it is among the territory's events.
        Assert.Equal(["0"], await server.Hub.RowsAsync("SELECT count(*) FROM hub.mt_events"));
    }

    [Fact]
    public async Task Given_changes_over_time_When_asked_for_a_time_Then_it_tells_what_was_in_force_then()
    {
        await AskAsync(HttpMethod.Post, "", new { id = "then", terms = Terms() with { Title = "Première" } });
        var before = _server.Now;
        await DoneAsync("then/activation", new { reason = "x" }, "active");
        var first = _server.Now;
        await AskAsync(HttpMethod.Put, "then", new { terms = Terms() with { Title = "Seconde" } }, "*");
        await DoneAsync("then/activation", new { reason = "x" }, "active");

        Assert.Equal("Première", (await AskAsync(HttpMethod.Get, $"then?asOf={Time(first)}")).Body.GetProperty("terms").GetProperty("title").GetString());
        Assert.DoesNotContain("then", await InForceAsync(before));
        Assert.Contains("then", await InForceAsync(first));
        Assert.DoesNotContain("then", await InForceAsync(first.AddYears(-2)));
        Assert.Equal(HttpStatusCode.BadRequest, (await AskAsync(HttpMethod.Get, "?asOf=yesterday")).Status);

        async Task<string[]> InForceAsync(DateTimeOffset time) =>
            [.. (await AskAsync(HttpMethod.Get, $"?asOf={Time(time)}")).Body.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("id").GetString()!)];
        static string Time(DateTimeOffset time) => Uri.EscapeDataString(time.ToString("O", CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task Given_a_draft_with_faults_When_it_is_posted_Then_every_one_is_named_and_nothing_is_made()
    {
        var faulty = JsonSerializer.SerializeToNode(new { id = "faulty", terms = Terms() }, ContractJson.Options)!;
        faulty["state"] = "active";
        faulty["terms"]!["version"] = 7;
        faulty["terms"]!["from"] = "tomorrow";
        faulty["terms"]!["events"]![0]!["all"] = true;
        faulty["terms"]!.AsObject().Remove("purpose");
        var (status, problem, _) = await AskAsync(HttpMethod.Post, "", faulty);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, status);
        Assert.Equal(["state", "terms.events[0].all", "terms.from", "terms.purpose", "terms.version"], Fields(problem));

        (status, problem, _) = await AskAsync(HttpMethod.Post, "", new { id = "faulty", terms = Terms(new SharedEvents(Births, ["nom"])) with { Communes = ["75056"] } });
        Assert.Equal(HttpStatusCode.UnprocessableEntity, status);
        Assert.Equal(["terms.communes[0]", "terms.events[0].data[0]"], Fields(problem));
        Assert.Equal(HttpStatusCode.NotFound, (await AskAsync(HttpMethod.Get, "faulty")).Status);
        Assert.Equal(["id"], Fields((await AskAsync(HttpMethod.Post, "", new { id = "../x", terms = Terms() })).Body));
        Assert.Equal(["reason"], Fields((await AskAsync(HttpMethod.Post, "life/end", new { })).Body));
        Assert.Equal(["state"], Fields((await AskAsync(HttpMethod.Post, "life/suspension", new { reason = "x", state = "active" })).Body));

        static IEnumerable<string> Fields(JsonElement problem) => problem.GetProperty("errors").EnumerateArray().Select(error => error.GetProperty("field").GetString()!).Order(StringComparer.Ordinal);
    }

    [Fact]
    public async Task Given_somebody_else_changed_it_meanwhile_When_it_is_changed_Then_it_is_refused()
    {
        await AskAsync(HttpMethod.Post, "", new { id = "both", terms = Terms() });
        Assert.Equal(HttpStatusCode.PreconditionRequired, (await AskAsync(HttpMethod.Put, "both", new { terms = Terms() })).Status);
        Assert.Equal(HttpStatusCode.OK, (await AskAsync(HttpMethod.Put, "both", new { terms = Terms() }, "\"1\"")).Status);
        Assert.Equal(HttpStatusCode.PreconditionFailed, (await AskAsync(HttpMethod.Put, "both", new { terms = Terms() }, "\"1\"")).Status);
        Assert.Equal(HttpStatusCode.PreconditionFailed, (await AskAsync(HttpMethod.Post, "both/activation", new { reason = "x" }, "\"1\"")).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync(HttpMethod.Post, "both/activation", new { reason = "x", version = 1 })).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync(HttpMethod.Post, "", new { id = "both", terms = Terms() })).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await AskAsync(HttpMethod.Post, "both/resumption", new { reason = "x" })).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await AskAsync(HttpMethod.Post, "neither/end", new { reason = "x" })).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await AskAsync(HttpMethod.Put, "neither", new { terms = Terms() }, "*")).Status);

        // Many at once: each revision is taken by one of them.
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => AskAsync(HttpMethod.Put, "both", new { terms = Terms() }, "\"2\"")));
        Assert.Equal(1, outcomes.Count(outcome => outcome.Status == HttpStatusCode.OK));
    }

    [Fact]
    public async Task Given_roles_When_agreements_are_read_or_changed_Then_each_may_what_its_role_allows_and_a_partner_sees_its_own_alone()
    {
        await AskAsync(HttpMethod.Post, "", new { id = "own", terms = Terms() with { Partner = new("Own", ["partner-of-own"]) } });
        var (officer, agent, partner) = (
            await _server.LetInAsync("officer", Roles.DataProtectionOfficer), await _server.LetInAsync("agent", Roles.EpciAgent), await _server.LetInAsync("partner-of-own", Roles.Partner));

        // A draft is not the partner's yet.
        Assert.Equal(HttpStatusCode.NotFound, (await AsAsync(partner, HttpMethod.Get, "/own")).Status);
        await DoneAsync("own/activation", new { reason = "x" }, "active");
        await AskAsync(HttpMethod.Post, "", new { id = "others", terms = Terms() with { Partner = new("Other", ["partner-of-other"]) } });
        await DoneAsync("others/activation", new { reason = "x" }, "active");
        await AskAsync(HttpMethod.Put, "own", new { terms = Terms() with { Partner = new("Own", ["partner-of-own"]), Title = "Négociation" } }, "*");

        var (_, own, _) = await AsAsync(partner, HttpMethod.Get, "/own");
        Assert.Equal("active", own.GetProperty("state").GetString());
        Assert.False(own.TryGetProperty("acts", out _));
        Assert.DoesNotContain("Négociation", own.GetRawText(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await AsAsync(partner, HttpMethod.Get, "/others")).Status);
        Assert.Equal(["own"], (await AsAsync(partner, HttpMethod.Get, "")).Body.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("id").GetString()));
        Assert.Equal(HttpStatusCode.OK, (await AsAsync(officer, HttpMethod.Get, "/own")).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await AsAsync(agent, HttpMethod.Get, "")).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await AsAsync(null, HttpMethod.Get, "")).Status);
        foreach (var token in (string[])[officer, agent, partner])
            Assert.Equal(HttpStatusCode.Forbidden, (await AsAsync(token, HttpMethod.Post, "/own/end", new { reason = "x" })).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await AsAsync(null, HttpMethod.Post, "/own/end", new { reason = "x" })).Status);
    }

    private async Task DoneAsync(string path, object body, string state)
    {
        var (status, done, _) = await AskAsync(HttpMethod.Post, path, body);
        Assert.Equal((HttpStatusCode.OK, state), (status, done.TryGetProperty("state", out var now) ? now.GetString() : done.GetRawText()));
    }

    private Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AskAsync(HttpMethod method, string path, object? body = null, string? ifMatch = null) =>
        _server.AskAsync(method, path.Length == 0 || path[0] == '?' ? $"/api/v1/agreements{path}" : $"/api/v1/agreements/{path}", server.Administrator, body, ifMatch);

    private Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AsAsync(string? token, HttpMethod method, string path, object? body = null) =>
        _server.AskAsync(method, $"/api/v1/agreements{path}", token, body);

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
        }

        public async Task DisposeAsync()
        {
            await Access.DisposeAsync();
            await Hub.DisposeAsync();
        }
    }
}
