using Intercommunalite.Hub.Access;
using Marten;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Registers durable subscriptions.</summary>
internal static class Configuration
{
    public static void Add(WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("Subscriptions").Get<SubscriptionOptions>() ?? new SubscriptionOptions();
        if (options.Window < 10) throw new InvalidOperationException("Subscriptions:Window must be 10 at least.");
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton<Deliveries>().AddSingleton<Replays>().AddSingleton<Finding>().AddSingleton<SubscriptionsApi>().AddSingleton<ReplaysApi>();
        builder.Services.AddSingleton<Readers>().AddHostedService(services => services.GetRequiredService<Readers>());
        builder.Services.AddSingleton<SubscriptionStates>().AddHostedService(services => services.GetRequiredService<SubscriptionStates>());
        builder.Services.ConfigureMarten(marten => marten.Storage.ExtendedSchemaObjects.AddRange([Subscription.Schema(), Replay.Schema(), .. Deliveries.Schema()]));
    }

    public static void Map(WebApplication app) => app.MapGrpcService<SubscriptionsService>().RequireAuthorization(Rules.UseSubscriptions);
}
