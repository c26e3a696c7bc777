using System.Collections.Concurrent;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>Takes what services export by OTLP over HTTP, and finds names in it.</summary>
internal sealed class Collector(WebApplication app) : IAsyncDisposable
{
    private readonly ConcurrentQueue<byte[]> _traces = new();
    private readonly ConcurrentQueue<byte[]> _metrics = new();

    /// <summary>What makes a service export to it, at short intervals.</summary>
    public Dictionary<string, string?> Settings => new()
    {
        ["OTEL_EXPORTER_OTLP_ENDPOINT"] = app.Urls.Single(),
        ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf",
        ["OTEL_BSP_SCHEDULE_DELAY"] = "200",
        ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
    };

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
