using System.Net;
using System.Net.Sockets;
using Intercommunalite.Hub.Feeds.Webhooks;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

public sealed class EndpointsTests
{
    [Fact]
    public async Task Given_an_endpoint_at_which_nobody_takes_connections_When_something_is_brought_Then_it_is_away_and_has_refused_nothing()
    {
        // As behind a firewall that drops: nobody accepts, and there is no more room to wait.
        using var nobody = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        nobody.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        nobody.Listen(0);
        var waiting = new List<Socket>();
        try
        {
            while (await ConnectsAsync(nobody.LocalEndPoint!, waiting)) continue;
            var options = new WebhookOptions { AllowedNetworks = "127.0.0.0/8" };
            using var endpoints = new Endpoints(new Addresses(options), options, TimeProvider.System);
            var webhook = new Webhook("canteen", new Uri($"http://127.0.0.1:{((IPEndPoint)nobody.LocalEndPoint!).Port}/"), [], null, null, null, null);

            var answer = await endpoints.PostAsync(webhook, [new byte[32]], "msg_1", "{}"u8.ToArray(), CancellationToken.None);

            Assert.Equal((Verdict.Away, "no connection in time"), (answer.Verdict, answer.Why));
        }
        finally
        {
            waiting.ForEach(socket => socket.Dispose());
        }
    }

    private static async Task<bool> ConnectsAsync(EndPoint to, List<Socket> waiting)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        waiting.Add(socket);
        using var limit = new CancellationTokenSource(TimeSpan.FromMilliseconds(500));
        try
        {
            await socket.ConnectAsync(to, limit.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
