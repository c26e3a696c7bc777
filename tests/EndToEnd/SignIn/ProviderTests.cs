using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Microsoft.Playwright;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>People, and software, known by an OpenID Connect provider that is none of ours.</summary>
public sealed class ProviderTests : IClassFixture<ProviderTests.Provided>
{
    private readonly Provided _provided;

    public ProviderTests(Provided provided) => _provided = provided;

    [Fact]
    public async Task Given_an_account_of_the_same_checked_address_When_a_person_signs_in_by_the_provider_Then_it_is_theirs_until_they_sign_out()
    {
        using var client = await ClientAsync(_provided.ByAccount.Hub, "administration");
        using var made = await client.PostAsJsonAsync(
            new Uri("/api/v1/access/accounts", UriKind.Relative), new { email = "Agent@example.fr", name = "Camille Essai", roles = new[] { "administrator" } });
        Assert.Contains("\"temporaryPassword\":null", await made.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = DashboardTests.Arguments });

        // The same address, but nobody has checked it; another address; both are told whom to ask.
        foreach (var stranger in (string[])["unverified", "visitor"])
            Assert.Contains("administrateur du hub", await (await SignInAsync(browser, _provided.ByAccount, stranger)).InnerTextAsync("main"), StringComparison.Ordinal);

        // No password, no authenticator app of ours: those are the provider's.
        var page = await SignInAsync(browser, _provided.ByAccount, "agent");
        Assert.Equal(["Camille Essai", "administrateur"], await page.Locator("[data-testid=signed-in] span").AllInnerTextsAsync());
        var asked = _provided.Provider.Requests.Last(request => request.StartsWith("authorization ", StringComparison.Ordinal));
        foreach (var parameter in (string[])["response_type=code", "code_challenge_method=S256", "code_challenge=", "nonce=", "state="])
            Assert.Contains(parameter, asked, StringComparison.Ordinal);

        await page.ClickAsync("[data-testid=sign-out]");
        await page.ClickAsync("button[name=logout]");
        await page.WaitForURLAsync("**/compte/connexion");
        Assert.Contains(_provided.Provider.Requests, request => request.StartsWith("end_session ", StringComparison.Ordinal) && request.Contains("id_token_hint=", StringComparison.Ordinal));
        await page.GotoAsync(_provided.ByAccount.Hub.Address.ToString());
        Assert.Equal(0, await page.Locator("[data-testid=signed-in], #password").CountAsync());

        // Suspended here, whatever the provider says.
        var id = (string)JsonNode.Parse(await made.Content.ReadAsStringAsync())!["id"]!;
        await _provided.ByAccount.Database.ExecuteAsync($"UPDATE access.\"AspNetUsers\" SET \"Suspended\" = true WHERE \"Id\" = '{id}'");
        Assert.EndsWith("/compte/refus", (await SignInAsync(browser, _provided.ByAccount, "agent")).Url, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_roles_claim_When_a_person_signs_in_by_the_provider_Then_the_claim_says_what_they_may()
    {
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = DashboardTests.Arguments });

        var page = await SignInAsync(browser, _provided.ByClaim, "claimed");
        Assert.Equal(["Rôles du fournisseur", "agent de la communauté"], await page.Locator("[data-testid=signed-in] span").AllInnerTextsAsync());
        var stranger = await SignInAsync(browser, _provided.ByClaim, "visitor");
        Assert.Contains("administrateur du hub", await stranger.InnerTextAsync("main"), StringComparison.Ordinal);

        // What is no role here was dropped, and accounts with a password go on.
        Assert.Equal("epci-agent", await _provided.ByClaim.Database.ScalarAsync("""SELECT string_agg("ClaimValue", ',') FROM access."AspNetUserClaims" """));
        await stranger.GotoAsync(new Uri(_provided.ByClaim.Hub.Address, "/compte/connexion").ToString());
        Assert.Equal(1, await stranger.Locator("#password").CountAsync());
    }

    [Theory]
    [InlineData("replayed")]
    [InlineData("mistaken")]
    public async Task Given_a_token_that_was_made_for_another_question_or_user_info_of_another_person_When_it_comes_Then_nobody_is_in(string person)
    {
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = DashboardTests.Arguments });

        var page = await SignInAsync(browser, _provided.ByClaim, person);

        Assert.EndsWith("/compte/connexion?echec=1", page.Url, StringComparison.Ordinal);
        await page.GotoAsync(_provided.ByClaim.Hub.Address.ToString());
        Assert.Equal(0, await page.Locator("[data-testid=signed-in]").CountAsync());
    }

    [Fact]
    public async Task Given_the_providers_tokens_When_software_comes_with_them_Then_hub_and_connector_take_those_meant_for_them_alone()
    {
        var deployment = _provided.ByAccount;
        using var hub = await ClientAsync(deployment.Hub, "software");
        using var connector = await ClientAsync(deployment.Connectors[0], "software");
        using var figures = await hub.GetAsync(new Uri("/api/v1/civil-records/indicators", UriKind.Relative));
        using var accounts = await hub.GetAsync(new Uri("/api/v1/access/accounts", UriKind.Relative));
        using var body = JsonContent.Create(Some.Births(Some.Combourg, 1, 1), new MediaTypeHeaderValue(CloudEvent.BatchMediaType), ContractJson.Options);
        using var posted = await connector.PostAsync(new Uri($"/communes/{Some.Combourg}/events", UriKind.Relative), body);
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.Forbidden, HttpStatusCode.Accepted), (figures.StatusCode, accounts.StatusCode, posted.StatusCode));

        using var meantForAnother = await ClientAsync(deployment.Hub, "software", "another");
        using var ofAnother = deployment.ClientOf(deployment.Hub);
        using var journal = await ClientAsync(deployment.Connectors[0], "software", "another");
        using var first = await meantForAnother.GetAsync(new Uri("/api/v1/civil-records/indicators", UriKind.Relative));
        using var second = await ofAnother.GetAsync(new Uri("/api/v1/civil-records/indicators", UriKind.Relative));
        using var third = await journal.GetAsync(new Uri($"/communes/{Some.Combourg}/journal", UriKind.Relative));
        Assert.Equal((401, 401, 401), ((int)first.StatusCode, (int)second.StatusCode, (int)third.StatusCode));
    }

    private async Task<HttpClient> ClientAsync(ServiceProcess service, string client, string audience = TestIssuer.Audience)
    {
        var http = new HttpClient { BaseAddress = service.Address };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", await _provided.Provider.TokenAsync(client, audience));
        return http;
    }

    // As a person would, with a browser of their own.
    private static async Task<IPage> SignInAsync(IBrowser browser, Deployment deployment, string person)
    {
        var page = await (await browser.NewContextAsync(new() { Locale = "fr-FR" })).NewPageAsync();
        await page.GotoAsync(deployment.Hub.Address.ToString());
        await page.ClickAsync("[data-testid=provider]");
        await page.FillAsync("[name=login]", person);
        await page.FillAsync("[name=password]", "any");
        await page.ClickAsync("[type=submit]");
        await page.WaitForURLAsync("**/interaction/**");
        await page.ClickAsync("[type=submit]");
        await page.WaitForURLAsync(url => url.StartsWith(deployment.Hub.Address.ToString(), StringComparison.Ordinal));
        return page;
    }

    /// <summary>The provider, and two hubs: one whose accounts an administrator makes, one that goes by a claim.</summary>
    public sealed class Provided : IAsyncLifetime
    {
        internal OidcProvider Provider { get; } = new();

        internal Deployment ByAccount { get; private set; } = null!;

        internal Deployment ByClaim { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            ByAccount = await Deployment.CreateAsync(Settings("hub", ("Access__Issuer", Provider.Issuer.ToString())), Some.BretagneRomantique, [Some.Combourg]);
            ByClaim = await Deployment.CreateAsync(
                Settings("hub-json", ("SignIn__Oidc__RolesClaim", "roles"), ("SignIn__Oidc__Scopes", "openid email profile rights"), ("SignIn__LocalAccounts", "true")), Some.BretagneRomantique);
            await Provider.StartAsync(ByAccount.Hub.Address, ByClaim.Hub.Address);
            await Task.WhenAll(ByAccount.StartAsync(), ByClaim.StartAsync());
        }

        public async Task DisposeAsync()
        {
            await Task.WhenAll(ByAccount.DisposeAsync().AsTask(), ByClaim.DisposeAsync().AsTask());
            Provider.Dispose();
        }

        private Dictionary<string, string?> Settings(string client, params (string Name, string? Value)[] more) => new(more.ToDictionary(setting => setting.Name, setting => setting.Value))
        {
            ["SignIn__Oidc__Authority"] = Provider.Issuer.ToString().TrimEnd('/'),
            ["SignIn__Oidc__ClientId"] = client,
            ["SignIn__Oidc__ClientSecret"] = OidcProvider.ClientSecret,
        };
    }
}
