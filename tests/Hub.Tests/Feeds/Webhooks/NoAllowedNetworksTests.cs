using System.Net;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>Webhooks of a hub as it is delivered, whose operator allows no network that is not public.</summary>
public sealed class NoAllowedNetworksTests(NoAllowedNetworksTests.Hub hub) : IClassFixture<NoAllowedNetworksTests.Hub>
{
    [Theory]
    [InlineData("https://localhost:{0}/events")]
    [InlineData("https://127.0.0.1:{0}/events")]
    [InlineData("https://[::ffff:127.0.0.1]:{0}/events")]
    [InlineData("https://2130706433:{0}/events")]
    [InlineData("https://0x7f.1:{0}/events")]
    [InlineData("https://0.0.0.0:{0}/events")]
    [InlineData("https://169.254.169.254/latest/meta-data")]
    [InlineData("http://localhost:{0}/events")]
    public async Task Given_a_hub_without_allowed_networks_When_an_endpoint_is_not_public_Then_it_is_not_even_asked(string url)
    {
        await using var endpoint = await TestEndpoint.StartAsync(hub.Authority);

        var made = await hub.Node.AskAsync(
            HttpMethod.Post, "/api/v1/subscriptions", hub.Administrator, new { name = "hook", start = "now", webhook = new { url = url.Replace("{0}", $"{endpoint.Url.Port}", StringComparison.Ordinal) } });

        Assert.Equal(HttpStatusCode.UnprocessableEntity, made.Status);
        Assert.Matches("not public|https expected", made.Body.ToString());
        Assert.Null(endpoint.AskedOrigin);
    }

    public sealed class Hub : IAsyncLifetime
    {
        private readonly HubStore _store = new();

        internal TestAuthority Authority { get; } = new();

        internal AccessServer Node { get; private set; } = null!;

        internal string Administrator { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            await _store.InitializeAsync();
            Node = await AccessServer.StartAsync(_store, ("Webhooks:Origin", "hub.example"));
            Administrator = await Node.LetInAsync("administrator", Roles.Administrator);
        }

        public async Task DisposeAsync()
        {
            await Node.DisposeAsync();
            await _store.DisposeAsync();
            Authority.Dispose();
        }
    }
}
