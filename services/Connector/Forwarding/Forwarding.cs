using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using MassTransit;

namespace Intercommunalite.Connector.Forwarding;

/// <summary>How the journals are forwarded; section <c>Forwarding</c>.</summary>
internal sealed class ForwardingOptions
{
    /// <summary>How long to wait for the hub's receipt before asking with a probe.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a journal that the hub has whole stays silent before it asks whether that still holds.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long the broker may take to confirm a message. When a connection breaks, not all who wait for a confirm are told.</summary>
    public TimeSpan ConfirmTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How long to wait after the broker refused a message.</summary>
    public TimeSpan RetryDelay { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long events stay in the journal after the hub received them: as far back as a hub may have to be restored.</summary>
    public TimeSpan Retention { get; init; } = TimeSpan.FromDays(30);
}

/// <summary>Registers the forwarding of every journal.</summary>
internal static class Forwarding
{
    public static WebApplicationBuilder AddForwarding(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton(builder.Configuration.GetSection("Forwarding").Get<ForwardingOptions>() ?? new ForwardingOptions());
        builder.Services.AddSingleton<Forwarders>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Forwarders>());
        return builder.AddBus(
            consumers => consumers.AddConsumer<ReceiptConsumer>(),
            (context, broker) =>
            {
                foreach (var journal in context.GetRequiredService<Journals>().All)
                {
                    broker.ReceiveEndpoint(BusNames.CommuneQueue(journal.Commune), endpoint =>
                    {
                        endpoint.ConfigureConsumeTopology = false;
                        endpoint.PrefetchCount = 16;
                        // In order: an older receipt behind a newer one would look like a hub that was restored.
                        endpoint.ConcurrentMessageLimit = 1;
                        MessageBus.DeclareReliable(endpoint);
                        // A receipt that cannot be taken is no harm; nobody would look for it in an error queue.
                        endpoint.PublishFaults = false;
                        endpoint.DiscardFaultedMessages();
                        endpoint.DiscardSkippedMessages();
                        endpoint.ConfigureConsumer<ReceiptConsumer>(context);
                    });
                }
            },
            builder.Configuration.GetValue<bool>("Connector:OwnBusUser"));
    }
}

/// <summary>Takes the hub's receipts to the forwarder of their journal.</summary>
internal sealed class ReceiptConsumer(Forwarders forwarders) : IConsumer<JournalReceipt>
{
    public Task Consume(ConsumeContext<JournalReceipt> context)
    {
        forwarders.Heard(context.Message);
        return Task.CompletedTask;
    }
}

/// <summary>Runs a forwarder for every journal.</summary>
internal sealed class Forwarders(Journals journals, IBus bus, ForwardingOptions options, TimeProvider clock, ILogger<Forwarder> logger) : BackgroundService
{
    private readonly Dictionary<string, Forwarder> _byCommune = journals.All.ToDictionary(
        journal => journal.Commune.ToString(), journal => new Forwarder(journal, bus, options, clock, logger));

    public void Heard(JournalReceipt receipt)
    {
        if (_byCommune.TryGetValue(receipt.Commune, out var forwarder)) forwarder.Heard(receipt);
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Task.WhenAll(_byCommune.Values.Select(forwarder => Task.Run(() => forwarder.RunAsync(stoppingToken), CancellationToken.None)));
}
