using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Schools;

/// <summary>Registers the room of the schools.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddSchools(this WebApplicationBuilder builder)
    {
        builder.Services.AddProjection<RollsProjection>(
            RollsProjection.Schools.Schema(), RollsProjection.Enrolments.Schema(), RollsProjection.Rolls.Schema());
        return builder;
    }

    public static RouteGroupBuilder MapSchools(this RouteGroupBuilder api)
    {
        Rolls.Map(api);
        return api;
    }
}
