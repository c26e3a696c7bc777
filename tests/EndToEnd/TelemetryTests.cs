using System.Collections.Concurrent;
using System.Text;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class TelemetryTests
{
    private const string TraceId = "4bf92f3577b34da6a3ce929d0e0e4736";

    [Fact]
    public async Task Given_a_collector_When_an_event_is_posted_Then_its_trace_goes_from_the_request_to_the_projection_and_it_is_counted()
    {
        await using var collector = await Collector.StartAsync();
        var settings = new Dictionary<string, string?>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Address,
            ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "200",
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
        };
        await using var deployment = await (await Deployment.CreateAsync(settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();

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

    /// <summary>Takes what services export by OTLP over HTTP, and finds names in it.</summary>
    private sealed class Collector(WebApplication app) : IAsyncDisposable
    {
        private readonly ConcurrentQueue<byte[]> _traces = new();
        private readonly ConcurrentQueue<byte[]> _metrics = new();

        public string Address => app.Urls.Single();

        public string Metrics => Text(_metrics);

        public string Everything => Text(_metrics) + Text(_traces);

        public static async Task<Collector> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            var app = builder.Build();
            var collector = new Collector(app);
            app.MapPost("/v1/{signal}", async (string signal, Stream body) =>
            {
                using var content = new MemoryStream();
                await body.CopyToAsync(content);
                (signal == "traces" ? collector._traces : collector._metrics).Enqueue(content.ToArray());
            });
            await app.StartAsync();
            return collector;
        }

        /// <summary>Names of the spans of a trace.</summary>
        public List<string> SpansOf(string traceId)
        {
            // A Span of opentelemetry-proto begins with trace_id (field 1, 16 bytes).
            byte[] start = [0x0A, 0x10, .. Convert.FromHexString(traceId)];
            var names = new List<string>();
            foreach (var body in _traces)
            {
                var rest = body.AsSpan();
                for (var at = rest.IndexOf(start); at >= 0; at = rest.IndexOf(start))
                {
                    rest = rest[(at + start.Length)..];
                    names.Add(NameOf(rest));
                }
            }

            return names;
        }

        // The name is field 5; the fields before it, in whatever order, are passed over by their wire type.
        private static string NameOf(ReadOnlySpan<byte> span)
        {
            while (span.Length > 0)
            {
                var tag = Varint(ref span);
                var length = (tag & 7) switch { 1 => 8, 2 => Varint(ref span), 5 => 4, _ => 0 };
                if ((tag & 7) == 0) Varint(ref span);
                if (length > span.Length) break;
                if (tag == ((5 << 3) | 2)) return Encoding.UTF8.GetString(span[..length]);
                span = span[length..];
            }

            return "";
        }

        private static int Varint(ref ReadOnlySpan<byte> bytes)
        {
            var (value, shift) = (0L, 0);
            while (bytes.Length > 0)
            {
                var next = bytes[0];
                bytes = bytes[1..];
                value |= (long)(next & 0x7F) << shift;
                shift += 7;
                if (next < 0x80) break;
            }

            return (int)Math.Min(value, int.MaxValue);
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();

        private static string Text(IEnumerable<byte[]> bodies) => string.Concat(bodies.Select(Encoding.Latin1.GetString));
    }
}
