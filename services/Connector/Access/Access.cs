using System.Security.Cryptography;
using System.Text;
using Intercommunalite.Connector.Journal;
using Intercommunalite.ServiceDefaults;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;

namespace Intercommunalite.Connector.Access;

/// <summary>Registers who may come to a connector: whoever the hub's issuer gave a token, each for its own communes.</summary>
internal static class Access
{
    /// <exception cref="InvalidOperationException">The issuer is missing.</exception>
    public static WebApplicationBuilder AddAccess(this WebApplicationBuilder builder)
    {
        builder.Configuration.Required("Access:Issuer");
        var options = builder.Configuration.GetSection("Access").Get<AccessOptions>()!;
        builder.Services.AddAuthentication(JwtBearerDefaults.AuthenticationScheme)
            .AddBearer(options, options.KeptIn ?? Path.Combine(builder.Configuration.Required("Connector:DataDirectory"), "issuer"));
        builder.Services.AddAuthorization(Rules.Add);
        return builder;
    }
}

/// <summary>The rules, one of which every route of the connector states. What states none is refused to everybody.</summary>
internal static class Rules
{
    /// <summary>Hands over for the commune of the path: its software (<see cref="Roles.Connector"/>).</summary>
    public const string Serve = "serve";

    /// <summary>Hands over for all communes served here: software of all of them.</summary>
    public const string ServeAll = "serve-all";

    /// <summary>Sees how far the commune of the path is: its software, its agents, administrators.</summary>
    public const string Watch = "watch";

    /// <summary>Sees how far all of them are.</summary>
    public const string WatchAll = "watch-all";

    /// <summary>Whoever knows the commune's key, setting <c>Formats:PayFipKeys:{code}</c> (16 characters or more), which is part of the path.</summary>
    public const string Notify = "notify";

    /// <summary>Whoever has a token.</summary>
    public const string Known = "known";

    /// <summary>Registers them.</summary>
    public static void Add(AuthorizationOptions options)
    {
        options.AddPolicy(Serve, policy => policy.RequireAssertion(asked => IsElsewhere(asked) || MayServe(CallerOf(asked), CommuneOf(asked))));
        options.AddPolicy(ServeAll, policy => policy.RequireAssertion(asked => Served(asked).All(commune => MayServe(CallerOf(asked), commune))));
        options.AddPolicy(Watch, policy => policy.RequireAssertion(asked => IsElsewhere(asked) || MayWatch(CallerOf(asked), CommuneOf(asked))));
        options.AddPolicy(WatchAll, policy => policy.RequireAssertion(asked => Served(asked).All(commune => MayWatch(CallerOf(asked), commune))));
        options.AddPolicy(Notify, policy => policy.RequireAssertion(KnowsTheKey));
        options.AddPolicy(Known, policy => policy.RequireAuthenticatedUser());
        // What is not there is not refused, but 404.
        options.FallbackPolicy = options.DefaultPolicy = new AuthorizationPolicyBuilder()
            .RequireAssertion(asked => asked.Resource is HttpContext context && context.GetEndpoint() is null).Build();
    }

    private static bool MayServe(Caller? caller, string? commune) => caller is not null && commune is not null && caller.Is(Roles.Connector) && caller.Communes.Contains(commune);

    private static bool MayWatch(Caller? caller, string? commune) =>
        MayServe(caller, commune) || (caller is not null && (caller.Is(Roles.Administrator) || (caller.Is(Roles.CommuneAgent) && commune is not null && caller.Communes.Contains(commune))));

    private static bool KnowsTheKey(AuthorizationHandlerContext asked) =>
        asked.Resource is HttpContext context && context.Request.RouteValues["key"] is string given
        && context.RequestServices.GetRequiredService<IConfiguration>()[$"Formats:PayFipKeys:{CommuneOf(asked)}"] is { Length: >= 16 } key
        && CryptographicOperations.FixedTimeEquals(SHA256.HashData(Encoding.UTF8.GetBytes(given)), SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    // Of a commune that is not served here there is nothing to protect: whoever has a token gets the 404 that says which are.
    private static bool IsElsewhere(AuthorizationHandlerContext asked) =>
        CallerOf(asked) is not null && CommuneOf(asked) is { } commune && !Served(asked).Contains(commune);

    private static Caller? CallerOf(AuthorizationHandlerContext asked) => asked.User.Identity is { IsAuthenticated: true } ? Caller.Of(asked.User) : null;

    private static string? CommuneOf(AuthorizationHandlerContext asked) => (asked.Resource as HttpContext)?.Request.RouteValues["code"] as string;

    private static IEnumerable<string> Served(AuthorizationHandlerContext asked) =>
        ((HttpContext)asked.Resource!).RequestServices.GetRequiredService<Journals>().All.Select(journal => journal.Commune.ToString());
}
