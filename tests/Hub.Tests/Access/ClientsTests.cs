using System.Buffers.Text;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed class ClientsTests(HubApp hub) : IClassFixture<HubApp>
{
    private const string Territory = "/api/v1/territory";
    private const string Clients = "/api/v1/access/clients";

    [Fact]
    public async Task Given_a_client_with_a_secret_When_it_asks_Then_it_gets_a_token_of_ten_minutes_and_the_secret_is_kept_as_a_hash()
    {
        var secret = await hub.MakeClientAsync("figures-reader", ["epci-agent"]);
        var token = await hub.TokenAsync("figures-reader", secret);
        using var client = hub.With(token);

        var payload = JsonElement.Parse(Base64Url.DecodeFromChars(token.Split('.')[1]));
        Assert.Equal(600, payload.GetProperty("exp").GetInt64() - payload.GetProperty("iat").GetInt64());
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(client, "/api/v1/civil-records/indicators"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(client, Clients));
        Assert.Equal(0L, await hub.Database.ScalarAsync($"""SELECT count(*) FROM access."OpenIddictApplications" a WHERE a::text LIKE '%{secret}%'"""));
    }

    [Fact]
    public async Task Given_a_wrong_secret_or_an_unknown_client_When_it_asks_Then_both_get_the_same_answer()
    {
        await hub.MakeClientAsync("somebody", ["epci-agent"]);
        using var wrong = await hub.AskAsync(new() { ["client_id"] = "somebody", ["client_secret"] = "wrong" });
        using var unknown = await hub.AskAsync(new() { ["client_id"] = "nobody", ["client_secret"] = "wrong" });

        Assert.Equal((HttpStatusCode.Unauthorized, HttpStatusCode.Unauthorized), (wrong.StatusCode, unknown.StatusCode));
        Assert.Equal(
            (await wrong.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("error").GetString(),
            (await unknown.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("error").GetString());
    }

    [Fact]
    public async Task Given_a_client_with_a_key_of_its_own_When_it_signs_an_assertion_Then_it_gets_a_token_and_another_key_gets_none()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var point = key.ExportParameters(false).Q;
        Assert.Empty(await hub.MakeClientAsync("signer", ["epci-agent"], publicKeys: new JsonObject
        {
            ["keys"] = new JsonArray(new JsonObject { ["kty"] = "EC", ["crv"] = "P-256", ["kid"] = "mine", ["x"] = Base64Url.EncodeToString(point.X), ["y"] = Base64Url.EncodeToString(point.Y) }),
        }));

        using var right = await AskAsync(key);
        using var wrong = await AskAsync(other);

        Assert.True(right.IsSuccessStatusCode, await right.Content.ReadAsStringAsync());
        Assert.Equal(HttpStatusCode.Unauthorized, wrong.StatusCode);

        Task<HttpResponseMessage> AskAsync(ECDsa signing)
        {
            var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
            var assertion = TestIssuer.Sign(
                new() { ["alg"] = "ES256", ["typ"] = "client-authentication+jwt", ["kid"] = "mine" },
                new() { ["iss"] = "signer", ["sub"] = "signer", ["aud"] = hub.Anyone.BaseAddress!.ToString(), ["jti"] = Guid.NewGuid().ToString(), ["iat"] = now, ["exp"] = now + 60 },
                signing);
            return hub.AskAsync(new() { ["client_id"] = "signer", ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", ["client_assertion"] = assertion });
        }
    }

    [Fact]
    public async Task Given_a_client_with_a_token_When_it_is_suspended_Then_it_is_out_at_once_and_in_again_once_resumed()
    {
        var secret = await hub.MakeClientAsync("on-leave", ["epci-agent"]);
        using var client = hub.With(await hub.TokenAsync("on-leave", secret));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(client, Territory));

        using var suspended = await hub.Administrator.PostAsJsonAsync($"{Clients}/on-leave/suspension", new { reason = "lost laptop" });
        Assert.Equal(HttpStatusCode.OK, suspended.StatusCode);
        await Eventually.Equal(HttpStatusCode.Unauthorized, () => StatusAsync(client, Territory));
        using var refused = await hub.AskAsync(new() { ["client_id"] = "on-leave", ["client_secret"] = secret });
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);

        using var resumed = await hub.Administrator.DeleteAsync(new Uri($"{Clients}/on-leave/suspension", UriKind.Relative));
        await Eventually.Equal(HttpStatusCode.OK, () => StatusAsync(client, Territory));
        Assert.Equal(
            ["access.client-created -", "access.client-suspended lost laptop", "access.client-resumed -"],
            await AuditOfAsync("on-leave"));
    }

    [Fact]
    public async Task Given_a_client_with_a_token_When_its_roles_change_Then_they_hold_for_the_token_too()
    {
        using var client = await hub.AsAsync("promoted", ["epci-agent"]);
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(client, Clients));

        using var changed = await hub.Administrator.PutAsJsonAsync($"{Clients}/promoted", new { name = "promoted", roles = (string[])["administrator"] });
        Assert.Equal(HttpStatusCode.OK, changed.StatusCode);
        await Eventually.Equal(HttpStatusCode.OK, () => StatusAsync(client, Clients));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(client, "/api/v1/civil-records/indicators"));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync(client, "/api/v1/audit"));
    }

    [Fact]
    public async Task Given_the_last_administrator_When_it_is_to_lose_that_Then_409()
    {
        foreach (var other in (await hub.Administrator.GetFromJsonAsync<JsonNode>(Clients))!["items"]!.AsArray().Where(client => client!["roles"]!.AsArray().Any(role => (string)role! == "administrator")))
        {
            if ((string)other!["id"]! != "first-administrator") (await hub.Administrator.DeleteAsync(new Uri($"{Clients}/{other["id"]}", UriKind.Relative))).EnsureSuccessStatusCode();
        }

        using var deleted = await hub.Administrator.DeleteAsync(new Uri($"{Clients}/first-administrator", UriKind.Relative));
        using var suspended = await hub.Administrator.PostAsJsonAsync($"{Clients}/first-administrator/suspension", new { reason = "x" });
        using var changed = await hub.Administrator.PutAsJsonAsync($"{Clients}/first-administrator", new { name = "x", roles = (string[])["dpo"] });

        Assert.All([deleted, suspended, changed], answer => Assert.Equal(HttpStatusCode.Conflict, answer.StatusCode));
    }

    [Fact]
    public async Task Given_an_administrator_When_somebody_bootstraps_again_Then_409_and_a_wrong_secret_gets_403()
    {
        using var again = await hub.Anyone.PostAsJsonAsync("/api/v1/access/bootstrap", new { secret = HubApp.BootstrapSecret });
        using var wrong = await hub.Anyone.PostAsJsonAsync("/api/v1/access/bootstrap", new { secret = "another-secret-than-that" });

        Assert.Equal((HttpStatusCode.Conflict, HttpStatusCode.Forbidden), (again.StatusCode, wrong.StatusCode));
    }

    [Fact]
    public async Task Given_a_client_that_is_made_several_times_at_once_When_one_is_made_Then_the_others_get_409()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => hub.Administrator.PostAsJsonAsync(Clients, new { id = "twins", name = "twins", roles = (string[])["epci-agent"] })));

        Assert.Equal([201, 409, 409, 409, 409, 409], answers.Select(answer => (int)answer.StatusCode).Order());
        Assert.All(answers.Where(answer => !answer.IsSuccessStatusCode), answer => Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType));
        Assert.Equal(["access.client-created -"], await AuditOfAsync("twins"));
    }

    [Theory]
    [InlineData(Clients)]
    [InlineData("/api/v1/admin/quarantine/1/discard")]
    public async Task Given_a_body_without_a_length_When_it_is_longer_than_the_limit_Then_413(string path)
    {
        using var body = new ByteArrayContent([.. "{\"name\":\""u8, .. Enumerable.Repeat((byte)'x', 256 * 1024), .. "\"}"u8]) { Headers = { ContentType = new("application/json") } };
        using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = body, Headers = { TransferEncodingChunked = true } };
        using var answer = await hub.Administrator.SendAsync(request);

        Assert.Equal((HttpStatusCode.RequestEntityTooLarge, "application/problem+json"), (answer.StatusCode, answer.Content.Headers.ContentType?.MediaType));
    }

    [Theory]
    [InlineData("""{"id":"x","name":"x","roles":["epci-agent"]}""", "id")]
    [InlineData("""{"id":"../etc","name":"x","roles":["epci-agent"]}""", "id")]
    [InlineData("""{"id":"good-id","name":"","roles":["epci-agent"]}""", "name")]
    [InlineData("""{"id":"good-id","name":"x","roles":["root"]}""", "roles.0")]
    [InlineData("""{"id":"good-id","name":"x","roles":[]}""", "roles")]
    [InlineData("""{"id":"good-id","name":"x","roles":["connector"]}""", "communes")]
    [InlineData("""{"id":"good-id","name":"x","roles":["connector"],"communes":["33063"]}""", "communes.0")]
    [InlineData("""{"id":"good-id","name":"x","roles":["epci-agent"],"communes":["35085"]}""", "communes")]
    [InlineData("""{"id":"good-id","name":"x","roles":["epci-agent"],"secret":"mine"}""", "secret")]
    [InlineData("""{"id":"good-id","name":"x","roles":["epci-agent"],"publicKeys":{"keys":[{"kty":"oct","k":"AAAA"}]}}""", "publicKeys")]
    [InlineData("""{"id":"good-id","id":"other-id","name":"x","roles":["epci-agent"]}""", "id")]
    [InlineData("""[]""", "$")]
    public async Task Given_a_client_that_is_not_right_When_it_is_made_Then_422_names_the_field(string body, string field)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        using var answer = await hub.Administrator.PostAsync(new Uri(Clients, UriKind.Relative), content);

        Assert.Equal(HttpStatusCode.UnprocessableEntity, answer.StatusCode);
        Assert.Equal(field, (string)(await answer.Content.ReadFromJsonAsync<JsonNode>())!["errors"]![0]!["field"]!);
    }

    private async Task<IReadOnlyList<string>> AuditOfAsync(string subject)
    {
        var rows = new List<string>();
        await using var database = Npgsql.NpgsqlDataSource.Create(hub.Database.ConnectionString);
        await using var command = database.CreateCommand("SELECT act || ' ' || coalesce(why, '-') FROM audit.entry WHERE subject = $1 ORDER BY seq");
        command.Parameters.Add(new() { Value = subject });
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync()) rows.Add(reader.GetString(0));
        return rows;
    }

    private static async Task<HttpStatusCode> StatusAsync(HttpClient client, string path)
    {
        using var answer = await client.GetAsync(new Uri(path, UriKind.Relative));
        return answer.StatusCode;
    }
}
