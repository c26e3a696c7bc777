using System.Diagnostics;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class FeedTests(FeedTests.Territory territory) : IClassFixture<FeedTests.Territory>
{
    private readonly Deployment _deployment = territory.Deployment;

    [Fact]
    public async Task Given_a_client_written_elsewhere_When_it_reads_and_resumes_from_its_cursor_Then_it_has_every_event_once_in_order()
    {
        var generated = Directory.CreateTempSubdirectory("feed-client-").FullName;
        await RunAsync("protoc", $"--proto_path={RepositoryRoot.Combine("contracts", "protos")}", $"--python_out={generated}", "feed.proto");

        var lines = await ReadAsync(generated, "", 701);
        Assert.Equal(701, lines.Count);
        lines = [.. lines, .. await ReadAsync(generated, lines[^1].Split(' ')[0], 100_000)];

        Assert.Equal("caught-up", lines[^1]);
        var stored = await _deployment.Database.ScalarAsync("SELECT string_agg(headers->>'id', ' ' ORDER BY seq_id) FROM hub.mt_events");
        Assert.Equal(stored, string.Join(' ', lines[..^1].Select(line => line.Split(' ')[1])));
        Directory.Delete(generated, recursive: true);
    }

    [Fact]
    public async Task Given_a_subscriber_that_is_caught_up_When_events_come_Then_it_gets_them_and_only_those_of_its_filter()
    {
        using var channel = _deployment.Feed();
        using var call = new Feed.FeedClient(channel).Subscribe(new SubscribeRequest
        {
            Filter = new Filter { Types_ = { "fr.intercommunalite.civil-records.*" }, Communes = { Some.Tinteniac } },
        });
        var stream = call.ResponseStream;
        var before = 0;
        while (await stream.MoveNext(CancellationToken.None) && stream.Current is { CaughtUp: null } message) before += message.Event is null ? 0 : 1;
        Assert.Equal(500, before);

        using var other = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1501, 1));
        using var own = await _deployment.PostAsync(1, Some.Tinteniac, Some.Births(Some.Tinteniac, 501, 1));
        Event? next = null;
        // Checkpoints come for what was passed over.
        while (next is null && await stream.MoveNext(CancellationToken.None)) next = stream.Current.Event;

        Assert.Equal(("birth-501", "birth/2026/501", Some.Tinteniac), (next?.Id, next?.Subject, next?.Commune));
        Assert.DoesNotContain("NOM-DE-PERSONNE", next!.Data, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_reader_by_pages_When_it_reads_to_the_end_Then_it_has_every_event_once()
    {
        using var channel = _deployment.Feed();
        var client = new Feed.FeedClient(channel);
        var (ids, page) = (new List<string>(), new ReadResponse());
        while (!page.CaughtUp)
        {
            page = await client.ReadAsync(new ReadRequest { Cursor = page.NextCursor, Limit = 333 });
            ids.AddRange(page.Events.Select(read => $"{read.Commune} {read.Id}"));
        }

        var stored = await _deployment.CountAsync("SELECT count(*) FROM hub.mt_events");
        Assert.Equal(stored, ids.Distinct().Count());
        Assert.Equal(stored, ids.Count);
    }

    [Theory]
    [InlineData("x", "", StatusCode.InvalidArgument)]
    [InlineData("-1", "", StatusCode.InvalidArgument)]
    [InlineData("", "fr.%", StatusCode.InvalidArgument)]
    [InlineData("1000000", "", StatusCode.FailedPrecondition)]
    public async Task Given_a_wrong_cursor_or_filter_Then_the_call_says_so(string cursor, string type, StatusCode status)
    {
        using var channel = _deployment.Feed();
        var request = new ReadRequest { Cursor = cursor, Filter = new Filter() };
        if (type.Length > 0) request.Filter.Types_.Add(type);
        var error = await Assert.ThrowsAsync<RpcException>(async () => await new Feed.FeedClient(channel).ReadAsync(request));
        Assert.Equal(status, error.StatusCode);
    }

    private async Task<List<string>> ReadAsync(string generated, string cursor, int count) =>
        [.. (await RunAsync("/usr/bin/python3", Path.Combine(AppContext.BaseDirectory, "FeedClient", "read_feed.py"), generated, $"127.0.0.1:{_deployment.GrpcPort}", cursor, $"{count}"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    private async Task<string> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["FEED_TOKEN"] = _deployment.Token },
        })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program}: {await errors}");
        return await output;
    }

    /// <summary>Two communes with 2,000 events.</summary>
    public sealed class Territory : IAsyncLifetime
    {
        internal Deployment Deployment { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            Deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg], [Some.Tinteniac])).StartAsync();
            using var first = await Deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 1500));
            using var second = await Deployment.PostAsync(1, Some.Tinteniac, Some.Births(Some.Tinteniac, 1, 500));
            await Deployment.HasEventsAsync(2000);
        }

        public async Task DisposeAsync() => await Deployment.DisposeAsync();
    }
}
