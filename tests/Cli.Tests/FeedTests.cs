using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Cli.Tests;

public sealed class FeedTests : IDisposable
{
    private readonly string _cursorFile = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public void Dispose() => File.Delete(_cursorFile);

    private static Task<FakeServer> HubAsync(FakeFeed feed) => FakeServer.StartAsync(
        app => app.MapGrpcService<FakeFeed>(), services => services.AddSingleton(feed).AddGrpc(), HttpProtocols.Http2);

    [Fact]
    public async Task Given_a_feed_When_read_Then_each_event_is_a_line_and_the_end_is_where_it_has_caught_up()
    {
        await using var hub = await HubAsync(new FakeFeed(3));

        var run = await Command.RunAsync("feed", "read", "--grpc", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(3, Lines(run).Length);
        Assert.Matches(@"^c1 +2026-11-24T09:00:00Z +35085 +fr\.intercommunalite\.civil-records\.birth-registered\.v1 +birth/2026/000001$", Lines(run)[0]);
    }

    [Fact]
    public async Task Given_json_When_read_Then_each_event_is_a_document_of_its_own()
    {
        await using var hub = await HubAsync(new FakeFeed(2));

        var run = await Command.RunAsync("feed", "read", "--json", "--grpc", hub.Address);

        var second = JsonDocument.Parse(Lines(run)[1]).RootElement;
        Assert.Equal("c2", second.GetProperty("cursor").GetString());
        Assert.Equal("2026-11-24", second.GetProperty("data").GetProperty("date").GetString());
        Assert.Equal("NOM", second.GetProperty("personal").GetProperty("child").GetProperty("lastName").GetString());
    }

    [Fact]
    public async Task Given_filters_and_a_cursor_When_read_Then_the_hub_is_asked_for_just_that()
    {
        var feed = new FakeFeed(3);
        await using var hub = await HubAsync(feed);

        var run = await Command.RunAsync(
            "feed", "read", "--after", "c1", "--type", "fr.intercommunalite.schools.*", "--type", "b", "--commune", "35085", "35317", "--subject", "invoice/2026/*",
            "--fact", "residenceCommune=35085,35337", "--agreement", "canteen", "--grpc", hub.Address);

        Assert.Equal(2, Lines(run).Length);
        var request = Assert.Single(feed.Requests);
        Assert.Equal(("c1", "canteen"), (request.Cursor, request.Agreement));
        Assert.Equal(["fr.intercommunalite.schools.*", "b"], request.Filter.Types_);
        Assert.Equal(["35085", "35317"], request.Filter.Communes);
        Assert.Equal(["invoice/2026/*"], request.Filter.Subjects);
        Assert.Equal(("residenceCommune", "35085 35337"), (request.Filter.Facts.Single().Field, string.Join(' ', request.Filter.Facts.Single().Values)));
    }

    [Theory]
    [InlineData("", true, null)]
    [InlineData("--from-beginning", false, null)]
    [InlineData("--since 2026-11-24T10:00:00+01:00", false, "2026-11-24T09:00:00Z")]
    [InlineData("--since 2026-11-24T00:00:00Z", false, "2026-11-24T00:00:00Z")]
    public async Task Given_where_to_begin_When_followed_Then_the_hub_is_asked_for_it(string begin, bool fromNow, string? since)
    {
        var feed = new FakeFeed(1);
        await using var hub = await HubAsync(feed);

        await Command.RunAsync(["feed", "tail", .. begin.Split(' ', StringSplitOptions.RemoveEmptyEntries), "--limit", "1", "--grpc", hub.Address]);

        var request = Assert.Single(feed.Requests);
        Assert.Equal(("", fromNow, since), (request.Cursor, request.FromNow, request.Since?.ToDateTimeOffset().ToString("yyyy-MM-ddTHH:mm:ssZ", System.Globalization.CultureInfo.InvariantCulture)));
    }

    [Theory]
    [InlineData("feed tail --after c1 --since 2026-11-24T00:00:00Z", "Only one of --after, --since and --from-beginning")]
    [InlineData("feed read --since yesterday", "'yesterday' is not a time with its offset")]
    [InlineData("feed read --since 2026-11-24", "'2026-11-24' is not a time with its offset")]
    [InlineData("feed read --fact residenceCommune", "'residenceCommune' is not a fact such as")]
    [InlineData("feed", "Required command")]
    public async Task Given_a_command_line_without_sense_Then_it_says_why(string line, string why)
    {
        var run = await Command.RunAsync(line.Split(' '));

        Assert.Equal(2, run.ExitCode);
        Assert.Contains(why, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_cursor_file_and_another_beginning_When_followed_again_Then_the_file_counts()
    {
        var feed = new FakeFeed(3);
        await using var hub = await HubAsync(feed);

        await Command.RunAsync("feed", "tail", "--from-beginning", "--limit", "2", "--cursor-file", _cursorFile, "--grpc", hub.Address);
        var run = await Command.RunAsync("feed", "tail", "--from-beginning", "--limit", "1", "--cursor-file", _cursorFile, "--grpc", hub.Address);

        Assert.Equal("c3", Assert.Single(Lines(run))[..2]);
        Assert.Equal(["", "c2"], feed.Requests.Select(request => request.Cursor));
    }

    [Fact]
    public async Task Given_a_feed_that_breaks_off_When_read_to_the_end_Then_it_says_where_to_go_on()
    {
        await using var hub = await HubAsync(new FakeFeed(4) { FailsFirstAfter = 2 });

        var run = await Command.RunAsync("feed", "read", "--grpc", hub.Address);

        Assert.Equal((1, 2), (run.ExitCode, Lines(run).Length));
        Assert.Contains("broke off: stopping Read on with --after c2", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_cursor_file_When_read_in_two_goes_Then_nothing_is_printed_twice_or_left_out()
    {
        await using var hub = await HubAsync(new FakeFeed(5));

        var first = await Command.RunAsync("feed", "read", "--limit", "2", "--cursor-file", _cursorFile, "--grpc", hub.Address);
        var kept = await File.ReadAllTextAsync(_cursorFile);
        var second = await Command.RunAsync("feed", "read", "--cursor-file", _cursorFile, "--grpc", hub.Address);
        var third = await Command.RunAsync("feed", "read", "--cursor-file", _cursorFile, "--grpc", hub.Address);

        Assert.Equal("c2\n", kept);
        Assert.Equal(["c1", "c2"], Lines(first).Select(line => line[..2]));
        Assert.Equal(["c3", "c4", "c5"], Lines(second).Select(line => line[..2]));
        Assert.Empty(Lines(third));
    }

    [Fact]
    public async Task Given_a_feed_that_is_followed_When_the_hub_goes_away_and_comes_back_Then_it_goes_on_until_interrupted()
    {
        using var interrupt = new CancellationTokenSource();
        var feed = new FakeFeed(4) { FailsFirstAfter = 2, StaysOpen = true };
        await using var hub = await HubAsync(feed);

        var run = await Command.RunAsync(new SwiftTime(), Watch, interrupt.Token, "feed", "tail", "--from-beginning", "--grpc", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(["c1", "c2", "c3", "c4"], Lines(run).Select(line => line[..2]));
        Assert.Equal(["", "c2"], feed.Requests.Select(request => request.Cursor));
        Assert.Contains("is away", run.Error, StringComparison.Ordinal);

        void Watch(string line)
        {
            if (line.StartsWith("c4", StringComparison.Ordinal)) interrupt.Cancel();
        }
    }

    [Fact]
    public async Task Given_a_cursor_of_another_feed_When_read_Then_the_hub_is_quoted()
    {
        await using var hub = await HubAsync(new FakeFeed(3));

        var run = await Command.RunAsync("feed", "read", "--after", "nonsense", "--grpc", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("does not accept the request: not a cursor of this feed", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_no_feed_When_read_Then_it_says_where_none_is()
    {
        var nowhere = await Command.RunAsync("feed", "read", "--grpc", "http://127.0.0.1:9");
        var unsaid = await Command.RunAsync("feed", "read");

        Assert.Equal((1, 1), (nowhere.ExitCode, unsaid.ExitCode));
        Assert.Contains("No feed answers at http://127.0.0.1:9", nowhere.Error, StringComparison.Ordinal);
        Assert.Contains("INTERCO_GRPC", unsaid.Error, StringComparison.Ordinal);
    }

    private static string[] Lines(Command run) => run.Out.Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);

    internal sealed class FakeFeed(int events) : Feed.FeedBase
    {
        public List<SubscribeRequest> Requests { get; } = [];

        public int? FailsFirstAfter { get; init; }

        public bool StaysOpen { get; init; }

        public override async Task Subscribe(SubscribeRequest request, IServerStreamWriter<SubscribeResponse> responseStream, ServerCallContext context)
        {
            lock (Requests) Requests.Add(request);
            var after = request.Cursor.Length == 0 ? 0
                : int.TryParse(request.Cursor.TrimStart('c'), out var cursor) ? cursor
                : throw new RpcException(new Grpc.Core.Status(StatusCode.InvalidArgument, "not a cursor of this feed"));
            for (var number = after + 1; number <= events; number++)
            {
                if (Requests.Count == 1 && number > FailsFirstAfter) throw new RpcException(new Grpc.Core.Status(StatusCode.Unavailable, "stopping"));
                await responseStream.WriteAsync(new() { Event = Birth(number) });
            }

            await responseStream.WriteAsync(new() { CaughtUp = new() { Cursor = $"c{events}" } });
            if (StaysOpen) await Task.Delay(Timeout.Infinite, context.CancellationToken);
        }

        private static Event Birth(int number) => new()
        {
            Cursor = $"c{number}",
            Id = $"{number}",
            Source = "urn:insee:commune:35085",
            Type = "fr.intercommunalite.civil-records.birth-registered.v1",
            Subject = $"birth/2026/{number:D6}",
            Time = "2026-11-24T09:00:00Z",
            Data = """{"date":"2026-11-24","actNumber":"1"}""",
            Personal = number == 2 ? """{"child":{"lastName":"NOM"}}""" : "",
            Commune = "35085",
        };
    }
}
