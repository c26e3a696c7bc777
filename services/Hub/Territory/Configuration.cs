using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.ServiceDefaults;

namespace Intercommunalite.Hub.Territory;

/// <summary>Registers the territory that this hub serves: known from its SIREN alone.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddTerritory(this WebApplicationBuilder builder)
    {
        var siren = builder.Configuration.Required("Hub:Territory");
        builder.Services.AddSingleton(Epci.Find(siren) ?? throw new InvalidOperationException(
            $"Hub:Territory is {siren}, which is not the SIREN number of a métropole, communauté urbaine, d'agglomération or de communes."));
        builder.Services.AddSingleton<TerritoryClock>();
        return builder;
    }

    public static RouteGroupBuilder MapTerritory(this RouteGroupBuilder api)
    {
        api.MapGet("territory", (Epci territory) => new
        {
            territory.Siren,
            territory.Name,
            territory.Kind,
            communes = territory.Communes.Select(commune => new { code = commune.Code.ToString(), commune.Name, commune.Population }),
        }).RequireAuthorization(Rules.Known).WithName("Territory").WithSummary("The territory and its communes");
        return api;
    }
}
