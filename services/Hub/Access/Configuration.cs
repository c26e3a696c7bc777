using System.Security.Claims;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace Intercommunalite.Hub.Access;

/// <summary>Registers who may come in, and what each may do.</summary>
internal static class Configuration
{
    public static WebApplicationBuilder AddAccess(this WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("Access").Get<AccessOptions>() ?? new AccessOptions();
        if (options is { TokenServer: true, Issuer: null })
            options = options with { Issuer = (builder.Configuration[WebHostDefaults.ServerUrlsKey] ?? "http://127.0.0.1:5080").Split(';')[0] };
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton<CurrentRights>();
        builder.Services.AddOpenIddict().AddCore(core => core.UseEntityFrameworkCore().UseDbContext<AccessDatabase>());
        builder.Services.AddDbContext<AccessDatabase>((services, database) =>
            database.UseNpgsql(services.GetRequiredService<NpgsqlDataSource>(), npgsql => npgsql.MigrationsHistoryTable("migrations", AccessDatabase.Schema)));
        builder.Services.AddSingleton(new SchemaPart(async (services, cancellation) =>
        {
            await using var scope = services.CreateAsyncScope();
            await scope.ServiceProvider.GetRequiredService<AccessDatabase>().Database.MigrateAsync(cancellation);
        }));

        // What fails is thrown, and told by whoever catches it.
        builder.Logging.AddFilter("Microsoft.EntityFrameworkCore", LogLevel.Warning).AddFilter("Microsoft.EntityFrameworkCore.Database.Command", LogLevel.None);

        var authentication = builder.Services.AddAuthentication(JwtBearerDefaults.AuthenticationScheme);
        if (options.TokenServer)
        {
            builder.Services.AddSingleton<TokenKeys>();
            TokenServer.Add(builder, options);
            authentication.AddBearer(options, null);
            builder.Services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme).Configure<TokenKeys, CurrentRights>((bearer, keys, rights) =>
            {
                bearer.TokenValidationParameters.IssuerSigningKeys = keys.Signing;
                var translate = bearer.Events.OnTokenValidated;
                bearer.Events.OnTokenValidated = async validated =>
                {
                    await translate(validated);
                    await ApplyAsync(rights, validated);
                };
            });
        }
        else
        {
            authentication.AddBearer(options, new KeptDocuments(options.KeptIn ?? Path.Combine(builder.Environment.ContentRootPath, "issuer")));
        }

        RateLimits.Add(builder);
        builder.Services.AddAuthorization(Rules.Add);
        return builder;
    }

    public static RouteGroupBuilder MapAccess(this RouteGroupBuilder api)
    {
        BusUsersAdmin.Map(api);
        // Another issuer has clients of its own.
        if (!((IEndpointRouteBuilder)api).ServiceProvider.GetRequiredService<AccessOptions>().TokenServer) return api;
        ClientsAdmin.Map(api);
        Bootstrap.Map(api);
        return api;
    }

    /// <summary>Where tokens are asked for, unless another issuer does that.</summary>
    public static WebApplication MapTokenServer(this WebApplication app)
    {
        if (app.Services.GetRequiredService<AccessOptions>().TokenServer) TokenServer.Map(app);
        return app;
    }

    // The token proves who it is; what it may do is asked of the store, which knows better.
    private static async Task ApplyAsync(CurrentRights rights, TokenValidatedContext validated)
    {
        if (validated.Principal is not { Identity: ClaimsIdentity identity } || identity.FindFirst("sub") is not { } subject) return;
        if (await rights.FindAsync(subject.Value, validated.HttpContext.RequestAborted) is not { Suspended: false } client)
        {
            validated.Fail("The client is suspended or no longer known.");
            return;
        }

        foreach (var claim in identity.FindAll(claim => claim.Type is Caller.RolesClaim or Caller.CommunesClaim).ToList()) identity.RemoveClaim(claim);
        identity.AddClaims(client.Roles.Select(role => new Claim(Caller.RolesClaim, role)));
        identity.AddClaims(client.Communes.Select(commune => new Claim(Caller.CommunesClaim, commune)));
    }
}
