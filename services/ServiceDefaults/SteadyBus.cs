using MassTransit;
using MassTransit.Configuration;
using MassTransit.Observables;
using MassTransit.RabbitMqTransport;
using MassTransit.RabbitMqTransport.Configuration;
using MassTransit.Transports;
using RabbitMQ.Client.Exceptions;

namespace Intercommunalite.ServiceDefaults;

/// <summary>
/// MassTransit's bus on RabbitMQ, except in two things. After each attempt to listen or to send that the broker cut off, MassTransit
/// waits longer, up to 38 s for an endpoint, and never less again in the life of the process: a receipt would come late that often after
/// the broker is back. Here the pause stays what it is, a second and a half. And when a channel breaks off while an endpoint waits for something
/// on it, that wait may never end (<see cref="Sending"/> says why); here it ends some three seconds after the channel. That an attempt is made
/// only when the broker takes connections is <see cref="MessageBus"/>'s part.
/// </summary>
internal sealed class SteadyBusFactory : TransportRegistrationBusFactory<IRabbitMqReceiveEndpointConfigurator>
{
    private readonly BusConfiguration _bus;
    private readonly Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> _configure;

    public SteadyBusFactory(Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> configure)
        : this(new BusConfiguration(new RabbitMqTopologyConfiguration(RabbitMqBusFactory.CreateMessageTopology())), configure)
    {
    }

    private SteadyBusFactory(BusConfiguration bus, Action<IBusRegistrationContext, IRabbitMqBusFactoryConfigurator> configure)
        : base(bus.HostConfiguration)
    {
        (_bus, _configure) = (bus, configure);
        _bus.ConnectEndpointConfigurationObserver(new EachEndpoint());
    }

    public override IBusInstance CreateBus(IBusRegistrationContext context, IEnumerable<IBusInstanceSpecification> specifications, string busName) =>
        CreateBus(new RabbitMqBusFactoryConfigurator(_bus), context, _configure, specifications);

    private sealed class HostConfiguration(IRabbitMqBusConfiguration bus, IRabbitMqTopologyConfiguration topology) : RabbitMqHostConfiguration(bus, topology)
    {
        // MassTransit itself adds a second to each pause.
        private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(500);

        public override IRetryPolicy ReceiveTransportRetryPolicy { get; } = Retry.CreatePolicy(retry =>
        {
            retry.Handle<ConnectionException>();
            retry.Handle<AlreadyClosedException>();
            retry.Handle<EndOfStreamException>();
            retry.Handle<OperationInterruptedException>();
            retry.Interval(1000, s_pause);
        });
    }

    private sealed class EachEndpoint : IEndpointConfigurationObserver
    {
        public void EndpointConfigured<T>(T configurator)
            where T : IReceiveEndpointConfigurator
        {
            if (configurator is IRabbitMqReceiveEndpointConfigurator endpoint) endpoint.ConfigureChannel(channel => channel.UseFilter(new AsLongAsTheChannel()));
        }
    }

    // Around all that an endpoint does on its channel: declare, consume, and take what comes. MassTransit then begins anew, on another channel.
    // The channel is looked at, since those who wait for word of its end are among those that the client forgets.
    private sealed class AsLongAsTheChannel : IFilter<ChannelContext>
    {
        private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

        // For what was being taken, which is cancelled, to come to its end. What takes longer ends beside what comes next.
        private static readonly TimeSpan s_end = TimeSpan.FromSeconds(2);

        public async Task Send(ChannelContext context, IPipe<ChannelContext> next)
        {
            var listening = next.Send(context);
            while (!listening.IsCompleted && context.Channel.IsOpen && context.ConnectionContext.Connection.IsOpen)
                await Task.WhenAny(listening, Task.Delay(s_interval));
            await listening.WaitAsync(s_end);
        }

        public void Probe(ProbeContext context) => context.CreateFilterScope("as-long-as-the-channel");
    }

    // MassTransit's RabbitMqBusConfiguration, which makes its host configuration itself.
    private sealed class BusConfiguration : RabbitMqEndpointConfiguration, IRabbitMqBusConfiguration
    {
        private readonly BusObservable _observers = new();

        public BusConfiguration(IRabbitMqTopologyConfiguration topology)
            : base(topology)
        {
            HostConfiguration = new HostConfiguration(this, topology);
            BusEndpointConfiguration = CreateEndpointConfiguration(isBusEndpoint: true);
        }

        public IRabbitMqHostConfiguration HostConfiguration { get; }

        public IRabbitMqEndpointConfiguration BusEndpointConfiguration { get; }

        IHostConfiguration IBusConfiguration.HostConfiguration => HostConfiguration;

        IEndpointConfiguration IBusConfiguration.BusEndpointConfiguration => BusEndpointConfiguration;

        IBusObserver IBusConfiguration.BusObservers => _observers;

        public ConnectHandle ConnectBusObserver(IBusObserver observer) => _observers.Connect(observer);

        public ConnectHandle ConnectEndpointConfigurationObserver(IEndpointConfigurationObserver observer) =>
            HostConfiguration.ConnectEndpointConfigurationObserver(observer);
    }
}
