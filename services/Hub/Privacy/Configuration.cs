using Marten;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Registers the room of the personal data.</summary>
internal static class Configuration
{
    /// <exception cref="InvalidOperationException">A setting is missing or wrong.</exception>
    public static WebApplicationBuilder AddPrivacy(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<IKeyWrapping>(MasterKey.Read(builder.Configuration));
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.Add(PersonalDataStore.Schema()));
        return builder;
    }
}
