using Intercommunalite.Hub.Access.SignIn;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// The rules, one of which every route and every gRPC method of the hub states. What states none is refused to everybody, and a test
/// fails on it.
/// </summary>
internal static class Rules
{
    /// <summary>
    /// Figures of the territory, without persons: agents, administrators, the DPO. Also by a session, since the pages offer them as
    /// files: they are only read.
    /// </summary>
    public const string ReadFigures = "read-figures";

    /// <summary>How far communes are received: agents of the communauté and administrators all of them, connectors their own.</summary>
    public const string WatchIngestion = "watch-ingestion";

    /// <summary>Open data made from names: agents of the communauté, of a commune for its own, administrators.</summary>
    public const string PublishOpenData = "publish-open-data";

    /// <summary>Running the hub: administrators.</summary>
    public const string Administer = "administer";

    /// <summary>Discarding what is in quarantine: administrators, and the DPO when it names somebody who is to be erased.</summary>
    public const string Discard = "discard";

    /// <summary>Rights of people: the DPO alone.</summary>
    public const string ProtectData = "protect-data";

    /// <summary>Reading and checking the audit, and the register: the DPO, and administrators.</summary>
    public const string Audit = "audit";

    /// <summary>The feed: partners under an agreement, administrators without personal data.</summary>
    public const string ReadFeed = "read-feed";

    /// <summary>What became of one record: administrators, agents of a commune for its own, both without persons; partners under an agreement.</summary>
    public const string ReadRecords = "read-records";

    /// <summary>Durable subscriptions: partners their own, administrators all.</summary>
    public const string UseSubscriptions = "use-subscriptions";

    /// <summary>Reading agreements: administrators, the DPO, a partner its own.</summary>
    public const string ReadAgreements = "read-agreements";

    /// <summary>Making and changing agreements: administrators.</summary>
    public const string ManageAgreements = "manage-agreements";

    /// <summary>The pages, which a person opens in a browser: agents, administrators, the DPO, by their session.</summary>
    public const string SeePages = "see-pages";

    /// <summary>Pages about one's own account: whoever has a session, even before the password is changed or the authenticator app set up.</summary>
    public const string SignedIn = "signed-in";

    /// <summary>Whoever has been authenticated.</summary>
    public const string Known = "known";

    /// <summary>Roles that see the pages.</summary>
    public static readonly string[] WhoSeesPages = [Roles.CommuneAgent, Roles.EpciAgent, Roles.Administrator, Roles.DataProtectionOfficer];

    private static readonly (string Rule, string[] Roles)[] s_all =
    [
        (ReadFigures, [Roles.CommuneAgent, Roles.EpciAgent, Roles.Administrator, Roles.DataProtectionOfficer]),
        (WatchIngestion, [Roles.Connector, Roles.EpciAgent, Roles.Administrator]),
        (PublishOpenData, [Roles.CommuneAgent, Roles.EpciAgent, Roles.Administrator]),
        (Administer, [Roles.Administrator]),
        (Discard, [Roles.Administrator, Roles.DataProtectionOfficer]),
        (ProtectData, [Roles.DataProtectionOfficer]),
        (Audit, [Roles.DataProtectionOfficer, Roles.Administrator]),
        (ReadFeed, [Roles.Partner, Roles.Administrator]),
        (ReadRecords, [Roles.Partner, Roles.CommuneAgent, Roles.Administrator]),
        (UseSubscriptions, [Roles.Partner, Roles.Administrator]),
        (ReadAgreements, [Roles.Administrator, Roles.DataProtectionOfficer, Roles.Partner]),
        (ManageAgreements, [Roles.Administrator]),
    ];

    /// <summary>403 for an agent of a commune who asks for more than one of its own; null when the caller may.</summary>
    public static ProblemHttpResult? OfOwnCommuneOnly(Caller caller, string? commune) =>
        caller.Is(Roles.EpciAgent, Roles.Administrator) || (commune is not null && caller.Communes.Contains(commune)) ? null : TypedResults.Problem(
            title: "Not yours", detail: $"commune: one of {string.Join(", ", caller.Communes.Order(StringComparer.Ordinal))} expected.", statusCode: StatusCodes.Status403Forbidden);

    /// <summary>Registers them, and refuses what states none.</summary>
    public static void Add(AuthorizationOptions options)
    {
        foreach (var (rule, roles) in s_all) options.AddPolicy(rule, policy => (rule == ReadFigures ? OfSessions(OfTokens(policy)) : OfTokens(policy)).RequireClaim(Caller.RolesClaim, roles));
        options.AddPolicy(Known, policy => OfTokens(policy));
        options.AddPolicy(SeePages, policy => OfSessions(policy).RequireClaim(Caller.RolesClaim, WhoSeesPages));
        options.AddPolicy(SignedIn, policy => OfSessions(policy));
        // What is not there is not refused, but 404.
        options.FallbackPolicy = options.DefaultPolicy = new AuthorizationPolicyBuilder()
            .RequireAssertion(asked => asked.Resource is HttpContext context && context.GetEndpoint() is null).Build();
    }

    // Calls take tokens alone: a browser's cookie, which goes along wherever the browser is led, opens none of them.
    private static AuthorizationPolicyBuilder OfTokens(AuthorizationPolicyBuilder policy) =>
        policy.AddAuthenticationSchemes(JwtBearerDefaults.AuthenticationScheme).RequireAuthenticatedUser();

    private static AuthorizationPolicyBuilder OfSessions(AuthorizationPolicyBuilder policy) => policy.AddAuthenticationSchemes(Sessions.Scheme).RequireAuthenticatedUser();
}
