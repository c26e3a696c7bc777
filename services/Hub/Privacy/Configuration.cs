using Marten;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Registers the room of the personal data.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddPrivacy(this WebApplicationBuilder builder)
    {
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.Add(PersonalDataStore.Schema()));
        return builder;
    }
}
