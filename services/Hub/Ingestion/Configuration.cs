using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using Marten;
using MassTransit;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>Registers the room that takes events off the bus.</summary>
internal static class Configuration
{
    // Unacknowledged messages at once: enough for full transactions, little enough to bound memory.
    private const int Prefetch = 64;

    public static WebApplicationBuilder AddIngestion(this WebApplicationBuilder builder)
    {
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.AddRange(Journals.Schema()));
        builder.Services.AddSingleton<Journals>();
        builder.Services.AddSingleton<Ingestion>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Ingestion>());
        return builder.AddBus(
            consumers => consumers.AddConsumer<SegmentConsumer>(),
            (context, broker) => broker.ReceiveEndpoint(BusNames.IngestionQueue, endpoint =>
            {
                // The connectors bind their exchange to the queue when they connect; whoever makes the queue anew must bind it too.
                endpoint.ConfigureConsumeTopology = false;
                endpoint.Bind(MessageBus.SegmentExchange);
                endpoint.PrefetchCount = Prefetch;
                endpoint.ConcurrentMessageLimit = Prefetch;
                // A message that fails goes back to the queue, not to an error queue: it would be missed by nobody, and hold personal data.
                endpoint.RethrowFaultedMessages();
                MessageBus.DeclareIngestionQueue(endpoint);
                endpoint.ConfigureConsumer<SegmentConsumer>(context);
            }));
    }

    public static RouteGroupBuilder MapIngestion(this RouteGroupBuilder api)
    {
        api.MapGet("ingestion", async (Journals journals, EventStore.Positions positions, CancellationToken cancellation) =>
                new { position = positions.HighWater, items = await journals.AllAsync(cancellation) })
            .WithName("Ingestion").WithSummary("How far the hub has each commune's journals");
        return api;
    }
}

/// <summary>Takes segments from the bus to the ingestion.</summary>
internal sealed class SegmentConsumer(Ingestion ingestion) : IConsumer<JournalSegment>
{
    public Task Consume(ConsumeContext<JournalSegment> context) => ingestion.ReceiveAsync(context.Message, context.CancellationToken);
}
