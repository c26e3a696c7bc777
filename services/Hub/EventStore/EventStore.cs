using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using JasperFx;
using JasperFx.Events;
using Marten;
using Npgsql;
using Weasel.Core;

namespace Intercommunalite.Hub.EventStore;

/// <summary>Registers the event store: Marten on PostgreSQL, its schema, and the node that projects.</summary>
internal static class EventStore
{
    public static WebApplicationBuilder AddEventStore(this WebApplicationBuilder builder)
    {
        var connectionString = builder.Configuration.GetConnectionString("Hub")
            ?? throw new InvalidOperationException("The setting ConnectionStrings:Hub (a PostgreSQL connection string) is missing: give it as the environment variable ConnectionStrings__Hub.");
        builder.Services.AddSingleton(NpgsqlDataSource.Create(WithoutIdleTransactions(connectionString)));
        builder.Services.AddMarten(Configure).UseLightweightSessions().UseNpgsqlDataSource();
        builder.Services.AddExceptionHandler<DatabaseAway>();
        builder.Services.AddSingleton<StoreSchema>();
        builder.Services.AddHostedService(services => services.GetRequiredService<StoreSchema>());
        builder.Services.AddSingleton<Positions>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Positions>());
        builder.Services.AddSingleton<Projector>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Projector>());
        builder.Services.AddSingleton<PastVersions>();
        builder.Services.AddSingleton<LooksBack>();
        builder.Services.AddHostedService(services => services.GetRequiredService<PastVersions>());
        builder.Services.AddSingleton(builder.Configuration.GetSection("Health").Get<HealthOptions>() ?? new HealthOptions());
        builder.Services.AddSingleton<ProjectionStates>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ProjectionStates>());
        builder.Services.AddHealthChecks()
            .AddCheck<StoreSchema>("event store", tags: [Defaults.Ready])
            .AddCheck<ProjectionStates>("projections", tags: [Defaults.Ready]);
        return builder;
    }

    /// <summary>
    /// A node that is frozen in the middle of a transaction loses it, and the locks that other nodes wait for with it. Options
    /// that the administrator gave stay as they are.
    /// </summary>
    public static string WithoutIdleTransactions(string? connectionString)
    {
        var connection = new NpgsqlConnectionStringBuilder(connectionString);
        connection.Options ??= "-c idle_in_transaction_session_timeout=10000";
        return connection.ConnectionString;
    }

    /// <summary>How events are stored: one stream per record, named as in the catalogue, without personal data.</summary>
    public static void Configure(StoreOptions options)
    {
        options.DatabaseSchemaName = "hub";
        // StoreSchema makes the tables.
        options.AutoCreateSchemaObjects = AutoCreate.None;
        options.Serializer(new Marten.Services.SystemTextJsonSerializer(StoredJson()) { Casing = Casing.CamelCase });
        options.Events.StreamIdentity = StreamIdentity.AsString;
        options.Events.AppendMode = EventAppendMode.Quick;
        options.Events.EnableUniqueIndexOnEventId = true;
        options.Events.MetadataConfig.HeadersEnabled = true;
        options.Storage.ExtendedSchemaObjects.Add(Rebuilds.Schema());
        options.Storage.ExtendedSchemaObjects.Add(Pauses.Schema());
        options.Storage.ExtendedSchemaObjects.Add(Builds.Schema());
        options.Storage.ExtendedSchemaObjects.Add(PastVersions.Schema());
        foreach (var type in Catalogue.All) options.Events.MapEventType(type.Record, type.Name);
    }

    /// <summary>Adds a room's projection and its tables to the store.</summary>
    public static IServiceCollection AddProjection<TProjection>(this IServiceCollection services, params Weasel.Postgresql.Tables.Table[] tables)
        where TProjection : ConsolidatedProjection => services
            .AddSingleton<ConsolidatedProjection, TProjection>()
            .ConfigureMarten(options => options.Storage.ExtendedSchemaObjects.AddRange(tables));

    /// <summary>Stream key of a record: <c>{commune}/{domain}/{subject}</c>.</summary>
    public static string StreamKey(CommuneCode commune, EventType type, string subject) => $"{commune}/{type.Domain}/{subject}";

    private static JsonSerializerOptions StoredJson()
    {
        var options = new JsonSerializerOptions { TypeInfoResolver = new DefaultJsonTypeInfoResolver() };
        ContractJson.Apply(options);
        return options;
    }
}
