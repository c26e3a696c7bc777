using System.Security.Claims;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
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
        builder.Services.AddScoped<RightsChanges>();
        builder.Services.AddSingleton(new WrappedElsewhere(async (services, cancellation) =>
        {
            await using var scope = services.CreateAsyncScope();
            return await Rewrapping.RewrapAsync(scope.ServiceProvider.GetRequiredService<AccessDatabase>(), scope.ServiceProvider.GetRequiredService<IKeyWrapping>(), cancellation);
        }));
        builder.Services.AddOpenIddict().AddCore(core => core.UseEntityFrameworkCore().UseDbContext<AccessDatabase>());
        builder.Services.AddDbContext<AccessDatabase>((services, database) =>
            database.UseNpgsql(services.GetRequiredService<NpgsqlDataSource>(), npgsql => npgsql.MigrationsHistoryTable("migrations", AccessDatabase.Schema)));
        builder.Services.AddSingleton(new SchemaPart(async (services, cancellation) =>
        {
            if (await AccessDatabase.IsCurrentAsync(services.GetRequiredService<NpgsqlDataSource>(), cancellation)) return;
            await using var scope = services.CreateAsyncScope();
            await scope.ServiceProvider.GetRequiredService<AccessDatabase>().Database.MigrateAsync(cancellation);
        }));

        // What fails is thrown, and told by whoever catches it. (At the first start the key ring is asked for before its table is there.)
        builder.Logging.AddFilter("Microsoft.EntityFrameworkCore", LogLevel.Warning).AddFilter("Microsoft.EntityFrameworkCore.Database.Command", LogLevel.None)
            .AddFilter("Microsoft.EntityFrameworkCore.Query", LogLevel.None).AddFilter("Microsoft.AspNetCore.DataProtection.KeyManagement.KeyRingProvider", LogLevel.Critical);

        var authentication = builder.Services.AddAuthentication(JwtBearerDefaults.AuthenticationScheme);
        if (options.TokenServer)
        {
            builder.Services.AddSingleton<TokenKeys>();
            TokenServer.Add(builder, options);
            authentication.AddBearer(options, null, ApplyAsync);
            builder.Services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme)
                .Configure<TokenKeys>((bearer, keys) => bearer.TokenValidationParameters.IssuerSigningKeys = keys.Signing);
        }
        else
        {
            authentication.AddBearer(options, options.KeptIn ?? Path.Combine(builder.Environment.ContentRootPath, "issuer"));
        }

        SignIn.Configuration.Add(builder, authentication);
        RateLimits.Add(builder);
        builder.Services.AddAuthorization(Rules.Add);
        return builder;
    }

    public static RouteGroupBuilder MapAccess(this RouteGroupBuilder api)
    {
        BusUsersAdmin.Map(api);
        AccountsAdmin.Map(api);
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

    /// <summary>Where people sign in.</summary>
    public static WebApplication MapSignIn(this WebApplication app)
    {
        SignIn.SignInPages.Map(app);
        return app;
    }

    // The token proves who it is; what it may do is asked of the store, which knows better.
    private static async ValueTask<bool> ApplyAsync(HttpContext context, ClaimsIdentity identity)
    {
        var rights = context.RequestServices.GetRequiredService<CurrentRights>();
        if (await rights.FindAsync(identity.FindFirst("sub")!.Value, context.RequestAborted) is not { Suspended: false } client) return false;
        foreach (var claim in identity.FindAll(claim => claim.Type is Caller.RolesClaim or Caller.CommunesClaim).ToList()) identity.RemoveClaim(claim);
        identity.AddClaims(client.Roles.Select(role => new Claim(Caller.RolesClaim, role)));
        identity.AddClaims(client.Communes.Select(commune => new Claim(Caller.CommunesClaim, commune)));
        return true;
    }
}
