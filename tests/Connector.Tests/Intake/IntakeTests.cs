using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Tests.Intake;

public sealed class IntakeTests : IDisposable
{
    private const string Path = "/communes/35085/events";

    private readonly TemporaryFolder _data = new();
    private readonly ConnectorApp _app;

    public IntakeTests() => _app = ConnectorApp.Start(_data.FullPath, "35085,35238");

    public void Dispose()
    {
        _app.Dispose();
        _data.Dispose();
    }

    [Fact]
    public async Task Given_an_event_When_it_is_posted_twice_Then_both_answers_give_its_one_position()
    {
        var first = await AcceptedAsync(SampleEvents.Json("1"));
        var second = await AcceptedAsync(SampleEvents.Json("1"));

        Assert.Equal("""{"id":"1","position":1,"duplicate":false}""", Assert.Single(first).GetRawText());
        Assert.Equal("""{"id":"1","position":1,"duplicate":true}""", Assert.Single(second).GetRawText());
        Assert.Equal(1, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_a_batch_When_it_is_posted_Then_the_journal_holds_it_in_order_and_tells_so()
    {
        var posted = await AcceptedAsync($"[{SampleEvents.Json("a")},{SampleEvents.Json("b")},{SampleEvents.Json("a")}]", CloudEvent.BatchMediaType);

        Assert.Equal([1, 2, 1], posted.Select(place => place.GetProperty("position").GetInt64()));
        var journal = await _app.GetAsync("/communes/35085/journal");
        Assert.Equal(_app.Journal("35085").Id, journal.GetProperty("journal").GetGuid());
        Assert.Equal(2, journal.GetProperty("lastPosition").GetInt64());
        Assert.Equal(0, journal.GetProperty("publishedThrough").GetInt64());
        Assert.Equal(0, journal.GetProperty("receivedThrough").GetInt64());
        Assert.Equal(JsonValueKind.String, journal.GetProperty("oldestUnreceivedAt").ValueKind);
        var stored = _app.Events("35085")[1];
        Assert.Equal(2, stored.GetProperty("position").GetInt64());
        Assert.Equal(_app.Journal("35085").Id, stored.GetProperty("journal").GetGuid());
    }

    [Fact]
    public async Task Given_a_batch_with_one_bad_event_When_it_is_posted_Then_nothing_is_accepted_and_the_bad_one_is_named()
    {
        var bad = SampleEvents.Json("2", json => json["data"]!.AsObject().Remove("date"));

        var errors = await RefusedAsync($"[{SampleEvents.Json("1")},{bad}]", CloudEvent.BatchMediaType);

        Assert.Equal("""{"index":1,"field":"data.date","reason":"missing"}""", Assert.Single(errors).GetRawText());
        Assert.Equal(0, _app.Journal("35085").Last);
    }

    public static TheoryData<string, string, string> Refusals => new()
    {
        { "unknown field", "data.weight", "unknown field" },
        { "unknown attribute", "priority", "unknown field" },
        { "wrong type", "data.actNumber", "text expected" },
        { "missing field", "data.date", "missing" },
        { "missing attribute", "id", "missing" },
        { "bad date", "data.date", "a date (2026-11-24), a month (2026-11) or a year (2026) expected" },
        { "another commune", "source", "another commune's source: urn:insee:commune:35085 expected" },
        { "name outside personal", "data.lastName", "unknown field; whatever names or locates a person belongs in data.personal" },
        { "unknown type", "type", "not a type of the catalogue" },
        { "journal", "journal", "set by the connector, not by the sender" },
        { "position", "position", "set by the connector, not by the sender" },
        { "time without offset", "time", "a date and time with its offset" },
    };

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task Given_a_fault_When_the_event_is_posted_Then_it_is_refused_with_field_and_reason(string fault, string field, string reason)
    {
        var errors = await RefusedAsync(SampleEvents.Json("1", json => Break(json, fault)));

        var error = Assert.Single(errors);
        Assert.Equal(0, error.GetProperty("index").GetInt32());
        Assert.Equal(field, error.GetProperty("field").GetString());
        Assert.StartsWith(reason, error.GetProperty("reason").GetString(), StringComparison.Ordinal);
        Assert.Equal(0, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_several_faults_When_the_event_is_posted_Then_each_is_named_and_no_value_is_repeated()
    {
        using var response = await _app.PostEventAsync(Path, SampleEvents.Json("1", json =>
        {
            Break(json, "missing field");
            Break(json, "name outside personal");
            Break(json, "another commune");
        }));

        var text = await response.Content.ReadAsStringAsync();
        Assert.Equal(3, JsonElement.Parse(text).GetProperty("errors").GetArrayLength());
        Assert.DoesNotContain("DUPONT", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/json", HttpStatusCode.UnsupportedMediaType)]
    [InlineData("text/plain", HttpStatusCode.UnsupportedMediaType)]
    public async Task Given_another_content_type_When_an_event_is_posted_Then_415(string media, HttpStatusCode expected)
    {
        using var response = await _app.PostEventAsync(Path, SampleEvents.Json("1"), media);

        await AssertProblemAsync(response, expected);
    }

    [Theory]
    [InlineData("/communes/33063/events")]
    [InlineData("/communes/rennes/events")]
    public async Task Given_a_commune_not_served_When_an_event_is_posted_Then_404_says_which_are(string path)
    {
        using var response = await _app.PostEventAsync(path, SampleEvents.Json("1"));

        var problem = await AssertProblemAsync(response, HttpStatusCode.NotFound);
        Assert.Contains("35085, 35238", problem.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"id":""", CloudEvent.MediaType)]
    [InlineData("", CloudEvent.MediaType)]
    [InlineData("{}", CloudEvent.BatchMediaType)]
    public async Task Given_a_body_that_cannot_be_read_When_it_is_posted_Then_400(string body, string media)
    {
        using var response = await _app.PostEventAsync(Path, body, media);

        await AssertProblemAsync(response, HttpStatusCode.BadRequest);
    }

    private static void Break(JsonObject json, string fault)
    {
        var data = json["data"]!.AsObject();
        switch (fault)
        {
            case "unknown field": data["weight"] = 3200; break;
            case "unknown attribute": json["priority"] = "high"; break;
            case "wrong type": data["actNumber"] = 12; break;
            case "missing field": data.Remove("date"); break;
            case "missing attribute": json.Remove("id"); break;
            case "bad date": data["date"] = "2026-02-30"; break;
            case "another commune": json["source"] = "urn:insee:commune:35238"; break;
            case "name outside personal": data["lastName"] = "DUPONT"; break;
            case "unknown type": json["type"] = "fr.intercommunalite.civil-records.moved.v1"; break;
            case "journal": json["journal"] = Guid.NewGuid().ToString(); break;
            case "position": json["position"] = 1; break;
            case "time without offset": json["time"] = "2026-03-14T09:00:00"; break;
            default: throw new ArgumentOutOfRangeException(nameof(fault), fault, null);
        }
    }

    private async Task<List<JsonElement>> AcceptedAsync(string body, string media = CloudEvent.MediaType)
    {
        using var response = await _app.PostEventAsync(Path, body, media);
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        return [.. JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("events").EnumerateArray()];
    }

    private async Task<List<JsonElement>> RefusedAsync(string body, string media = CloudEvent.MediaType)
    {
        using var response = await _app.PostEventAsync(Path, body, media);
        var problem = await AssertProblemAsync(response, HttpStatusCode.UnprocessableEntity);
        return [.. problem.GetProperty("errors").EnumerateArray()];
    }

    private static async Task<JsonElement> AssertProblemAsync(HttpResponseMessage response, HttpStatusCode expected)
    {
        Assert.Equal(expected, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        return JsonElement.Parse(await response.Content.ReadAsStringAsync());
    }
}
