using System.Runtime.ExceptionServices;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.Access;
using Intercommunalite.ServiceDefaults;
using Intercommunalite.ServiceDefaults.Access;
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
        builder.Services.AddSingleton(builder.Configuration.GetSection("Alerts").Get<AlertOptions>() ?? new AlertOptions());
        builder.Services.AddSingleton<JournalWatch>();
        builder.Services.AddHostedService(services => services.GetRequiredService<JournalWatch>());
        builder.Services.AddSingleton<Quarantine>();
        builder.Services.AddSingleton<UndecipherableMessages>();
        BusUsersAdmin.Add(builder);
        builder.Services.AddSingleton<Ingestion>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Ingestion>());
        builder.Services.AddHealthChecks().AddCheck<IngestionHealth>("ingestion", tags: [Defaults.Ready]);
        return builder.AddBus(
            consumers => consumers.AddConsumer<SegmentConsumer>(),
            (context, broker) => broker.ReceiveEndpoint(BusNames.IngestionQueue, endpoint =>
            {
                // The connectors bind their exchange to the queue when they connect; whoever makes the queue anew must bind it too.
                endpoint.ConfigureConsumeTopology = false;
                endpoint.Bind(BusNames.SegmentExchange);
                endpoint.PrefetchCount = Prefetch;
                endpoint.ConcurrentMessageLimit = Prefetch;
                // What cannot be read goes to quarantine, what fails otherwise back to the queue: neither to an error queue, where it
                // would be missed by nobody, and hold personal data. No fault is logged here: what a parser says may repeat what it read.
                endpoint.ConfigureReceive(received => received.UseFilter(context.GetRequiredService<UndecipherableMessages>()));
                endpoint.ConfigureError(failed => failed.UseExecute(fault => ExceptionDispatchInfo.Throw(fault.Exception)));
                endpoint.ThrowOnSkippedMessages();
                MessageBus.DeclareIngestionQueue(endpoint);
                endpoint.ConfigureConsumer<SegmentConsumer>(context);
            }));
    }

    public static RouteGroupBuilder MapIngestion(this RouteGroupBuilder api)
    {
        api.MapGet("ingestion", async (HttpContext context, JournalWatch watch, EventStore.Positions positions, CancellationToken cancellation) =>
            {
                var (items, neverSent) = await watch.LookAsync(cancellation);
                var caller = Caller.Of(context.User);
                if (!caller.Is(Roles.EpciAgent, Roles.Administrator))
                    (items, neverSent) = ([.. items.Where(item => caller.Communes.Contains(item.Commune))], [.. neverSent.Where(caller.Communes.Contains)]);
                return new { position = positions.HighWater, items, neverSent };
            })
            .RequireAuthorization(Rules.WatchIngestion)
            .WithName("Ingestion").WithSummary("How far the hub has each commune's journals, what to look at, and who never sent anything");
        return api.MapQuarantine().MapAskAgain();
    }
}

/// <summary>
/// Takes segments from the bus to the ingestion, and to quarantine those without sense and those of whom may not speak for the commune: they
/// must not touch its journal.
/// </summary>
internal sealed class SegmentConsumer(Ingestion ingestion, UndecipherableMessages undecipherable, BusUsers users) : IConsumer<JournalSegment>
{
    public async Task Consume(ConsumeContext<JournalSegment> context)
    {
        var segment = context.Message;
        var wrong = UndecipherableMessage.WhatIsWrong(segment);
        if (wrong is null && await users.RefusalAsync(BusUsers.SenderOf(context.ReceiveContext), segment.Commune, context.CancellationToken) is { } refusal)
            wrong = new(refusal, segment.Commune, null);
        if (wrong is null) await ingestion.ReceiveAsync(segment, context.CancellationToken);
        else await undecipherable.KeepAsync(context.ReceiveContext, wrong);
    }
}
