using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Xunit;

namespace Intercommunalite.Hub.Tests.Replay;

public sealed class ProjectionsAdminTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();
    private HubServer _server = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await HubServer.StartAsync(_hub);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_a_request_without_sense_Then_it_is_refused_and_nothing_is_asked_for()
    {
        string[] bodies =
        [
            "{}", """{"reason": "  "}""", """{"reason": "why", "dryrunn": true}""", """{"reason": "a\u0000b"}""", """{"reason": "\ud800"}""", """{"reason": "why", "communes": []}""",
            """{"reason": "why", "communes": ["75056"]}""", """{"reason": "why", "communes": [null]}""", "no json",
        ];
        foreach (var body in bodies)
        {
            using var answer = await SendAsync(HttpMethod.Post, "payments/rebuild", body);

            Assert.Equal((body, HttpStatusCode.BadRequest), (body, answer.StatusCode));
            Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        }

        Assert.Empty(await _hub.RowsAsync("SELECT 1 FROM replay.rebuild"));
    }

    [Fact]
    public async Task Given_a_projection_across_communes_When_one_commune_is_asked_for_Then_it_says_why_not()
    {
        using var answer = await SendAsync(HttpMethod.Post, "civil-records/rebuild", """{"reason": "why", "communes": ["35085"]}""");

        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.StatusCode);
        Assert.Contains("the figures by residence count acts that other communes registered", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_rebuild_When_asked_for_cancelled_and_done_Then_each_is_said_and_noted()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth");
        await _hub.ProjectAsync();
        Assert.Null((await ProjectionAsync())["rebuild"]);
        using (var none = await SendAsync(HttpMethod.Get, "civil-records/diff")) Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
        using (var none = await SendAsync(HttpMethod.Delete, "civil-records/rebuild")) Assert.Equal(HttpStatusCode.Conflict, none.StatusCode);

        using (var asked = await SendAsync(HttpMethod.Post, "civil-records/rebuild", """{"reason": "a fault was mended", "dryRun": true}""")) Assert.Equal(HttpStatusCode.Accepted, asked.StatusCode);
        using (var again = await SendAsync(HttpMethod.Post, "civil-records/rebuild", """{"reason": "impatience"}""")) Assert.Equal(HttpStatusCode.Conflict, again.StatusCode);
        var rebuild = (await ProjectionAsync())["rebuild"]!;
        Assert.Equal(("requested", true, "a fault was mended", 0, 1, "running"), (
            (string)rebuild["state"]!, (bool)rebuild["dryRun"]!, (string)rebuild["reason"]!, (int)rebuild["position"]!, (int)rebuild["target"]!, (string)(await ProjectionAsync())["state"]!));
        using (var cancelled = await SendAsync(HttpMethod.Delete, "civil-records/rebuild")) Assert.Equal("cancelled", (string)(await cancelled.Content.ReadFromJsonAsync<JsonNode>())!["rebuild"]!["state"]!);

        await _hub.RowsAsync("UPDATE civil_records.indicator SET births = 2");
        await _hub.RebuildAsync("civil-records");
        rebuild = (await ProjectionAsync())["rebuild"]!;
        Assert.Equal(("completed", 1, 1, 100.0, 1, 1), (
            (string)rebuild["state"]!, (int)rebuild["position"]!, (int)rebuild["target"]!, (double)rebuild["percent"]!, (int)rebuild["comparedAt"]!, (int)rebuild["differences"]!));
        using var diff = await SendAsync(HttpMethod.Get, "civil-records/diff");
        Assert.Equal(
            """{"position":1,"tables":[{"table":"civil_records.act","differences":0},{"table":"civil_records.indicator","differences":1}],"items":[{"table":"civil_records.indicator","key":{"basis":"registration","commune":"35085","period":"2026-11"},"inService":{"pacs":0,"births":2,"deaths":0,"marriages":0,"name_changes":0,"recognitions":0},"rebuilt":{"pacs":0,"births":1,"deaths":0,"marriages":0,"name_changes":0,"recognitions":0}}]}""",
            (await diff.Content.ReadFromJsonAsync<JsonNode>())!.ToJsonString());
        Assert.Equal(
            ["projection.rebuild-cancelled civil-records -", "projection.rebuild civil-records a fault was mended", "projection.rebuild civil-records impatience", "projection.rebuild-cancelled civil-records -", "projection.replaced civil-records a test"],
            await _hub.RowsAsync("SELECT act, subject, why FROM audit.entry ORDER BY seq"));
    }

    [Fact]
    public async Task Given_rebuilds_of_all_of_some_and_of_what_is_no_commune_Then_the_audit_tells_them_apart_and_repeats_nothing_that_may_be_a_name()
    {
        foreach (var communes in (string[])["", ", \"communes\": [\"35085\"]", ", \"communes\": [\"35085\", \"NOM Prénom\"]"])
            (await SendAsync(HttpMethod.Post, "payments/rebuild", $"{{\"reason\": \"why\"{communes}}}")).Dispose();

        Assert.Equal(
            ["all", "[\"35085\"]", "[\"35085\", \"no commune\"]"],
            await _hub.RowsAsync("SELECT details::jsonb ->> 'communes' FROM audit.entry WHERE act = 'projection.rebuild' ORDER BY seq"));
    }

    [Fact]
    public async Task Given_no_such_projection_Then_it_says_which_there_are()
    {
        foreach (var (method, path) in new[] { ("GET", "weather"), ("GET", "weather/diff"), ("POST", "weather/rebuild"), ("DELETE", "weather/rebuild") })
        {
            using var answer = await SendAsync(new HttpMethod(method), path, method == "POST" ? """{"reason": "why"}""" : null);

            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
            Assert.Contains("civil-records, schools, payments", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    private async Task<JsonNode> ProjectionAsync() => (await _server.Client.GetFromJsonAsync<JsonNode>(new Uri("/api/v1/admin/projections/civil-records", UriKind.Relative)))!;

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? body = null)
    {
        using var request = new HttpRequestMessage(method, $"/api/v1/admin/projections/{path}");
        if (body is not null) request.Content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        return await _server.Client.SendAsync(request);
    }
}
