using System.Data.Common;
using System.Security.Claims;
using System.Text.Json;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.JwtBearer;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>
/// Takes OAuth 2.0 bearer tokens (RFC 6750) that are signed JWTs of the one issuer, meant for this audience. What they say becomes
/// the claims of <see cref="Caller"/>, whatever the issuer calls them.
/// </summary>
public static class Bearer
{
    private static readonly TimeSpan s_clockSkew = TimeSpan.FromSeconds(30);

    // Asymmetric ones alone: neither "none", nor keys that whoever checks a token could make one with (RFC 8725, 3.1).
    private static readonly string[] s_algorithms =
    [
        SecurityAlgorithms.EcdsaSha256, SecurityAlgorithms.EcdsaSha384, SecurityAlgorithms.EcdsaSha512,
        SecurityAlgorithms.RsaSha256, SecurityAlgorithms.RsaSha384, SecurityAlgorithms.RsaSha512,
        SecurityAlgorithms.RsaSsaPssSha256, SecurityAlgorithms.RsaSsaPssSha384, SecurityAlgorithms.RsaSsaPssSha512,
    ];

    // What an access token calls itself (RFC 9068, 2.1); some issuers, Keycloak among them, write JWT alone. An assertion of a client, a logout token,
    // or an ID token without a type, is none (RFC 8725, 3.11).
    private static readonly string[] s_types = ["at+jwt", "application/at+jwt", "JWT"];

    /// <summary>Adds the scheme <c>Bearer</c>.</summary>
    /// <param name="authentication">Where to.</param>
    /// <param name="options">Whose tokens.</param>
    /// <param name="keptIn">Folder in which the issuer's discovery document and its keys are kept; null where the keys come from elsewhere.</param>
    /// <param name="current">
    /// Asked at every request once the token was found good: puts what the caller may be by now in the place of what the token says; false
    /// when it may not come in any more. Null where nobody knows better than the token.
    /// </param>
    public static AuthenticationBuilder AddBearer(
        this AuthenticationBuilder authentication,
        AccessOptions options,
        string? keptIn,
        Func<HttpContext, ClaimsIdentity, ValueTask<bool>>? current = null)
    {
        ArgumentNullException.ThrowIfNull(authentication);
        ArgumentNullException.ThrowIfNull(options);
        if (keptIn is not null && new Uri(options.Metadata) is { Scheme: not "https", IsLoopback: false } open && !options.AllowHttp)
            throw new InvalidOperationException($"The issuer's keys would come from {open.GetLeftPart(UriPartial.Authority)} without TLS, for whoever is on the way to change: give an https address (Access:Issuer, Access:MetadataAddress), or Access:AllowHttp=true on a closed network.");
        if (keptIn is not null)
        {
            authentication.Services.AddSingleton(services => new KeptDocuments(options, keptIn, services.GetRequiredService<ILogger<KeptDocuments>>()));
            authentication.Services.AddOptions<JwtBearerOptions>(JwtBearerDefaults.AuthenticationScheme).Configure<KeptDocuments>((bearer, documents) =>
                bearer.ConfigurationManager = new ConfigurationManager<OpenIdConnectConfiguration>(options.Metadata, new OpenIdConnectConfigurationRetriever(), documents)
                {
                    RefreshInterval = TimeSpan.FromSeconds(30),
                });
        }

        var seen = new SeenTokens();
        return authentication.AddJwtBearer(bearer =>
        {
            bearer.MapInboundClaims = false;
            bearer.IncludeErrorDetails = false;
            bearer.TokenValidationParameters = new TokenValidationParameters
            {
                // OpenIddict, as others, ends an issuer without a path in a slash (RFC 3986, 6.2.3 holds both for the same).
                ValidIssuers = options.Issuer is { } issuer ? [issuer, issuer.TrimEnd('/'), $"{issuer.TrimEnd('/')}/"] : null,
                ValidAudience = options.Audience,
                ValidAlgorithms = s_algorithms,
                ValidTypes = s_types,
                NameClaimType = "name",
                RoleClaimType = Caller.RolesClaim,
                ClockSkew = s_clockSkew,
            };
            bearer.Events = new JwtBearerEvents
            {
                OnMessageReceived = async received =>
                {
                    if (seen.Find(received.Request.Headers.Authorization) is not { } identity) return;
                    if (current is not null && !await current(received.HttpContext, identity)) return;
                    received.Principal = new(identity);
                    received.Success();
                },
                OnTokenValidated = async validated =>
                {
                    var identity = (ClaimsIdentity)validated.Principal!.Identity!;
                    // RFC 9068 names the client of a token without a person in client_id; not every issuer repeats it in sub.
                    if (identity.FindFirst("sub") is null && identity.FindFirst("client_id") is { } client) identity.AddClaim(new("sub", client.Value));
                    if (identity.FindFirst("sub") is null)
                    {
                        validated.Fail("The token has no subject.");
                        return;
                    }

                    // Keycloak tells its tokens apart by a claim: ID, Refresh, and DPoP, which no bearer may come with, are others.
                    if (identity.FindFirst("typ") is { Value: not "Bearer" })
                    {
                        validated.Fail("The token is no access token.");
                        return;
                    }

                    Translate(identity, options.RolesClaim, Caller.RolesClaim, Roles.All.Contains);
                    Translate(identity, options.CommunesClaim, Caller.CommunesClaim, _ => true);
                    seen.Keep(validated.Request.Headers.Authorization, identity, validated.SecurityToken.ValidTo);
                    if (current is not null && !await current(validated.HttpContext, identity)) validated.Fail("The caller may not come in any more.");
                },
                OnAuthenticationFailed = async failed =>
                {
                    if (failed.Exception is DbException or TimeoutException || !await AreKeysKnownAsync(failed.Options, failed.HttpContext.RequestAborted)) failed.HttpContext.Items[typeof(Bearer)] = true;
                    failed.NoResult();
                },
                OnChallenge = challenge =>
                {
                    if (!challenge.HttpContext.Items.ContainsKey(typeof(Bearer))) return Task.CompletedTask;
                    challenge.HandleResponse();
                    challenge.Response.Headers.RetryAfter = "5";
                    return CannotCheckAsync(challenge.HttpContext);
                },
            };
        });
    }

    // Without the issuer's keys nothing is wrong with a token that cannot be checked.
    private static async Task<bool> AreKeysKnownAsync(JwtBearerOptions options, CancellationToken cancellation)
    {
        try
        {
            if (options.ConfigurationManager is { } issuer) await issuer.GetConfigurationAsync(cancellation);
            return true;
        }
        catch (Exception e) when (e is InvalidOperationException or HttpRequestException or OperationCanceledException)
        {
            return false;
        }
    }

    // A text with spaces (as scopes are written), or several claims, or a JSON array where an issuer nests it in a text.
    private static void Translate(ClaimsIdentity identity, string from, string to, Func<string, bool> isKnown)
    {
        var given = identity.FindAll(from).ToList();
        // Also those of our name that the issuer was not to give.
        foreach (var claim in identity.FindAll(claim => claim.Type == from || claim.Type == to).ToList()) identity.RemoveClaim(claim);
        foreach (var value in given.SelectMany(Values).Where(isKnown).Distinct()) identity.AddClaim(new(to, value));

        static IEnumerable<string> Values(Claim claim)
        {
            if (claim.ValueType != JsonClaimValueTypes.JsonArray) return claim.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            return JsonElement.Parse(claim.Value).EnumerateArray().Where(item => item.ValueKind == JsonValueKind.String).Select(item => item.GetString()!);
        }
    }

    private static Task CannotCheckAsync(HttpContext context) => TypedResults.Problem(
        title: "Token cannot be checked",
        detail: "The issuer of tokens (Access:Issuer), or the database with the rights, does not answer. Try again later.",
        statusCode: StatusCodes.Status503ServiceUnavailable).ExecuteAsync(context);
}
