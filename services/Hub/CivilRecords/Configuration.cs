using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.CivilRecords;

/// <summary>Registers the room of the civil records.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddCivilRecords(this WebApplicationBuilder builder)
    {
        builder.Services.AddProjection<IndicatorsProjection>(IndicatorsProjection.Acts.Schema(), IndicatorsProjection.Indicators.Schema());
        return builder;
    }

    public static RouteGroupBuilder MapCivilRecords(this RouteGroupBuilder api)
    {
        Indicators.Map(api);
        return api;
    }
}
