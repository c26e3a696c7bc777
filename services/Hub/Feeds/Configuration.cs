using System.Threading.RateLimiting;
using Intercommunalite.Hub.Access;
using Intercommunalite.ServiceDefaults;
using Marten;

namespace Intercommunalite.Hub.Feeds;

/// <summary>Registers the feeds: gRPC on a port of its own, HTTP/2 only, with health and reflection.</summary>
internal static class Configuration
{
    private static readonly TimeSpan s_silence = TimeSpan.FromSeconds(30);

    public static WebApplicationBuilder AddFeeds(this WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("Feed").Get<FeedOptions>() ?? new FeedOptions();
        if (options.StreamsPerClient < 1 || options.SubscriptionsPerClient < 1 || options.PositionsPerPage < 1)
            throw new InvalidOperationException("Feed:StreamsPerClient, Feed:SubscriptionsPerClient and Feed:PositionsPerPage must be 1 at least.");
        if (options.TailEvents < 0) throw new InvalidOperationException("Feed:TailEvents must not be negative.");
        if (options.Heartbeat <= TimeSpan.Zero) throw new InvalidOperationException("Feed:Heartbeat must be longer than zero.");
        builder.Services.AddSingleton(options);
        builder.Services.ConfigureMarten(marten => marten.Storage.ExtendedSchemaObjects.Add(Cursors.Schema()));
        builder.Services.AddSingleton<PersonalPages>().AddSingleton<Tail>().AddSingleton<FeedPages>().AddSingleton<FeedStreams>();
        builder.Services.AddSingleton(PartitionedRateLimiter.Create<string, string>(client => RateLimitPartition.GetConcurrencyLimiter(
            client, _ => new ConcurrencyLimiterOptions { PermitLimit = options.StreamsPerClient, QueueLimit = 0 })));
        // A reader that went away without a word does not count for ever.
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.Http2.KeepAlivePingDelay = s_silence);
        builder.Services.AddGrpc(grpc => grpc.Interceptors.Add<DatabaseAwayInterceptor>());
        builder.Services.AddGrpcReflection();
        builder.Services.AddGrpcHealthChecks(options => options.Services.Map("", check => check.Tags.Contains(Defaults.Ready)));
        Subscriptions.Configuration.Add(builder);
        if (builder.Configuration["Hub:GrpcPort"] is { Length: > 0 } port) Listen(builder, port);
        return builder;
    }

    public static WebApplication MapFeeds(this WebApplication app)
    {
        app.MapGrpcService<FeedService>().RequireAuthorization(Rules.ReadFeed);
        Subscriptions.Configuration.Map(app);
        app.MapGrpcHealthChecksService().AllowAnonymous();
        // The contract is public.
        app.MapGrpcReflectionService().AllowAnonymous();
        return app;
    }

    public static RouteGroupBuilder MapFeedCalls(this RouteGroupBuilder api)
    {
        FeedApi.Map(api);
        RecordHistory.Map(api);
        Subscriptions.SubscriptionsApi.Map(api);
        Subscriptions.ParkedApi.Map(api);
        Subscriptions.ReplaysApi.Map(api);
        return api;
    }

    // gRPC without TLS needs a port that speaks nothing but HTTP/2; Kestrel then wants the other addresses as endpoints too. Where the first
    // address has TLS, so has the feed, and is on that address too: with TLS a connection can agree on HTTP/2.
    private static void Listen(WebApplicationBuilder builder, string port)
    {
        var urls = (builder.Configuration[WebHostDefaults.ServerUrlsKey] ?? "http://127.0.0.1:5080").Split(';');
        var endpoints = urls.Select((url, index) => KeyValuePair.Create<string, string?>($"Kestrel:Endpoints:Web{index}:Url", url)).ToList();
        var first = BindingAddress.Parse(urls[0]);
        endpoints.Add(new("Kestrel:Endpoints:Grpc:Url", $"{first.Scheme}://{first.Host}:{port}"));
        endpoints.Add(new("Kestrel:Endpoints:Grpc:Protocols", "Http2"));
        builder.Configuration.AddInMemoryCollection(endpoints);
        builder.WebHost.UseSetting(WebHostDefaults.ServerUrlsKey, "");
    }
}
