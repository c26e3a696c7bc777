using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Microsoft.Playwright;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>People sign in with accounts of the hub, on one of two nodes.</summary>
public sealed partial class LocalAccountTests : IClassFixture<LocalAccountTests.TwoNodes>
{
    private const string SignIn = "/compte/connexion";

    private readonly Deployment _deployment;

    public LocalAccountTests(TwoNodes nodes) => _deployment = nodes.Deployment;

    [Fact]
    public async Task Given_a_new_administrator_When_they_sign_in_Then_password_and_authenticator_come_first_and_a_code_is_asked_for_from_then_on()
    {
        var person = await AccountHolder.InviteAsync(_deployment, "administrator");
        using var visit = new Visit(_deployment.Hub.Address);
        await person.ArriveAsync(visit);

        using var notYet = await visit.GetAsync("/");
        Assert.Equal("/compte/double-authentification", notYet.Headers.Location!.PathAndQuery());
        var secret = Secret().Match(await visit.ReadAsync("/compte/double-authentification")).Groups[1].Value;
        using var wrong = await visit.SubmitAsync("/compte/double-authentification", ("code", AccountHolder.Code(secret, 1000)));
        Assert.Equal(422, (int)wrong.StatusCode);
        using var setUp = await visit.SubmitAsync("/compte/double-authentification", ("code", AccountHolder.Code(secret)));
        var recovery = Recovery().Matches(await setUp.Content.ReadAsStringAsync()).Select(match => match.Value).ToList();
        Assert.Equal(10, recovery.Count);
        Assert.Contains("administrateur", await visit.ReadAsync("/"), StringComparison.Ordinal);

        // Again, elsewhere: the password alone opens nothing; a code is taken once.
        using var other = new Visit(_deployment.Hub.Address);
        using var right = await other.SubmitAsync($"{SignIn}?retour=%2F%3Fx%3D1", ("email", person.Email), ("password", AccountHolder.Password));
        Assert.Equal("/compte/code?retour=%2F%3Fx%3D1", right.Headers.Location?.ToString());
        using var closed = await other.GetAsync("/");
        Assert.StartsWith(SignIn, closed.Headers.Location!.PathAndQuery(), StringComparison.Ordinal);
        var code = AccountHolder.Code(secret, 1);
        using var let = await other.SubmitAsync("/compte/code?retour=%2F%3Fx%3D1", ("code", code));
        Assert.Equal("/?x=1", let.Headers.Location?.ToString());
        Assert.Equal(401, await StatusOfCodeAsync(code));
        Assert.Equal(302, await StatusOfCodeAsync(recovery[3]));
        Assert.Equal(401, await StatusOfCodeAsync(recovery[3]));

        // Five that are wrong close it to the right one too; and another password meanwhile ends the way that the old one has begun.
        using var guesser = new Visit(_deployment.Hub.Address);
        using var begun = await guesser.SubmitAsync(SignIn, ("email", person.Email), ("password", AccountHolder.Password));
        foreach (var given in (string[])["00000-00000", "00000-00001", "00000-00002", "00000-00003", "00000-00004", recovery[4]])
        {
            using var refused = await guesser.SubmitAsync("/compte/code", ("code", given));
            Assert.Equal((given, 401), (given, (int)refused.StatusCode));
        }

        using var client = _deployment.ClientOf(_deployment.Hub);
        using var reset = await client.PostAsync(new Uri($"/api/v1/access/accounts/{person.Id}/password", UriKind.Relative), null);
        using var ended = await guesser.GetAsync("/compte/code");
        Assert.Equal((200, SignIn), ((int)reset.StatusCode, ended.Headers.Location?.ToString()));

        // Neither secret is in the database as it is.
        Assert.Equal(0, await _deployment.CountAsync($"""SELECT count(*) FROM access."AspNetUserTokens" WHERE "Value" LIKE '%{secret.Replace(" ", "", StringComparison.Ordinal)}%' OR "Value" LIKE '%{recovery[0]}%'"""));

        async Task<int> StatusOfCodeAsync(string given)
        {
            using var again = new Visit(_deployment.Hub.Address);
            using var halfway = await again.SubmitAsync(SignIn, ("email", person.Email), ("password", AccountHolder.Password));
            using var answer = await again.SubmitAsync("/compte/code", ("code", given));
            return (int)answer.StatusCode;
        }
    }

    [Fact]
    public async Task Given_five_wrong_passwords_When_the_right_one_comes_Then_the_answer_is_that_to_an_unknown_account_and_the_audit_knows()
    {
        var person = await AccountHolder.InviteAsync(_deployment, "epci-agent");
        using var visit = new Visit(_deployment.Hub.Address);
        for (var attempt = 1; attempt <= 5; attempt++) Assert.Equal(401, (await AnswerAsync(person.Email, $"wrong {attempt}")).Status);

        var locked = await AnswerAsync(person.Email, person.TemporaryPassword);
        var unknown = await AnswerAsync("nobody@example.fr", "whatever it is");

        Assert.Equal((401, unknown.Text), (locked.Status, locked.Text));
        Assert.Equal(
            ["access.account-created", "access.sign-in-failed", "access.sign-in-failed", "access.sign-in-failed", "access.sign-in-failed", "access.account-locked"], await ActsOnAsync(person));
        Assert.Equal(0, await _deployment.CountAsync("SELECT count(*) FROM audit.entry e WHERE e::text LIKE '%example.fr%'"));

        // The administrator helps.
        using var client = _deployment.ClientOf(_deployment.Hub);
        using var reset = await client.PostAsync(new Uri($"/api/v1/access/accounts/{person.Id}/password", UriKind.Relative), null);
        var password = (string)(await reset.Content.ReadFromJsonAsync<JsonNode>())!["temporaryPassword"]!;
        await (person with { TemporaryPassword = password }).ArriveAsync(visit);

        // Who is in cannot find the password out in the form that changes it either.
        await _deployment.Database.ExecuteAsync($"UPDATE access.\"AspNetUsers\" SET \"LockoutEnd\" = now() + interval '1 minute' WHERE \"Id\" = '{person.Id}'");
        using var change = await visit.SubmitAsync("/compte/mot-de-passe", ("current", AccountHolder.Password), ("chosen", "une autre phrase assez longue"), ("repeated", "une autre phrase assez longue"));
        Assert.Equal(422, (int)change.StatusCode);

        async Task<(int Status, string Text)> AnswerAsync(string email, string password)
        {
            using var response = await visit.SubmitAsync(SignIn, ("email", email), ("password", password));
            return ((int)response.StatusCode, Problem().Match(await response.Content.ReadAsStringAsync()).Value);
        }
    }

    [Fact]
    public async Task Given_a_session_When_it_is_used_Then_pages_open_on_every_node_and_no_call_of_the_api_does()
    {
        var person = await AccountHolder.InviteAsync(_deployment, "commune-agent");
        using var visit = new Visit(_deployment.Hub.Address);
        await person.ArriveAsync(visit);

        visit.Hub = _deployment.SecondHub.Address;
        Assert.Contains("agent d’une commune", await visit.ReadAsync("/"), StringComparison.Ordinal);
        using var api = await visit.GetAsync("/api/v1/territory");
        using var accounts = await visit.GetAsync("/api/v1/access/accounts");
        Assert.Equal((HttpStatusCode.Unauthorized, HttpStatusCode.Unauthorized), (api.StatusCode, accounts.StatusCode));
        using var left = await visit.SubmitAsync("/");
        Assert.Equal(SignIn, left.Headers.Location?.ToString());
        using var over = await visit.GetAsync("/");
        Assert.StartsWith(SignIn, over.Headers.Location!.PathAndQuery(), StringComparison.Ordinal);
        Assert.Equal(["access.account-created", "access.signed-in", "access.password-changed", "access.signed-out"], await ActsOnAsync(person));

        // Whoever reads the database cannot make a session.
        Assert.Equal(0, await _deployment.CountAsync("""SELECT count(*) FROM access."DataProtectionKeys" WHERE "Xml" NOT LIKE '%<wrapped%' OR "Xml" LIKE '%<masterKey%'"""));
    }

    [Fact]
    public async Task Given_nobody_When_pages_are_asked_for_Then_they_lead_to_the_sign_in_and_back_within_this_site_alone()
    {
        using var visit = new Visit(_deployment.Hub.Address);
        using var page = await visit.GetAsync("/?commune=35085");
        using var connection = await visit.PostAsync("/_blazor/negotiate?negotiateVersion=1");
        using var asset = await visit.GetAsync("/dashboard.css");
        using var own = await visit.GetAsync("/compte/mot-de-passe");
        using var halfway = await visit.GetAsync("/compte/code");

        Assert.Equal("/compte/connexion?retour=%2F%3Fcommune%3D35085", page.Headers.Location!.PathAndQuery());
        Assert.Equal((401, 200), ((int)connection.StatusCode, (int)asset.StatusCode));
        Assert.Equal(("/compte/connexion?retour=%2Fcompte%2Fmot-de-passe", SignIn), (own.Headers.Location!.PathAndQuery(), halfway.Headers.Location?.ToString()));
        using var form = await visit.GetAsync(SignIn);
        Assert.True(form.Headers.CacheControl?.NoStore);
        foreach (var elsewhere in (string[])["https://example.org/", "//example.org", "/\\example.org", "javascript:alert(1)"])
            Assert.DoesNotContain("example.org", await visit.ReadAsync($"{SignIn}?retour={Uri.EscapeDataString(elsewhere)}"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_form_without_its_token_When_it_is_sent_Then_it_is_refused()
    {
        var person = await AccountHolder.InviteAsync(_deployment, "epci-agent");
        using var visit = new Visit(_deployment.Hub.Address);
        using var alone = await visit.PostAsync(SignIn, ("email", person.Email), ("password", person.TemporaryPassword));
        await person.ArriveAsync(visit);
        using var signOut = await visit.PostAsync("/compte/deconnexion");
        using var wrong = await visit.PostAsync("/compte/mot-de-passe", ("__RequestVerificationToken", "x"), ("current", AccountHolder.Password));

        Assert.Equal((400, 400, 400), ((int)alone.StatusCode, (int)signOut.StatusCode, (int)wrong.StatusCode));
        Assert.Contains("agent de la communauté", await visit.ReadAsync("/"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_weak_password_When_it_is_chosen_Then_it_is_refused()
    {
        var person = await AccountHolder.InviteAsync(_deployment, "epci-agent");
        using var visit = new Visit(_deployment.Hub.Address);
        using var signedIn = await visit.SubmitAsync(SignIn, ("email", person.Email), ("password", person.TemporaryPassword));
        foreach (var weak in (string[])["court", "motdepasse2026", person.TemporaryPassword])
        {
            using var refused = await visit.SubmitAsync("/compte/mot-de-passe", ("current", person.TemporaryPassword), ("chosen", weak), ("repeated", weak));
            Assert.True(refused.StatusCode == HttpStatusCode.UnprocessableEntity, weak);
        }

        using var closed = await visit.GetAsync("/");
        Assert.Equal("/compte/mot-de-passe", closed.Headers.Location!.PathAndQuery());
    }

    [Fact]
    public async Task Given_an_open_dashboard_When_the_account_is_suspended_Then_the_page_closes_by_itself()
    {
        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = DashboardTests.Arguments });
        var page = await browser.NewPageAsync(new() { Locale = "fr-FR" });
        await AccountHolder.OpenDashboardAsync(page, _deployment);
        Assert.Equal("agent de la communauté", await page.InnerTextAsync(".signed-roles"));

        using var client = _deployment.ClientOf(_deployment.Hub);
        var id = await _deployment.Database.ScalarAsync("""SELECT "Id" FROM access."AspNetUsers" ORDER BY (SELECT max(seq) FROM audit.entry WHERE who = "Id") DESC NULLS LAST LIMIT 1""");
        using var unexplained = await client.PostAsJsonAsync(new Uri($"/api/v1/access/accounts/{id}/suspension", UriKind.Relative), new { reason = "" });
        using var suspended = await client.PostAsJsonAsync(new Uri($"/api/v1/access/accounts/{id}/suspension", UriKind.Relative), new { reason = "left the service" });

        Assert.Equal((422, 200), ((int)unexplained.StatusCode, (int)suspended.StatusCode));
        await page.WaitForURLAsync("**/compte/connexion**", new() { Timeout = 10_000 });
    }

    [Fact]
    public async Task Given_accounts_When_an_administrator_changes_them_Then_rights_follow_at_once_and_nonsense_is_refused()
    {
        using var client = _deployment.ClientOf(_deployment.Hub);
        var person = await AccountHolder.InviteAsync(_deployment, "epci-agent");
        using var visit = new Visit(_deployment.Hub.Address);
        await person.ArriveAsync(visit);

        Assert.Equal(422, await PutAsync(new { email = person.Email, name = "Camille", roles = new[] { "connector" } }));
        Assert.Equal(422, await PutAsync(new { email = "nobody", name = "Camille", roles = new[] { "epci-agent" } }));
        Assert.Equal(422, await PutAsync(new { email = person.Email, name = "Camille", roles = new[] { "commune-agent" } }));
        Assert.Equal(422, await PutAsync(new { email = person.Email, name = "Camille", roles = new[] { "epci-agent" }, passwordHash = "x" }));
        Assert.Equal(200, await PutAsync(new { email = person.Email, name = "Camille", roles = new[] { "dpo" } }));
        using var first = await visit.GetAsync("/");
        Assert.Equal("/compte/double-authentification", first.Headers.Location!.PathAndQuery());

        using var suspended = await client.PostAsJsonAsync(new Uri($"/api/v1/access/accounts/{person.Id}/suspension", UriKind.Relative), new { reason = "on leave" });
        using var kept = await visit.GetAsync("/");
        using var other = new Visit(_deployment.Hub.Address);
        using var refused = await other.SubmitAsync(SignIn, ("email", person.Email), ("password", AccountHolder.Password));
        Assert.Equal((200, 401), ((int)suspended.StatusCode, (int)refused.StatusCode));
        Assert.StartsWith(SignIn, kept.Headers.Location!.PathAndQuery(), StringComparison.Ordinal);

        using var again = await client.PostAsJsonAsync(new Uri("/api/v1/access/accounts", UriKind.Relative), new { email = person.Email.ToUpperInvariant(), name = "Camille", roles = new[] { "epci-agent" } });
        using var unknown = await client.GetAsync(new Uri("/api/v1/access/accounts/unknown", UriKind.Relative));
        using var deleted = await client.DeleteAsync(new Uri($"/api/v1/access/accounts/{person.Id}", UriKind.Relative));
        using var gone = await visit.GetAsync("/");
        Assert.Equal((409, 404, 204), ((int)again.StatusCode, (int)unknown.StatusCode, (int)deleted.StatusCode));
        Assert.StartsWith(SignIn, gone.Headers.Location!.PathAndQuery(), StringComparison.Ordinal);

        async Task<int> PutAsync(object asked)
        {
            using var response = await client.PutAsJsonAsync(new Uri($"/api/v1/access/accounts/{person.Id}", UriKind.Relative), asked);
            return (int)response.StatusCode;
        }
    }

    private async Task<string[]> ActsOnAsync(AccountHolder person) =>
        ((string)(await _deployment.Database.ScalarAsync($"SELECT coalesce(string_agg(act, ' ' ORDER BY seq), '') FROM audit.entry WHERE subject = '{person.Id}'"))!).Split(' ');

    [GeneratedRegex("""data-testid="secret">([A-Z2-7 ]+)<""")]
    private static partial Regex Secret();

    [GeneratedRegex("[0-9A-Z]{5}-[0-9A-Z]{5}")]
    private static partial Regex Recovery();

    [GeneratedRegex("""role="alert">[^<]+""")]
    private static partial Regex Problem();

    /// <summary>Two nodes of a hub, for all of these tests.</summary>
    public sealed class TwoNodes : IAsyncLifetime
    {
        internal Deployment Deployment { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            Deployment = await Deployment.CreateAsync(new Dictionary<string, string?> { ["SignIn__RecheckSeconds"] = "1", ["RateLimits__SignInsPerMinute"] = "1000" }, Some.BretagneRomantique);
            await Task.WhenAll(Deployment.Hub.StartAsync(), Deployment.SecondHub.StartAsync());
        }

        public async Task DisposeAsync() => await Deployment.DisposeAsync();
    }
}

internal static class Locations
{
    /// <summary>Path and query of a redirection, however it is written.</summary>
    public static string PathAndQuery(this Uri location) => location.IsAbsoluteUri ? location.PathAndQuery : location.ToString();
}
