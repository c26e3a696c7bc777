using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Payments;

/// <summary>Registers the room of the payments.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddPayments(this WebApplicationBuilder builder)
    {
        builder.Services.AddProjection<PaymentsProjection>(
            PaymentsProjection.Invoices.Schema(), PaymentsProjection.Movements.Schema(), PaymentsProjection.Summary.Schema());
        return builder;
    }

    public static RouteGroupBuilder MapPayments(this RouteGroupBuilder api)
    {
        Summary.Map(api);
        return api;
    }
}
