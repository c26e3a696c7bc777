using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>What becomes of open streams when their node stops.</summary>
public sealed class StoppingTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_open_streams_of_each_kind_When_the_node_stops_Then_each_ends_and_says_why_and_nothing_is_cut_off()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1"), "birth/1");
        await using var node = await AccessServer.StartAsync(_hub);
        var token = await node.LetInAsync("administrator", Roles.Administrator);
        await node.AskAsync(HttpMethod.Post, "/api/v1/subscriptions", token, new { name = "held", start = "beginning" });
        using var feed = node.Feed.Subscribe(new SubscribeRequest(), AccessServer.Headers(token));
        Assert.True(await feed.ResponseStream.MoveNext());
        using var subscription = node.Subscriptions.Consume(new ConsumeRequest { Subscription = "held" }, AccessServer.Headers(token));
        Assert.True(await subscription.ResponseStream.MoveNext());
        using var http = new HttpClient { BaseAddress = node.Address, DefaultRequestHeaders = { Authorization = new("Bearer", token), Accept = { new MediaTypeWithQualityHeaderValue("text/event-stream") } } };
        await using var sent = await http.GetStreamAsync(new Uri("/api/v1/feed", UriKind.Relative));
        var items = SseParser.Create(sent).EnumerateAsync().GetAsyncEnumerator();
        Assert.True(await items.MoveNextAsync());

        var stopped = node.StopAsync();

        Assert.Equal((StatusCode.Unavailable, true), Said(await Assert.ThrowsAsync<RpcException>(() => ToTheEndAsync(feed.ResponseStream))));
        Assert.Equal((StatusCode.Unavailable, true), Said(await Assert.ThrowsAsync<RpcException>(() => ToTheEndAsync(subscription.ResponseStream))));
        while (items.Current.EventType != "error") Assert.True(await items.MoveNextAsync());
        Assert.Equal(503, JsonElement.Parse(items.Current.Data).GetProperty("status").GetInt32());
        Assert.False(await items.MoveNextAsync());
        await stopped.WaitAsync(Eventually.DefaultTimeout);
        // What was held is free for another node.
        Assert.Equal(["-"], await _hub.RowsAsync("SELECT holder FROM feeds.delivery"));

        static (StatusCode, bool) Said(RpcException e) => (e.StatusCode, e.Status.Detail.Contains("This node of the hub stops", StringComparison.Ordinal));

        static async Task ToTheEndAsync<T>(IAsyncStreamReader<T> stream)
        {
            while (await stream.MoveNext(default).WaitAsync(Eventually.DefaultTimeout)) continue;
        }
    }
}
