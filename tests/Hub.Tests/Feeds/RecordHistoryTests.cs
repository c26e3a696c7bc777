using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>What became of one record, for those who may see it, and of it what they may see.</summary>
public sealed class RecordHistoryTests : IAsyncLifetime
{
    private const string Record = "/api/v1/records/35085/civil-records/birth/2026/1";

    private readonly HubStore _hub = new();
    private AccessServer _server = null!;
    private string _administrator = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await AccessServer.StartAsync(_hub);
        _administrator = await _server.LetInAsync("administrator", Roles.Administrator);
        var child = new Person("MARQUEUR-NOM", "MARQUEUR-PRENOM");
        await _hub.ArriveAsync(
            Event(new BirthRegistered(PartialDate.Parse("2026-11-01"), "1", Tinteniac) { Personal = new BirthPersonal(child) }, "birth/2026/1", id: "registered"),
            Event(new DeathRegistered(PartialDate.Parse("2026-11-01")), "birth/2026/10", id: "another"),
            Event(new ActCorrected(ActKind.Birth, PartialDate.Parse("2026-11-05"), PartialDate.Parse("2026-11-02"), "1", Combourg), "birth/2026/1", id: "corrected"),
            Event(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-20")), "birth/2026/1", id: "annulled"));
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_a_record_that_was_corrected_and_annulled_When_an_administrator_looks_back_Then_each_event_says_what_it_changed_and_nobody_is_named()
    {
        var items = await ItemsAsync(Record, _administrator);

        Assert.Equal(["registered", "corrected", "annulled"], items.Select(Id));
        Assert.Equal(["", "correctedOn null → \"2026-11-05\", date \"2026-11-01\" → \"2026-11-02\", kind null → \"birth\", residenceCommune \"35337\" → \"35085\"", "annulledOn null → \"2026-11-20\""], items.Select(Changes));
        Assert.Equal(["held", null, null], items.Select(item => item.GetProperty("personal").GetString()));
        Assert.Equal([1, 3, 4], items.Select(item => item.GetProperty("number").GetInt64()));
        Assert.DoesNotContain("MARQUEUR", string.Concat(items), StringComparison.Ordinal);
        // By pages; what changed is still told against what was said before the page.
        var (_, first, _) = await _server.AskAsync(HttpMethod.Get, $"{Record}?limit=1", _administrator);
        Assert.Equal(["registered"], first.GetProperty("items").EnumerateArray().Select(Id));
        var rest = await ItemsAsync($"{Record}?after={first.GetProperty("next")}", _administrator);
        Assert.Equal(items.Skip(1).Select(item => item.GetRawText()), rest.Select(item => item.GetRawText()));

        await using var erase = _hub.Database.CreateCommand("DELETE FROM privacy.personal_data");
        await erase.ExecuteNonQueryAsync();
        Assert.Equal("gone", (await ItemsAsync(Record, _administrator))[0].GetProperty("personal").GetString());
        Assert.Equal(["records.read 35085/civil-records/birth/2026/1"], await _hub.RowsAsync("SELECT DISTINCT act || ' ' || subject FROM audit.entry WHERE act = 'records.read'"));
    }

    [Fact]
    public async Task Given_an_agreement_When_its_partner_looks_back_Then_it_sees_what_it_may_and_of_other_records_not_even_that_they_are()
    {
        var token = await _server.LetInAsync("partner", Roles.Partner);
        Assert.Equal(HttpStatusCode.Forbidden, (await _server.AskAsync(HttpMethod.Get, Record, token)).Status);
        await _server.ActivateAsync("some", Terms([new(Births, ["date"], ["child.lastName"]), new("fr.intercommunalite.civil-records.act-corrected.v1", ["date"])]) with { Title = "some", Partner = new("Partner", ["partner"]), Communes = ["35085"] });

        // Of what is not in the answer nothing is noted as sent.
        await ItemsAsync($"{Record}?after={(await _server.AskAsync(HttpMethod.Get, $"{Record}?limit=1", _administrator)).Body.GetProperty("next")}", token);
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner'"));

        var items = await ItemsAsync(Record, token);

        Assert.Equal(["""{"date":"2026-11-01","personal":{"child":{"lastName":"MARQUEUR-NOM"}}}""", """{"date":"2026-11-02"}"""], items.Select(item => item.GetProperty("event").GetProperty("data").GetRawText()));
        Assert.Equal("date \"2026-11-01\" → \"2026-11-02\"", Changes(items[1]));
        Assert.Equal(["held", null], items.Select(item => item.GetProperty("personal").GetString()));
        Assert.Equal(["1"], await _hub.RowsAsync("SELECT count(*) FROM privacy.disclosure WHERE recipient = 'partner'"));
        var withheld = await _server.AskAsync(HttpMethod.Get, "/api/v1/records/35085/civil-records/birth/2026/10", token);
        var none = await _server.AskAsync(HttpMethod.Get, "/api/v1/records/35085/civil-records/birth/2026/11", token);
        Assert.Equal((HttpStatusCode.NotFound, HttpStatusCode.NotFound), (withheld.Status, none.Status));
        Assert.Equal(none.Body.GetProperty("detail").GetString()!.Replace("/11", "/10", StringComparison.Ordinal), withheld.Body.GetProperty("detail").GetString());
    }

    [Fact]
    public async Task Given_agents_When_they_look_back_Then_those_of_the_commune_see_its_facts_and_others_are_refused()
    {
        using var own = await GetAsync("35085", Roles.CommuneAgent);
        using var other = await GetAsync("35337", Roles.CommuneAgent);
        using var epci = await GetAsync("35085", Roles.EpciAgent);

        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.Forbidden, HttpStatusCode.Forbidden), (own.StatusCode, other.StatusCode, epci.StatusCode));
        var shown = await own.Content.ReadAsStringAsync();
        Assert.DoesNotContain("MARQUEUR", shown, StringComparison.Ordinal);
        Assert.DoesNotContain("held", shown, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_event_When_its_record_is_asked_for_by_source_and_id_Then_it_is_the_same_and_of_others_nothing_is_told()
    {
        const string Asked = "/api/v1/records?source=urn:insee:commune:35085:test&id=";
        Assert.Equal(["registered", "corrected", "annulled"], (await ItemsAsync($"{Asked}corrected", _administrator)).Select(Id));
        Assert.Equal(["records.read 35085/civil-records/birth/2026/1"], await _hub.RowsAsync("SELECT DISTINCT act || ' ' || subject FROM audit.entry WHERE act = 'records.read'"));
        Assert.Equal(["urn:insee:commune:35085:test corrected"], await _hub.RowsAsync("SELECT (details::jsonb ->> 'source') || ' ' || (details::jsonb ->> 'id') FROM audit.entry WHERE act = 'records.read'"));
        var token = await _server.LetInAsync("partner", Roles.Partner);
        await _server.ActivateAsync("births", Terms([new(Births)]) with { Title = "births", Partner = new("Partner", ["partner"]), Communes = ["*"] });
        var (withheld, none) = (await _server.AskAsync(HttpMethod.Get, $"{Asked}another", token), await _server.AskAsync(HttpMethod.Get, $"{Asked}none", token));
        Assert.Equal((HttpStatusCode.NotFound, HttpStatusCode.NotFound), (withheld.Status, none.Status));
        Assert.Equal(none.Body.GetProperty("detail").GetString(), withheld.Body.GetProperty("detail").GetString());
        Assert.Equal(HttpStatusCode.BadRequest, (await _server.AskAsync(HttpMethod.Get, "/api/v1/records?source=x&id=none", _administrator)).Status);
    }

    [Theory]
    [InlineData("/api/v1/records/x/civil-records/birth/2026/1", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/records/35085/none/birth/2026/1", HttpStatusCode.NotFound)]
    [InlineData("/api/v1/records/35085/civil-records/%00", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/records/35085/civil-records/birth/2026/1?limit=0", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/records/35085/civil-records/birth/2026/1?after=x", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/records/35085/civil-records/birth/2026/1?after=%00", HttpStatusCode.BadRequest)]
    [InlineData("/api/v1/records?source=urn:insee:commune:35085:test&id=corrected&after=%00", HttpStatusCode.BadRequest)]
    public async Task Given_a_request_that_is_wrong_When_made_Then_a_problem_says_so(string path, HttpStatusCode expected) =>
        Assert.Equal(expected, (await _server.AskAsync(HttpMethod.Get, path, _administrator)).Status);

    private async Task<HttpResponseMessage> GetAsync(string commune, string role)
    {
        var client = $"{role}-{commune}";
        var token = await _server.LetInAsync(client, [commune], role);
        using var http = new HttpClient { DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
        return await http.GetAsync(new Uri(_server.Address, Record));
    }

    private async Task<List<JsonElement>> ItemsAsync(string path, string token)
    {
        var (status, body, _) = await _server.AskAsync(HttpMethod.Get, path, token);
        Assert.Equal(HttpStatusCode.OK, status);
        return [.. body.GetProperty("items").EnumerateArray()];
    }

    private static string Id(JsonElement item) => item.GetProperty("event").GetProperty("id").GetString()!;

    private static string Changes(JsonElement item) => string.Join(", ", item.GetProperty("changes").EnumerateArray()
        .Select(change => $"{change.GetProperty("field").GetString()} {change.GetProperty("before").GetRawText()} → {change.GetProperty("after").GetRawText()}").Order(StringComparer.Ordinal));
}
