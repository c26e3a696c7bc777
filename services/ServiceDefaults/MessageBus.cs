using System.Net.Security;
using System.Security.Authentication;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults.Edges;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;

namespace Intercommunalite.ServiceDefaults;

/// <summary>How every service meets the broker.</summary>
public static partial class MessageBus
{
    // RabbitMQ takes a process for dead that is silent for two to three of these; then another hub ingests, in less than 30 s.
    internal static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(8);

    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    // For a connection, and for each call on one.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Adds the bus at <c>ConnectionStrings__Bus</c> (an amqp URI). The service starts whether the broker is there or not and
    /// connects when it can.
    /// </summary>
    /// <param name="builder">The service being built.</param>
    /// <param name="consumers">Registers the service's consumers.</param>
    /// <param name="endpoints">Declares its receive endpoints.</param>
    /// <param name="ownUser">
    /// Whether the user of the URI is a connector's own (<c>access/bus-users</c>): segments then go to that user's exchange, and neither the
    /// exchange behind it nor the ingestion queue is declared, which only the hub's user may.
    /// </param>
    public static WebApplicationBuilder AddBus(
        this WebApplicationBuilder builder,
        Action<IBusRegistrationConfigurator> consumers,
        Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> endpoints,
        bool ownUser = false)
    {
        var address = Address(builder.Configuration);
        var user = Factory(builder.Configuration).UserName;
        builder.Services.AddSingleton<BrokerSockets>();
        builder.Services.AddHostedService(services => services.GetRequiredService<BrokerSockets>());
        builder.Services.AddMassTransit(bus =>
        {
            // By default MassTransit reports usage to its vendor; a public body must not.
            bus.DisableUsageTelemetry();
            // A service is ready without the broker: connectors accept, hubs answer.
            bus.ConfigureHealthCheckOptions(options =>
            {
                options.Tags.Clear();
                options.Tags.Add("bus");
            });
            consumers(bus);
            bus.SetBusFactory(new SteadyBusFactory((context, broker) =>
            {
                broker.Host(address, host =>
                {
                    host.Heartbeat(Heartbeat);
                    host.ContinuationTimeout(s_patience);
                    host.OnRefreshConnectionFactory = async factory =>
                    {
                        Secure(factory, builder.Configuration);
                        await AnswersAsync(
                            factory, context.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(MessageBus)),
                            context.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping);
                        context.GetRequiredService<BrokerSockets>().Watch(factory);
                    };
                });
                broker.Message<JournalSegment>(message => message.SetEntityName(ownUser ? BusNames.ExchangeOf(user) : BusNames.SegmentExchange));
                if (!ownUser) broker.Publish<JournalSegment>(publish => publish.BindQueue(BusNames.SegmentExchange, BusNames.IngestionQueue, DeclareIngestionQueue));
                // The broker refuses a message that names another user than the one who is connected, so that the hub can rely on it.
                broker.ConfigurePublish(publish => publish.UseExecute(context =>
                {
                    if (context.TryGetPayload<RabbitMqSendContext>(out var message)) message.BasicProperties.UserId = user;
                }));
                endpoints(context, broker);
            }));
        });
        return builder;
    }

    /// <summary>The broker's address: <c>ConnectionStrings__Bus</c>.</summary>
    /// <exception cref="InvalidOperationException">It is missing.</exception>
    public static Uri Address(IConfiguration configuration) => new(configuration.GetConnectionString("Bus")
        ?? throw new InvalidOperationException("The setting ConnectionStrings:Bus (an amqp URI) is missing: give it as the environment variable ConnectionStrings__Bus."));

    /// <summary>Makes connections to the broker that no bus needs to know of.</summary>
    public static ConnectionFactory Factory(IConfiguration configuration)
    {
        var factory = new ConnectionFactory { Uri = Address(configuration), AutomaticRecoveryEnabled = false };
        Secure(factory, configuration);
        return factory;
    }

    /// <summary>Opens a connection. The client by itself waits without end for a broker that takes the connection and then says nothing.</summary>
    /// <param name="factory">Makes it.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="TimeoutException">The broker said nothing for ten seconds.</exception>
    public static async Task<IConnection> ConnectAsync(ConnectionFactory factory, CancellationToken cancellation)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(s_patience);
        try
        {
            return await factory.CreateConnectionAsync(limit.Token);
        }
        catch (Exception) when (limit.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new TimeoutException($"It has not answered within {s_patience.TotalSeconds:0} s.");
        }
    }

    /// <summary>
    /// The ingestion queue as both sides declare it (RabbitMQ refuses a second declaration that differs). One hub node at a
    /// time reads it; the connectors declare and bind it too, so that what they publish before a first hub starts is kept.
    /// </summary>
    public static void DeclareIngestionQueue(IRabbitMqQueueConfigurator queue)
    {
        DeclareReliable(queue);
        queue.SingleActiveConsumer = true;
    }

    /// <summary>A replicated durable queue. A message that was delivered 20 times in vain is dropped: the journal protocol sends it again.</summary>
    public static void DeclareReliable(IRabbitMqQueueConfigurator queue)
    {
        queue.Durable = true;
        queue.AutoDelete = false;
        queue.SetQueueArgument("x-queue-type", "quorum");
        queue.SetQueueArgument("x-delivery-limit", BusNames.DeliveryLimit);
    }

    // MassTransit by itself takes certificates of any issuer. Here the server's must be of an issuer that the machine trusts, or, when Tls:BusCa
    // names some, of one of those; in either case it must be for this server.
    private static void Secure(ConnectionFactory factory, IConfiguration configuration)
    {
        var address = Address(configuration);
        if (address.Scheme != "amqps") return;
        factory.Ssl = new SslOption(address.Host, enabled: true) { Version = SslProtocols.None, AcceptablePolicyErrors = SslPolicyErrors.None };
        if (configuration["Tls:BusCa"] is not { Length: > 0 } file) return;
        var ca = new TrustedCa(file);
        factory.Ssl.CertificateValidationCallback = (_, certificate, chain, errors) => ca.HasIssuedToServer(certificate, chain, errors);
    }

    // No attempt is made before the broker takes connections: all endpoints and messages wait for this one, which says once why. It goes
    // on a second after the broker is back, however long that took and however often it was away.
    private static async Task AnswersAsync(ConnectionFactory factory, ILogger logger, CancellationToken stopping)
    {
        for (string? reason = null; ;)
        {
            try
            {
                await using var connection = await ConnectAsync(factory, stopping);
                return;
            }
            catch (Exception e) when (!stopping.IsCancellationRequested)
            {
                var why = (e.InnerException ?? e).Message;
                if (why != reason) LogUnavailable(logger, why);
                reason = why;
                await Task.Delay(s_retryDelay, stopping);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The broker does not take connections for now; it is tried every second. {Reason}")]
    private static partial void LogUnavailable(ILogger logger, string reason);
}
