using System.Security.Cryptography.X509Certificates;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Intercommunalite.Contracts.Client;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Xunit;

namespace Intercommunalite.Contracts.Tests.Client;

public sealed class FeedClientTests : IDisposable
{
    private readonly string _cursorFile = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
    private readonly List<string> _interruptions = [];

    public void Dispose()
    {
        File.Delete(_cursorFile);
        File.Delete(_cursorFile + ".lock");
    }

    [Fact]
    public async Task Given_a_hub_that_goes_away_When_it_is_back_Then_the_stream_goes_on_from_the_last_cursor()
    {
        var feed = new FakeFeed(
            async (_, stream, _) =>
            {
                await FakeFeed.SendAsync(stream, 1, 2);
                throw FakeFeed.Error(StatusCode.Unavailable, "stopping");
            },
            async (_, stream, context) =>
            {
                await FakeFeed.SendAsync(stream, 3, 4);
                await UntilGoneAsync(context);
            });
        await using var hub = await FakeHub.FeedAsync(feed);

        var cursors = await ReadAsync(Client(hub), new SubscribeRequest { Since = Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch), Agreement = "canteen" }, 4);

        Assert.Equal(["c1", "c2", "c3", "c4"], cursors);
        Assert.Equal([("", true, "canteen"), ("c2", false, "canteen")], feed.Requests.Select(request => (request.Cursor, request.Since is not null, request.Agreement)));
        Assert.Contains("stopping", Assert.Single(_interruptions), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_from_now_When_the_first_thing_that_came_was_no_event_Then_what_follows_is_read_from_its_cursor()
    {
        var feed = new FakeFeed(
            async (_, stream, _) => await stream.WriteAsync(new() { CaughtUp = new() { Cursor = "c7" } }),
            async (_, stream, _) => await FakeFeed.SendAsync(stream, 8, 8));
        await using var hub = await FakeHub.FeedAsync(feed);

        await ReadAsync(Client(hub), new SubscribeRequest { FromNow = true }, 2);

        Assert.Equal([("", true), ("c7", false)], feed.Requests.Select(request => (request.Cursor, request.FromNow)));
    }

    [Fact]
    public async Task Given_a_stream_that_says_nothing_more_When_it_was_silent_for_too_long_Then_another_is_opened()
    {
        var feed = new FakeFeed(
            async (_, stream, context) =>
            {
                await FakeFeed.SendAsync(stream, 1, 1);
                await UntilGoneAsync(context);
            },
            async (_, stream, context) =>
            {
                await FakeFeed.SendAsync(stream, 2, 2);
                await UntilGoneAsync(context);
            });
        await using var hub = await FakeHub.FeedAsync(feed);

        var cursors = await ReadAsync(Client(hub, longestSilence: TimeSpan.FromSeconds(1)), new(), 2);

        Assert.Equal(["c1", "c2"], cursors);
        Assert.Contains("not even a sign of life", Assert.Single(_interruptions), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_token_that_runs_out_When_there_is_another_Then_it_goes_on_without_a_word()
    {
        var feed = new FakeFeed(
            async (_, stream, _) =>
            {
                await FakeFeed.SendAsync(stream, 1, 1);
                throw FakeFeed.Error(StatusCode.Unauthenticated, "The token has expired.");
            },
            async (_, stream, _) => await FakeFeed.SendAsync(stream, 2, 2));
        await using var hub = await FakeHub.FeedAsync(feed);
        var client = new FeedClient(hub.Address, (refused, _) => ValueTask.FromResult(refused is null ? "first" : $"instead-of-{refused}")) { Interrupted = Told };

        var cursors = await ReadAsync(client, new(), 2);

        Assert.Equal(["c1", "c2"], cursors);
        Assert.Equal(["Bearer first", "Bearer instead-of-first"], feed.Tokens);
        Assert.Empty(_interruptions);
    }

    [Theory]
    [InlineData("fixed", "fixed", 1)]
    [InlineData("first", "second", 2)]
    [InlineData("", "", 1)]
    public async Task Given_a_caller_whom_the_hub_does_not_know_Then_it_ends_and_says_what_to_do(string token, string instead, int calls)
    {
        var feed = new FakeFeed((_, _, _) => throw FakeFeed.Error(StatusCode.Unauthenticated, "No such client."));
        await using var hub = await FakeHub.FeedAsync(feed);
        var client = new FeedClient(hub.Address, (refused, _) => ValueTask.FromResult(refused is null ? token : instead));

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(() => ReadAsync(client, new(), 1));

        Assert.Contains("No such client. Check the client's id and secret", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(calls, feed.Requests.Count);
    }

    [Theory]
    [InlineData(StatusCode.PermissionDenied, null)]
    [InlineData(StatusCode.InvalidArgument, "cursor-malformed")]
    [InlineData(StatusCode.FailedPrecondition, "cursor-of-another-store")]
    [InlineData(StatusCode.OutOfRange, "cursor-of-another-history")]
    [InlineData(StatusCode.ResourceExhausted, null)]
    [InlineData(StatusCode.NotFound, null)]
    [InlineData(StatusCode.Unimplemented, null)]
    public async Task Given_an_error_that_needs_a_person_Then_it_ends_with_the_reason(StatusCode status, string? reason)
    {
        var feed = new FakeFeed((_, _, _) => throw FakeFeed.Error(status, "What to do.", reason));
        await using var hub = await FakeHub.FeedAsync(feed);

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(() => ReadAsync(Client(hub), new(), 1));

        Assert.Equal((status, reason), (refusal.Status, refusal.Reason));
        Assert.Contains(status == StatusCode.Unimplemented ? "There is no feed at" : "What to do.", refusal.Message, StringComparison.Ordinal);
        Assert.Single(feed.Requests);
    }

    [Fact]
    public async Task Given_an_address_that_speaks_http_1_alone_Then_it_ends_and_says_so()
    {
        await using var hub = await FakeHub.FeedAsync(new FakeFeed(), HttpProtocols.Http1);

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(() => ReadAsync(Client(hub), new(), 1));

        Assert.Contains("does not speak gRPC", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_certificate_of_an_authority_of_ones_own_Then_it_ends_and_says_so_unless_that_is_trusted()
    {
        using var authority = new TestAuthority();
        var (pem, key) = authority.Server();
        using var fromPem = X509Certificate2.CreateFromPemFile(pem, key);
        using var certificate = X509CertificateLoader.LoadPkcs12(fromPem.Export(X509ContentType.Pkcs12), null);
        await using var hub = await FakeHub.FeedAsync(new FakeFeed((_, stream, _) => FakeFeed.SendAsync(stream, 1, 1)), certificate: certificate);

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(() => ReadAsync(Client(hub), new(), 1));
        var trusting = new FeedClient(hub.Address, (_, _) => ValueTask.FromResult("token")) { Handler = () => authority.Handler() };

        Assert.Contains("its certificate is not trusted here", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(["c1"], await ReadAsync(trusting, new(), 1));
    }

    [Fact]
    public async Task Given_a_token_and_an_address_without_tls_elsewhere_Then_it_is_not_sent()
    {
        var client = new FeedClient(new Uri("http://hub.example.org:5081"), (_, _) => ValueTask.FromResult("token"));

        var refusal = await Assert.ThrowsAsync<HubRefusedException>(() => ReadAsync(client, new(), 1));

        Assert.Contains("without TLS", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_handler_that_fails_When_followed_again_Then_it_gets_that_event_again_and_none_before()
    {
        var feed = new FakeFeed(async (request, stream, context) =>
        {
            var after = request.Cursor.Length == 0 ? 0 : int.Parse(request.Cursor[1..], System.Globalization.CultureInfo.InvariantCulture);
            await FakeFeed.SendAsync(stream, after + 1, 5);
            await UntilGoneAsync(context);
        });
        await using var hub = await FakeHub.FeedAsync(feed);
        var handled = new List<string>();

        await Assert.ThrowsAsync<InvalidOperationException>(() => FollowAsync("3"));
        Assert.StartsWith("c2\n", await File.ReadAllTextAsync(_cursorFile), StringComparison.Ordinal);
        await Assert.ThrowsAsync<InvalidOperationException>(() => FollowAsync("5"));

        Assert.Equal(["1", "2", "3", "4"], handled);
        Assert.False(File.Exists(_cursorFile + ".new"));

        async Task FollowAsync(string failing)
        {
            using var kept = CursorFile.Open(_cursorFile);
            await Client(hub).FollowAsync(new() { FromNow = true }, kept, (came, _) =>
            {
                if (came.Id == failing) throw new InvalidOperationException();
                handled.Add(came.Id);
                return Task.CompletedTask;
            });
        }
    }

    private static Task UntilGoneAsync(ServerCallContext context) => Task.Delay(Timeout.Infinite, context.CancellationToken);

    private static async Task<List<string>> ReadAsync(FeedClient client, SubscribeRequest request, int count)
    {
        var cursors = new List<string>();
        await foreach (var message in client.SubscribeAsync(request))
        {
            cursors.Add(message.Cursor);
            if (cursors.Count == count) break;
        }

        return cursors;
    }

    private FeedClient Client(FakeHub hub, TimeSpan? longestSilence = null) =>
        new(hub.Address, (_, _) => ValueTask.FromResult("token")) { Interrupted = Told, LongestSilence = longestSilence ?? TimeSpan.FromSeconds(30) };

    private void Told(Exception why, TimeSpan pause) => _interruptions.Add(why.Message);
}
