using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Identity;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
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

    [Fact]
    public async Task Given_another_master_key_When_all_is_wrapped_anew_Then_the_old_one_is_needed_for_no_authenticator_and_no_cookie()
    {
        // The form makes a key for itself.
        using var form = await hub.Anyone.GetAsync(new Uri("/compte/connexion", UriKind.Relative));
        var newest = Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));
        await using var scope = hub.Services.CreateAsyncScope();
        var database = scope.ServiceProvider.GetRequiredService<AccessDatabase>();
        var kept = await KeptAsync();
        Assert.True(kept.Count >= 2);

        Assert.Equal(kept.Count, await Rewrapping.RewrapAsync(database, Master($"{newest}\n{TestDatabase.MasterKey}"), default));
        Assert.Equal(0, await Rewrapping.RewrapAsync(database, Master($"{newest}\n{TestDatabase.MasterKey}"), default));
        await Assert.ThrowsAsync<CryptographicException>(() => Rewrapping.RewrapAsync(database, Master(TestDatabase.MasterKey), default));
        Assert.All(await KeptAsync(), wrapped => Master(newest).Unwrap(wrapped));
        // Back, for the hub that runs.
        Assert.Equal(kept.Count, await Rewrapping.RewrapAsync(database, Master($"{TestDatabase.MasterKey}\n{newest}"), default));

        async Task<List<byte[]>> KeptAsync() =>
        [
            .. (await database.UserTokens.AsNoTracking().ToListAsync()).Select(token => Convert.FromBase64String(token.Value!)),
            .. (await database.DataProtectionKeys.AsNoTracking().ToListAsync()).Select(key => Convert.FromBase64String(XElement.Parse(key.Xml!).Descendants("wrapped").Single().Value)),
        ];

        static MasterKey Master(string keys) => MasterKey.Read(new ConfigurationBuilder().AddInMemoryCollection([new("Privacy:MasterKey", keys)]).Build());
    }

    [Fact]
    public async Task Given_a_change_that_breaks_off_When_it_was_noted_already_Then_neither_stands()
    {
        await using var scope = hub.Services.CreateAsyncScope();
        var (changes, accounts) = (scope.ServiceProvider.GetRequiredService<RightsChanges>(), scope.ServiceProvider.GetRequiredService<UserManager<Account>>());
        var account = new Account { UserName = "broken-off@example.fr" };

        await Assert.ThrowsAsync<TimeoutException>(() => changes.MakeAsync<bool>(
            async () =>
            {
                Assert.True((await accounts.CreateAsync(account)).Succeeded);
                await changes.NoteAsync(new(account.Id, "access.account-created", account.Id), default);
                throw new TimeoutException();
            },
            _ => true,
            default));

        Assert.Equal(0L, await hub.Database.ScalarAsync($"""SELECT (SELECT count(*) FROM audit.entry WHERE subject = '{account.Id}') + (SELECT count(*) FROM access."AspNetUsers" WHERE "Id" = '{account.Id}')"""));
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
