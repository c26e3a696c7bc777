using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed class AccountsTests(HubApp hub) : IClassFixture<HubApp>
{
    private const string Path = "/api/v1/access/accounts";

    [Fact]
    public async Task Given_the_only_administrators_account_When_it_is_taken_away_Then_that_is_refused_until_there_is_another()
    {
        var first = $"{Path}/{hub.FirstAccount["id"]}";
        Assert.Equal(("first@example.fr", 19), ((string)hub.FirstAccount["email"]!, ((string)hub.FirstAccount["temporaryPassword"]!).Length));
        Assert.Equal((409, 409, 409), (await DeleteAsync(first), await PostAsync($"{first}/suspension", new { reason = "x" }), await ChangeAsync(first, "first@example.fr", "dpo")));

        using var made = await hub.Administrator.PostAsJsonAsync(Path, new { email = "second@example.fr", name = "Second", roles = new[] { "administrator" } });
        var second = $"{Path}/{(await made.Content.ReadFromJsonAsync<JsonNode>())!["id"]}";
        Assert.Equal((201, 409), ((int)made.StatusCode, await ChangeAsync(second, "FIRST@example.fr", "administrator")));

        // One that is suspended does not count.
        Assert.Equal((200, 409), (await PostAsync($"{second}/suspension", new { reason = "on leave" }), await DeleteAsync(first)));
        using var resumed = await hub.Administrator.DeleteAsync(new Uri($"{second}/suspension", UriKind.Relative));
        Assert.Equal((HttpStatusCode.OK, 204, 409), (resumed.StatusCode, await DeleteAsync(first), await DeleteAsync(second)));
        Assert.Equal(
            "access.account-created access.account-suspended access.account-resumed",
            await hub.Database.ScalarAsync($"SELECT string_agg(act, ' ' ORDER BY seq) FROM audit.entry WHERE subject = '{second[(Path.Length + 1)..]}'"));
    }

    [Theory]
    [InlineData("""{"email":"nobody","name":"X","roles":["dpo"]}""", "email")]
    [InlineData("""{"email":"a@example.fr","name":" ","roles":["dpo"]}""", "name")]
    [InlineData("""{"email":"a@example.fr","name":"X","roles":[]}""", "roles")]
    [InlineData("""{"email":"a@example.fr","name":"X","roles":["connector"]}""", "roles.0")]
    [InlineData("""{"email":"a@example.fr","name":"X","roles":["commune-agent"],"communes":["33063"]}""", "communes.0")]
    [InlineData("""{"email":"a@example.fr","name":"X","roles":["dpo"],"twoFactorEnabled":true}""", "")]
    public async Task Given_a_request_that_is_wrong_When_an_account_is_made_Then_the_field_is_named(string body, string field)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        using var response = await hub.Administrator.PostAsync(new Uri(Path, UriKind.Relative), content);

        Assert.Equal(HttpStatusCode.UnprocessableEntity, response.StatusCode);
        Assert.Contains(field, (await response.Content.ReadFromJsonAsync<JsonNode>())!["errors"]!.ToJsonString(), StringComparison.Ordinal);
    }

    private async Task<int> ChangeAsync(string account, string email, string role)
    {
        using var response = await hub.Administrator.PutAsJsonAsync(account, new { email, name = "X", roles = new[] { role } });
        return (int)response.StatusCode;
    }

    private async Task<int> PostAsync(string path, object body)
    {
        using var response = await hub.Administrator.PostAsJsonAsync(path, body);
        return (int)response.StatusCode;
    }

    private async Task<int> DeleteAsync(string path)
    {
        using var response = await hub.Administrator.DeleteAsync(new Uri(path, UriKind.Relative));
        return (int)response.StatusCode;
    }
}
