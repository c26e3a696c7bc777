using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests.Access;

public class AccountsTests
{
    private const string Path = "/api/v1/access/accounts";

    private static object Account(string id, string email, string[] roles, string[] communes, bool suspended = false) => new
    {
        id,
        email,
        name = "Camille Essai",
        roles,
        communes,
        suspended,
        lockedUntil = (string?)null,
        authenticator = true,
        temporaryPassword = false,
        provider = (string?)null,
    };

    private static Task<FakeServer> HubAsync(ConcurrentQueue<JsonElement> told) => FakeServer.StartAsync(app =>
    {
        app.MapGet(Path, () => new { items = new[] { Account("a1", "camille@example.fr", ["commune-agent"], ["35085"]) } });
        app.MapPost(Path, async (HttpRequest request) =>
        {
            told.Enqueue(await JsonSerializer.DeserializeAsync<JsonElement>(request.Body));
            return Results.Created($"{Path}/a2", new { id = "a2", email = "new@example.fr", temporaryPassword = "abcd-efgh-jkmn-pqrs" });
        });
        app.MapPut(Path + "/{id}", async (string id, HttpRequest request) =>
        {
            told.Enqueue(await JsonSerializer.DeserializeAsync<JsonElement>(request.Body));
            return Account(id, "camille@example.fr", ["epci-agent"], []);
        });
        app.MapPost(Path + "/{id}/suspension", async (string id, HttpRequest request) =>
        {
            told.Enqueue(await JsonSerializer.DeserializeAsync<JsonElement>(request.Body));
            return Account(id, "camille@example.fr", ["commune-agent"], ["35085"], suspended: true);
        });
        app.MapDelete(Path + "/{id}/suspension", (string id) => Account(id, "camille@example.fr", ["commune-agent"], ["35085"]));
        app.MapPost(Path + "/{id}/password", (string id) => new { id, email = "camille@example.fr", temporaryPassword = "abcd-efgh-jkmn-pqrs" });
        app.MapDelete(Path + "/{id}/authenticator", (string id) => Account(id, "camille@example.fr", ["commune-agent"], ["35085"]));
        app.MapDelete(Path + "/{id}", (string id) => Results.NoContent());
    });

    [Fact]
    public async Task Given_a_hub_When_accounts_are_listed_and_made_Then_they_are_shown_and_the_password_once()
    {
        var told = new ConcurrentQueue<JsonElement>();
        await using var hub = await HubAsync(told);

        var list = await Command.RunAsync("access", "accounts", "list", "--hub", hub.Address);
        var made = await Command.RunAsync("access", "accounts", "create", "new@example.fr", "--name", "Nouvelle", "--role", "commune-agent", "--communes", "35085,35337", "--hub", hub.Address);

        Assert.Equal((0, 0), (list.ExitCode, made.ExitCode));
        Assert.Matches(@"camille@example\.fr +Camille Essai +commune-agent +35085 +password and code", list.Out);
        Assert.Contains("password  abcd-efgh-jkmn-pqrs", made.Out, StringComparison.Ordinal);
        Assert.Equal("""{"email":"new@example.fr","name":"Nouvelle","roles":["commune-agent"],"communes":["35085","35337"]}""", JsonSerializer.Serialize(told.Single()));
    }

    [Fact]
    public async Task Given_an_address_When_the_account_is_acted_on_Then_its_id_is_in_the_url_and_what_is_not_named_stays()
    {
        var told = new ConcurrentQueue<JsonElement>();
        await using var hub = await HubAsync(told);
        string[][] commands =
        [
            ["change", "Camille@example.fr", "--name", "C. Essai"], ["change", "a1", "--role", "epci-agent"], ["suspend", "camille@example.fr", "--reason", "left"],
            ["resume", "camille@example.fr"], ["reset-password", "camille@example.fr", "--json"], ["reset-totp", "camille@example.fr"], ["delete", "camille@example.fr"],
        ];

        foreach (var command in commands) Assert.Equal(0, (await Command.RunAsync(["access", "accounts", .. command, "--hub", hub.Address])).ExitCode);

        Assert.Equal(
            [$"PUT {Path}/a1", $"PUT {Path}/a1", $"POST {Path}/a1/suspension", $"DELETE {Path}/a1/suspension", $"POST {Path}/a1/password", $"DELETE {Path}/a1/authenticator", $"DELETE {Path}/a1"],
            hub.Requests.Where(request => request != $"GET {Path}"));
        Assert.Equal(
            [
                """{"email":"camille@example.fr","name":"C. Essai","roles":["commune-agent"],"communes":["35085"]}""",
                """{"email":"camille@example.fr","name":"Camille Essai","roles":["epci-agent"],"communes":[]}""",
                """{"reason":"left"}""",
            ],
            told.Select(body => JsonSerializer.Serialize(body)));
    }

    [Fact]
    public async Task Given_an_address_that_no_account_has_When_it_is_acted_on_Then_it_is_said_and_nothing_is_done()
    {
        await using var hub = await HubAsync(new());

        var run = await Command.RunAsync("access", "accounts", "delete", "nobody@example.fr", "--hub", hub.Address);
        var unexplained = await Command.RunAsync("access", "accounts", "suspend", "a1", "--hub", hub.Address);

        Assert.Equal((1, 2), (run.ExitCode, unexplained.ExitCode));
        Assert.Contains("No account has that address or id", run.Error, StringComparison.Ordinal);
        Assert.Equal([$"GET {Path}"], hub.Requests);
    }
}
