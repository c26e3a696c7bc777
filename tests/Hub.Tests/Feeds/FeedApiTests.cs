using System.Net;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>The feed over HTTP: by pages, and as server-sent events.</summary>
public sealed class FeedApiTests(FeedApiTests.Server server) : IClassFixture<FeedApiTests.Server>
{
    [Fact]
    public async Task Given_events_When_read_by_pages_Then_each_comes_once_as_a_CloudEvent_with_what_is_allowed()
    {
        var (status, first, _) = await server.AskAsync("/api/v1/feed?limit=2", server.Administrator);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(["birth-1", "death-1"], Ids(first));
        Assert.False(first.GetProperty("caughtUp").GetBoolean());
        var rest = (await server.AskAsync($"/api/v1/feed?limit=2&after={first.GetProperty("next")}", server.Administrator)).Body;
        Assert.Equal(["invoice-1"], Ids(rest));
        Assert.True(rest.GetProperty("caughtUp").GetBoolean());
        Assert.Equal(rest.GetProperty("next").GetString(), rest.GetProperty("items")[0].GetProperty("cursor").GetString());
        Assert.Equal(["invoice-1"], Ids((await server.AskAsync("/api/v1/feed?fact=amount:100,200&types=fr.intercommunalite.payments.*,fr.intercommunalite.civil-records.*", server.Administrator)).Body));
        Assert.Equal(["death-1"], Ids((await server.AskAsync("/api/v1/feed?subjects=death/*&communes=35337", server.Administrator)).Body));

        var partner = (await server.AskAsync("/api/v1/feed", server.Partner)).Body.GetProperty("items");
        var birth = partner[0];
        Assert.Equal(1, partner.GetArrayLength());
        Assert.Equal(("1.0", "birth-1", "urn:insee:commune:35085:test", Births, "birth/1"), (Text("specversion"), Id(birth), Text("source"), Text("type"), Text("subject")));
        Assert.Equal("""{"date":"2026-11-01","personal":{"child":{"lastName":"MARQUEUR-É\"NOM"}}}""", birth.GetProperty("data").GetRawText());
        Assert.True(birth.GetProperty("recordedtime").TryGetDateTimeOffset(out _));

        string Text(string field) => birth.GetProperty(field).GetString()!;
    }

    [Theory]
    [InlineData("after=17", HttpStatusCode.Conflict, "cursor-too-old")]
    [InlineData("after=x", HttpStatusCode.BadRequest, "cursor-malformed")]
    [InlineData("since=yesterday", HttpStatusCode.BadRequest, null)]
    [InlineData("fromNow=true&since=2026-01-01", HttpStatusCode.BadRequest, null)]
    [InlineData("limit=0", HttpStatusCode.BadRequest, null)]
    [InlineData("fact=date", HttpStatusCode.BadRequest, null)]
    [InlineData("fact=none:1", HttpStatusCode.BadRequest, null)]
    [InlineData("types=%27", HttpStatusCode.BadRequest, null)]
    [InlineData("subjects=%00", HttpStatusCode.BadRequest, null)]
    [InlineData("types=fr.intercommunalite.civil-records.birth-registerd.v1", HttpStatusCode.BadRequest, "unknown-type")]
    [InlineData("types=fr.intercommunalite.schools.*,fr.intercommunalite.school.*", HttpStatusCode.BadRequest, "unknown-type")]
    [InlineData("type=fr.intercommunalite.schools.*", HttpStatusCode.BadRequest, null)]
    [InlineData("agreement=none", HttpStatusCode.Forbidden, null)]
    public async Task Given_a_request_that_is_wrong_When_asked_by_pages_or_as_a_stream_Then_a_problem_says_so(string query, HttpStatusCode expected, string? reason)
    {
        foreach (var accept in (string[])["application/json", "text/event-stream"])
        {
            using var answer = await server.GetAsync($"/api/v1/feed?{query}", server.Administrator, accept);
            Assert.Equal((expected, "application/problem+json"), (answer.StatusCode, answer.Content.Headers.ContentType?.MediaType));
            var problem = JsonElement.Parse(await answer.Content.ReadAsStringAsync());
            Assert.Equal(reason, problem.TryGetProperty("reason", out var told) ? told.GetString() : null);
            Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
        }
    }

    [Fact]
    public async Task Given_a_stream_of_server_sent_events_When_it_breaks_off_and_resumes_by_the_last_id_Then_it_goes_on_behind_it()
    {
        using var answer = await server.GetAsync("/api/v1/feed", server.Administrator, "text/event-stream");
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType?.MediaType);
        await using var stream = await answer.Content.ReadAsStreamAsync();
        var items = SseParser.Create(stream).EnumerateAsync().GetAsyncEnumerator();
        var first = await NextAsync(items);
        Assert.Equal(("event", "birth-1"), (first.EventType, Id(JsonElement.Parse(first.Data))));

        using var again = await server.GetAsync("/api/v1/feed?after=x", server.Administrator, "text/event-stream", first.EventId);
        await using var resumed = await again.Content.ReadAsStreamAsync();
        items = SseParser.Create(resumed).EnumerateAsync().GetAsyncEnumerator();
        Assert.Equal(["death-1", "invoice-1"], [Id(JsonElement.Parse((await NextAsync(items)).Data)), Id(JsonElement.Parse((await NextAsync(items)).Data))]);
        Assert.Equal("caught-up", (await NextAsync(items)).EventType);
    }

    [Fact]
    public async Task Given_a_stream_of_server_sent_events_When_its_agreement_ends_Then_it_ends_with_an_error_that_says_why()
    {
        using var answer = await server.GetAsync("/api/v1/feed", await server.AllowAsync("ending"), "text/event-stream");
        await using var stream = await answer.Content.ReadAsStreamAsync();
        var items = SseParser.Create(stream).EnumerateAsync().GetAsyncEnumerator();
        while ((await NextAsync(items)).EventType != "caught-up") continue;

        await server.Access.ChangeAsync("ending", Decide.End);

        var error = await NextAsync(items);
        Assert.Equal(("error", 403), (error.EventType, JsonElement.Parse(error.Data).GetProperty("status").GetInt32()));
        Assert.Contains("no agreement of this id is in force", JsonElement.Parse(error.Data).GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.False(await items.MoveNextAsync());
    }

    [Fact]
    public async Task Given_as_many_streams_as_a_client_may_have_When_it_opens_another_over_http_Then_it_is_refused_until_one_ends()
    {
        var token = await server.AllowAsync("many");
        var open = new List<HttpResponseMessage>();
        for (var stream = 0; stream < 16; stream++) open.Add(await server.GetAsync("/api/v1/feed", token, "text/event-stream"));
        Assert.All(open, answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        using (var refused = await server.GetAsync("/api/v1/feed", token, "text/event-stream")) Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        open[0].Dispose();
        await Eventually.Is(
            async () =>
            {
                using var answer = await server.GetAsync("/api/v1/feed", token, "text/event-stream");
                return answer.StatusCode;
            },
            status => status == HttpStatusCode.OK);
        open.ForEach(answer => answer.Dispose());
    }

    private static string[] Ids(JsonElement page) => [.. page.GetProperty("items").EnumerateArray().Select(Id)];

    private static string Id(JsonElement read) => read.GetProperty("id").GetString()!;

    private static async Task<SseItem<string>> NextAsync(IAsyncEnumerator<SseItem<string>> items)
    {
        Assert.True(await items.MoveNextAsync().AsTask().WaitAsync(Eventually.DefaultTimeout));
        return items.Current;
    }

    public sealed class Server : IAsyncLifetime, IDisposable
    {
        private readonly HubStore _hub = new();
        private readonly HttpClient _http = new();

        internal AccessServer Access { get; private set; } = null!;

        internal string Administrator { get; private set; } = null!;

        internal string Partner { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            await _hub.InitializeAsync();
            Access = await AccessServer.StartAsync(_hub);
            Administrator = await Access.LetInAsync("administrator", Roles.Administrator);
            var child = new Person("MARQUEUR-É\"NOM", "MARQUEUR-PRENOM");
            await _hub.ArriveAsync(
                Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac) { Personal = new BirthPersonal(child) }, "birth/1", id: "birth-1"),
                Event(new DeathRegistered(PartialDate.Parse("2026-11-01")), "death/1", Tinteniac, "death-1"),
                Event(new InvoiceIssued(Slug.Parse("canteen"), new Cents(100), new(2026, 9, 30)), "i/1", id: "invoice-1"));
            Partner = await AllowAsync("births");
            await Eventually.Is(() => AskAsync("/api/v1/feed", Administrator), answer => answer.Body.GetProperty("items").GetArrayLength() == 3);
        }

        public void Dispose() => _http.Dispose();

        public async Task DisposeAsync()
        {
            await Access.DisposeAsync();
            await _hub.DisposeAsync();
        }

        internal Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AskAsync(string path, string token) => Access.AskAsync(HttpMethod.Get, path, token);

        internal async Task<string> AllowAsync(string name)
        {
            var token = await Access.LetInAsync(name, Roles.Partner);
            await Access.ActivateAsync(name, Terms([new(Births, ["date"], ["child.lastName"])]) with { Title = name, Partner = new("Partner", [name]), Communes = ["*"] });
            return token;
        }

        internal Task<HttpResponseMessage> GetAsync(string path, string token, string accept, string? lastEventId = null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(Access.Address, path)) { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
            request.Headers.Accept.ParseAdd(accept);
            if (lastEventId is not null) request.Headers.Add("Last-Event-ID", lastEventId);
            return _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        }
    }
}
