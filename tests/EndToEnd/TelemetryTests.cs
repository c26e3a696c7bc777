using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class TelemetryTests
{
    private const string TraceId = "4bf92f3577b34da6a3ce929d0e0e4736";

    [Fact]
    public async Task Given_a_collector_When_an_event_is_posted_Then_its_trace_goes_from_the_request_to_the_projection_and_it_is_counted()
    {
        await using var collector = await Collector.StartAsync();
        await using var deployment = await (await Deployment.CreateAsync(collector.Settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();

        var traced = Some.Births(Some.Combourg, 1, 1).Select(birth => birth with { TraceParent = $"00-{TraceId}-00f067aa0ba902b7-01" }).ToList();
        // And one that the store cannot take: its personal data would have to be kept beyond the last day that there is.
        traced.AddRange(Some.Births(Some.Combourg, 2, 1).Select(birth => birth with { Time = DateTimeOffset.MaxValue.AddDays(-1) }));
        using var posted = await deployment.PostAsync(0, Some.Combourg, traced);
        await deployment.HasEventsAsync(1);

        string[] expected = ["journal publish", "journal append", "project civil-records"];
        await Eventually.Is(() => collector.SpansOf(TraceId), spans => expected.All(spans.Contains));
        string[] meters =
        [
            "hub.events.accepted", "hub.events.published", "hub.events.received", "hub.events.quarantined", "hub.quarantine.kept", "hub.projection.lag", "hub.journal.size",
            "hub.ingestion.unreceived", "hub.ingestion.oldest_unreceived", "hub.ingestion.silence", "hub.alerts", "hub.projection.lag_seconds", "hub.projection.paused",
        ];
        await Eventually.Is(() => meters.Where(meter => !collector.Metrics.Contains(meter)).ToList(), missing => missing.Count == 0);
        Assert.DoesNotContain("NOM-DE-PERSONNE", collector.Everything, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_request_with_a_trace_When_it_posts_an_event_without_one_Then_the_event_takes_the_requests()
    {
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 1));
        await deployment.HasEventsAsync(1);
        Assert.Equal(1, await deployment.CountAsync("SELECT count(*) FROM hub.mt_events WHERE headers->>'traceparent' LIKE '00-%'"));
    }
}
