using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public sealed class AgreementsTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("interco-agreements-");
    private readonly List<string> _received = [];

    public void Dispose() => _directory.Delete(recursive: true);

    private static object Agreement(string id, string state = "active", int? version = 1, int? pending = null) => new
    {
        id,
        state,
        inForce = state == "active",
        revision = 4,
        version,
        pendingVersion = pending,
        terms = new { title = "Restauration scolaire", from = "2026-12-01" },
        versions = new object[] { new { number = 1, terms = new { title = "Première" }, draftedAt = "2026-11-24T09:30:00+00:00", activatedAt = "2026-11-25T09:30:00+00:00" }, new { number = 2, terms = new { title = "Seconde" }, draftedAt = "2026-11-26T09:30:00+00:00" } },
        acts = new[] { new { act = "drafted", version = 1, by = "dsi", at = "2026-11-24T09:30:00+00:00", why = "projet" } },
    };

    private Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        app.MapGet("/api/v1/agreements", () => new
        {
            items = new[] { new { id = "canteen", state = "active", inForce = true, title = "Restauration scolaire", partner = "Cantines & Cie", version = 1, pendingVersion = 2, from = "2026-12-01", to = "2027-08-31", personalData = true } },
        });
        app.MapGet("/api/v1/agreements/{id}", (string id) => id == "canteen" ? Results.Ok(Agreement(id)) : Results.Problem(title: "No such agreement", statusCode: 404));
        app.MapPost("/api/v1/agreements", async (HttpRequest request) => await ReceivedAsync(request, Agreement("new", "draft", null, 1)));
        app.MapPut("/api/v1/agreements/{id}", async (string id, HttpRequest request) => await ReceivedAsync(request, Agreement(id, pending: 2)));
        app.MapPost("/api/v1/agreements/{id}/{act}", async (string id, string act, HttpRequest request) => act == "resumption"
            ? Results.Problem(title: "Not done", detail: "It is not suspended.", statusCode: 409)
            : Results.Ok(await ReceivedAsync(request, Agreement(id, act == "activation" ? "active" : "suspended"))));
        app.MapGet("/api/v1/privacy/register", (string format) => Results.Text(format == "json" ? """{"territory":"CC"}""" : $"# Registre ({format})"));
    });

    private async Task<object> ReceivedAsync(HttpRequest request, object answer)
    {
        _received.Add($"{request.Headers.IfMatch} {(await JsonSerializer.DeserializeAsync<JsonElement>(request.Body)).GetRawText()}".Trim());
        return answer;
    }

    [Fact]
    public async Task Given_agreements_When_they_are_listed_and_shown_Then_terms_versions_and_acts_are_told()
    {
        await using var hub = await HubAsync();

        var list = await RunAsync(hub, "list", "--as-of", "2026-11-24T10:00:00+01:00");
        var show = await RunAsync(hub, "show", "canteen");
        var versions = await RunAsync(hub, "versions", "canteen");
        var second = await RunAsync(hub, "versions", "canteen", "--version", "2");
        var third = await RunAsync(hub, "versions", "canteen", "--version", "3");
        var json = await RunAsync(hub, "list", "--json");

        Assert.Equal((0, 0, 0, 0, 1, 0), (list.ExitCode, show.ExitCode, versions.ExitCode, second.ExitCode, third.ExitCode, json.ExitCode));
        Assert.Matches(@"canteen +active +yes +1 +2 +2026-12-01 +2027-08-31 +yes +Cantines & Cie +Restauration scolaire", list.Out);
        Assert.Contains("canteen: active, version 1, in force today", show.Out, StringComparison.Ordinal);
        Assert.Contains("\"title\": \"Restauration scolaire\"", show.Out, StringComparison.Ordinal);
        Assert.Contains("drafted 1 by dsi: projet", show.Out, StringComparison.Ordinal);
        Assert.Matches(@"1 +2026-11-24 09:30:00Z +2026-11-25 09:30:00Z +the one in force last", versions.Out);
        Assert.Contains("Seconde", second.Out, StringComparison.Ordinal);
        Assert.Equal("canteen", json.Json.GetProperty("items")[0].GetProperty("id").GetString());
        Assert.Contains("GET /api/v1/agreements?asOf=2026-11-24T10%3A00%3A00%2B01%3A00", hub.Requests);
    }

    [Fact]
    public async Task Given_a_file_When_drafted_Then_a_new_agreement_is_made_or_the_one_there_gets_a_version_made_from_the_revision_read()
    {
        await using var hub = await HubAsync();

        var made = await RunAsync(hub, "draft", File("""{"id":"new","terms":{"title":"é"}}"""));
        var changed = await RunAsync(hub, "draft", File("""{"id":"canteen","reason":"avenant","terms":{}}"""));
        var unnamed = await RunAsync(hub, "draft", File("""{"terms":{}}"""), "--json");

        Assert.Equal((0, 0, 0), (made.ExitCode, changed.ExitCode, unnamed.ExitCode));
        Assert.Contains("new: version 1 is drafted. 'interco access agreements activate new --reason …'", made.Out, StringComparison.Ordinal);
        Assert.Contains("canteen: version 2 is drafted.", changed.Out, StringComparison.Ordinal);
        Assert.Equal("new", unnamed.Json.GetProperty("id").GetString());
        Assert.Equal(["""{"id":"new","terms":{"title":"\u00E9"}}""", "\"4\" {\"id\":\"canteen\",\"reason\":\"avenant\",\"terms\":{}}", """{"terms":{}}"""], _received);
    }

    [Fact]
    public async Task Given_a_reason_When_acted_upon_Then_the_hub_is_told_it_and_what_it_refuses_is_said()
    {
        await using var hub = await HubAsync();

        var activated = await RunAsync(hub, "activate", "canteen", "--version", "2", "--reason", "signée");
        var suspended = await RunAsync(hub, "suspend", "canteen", "--reason", "incident");
        var resumed = await RunAsync(hub, "resume", "canteen", "--reason", "x");
        var ended = await RunAsync(hub, "end", "../x", "--reason", "x");

        Assert.Equal((0, 0, 1, 0), (activated.ExitCode, suspended.ExitCode, resumed.ExitCode, ended.ExitCode));
        Assert.Equal("canteen: suspended, version 1", suspended.Out.TrimEnd());
        Assert.Contains("Not done. It is not suspended.", resumed.Error, StringComparison.Ordinal);
        Assert.Equal("""{"reason":"sign\u00E9e","version":2}""", _received[0]);
        Assert.Equal(
            ["POST /api/v1/agreements/canteen/activation", "POST /api/v1/agreements/canteen/suspension", "POST /api/v1/agreements/canteen/resumption", "POST /api/v1/agreements/..%2Fx/end"],
            hub.Requests);
    }

    [Fact]
    public async Task Given_the_register_When_asked_for_Then_it_is_shown_or_saved_as_the_name_says()
    {
        await using var hub = await HubAsync();
        var page = Path.Combine(_directory.FullName, "registre.html");

        var text = await Command.RunAsync("access", "register", "--hub", hub.Address);
        var json = await Command.RunAsync("access", "register", "--json", "--hub", hub.Address);
        var saved = await Command.RunAsync("access", "register", "--out", page, "--hub", hub.Address);

        Assert.Equal("# Registre (md)", text.Out.TrimEnd());
        Assert.Equal("CC", json.Json.GetProperty("territory").GetString());
        Assert.Equal((0, "# Registre (html)"), (saved.ExitCode, await System.IO.File.ReadAllTextAsync(page)));
    }

    [Theory]
    [InlineData("agreements", "show")]
    [InlineData("agreements", "end", "canteen")]
    [InlineData("agreements", "suspend", "canteen", "--version", "1", "--reason", "x")]
    [InlineData("register", "--out", "registre.pdf")]
    public async Task Given_a_command_without_sense_When_it_is_run_Then_nothing_is_asked_of_the_hub(params string[] arguments)
    {
        var run = await Command.RunAsync(["access", .. arguments, "--hub", "http://127.0.0.1:9"]);
        Assert.Equal(2, run.ExitCode);
    }

    [Theory]
    [InlineData("[]", "a JSON object expected")]
    [InlineData("{", "is not JSON (line 1)")]
    public async Task Given_a_file_that_is_no_agreement_When_drafted_Then_it_says_so(string content, string said)
    {
        var run = await Command.RunAsync("access", "agreements", "draft", File(content), "--hub", "http://127.0.0.1:9");
        Assert.Equal(1, run.ExitCode);
        Assert.Contains(said, run.Error, StringComparison.Ordinal);
    }

    private static Task<Command> RunAsync(FakeServer hub, params string[] arguments) => Command.RunAsync(["access", "agreements", .. arguments, "--hub", hub.Address]);

    private string File(string content)
    {
        var path = Path.Combine(_directory.FullName, Path.GetRandomFileName());
        System.IO.File.WriteAllText(path, content);
        return path;
    }
}
