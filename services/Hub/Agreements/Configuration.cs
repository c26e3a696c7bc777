using Marten;

namespace Intercommunalite.Hub.Agreements;

/// <summary>Registers the room of the agreements (conventions): what partners may get, and what they do not.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddAgreements(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<AgreementStore>();
        builder.Services.ConfigureMarten((services, options) => options.Storage.ExtendedSchemaObjects.AddRange(services.GetRequiredService<AgreementStore>().Schema));
        builder.Services.AddSingleton<AgreementsInForce>();
        builder.Services.AddHostedService(services => services.GetRequiredService<AgreementsInForce>());
        // The register is a page of its own, without the dashboard.
        builder.Services.AddRazorComponents();
        return builder;
    }

    public static RouteGroupBuilder MapAgreements(this RouteGroupBuilder api)
    {
        AgreementsApi.Map(api);
        RegisterApi.Map(api);
        return api;
    }
}
