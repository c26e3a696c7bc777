using System.Net;
using System.Net.Sockets;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

public sealed class AddressesTests
{
    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("172.15.255.255", true)]
    [InlineData("172.32.0.1", true)]
    [InlineData("100.128.0.1", true)]
    [InlineData("2a01:cb00::1", true)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("0.0.0.0", false)]
    [InlineData("0.1.2.3", false)]
    [InlineData("10.0.0.1", false)]
    [InlineData("100.64.0.1", false)]
    [InlineData("127.0.0.1", false)]
    [InlineData("127.255.255.254", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("172.16.0.1", false)]
    [InlineData("172.31.255.255", false)]
    [InlineData("192.0.0.1", false)]
    [InlineData("192.0.2.1", false)]
    [InlineData("192.88.99.1", false)]
    [InlineData("192.168.1.1", false)]
    [InlineData("198.18.0.1", false)]
    [InlineData("198.51.100.1", false)]
    [InlineData("203.0.113.1", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("240.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("::", false)]
    [InlineData("::1", false)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:8.8.8.8", false)]
    [InlineData("::7f00:1", false)]
    [InlineData("64:ff9b::7f00:1", false)]
    [InlineData("64:ff9b:1::1", false)]
    [InlineData("100::1", false)]
    [InlineData("2001::1", false)]
    [InlineData("2001:db8::1", false)]
    [InlineData("2002:7f00:1::1", false)]
    [InlineData("3fff::1", false)]
    [InlineData("fc00::1", false)]
    [InlineData("fd12:3456::1", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fec0::1", false)]
    [InlineData("ff02::1", false)]
    public void Given_an_address_Then_only_a_public_one_may_be_named_by_anybody(string address, bool isPublic) => Assert.Equal(isPublic, Addresses.IsPublic(IPAddress.Parse(address)));

    [Fact]
    public void Given_networks_that_are_allowed_Then_their_addresses_are_and_no_others()
    {
        var addresses = new Addresses(new WebhookOptions { AllowedNetworks = "10.1.0.0/16, fd00:1::/32" });

        Assert.Equal([true, true, false, false], new[] { "10.1.2.3", "fd00:1::5", "10.2.0.1", "127.0.0.1" }.Select(text => addresses.IsAllowed(IPAddress.Parse(text))));
        Assert.Throws<InvalidOperationException>(() => new Addresses(new WebhookOptions { AllowedNetworks = "10.1.0.0/16,everything" }));
    }

    [Theory]
    [InlineData("https://partner.example/events", null)]
    [InlineData("https://partner.example:8443/events?key=1", null)]
    [InlineData("http://partner.example/events", "https")]
    [InlineData("ftp://partner.example/", "an address")]
    [InlineData("file:///etc/passwd", "an address")]
    [InlineData("/events", "an address")]
    [InlineData("https://user:secret@partner.example/", "user")]
    [InlineData("https://partner.example/#x", "fragment")]
    [InlineData("https://", "an address")]
    public void Given_the_url_of_an_endpoint_Then_what_is_wrong_with_it_is_said(string url, string? wrong)
    {
        var said = new Addresses(new WebhookOptions()).Check(url, out _);

        if (wrong is null) Assert.Null(said);
        else Assert.Contains(wrong, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_addresses_at_the_first_of_which_nobody_answers_Then_the_next_one_is_tried_in_time()
    {
        using var right = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        right.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        right.Listen();
        var port = ((IPEndPoint)right.LocalEndPoint!).Port;
        using var nobody = await Nobody.AtAsync(new IPEndPoint(IPAddress.Parse("127.0.0.2"), port));
        using var limit = new CancellationTokenSource(Eventually.DefaultTimeout);

        await using (await Addresses.ConnectAsync([IPAddress.Parse("127.0.0.2"), IPAddress.Parse("127.0.0.3"), IPAddress.Loopback], port, limit.Token))
            Assert.True((await right.AcceptAsync(limit.Token)).Connected);

        await Assert.ThrowsAsync<SocketException>(() => Addresses.ConnectAsync([IPAddress.Parse("127.0.0.3"), IPAddress.Parse("127.0.0.4")], port, limit.Token));
    }

    [Fact]
    public async Task Given_a_name_with_many_addresses_Then_eight_of_them_are_tried()
    {
        using var right = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        right.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        right.Listen();
        var port = ((IPEndPoint)right.LocalEndPoint!).Port;
        var others = Enumerable.Range(3, 8).Select(number => IPAddress.Parse($"127.0.0.{number}")).ToList();
        using var limit = new CancellationTokenSource(Eventually.DefaultTimeout);

        await using (await Addresses.ConnectAsync([.. others[1..], IPAddress.Loopback], port, limit.Token)) Assert.True((await right.AcceptAsync(limit.Token)).Connected);

        await Assert.ThrowsAsync<SocketException>(() => Addresses.ConnectAsync([.. others, IPAddress.Loopback], port, limit.Token));
    }
}
