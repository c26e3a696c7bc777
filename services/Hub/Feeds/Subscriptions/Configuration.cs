using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Feeds.Webhooks;
using Intercommunalite.Hub.Privacy;
using Marten;
using Npgsql;

namespace Intercommunalite.Hub.Feeds.Subscriptions;

/// <summary>Registers durable subscriptions, read or brought.</summary>
internal static class Configuration
{
    public static void Add(WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("Subscriptions").Get<SubscriptionOptions>() ?? new SubscriptionOptions();
        if (options.Window < 10) throw new InvalidOperationException("Subscriptions:Window must be 10 at least.");
        if (options.MostParked < 1) throw new InvalidOperationException("Subscriptions:MostParked must be 1 at least.");
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton<Deliveries>().AddSingleton<Replays>().AddSingleton<Finding>();
        builder.Services.AddSingleton<SubscriptionActs>().AddSingleton<SubscriptionViews>().AddSingleton<SubscriptionsApi>().AddSingleton<ParkedApi>().AddSingleton<ReplaysApi>();
        builder.Services.AddSingleton<Readers>().AddHostedService(services => services.GetRequiredService<Readers>());
        builder.Services.AddSingleton<SubscriptionStates>().AddHostedService(services => services.GetRequiredService<SubscriptionStates>());
        var webhooks = builder.Configuration.GetSection("Webhooks").Get<WebhookOptions>() ?? new WebhookOptions();
        if (webhooks.Timeout <= TimeSpan.Zero || webhooks.LongestWait <= TimeSpan.Zero) throw new InvalidOperationException("Webhooks:Timeout and Webhooks:LongestWait must be longer than zero.");
        builder.Services.AddSingleton(webhooks).AddSingleton(new Addresses(webhooks)).AddSingleton<Endpoints>().AddSingleton<WebhookRegistration>();
        builder.Services.AddHostedService<WebhookDelivery>();
        builder.Services.AddSingleton(new WrappedElsewhere((services, cancellation) =>
            Webhook.RewrapAsync(services.GetRequiredService<NpgsqlDataSource>(), services.GetRequiredService<IKeyWrapping>(), cancellation)));
        builder.Services.ConfigureMarten(marten => marten.Storage.ExtendedSchemaObjects.AddRange([Subscription.Schema(), Replay.Schema(), .. Deliveries.Schema(), Webhook.Schema()]));
    }

    public static void Map(WebApplication app) => app.MapGrpcService<SubscriptionsService>().RequireAuthorization(Rules.UseSubscriptions);
}
