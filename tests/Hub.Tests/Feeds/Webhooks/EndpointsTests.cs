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
        using var nobody = await Nobody.AtAsync(new IPEndPoint(IPAddress.Loopback, 0));
        var options = new WebhookOptions { AllowedNetworks = "127.0.0.0/8" };
        using var endpoints = new Endpoints(new Addresses(options), options, TimeProvider.System);
        var webhook = new Webhook("canteen", new Uri($"http://127.0.0.1:{nobody.Port}/"), [], null, null, null, null, default, null);

        var answer = await endpoints.PostAsync(webhook, [new byte[32]], "msg_1", "{}"u8.ToArray(), CancellationToken.None);

        Assert.Equal((Verdict.Away, "no connection in time"), (answer.Verdict, answer.Why));
    }
}

/// <summary>An address at which nobody takes connections, as behind a firewall that drops: nobody accepts, and there is no more room to wait.</summary>
internal sealed class Nobody : IDisposable
{
    private readonly Socket _listening = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly List<Socket> _waiting = [];

    public int Port => ((IPEndPoint)_listening.LocalEndPoint!).Port;

    public static async Task<Nobody> AtAsync(IPEndPoint address)
    {
        var nobody = new Nobody();
        nobody._listening.Bind(address);
        nobody._listening.Listen(0);
        while (await nobody.ConnectsAsync()) continue;
        return nobody;
    }

    public void Dispose()
    {
        _waiting.ForEach(socket => socket.Dispose());
        _listening.Dispose();
    }

    private async Task<bool> ConnectsAsync()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        _waiting.Add(socket);
        using var limit = new CancellationTokenSource(TimeSpan.FromMilliseconds(500));
        try
        {
            await socket.ConnectAsync(_listening.LocalEndPoint!, limit.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
