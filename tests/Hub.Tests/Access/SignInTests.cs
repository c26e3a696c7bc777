using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Access.SignIn;
using Microsoft.AspNetCore.Identity;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

public sealed partial class SignInTests(HubApp hub) : IClassFixture<HubApp>
{
    private const string SignIn = "/compte/connexion";

    private static int s_visitors;

    [Fact]
    public async Task Given_wrong_passwords_that_come_at_the_same_time_When_there_are_five_Then_the_account_is_locked_and_each_was_counted()
    {
        var (id, email, password) = await MakeAccountAsync();
        using var guesser = await VisitorAsync();
        using var person = await VisitorAsync();

        var answers = await Task.WhenAll(Enumerable.Range(1, 6).Select(_ => guesser.SubmitAsync(("email", email), ("password", "wrong"))));
        Assert.All(answers, answer => Assert.Equal(401, (int)answer.Status));
        Assert.Equal(401, (int)(await person.SubmitAsync(("email", email), ("password", password))).Status);
        Assert.Equal(
            "access.account-locked access.sign-in-failed access.sign-in-failed access.sign-in-failed access.sign-in-failed",
            await hub.Database.ScalarAsync($"SELECT string_agg(act, ' ' ORDER BY act) FROM audit.entry WHERE subject = '{id}' AND act <> 'access.account-created'"));

        // The administrator helps, and four wrong ones do not lock.
        using var reset = await hub.Administrator.PostAsync(new Uri($"/api/v1/access/accounts/{id}/password", UriKind.Relative), null);
        password = (string)(await reset.Content.ReadFromJsonAsync<JsonNode>())!["temporaryPassword"]!;
        await Task.WhenAll(Enumerable.Range(1, 4).Select(_ => person.SubmitAsync(("email", email), ("password", "wrong"))));
        Assert.Equal(302, (int)(await person.SubmitAsync(("email", email), ("password", password))).Status);
    }

    [Fact]
    public async Task Given_a_right_password_again_and_again_When_codes_are_wrong_Then_five_of_them_lock_whoever_saves_the_account_meanwhile()
    {
        var (id, _, _) = await MakeAccountAsync();
        await using var scope = hub.Services.CreateAsyncScope();
        var (lockout, accounts) = (scope.ServiceProvider.GetRequiredService<Lockout>(), scope.ServiceProvider.GetRequiredService<UserManager<Account>>());
        var read = (await accounts.FindByIdAsync(id))!;
        for (var code = 1; code <= 4; code++)
        {
            Assert.Equal(code, await lockout.CountAsync(id, default));
            await lockout.TakeBackAsync(id, default);
            Assert.Equal(code, await lockout.CountAsync(id, default));
        }

        // Read before the codes were counted.
        Assert.True((await accounts.UpdateAsync(read)).Succeeded);
        Assert.Equal(5, await lockout.CountAsync(id, default));
        Assert.Null(await lockout.CountAsync(id, default));
        await hub.Database.ScalarAsync($"""UPDATE access."AspNetUsers" SET "LockoutEnd" = "LockoutEnd" - interval '15 minutes' WHERE "Id" = '{id}'""");
        Assert.Equal(1, await lockout.CountAsync(id, default));
    }

    [Fact]
    public async Task Given_the_secret_of_the_host_When_it_is_guessed_too_often_Then_429_before_it_is_looked_at()
    {
        using var guesser = await VisitorAsync();
        for (var guess = 1; guess <= 10; guess++) Assert.Equal(HttpStatusCode.Forbidden, await GuessAsync("wrong"));

        Assert.Equal(HttpStatusCode.TooManyRequests, await GuessAsync(HubApp.BootstrapSecret));

        async Task<HttpStatusCode> GuessAsync(string secret)
        {
            using var answer = await guesser.Client.PostAsJsonAsync("/api/v1/access/bootstrap", new { secret });
            return answer.StatusCode;
        }
    }

    [Fact]
    public async Task Given_too_many_tries_or_a_form_that_is_not_of_this_hub_When_a_person_sends_it_Then_a_page_says_so()
    {
        using var person = await VisitorAsync();
        var stale = await (person with { Token = "x" }).SubmitAsync(("email", "a@example.fr"), ("password", "x"));
        for (var time = 1; time <= 9; time++) Assert.Equal(HttpStatusCode.Redirect, (await person.SubmitToAsync("/compte/code", ("code", "123456"))).Status);
        var often = await person.SubmitToAsync("/compte/code", ("code", "123456"));

        Assert.Equal((HttpStatusCode.BadRequest, "text/html", true), (stale.Status, stale.MediaType, stale.Text.Contains("Formulaire expiré", StringComparison.Ordinal)));
        Assert.Equal((HttpStatusCode.TooManyRequests, "text/html", true), (often.Status, often.MediaType, often.Text.Contains("Trop de tentatives", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Given_a_temporary_password_When_a_week_is_over_Then_it_lets_nobody_in_And_before_Then_the_refusal_has_a_way_out()
    {
        var (id, email, password) = await MakeAccountAsync();
        using var person = await VisitorAsync();
        Assert.Equal(HttpStatusCode.Redirect, (await person.SubmitAsync(("email", email), ("password", password))).Status);
        using var page = await person.Client.GetAsync(new Uri("/compte/refus", UriKind.Relative));
        var text = await page.Content.ReadAsStringAsync();
        Assert.Equal((HttpStatusCode.Forbidden, true), (page.StatusCode, text.Contains("action=\"/compte/deconnexion\"", StringComparison.Ordinal)));
        Assert.Equal(HttpStatusCode.Redirect, (await (person with { Token = Token().Match(text).Groups[1].Value }).SubmitToAsync("/compte/deconnexion")).Status);
        using var left = await person.Client.GetAsync(new Uri("/compte/refus", UriKind.Relative));
        Assert.DoesNotContain("/compte/deconnexion", await left.Content.ReadAsStringAsync(), StringComparison.Ordinal);

        await hub.Database.ScalarAsync($"""UPDATE access."AspNetUsers" SET "TemporaryUntil" = "TemporaryUntil" - interval '7 days 1 second' WHERE "Id" = '{id}'""");
        using var late = await VisitorAsync();
        var over = await late.SubmitAsync(("email", email), ("password", password));
        Assert.Equal((HttpStatusCode.Unauthorized, true), (over.Status, over.Text.Contains("n’est plus valable", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true)]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1", false)]
    [InlineData("192.0.2.1", "::ffff:192.0.2.1", true)]
    [InlineData("192.0.2.1", "192.0.2.2", false)]
    [InlineData("::ffff:192.0.2.1", "::ffff:192.0.2.2", false)]
    public void Given_two_addresses_When_tries_are_limited_Then_those_of_one_subscriber_count_as_one(string one, string other, bool same) =>
        Assert.Equal(same, RateLimits.AddressOf(IPAddress.Parse(one)) == RateLimits.AddressOf(IPAddress.Parse(other)));

    private async Task<(string Id, string Email, string Password)> MakeAccountAsync()
    {
        var email = $"{Guid.NewGuid():N}@example.fr";
        using var made = await hub.Administrator.PostAsJsonAsync("/api/v1/access/accounts", new { email, name = "Camille Essai", roles = new[] { "epci-agent" } });
        var answer = (await made.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<JsonNode>())!;
        return ((string)answer["id"]!, email, (string)answer["temporaryPassword"]!);
    }

    // Each comes from an address of its own, by which tries are limited.
    private async Task<Visitor> VisitorAsync()
    {
        var address = new IPEndPoint(IPAddress.Parse($"127.0.1.{Interlocked.Increment(ref s_visitors)}"), 0);
        var client = new HttpClient(new SocketsHttpHandler
        {
            CookieContainer = new CookieContainer(),
            AllowAutoRedirect = false,
            ConnectCallback = async (connection, cancellation) =>
            {
                var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
                socket.Bind(address);
                await socket.ConnectAsync(connection.DnsEndPoint, cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        })
        {
            BaseAddress = hub.Anyone.BaseAddress,
        };
        return new(client, Token().Match(await client.GetStringAsync(new Uri(SignIn, UriKind.Relative))).Groups[1].Value);
    }

    [GeneratedRegex("""name="__RequestVerificationToken" value="([^"]*)""")]
    private static partial Regex Token();

    /// <summary>A browser that has opened the sign-in page.</summary>
    private sealed record Visitor(HttpClient Client, string Token) : IDisposable
    {
        public Task<(HttpStatusCode Status, string Text, string? MediaType)> SubmitAsync(params (string Name, string Value)[] fields) => SubmitToAsync(SignIn, fields);

        public async Task<(HttpStatusCode Status, string Text, string? MediaType)> SubmitToAsync(string path, params (string Name, string Value)[] fields)
        {
            using var form = new FormUrlEncodedContent(fields.Append(("__RequestVerificationToken", Token)).Select(field => KeyValuePair.Create(field.Item1, field.Item2)));
            using var answer = await Client.PostAsync(new Uri(path, UriKind.Relative), form);
            return (answer.StatusCode, WebUtility.HtmlDecode(await answer.Content.ReadAsStringAsync()), answer.Content.Headers.ContentType?.MediaType);
        }

        public void Dispose() => Client.Dispose();
    }
}
