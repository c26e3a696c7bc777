using System.Net;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Testing;

namespace Intercommunalite.Connector.Tests.Intake;

public sealed class SlowHubTests : IDisposable
{
    // More than is ever published ahead of the hub.
    private const int Batches = 12;
    private const int InBatch = 500;

    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Given_a_broker_that_is_not_there_When_events_are_posted_Then_all_are_accepted()
    {
        await using var app = ConnectorApp.Start(_data.FullPath, "35085");

        await PostAllAsync(app);

        Assert.Equal(0, app.Journal("35085").PublishedThrough);
    }

    [Fact]
    public async Task Given_a_hub_that_never_answers_When_events_are_posted_Then_all_are_accepted_and_the_broker_does_not_fill_up()
    {
        await using var virtualHost = await TestVirtualHost.CreateAsync();
        await using var app = ConnectorApp.Start(
            _data.FullPath, "35085", settings: new Dictionary<string, string> { ["ConnectionStrings:Bus"] = virtualHost.AmqpUri.ToString() });

        await PostAllAsync(app);
        await Eventually.Is(() => app.Journal("35085").PublishedThrough, published => published >= ForwarderState.MaxUnreceived);
        await PostAllAsync(app, from: Batches);

        Assert.InRange(app.Journal("35085").PublishedThrough, ForwarderState.MaxUnreceived, ForwarderState.MaxUnreceived + JournalSegment.MaxEvents);
        Assert.Equal(0, app.Journal("35085").ReceivedThrough);
    }

    private static async Task PostAllAsync(ConnectorApp app, int from = 0)
    {
        await Task.WhenAll(Enumerable.Range(from, Batches).Select(async batch =>
        {
            var events = Enumerable.Range(1, InBatch).Select(i => SampleEvents.Json($"{batch}-{i}"));
            using var response = await app.PostEventAsync("/communes/35085/events", $"[{string.Join(',', events)}]", CloudEvent.BatchMediaType);
            Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        }));
        Assert.Equal((from + Batches) * InBatch, app.Journal("35085").Last);
    }
}
