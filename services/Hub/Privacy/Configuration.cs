using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults;
using Marten;
using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Registers the room of the personal data.</summary>
internal static class Configuration
{
    /// <exception cref="InvalidOperationException">A setting is missing or wrong.</exception>
    public static WebApplicationBuilder AddPrivacy(this WebApplicationBuilder builder)
    {
        var keys = builder.Configuration.GetConnectionString("Keys")
            ?? throw new InvalidOperationException(
                "The setting ConnectionStrings:Keys (a PostgreSQL connection string, of another database than the hub's) is missing: give it as the environment variable ConnectionStrings__Keys.");
        var master = MasterKey.Read(builder.Configuration);
        builder.Services.AddSingleton(master).AddSingleton<IKeyWrapping>(master);
        builder.Services.AddSingleton(services => new KeyVault(keys, services.GetRequiredService<IKeyWrapping>(), services.GetRequiredService<NpgsqlDataSource>()));
        builder.Services.AddSingleton<PersonalDataStore>().AddSingleton<QuarantinedPersons>();
        builder.Services.AddSingleton<Forgetting>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Forgetting>());
        builder.Services.AddSingleton<Disclosures>().AddSingleton<PersonFiles>().AddSingleton<PersonSearch>().AddSingleton<Rights>();
        var expiry = builder.Configuration.GetSection("Privacy").Get<ExpiryOptions>() ?? new ExpiryOptions();
        if (expiry.RetentionHour is < 0 or > 23) throw new InvalidOperationException("Privacy:RetentionHour must be an hour of the day, 0 to 23.");
        builder.Services.AddSingleton(expiry).AddSingleton<Expiry>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Expiry>());
        builder.Services.ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.AddRange(
            [KeyVault.Schema(), PersonalDataStore.Schema(), .. Forgetting.Schema(), .. Rights.Schema(), Disclosures.Schema(), Expiry.Schema()]));
        builder.Services.AddSingleton(new SchemaPart(ClearText.EncryptAsync));
        builder.Services.AddHealthChecks().AddCheck<KeyVaultHealth>("keys", tags: [Defaults.Ready]);
        return builder;
    }

    public static RouteGroupBuilder MapPrivacy(this RouteGroupBuilder api)
    {
        RightsApi.Map(api);
        return api;
    }
}
