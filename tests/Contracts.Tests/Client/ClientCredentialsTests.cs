using System.Text;
using Intercommunalite.Contracts.Client;
using Microsoft.AspNetCore.Http;
using Xunit;

namespace Intercommunalite.Contracts.Tests.Client;

public sealed class ClientCredentialsTests
{
    [Fact]
    public async Task Given_a_client_When_tokens_are_asked_for_Then_one_is_used_until_it_nearly_runs_out_or_is_refused()
    {
        var seen = "";
        await using var issuer = await FakeHub.IssuerAsync((context, number) =>
        {
            seen = context.Request.Headers.Authorization.ToString();
            return context.Response.WriteAsJsonAsync(new { access_token = $"t{number}", expires_in = number == 3 ? 60 : 600 });
        });
        var credentials = new ClientCredentials(issuer.Address, "canteen:1", "sécret");

        Assert.Equal(["t1", "t1"], await Task.WhenAll(credentials.TokenAsync(null, default).AsTask(), credentials.TokenAsync(null, default).AsTask()));
        Assert.Equal("t2", await credentials.TokenAsync("t1", default));
        Assert.Equal("t2", await credentials.TokenAsync("t1", default));
        Assert.Equal("t3", await credentials.TokenAsync("t2", default));
        Assert.Equal("t4", await credentials.TokenAsync(null, default));
        Assert.Equal("canteen%3A1:s%C3%A9cret", Encoding.ASCII.GetString(Convert.FromBase64String(seen["Basic ".Length..])));
    }

    [Fact]
    public async Task Given_a_wrong_secret_Then_it_says_whose_and_what_to_do()
    {
        await using var issuer = await FakeHub.IssuerAsync((context, _) =>
        {
            context.Response.StatusCode = 401;
            return context.Response.WriteAsJsonAsync(new { error = "invalid_client", error_description = "No such secret." });
        });

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(async () => await new ClientCredentials(issuer.Address, "canteen", "hunter-2").TokenAsync(null, default));

        Assert.Contains("gives client 'canteen' no token: 401 No such secret. Check", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter-2", refusal.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(429)]
    [InlineData(503)]
    public async Task Given_an_issuer_that_is_busy_Then_it_is_one_that_may_come_back(int status)
    {
        await using var issuer = await FakeHub.IssuerAsync((context, number) =>
        {
            context.Response.StatusCode = number == 1 ? status : 200;
            return context.Response.WriteAsJsonAsync(new { access_token = "token" });
        });
        var credentials = new ClientCredentials(issuer.Address, "canteen", "secret");

        await Assert.ThrowsAsync<HttpRequestException>(async () => await credentials.TokenAsync(null, default));
        Assert.Equal("token", await credentials.TokenAsync(null, default));
    }

    [Fact]
    public async Task Given_an_issuer_elsewhere_without_tls_Then_no_secret_is_sent()
    {
        var refusal = await Assert.ThrowsAsync<HubRefusedException>(async () => await new ClientCredentials(new("http://hub.example.org"), "canteen", "secret").TokenAsync(null, default));

        Assert.Contains("without TLS", refusal.Message, StringComparison.Ordinal);
    }
}
