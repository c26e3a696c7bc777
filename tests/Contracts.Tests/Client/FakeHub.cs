using System.Collections.Concurrent;
using System.Net;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.Contracts.Tests.Client;

/// <summary>A hub of this process that answers as a test says.</summary>
internal sealed class FakeHub : IAsyncDisposable
{
    private readonly WebApplication _app;

    private FakeHub(WebApplication app) => _app = app;

    public Uri Address => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());

    /// <summary>Answers each call of the feed, in order; the last one all that follow.</summary>
    public static Task<FakeHub> FeedAsync(FakeFeed feed, HttpProtocols protocols = HttpProtocols.Http2) => StartAsync(app => app.MapGrpcService<FakeFeed>(), services => services.AddSingleton(feed), protocols);

    public static Task<FakeHub> SubscriptionsAsync(FakeSubscriptions subscriptions) =>
        StartAsync(app => app.MapGrpcService<FakeSubscriptions>(), services => services.AddSingleton(subscriptions));

    /// <summary>An issuer of tokens: t1, t2, …</summary>
    public static async Task<FakeHub> IssuerAsync(Func<HttpContext, int, Task> token)
    {
        var asked = 0;
        return await StartAsync(
            app =>
            {
                app.MapGet("/.well-known/openid-configuration", (HttpContext context) => new { token_endpoint = $"http://{context.Request.Host}/connect/token" });
                app.MapPost("/connect/token", (HttpContext context) => token(context, Interlocked.Increment(ref asked)));
            },
            _ => { },
            HttpProtocols.Http1);
    }

    private static async Task<FakeHub> StartAsync(Action<WebApplication> routes, Action<IServiceCollection> services, HttpProtocols protocols = HttpProtocols.Http2)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = protocols));
        builder.Services.AddGrpc();
        services(builder.Services);
        var app = builder.Build();
        routes(app);
        await app.StartAsync();
        return new(app);
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}

/// <summary>How a call of the feed is answered.</summary>
internal delegate Task Answer(SubscribeRequest request, IServerStreamWriter<SubscribeResponse> stream, ServerCallContext context);

internal sealed class FakeFeed(params Answer[] answers) : Feed.V1.Feed.FeedBase
{
    public List<SubscribeRequest> Requests { get; } = [];

    public List<string?> Tokens { get; } = [];

    public static Event Event(int number) => new() { Cursor = $"c{number}", Id = $"{number}" };

    /// <summary>Sends these events.</summary>
    public static async Task SendAsync(IServerStreamWriter<SubscribeResponse> stream, int first, int last)
    {
        for (var number = first; number <= last; number++) await stream.WriteAsync(new() { Event = Event(number) });
    }

    public static RpcException Error(StatusCode status, string detail, string? reason = null) =>
        new(new Status(status, detail), reason is null ? [] : new Metadata { { "reason", reason } });

    public override Task Subscribe(SubscribeRequest request, IServerStreamWriter<SubscribeResponse> responseStream, ServerCallContext context)
    {
        int call;
        lock (Requests)
        {
            call = Requests.Count;
            Requests.Add(request);
            Tokens.Add(context.RequestHeaders.GetValue("authorization"));
        }

        return answers[Math.Min(call, answers.Length - 1)](request, responseStream, context);
    }
}

/// <summary>Gives out deliveries 1, 2, … on each call until they are acknowledged, however many are held; then signs of life.</summary>
internal sealed class FakeSubscriptions(int deliveries) : Subscriptions.SubscriptionsBase
{
    private readonly ConcurrentDictionary<int, bool> _done = [];

    public ConcurrentQueue<string> Acknowledged { get; } = [];

    public ConcurrentQueue<RejectRequest> Rejected { get; } = [];

    public ConcurrentQueue<ConsumeRequest> Requests { get; } = [];

    /// <summary>Breaks the first call off after so many deliveries.</summary>
    public int? BreaksFirstAfter { get; init; }

    /// <summary>Answers the first acknowledgement so.</summary>
    public RpcException? FirstAcknowledgement { get; set; }

    public override async Task Consume(ConsumeRequest request, IServerStreamWriter<ConsumeResponse> responseStream, ServerCallContext context)
    {
        Requests.Enqueue(request);
        var first = Requests.Count == 1;
        foreach (var number in Enumerable.Range(1, deliveries).Where(number => !_done.ContainsKey(number)))
        {
            if (first && number > BreaksFirstAfter) throw new RpcException(new Status(StatusCode.Unavailable, "stopping"));
            await responseStream.WriteAsync(new() { Delivery = new() { Delivery_ = $"{number}", Event = FakeFeed.Event(number), Attempt = 1 } });
        }

        while (!context.CancellationToken.IsCancellationRequested)
        {
            await responseStream.WriteAsync(new() { Heartbeat = new() });
            await Task.Delay(20, context.CancellationToken);
        }
    }

    public override Task<AcknowledgeResponse> Acknowledge(AcknowledgeRequest request, ServerCallContext context)
    {
        if (FirstAcknowledgement is { } error)
        {
            FirstAcknowledgement = null;
            throw error;
        }

        foreach (var delivery in request.Deliveries)
        {
            _done[int.Parse(delivery, System.Globalization.CultureInfo.InvariantCulture)] = true;
            Acknowledged.Enqueue(delivery);
        }

        return Task.FromResult(new AcknowledgeResponse { Acknowledged = request.Deliveries.Count });
    }

    public override Task<RejectResponse> Reject(RejectRequest request, ServerCallContext context)
    {
        _done[int.Parse(request.Delivery, System.Globalization.CultureInfo.InvariantCulture)] = true;
        Rejected.Enqueue(request);
        return Task.FromResult(new RejectResponse());
    }
}
