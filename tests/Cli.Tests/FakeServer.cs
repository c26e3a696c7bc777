using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.Cli.Tests;

/// <summary>A hub or a connector of this process, with the routes that a test gives it.</summary>
internal sealed class FakeServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private FakeServer(WebApplication app) => _app = app;

    public string Address => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    /// <summary>Every request that came, as <c>GET /path?query</c>.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    public static async Task<FakeServer> StartAsync(Action<WebApplication> routes, Action<IServiceCollection>? services = null, HttpProtocols protocols = HttpProtocols.Http1)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.Protocols = protocols));
        services?.Invoke(builder.Services);
        var app = builder.Build();
        var server = new FakeServer(app);
        app.Use((context, next) =>
        {
            server.Requests.Enqueue($"{context.Request.Method} {context.Request.Path}{context.Request.QueryString}");
            return next();
        });
        app.UseRouting();
        routes(app);
        await app.StartAsync();
        return server;
    }

    /// <summary>A connector that accepts all events, of the communes given.</summary>
    public static Task<FakeServer> ConnectorAsync(ConcurrentQueue<JsonElement> accepted, params string[] communes) => StartAsync(app =>
    {
        app.MapGet("/communes", () => new { communes });
        app.MapPost("/communes/{code}/events", async (HttpRequest request) =>
        {
            var events = await JsonSerializer.DeserializeAsync<JsonElement[]>(request.Body);
            foreach (var e in events!) accepted.Enqueue(e);
            return Results.Accepted(value: Positions(events));
        });
    });

    public static object Positions(IEnumerable<JsonElement> events, bool duplicate = false) => new
    {
        events = events.Select((e, index) => new { id = e.GetProperty("id").GetString(), position = index + 1, duplicate }),
    };

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}
