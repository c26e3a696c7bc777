using System.Collections.Immutable;
using System.Security.Claims;
using System.Text.Json;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore;
using Microsoft.AspNetCore.Authentication;
using Microsoft.IdentityModel.Tokens;
using OpenIddict.Abstractions;
using OpenIddict.Server.AspNetCore;
using static OpenIddict.Abstractions.OpenIddictConstants;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// The hub's own issuer of tokens: OAuth 2.0 client credentials (RFC 6749, 4.4), the client known by its secret or by a key of its own
/// (<c>private_key_jwt</c>, RFC 7523). Tokens are signed JWTs (RFC 9068) that live for ten minutes.
/// </summary>
internal static class TokenServer
{
    /// <summary>How long a token lives. Rights that change meanwhile hold at once at the hub: see <see cref="CurrentRights"/>.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(10);

    /// <summary>Where tokens are asked for.</summary>
    public const string Path = "/connect/token";

    public static void Add(WebApplicationBuilder builder, AccessOptions options)
    {
        builder.Services.AddOpenIddict()
            .AddServer(server => server
                .SetIssuer(options.Issuer!)
                .SetTokenEndpointUris(Path.TrimStart('/'))
                .AllowClientCredentialsFlow()
                .SetAccessTokenLifetime(Lifetime)
                .DisableAccessTokenEncryption()
                // Tokens tell all that is needed, for ten minutes: none is stored.
                .DisableTokenStorage()
                .DisableAuthorizationStorage()
                .DisableScopeValidation()
                .UseAspNetCore()
                .EnableTokenEndpointPassthrough()
                // Whether addresses without TLS may be listened on is decided in one place for all of them.
                .DisableTransportSecurityRequirement());
        builder.Services.AddOptions<OpenIddict.Server.OpenIddictServerOptions>().Configure<TokenKeys>((server, keys) =>
        {
            server.SigningCredentials.AddRange(keys.Signing.Select(key => new SigningCredentials(key, SecurityAlgorithms.EcdsaSha256)));
            server.EncryptionCredentials.Add(new EncryptingCredentials(keys.Encryption, SecurityAlgorithms.Aes256KW, SecurityAlgorithms.Aes256CbcHmacSha512));
        });
    }

    public static void Map(IEndpointRouteBuilder app) => app.MapPost(Path, IssueAsync).AllowAnonymous().WithMetadata(Body.Limit).ExcludeFromDescription();

    // The client has been authenticated by OpenIddict before this.
    private static async Task<IResult> IssueAsync(HttpContext context, IOpenIddictApplicationManager applications, AccessOptions options)
    {
        var request = context.GetOpenIddictServerRequest() ?? throw new InvalidOperationException("Not a token request.");
        var application = await applications.FindByClientIdAsync(request.ClientId!, context.RequestAborted);
        if (application is null || Client.Of(await applications.GetPropertiesAsync(application, context.RequestAborted)) is not { Suspended: false } client)
        {
            return Results.Forbid(
                new AuthenticationProperties(new Dictionary<string, string?>
                {
                    [OpenIddictServerAspNetCoreConstants.Properties.Error] = Errors.UnauthorizedClient,
                    [OpenIddictServerAspNetCoreConstants.Properties.ErrorDescription] = "The client is suspended. Ask the administrator of the hub.",
                }),
                [OpenIddictServerAspNetCoreDefaults.AuthenticationScheme]);
        }

        var identity = new ClaimsIdentity(OpenIddictServerAspNetCoreDefaults.AuthenticationScheme, Claims.Name, Caller.RolesClaim);
        identity.SetClaim(Claims.Subject, request.ClientId)
            .SetClaim(Claims.Name, await applications.GetDisplayNameAsync(application, context.RequestAborted) ?? request.ClientId)
            .SetClaims(Caller.RolesClaim, [.. client.Roles])
            .SetClaims(Caller.CommunesClaim, [.. client.Communes])
            .SetResources(options.Audience)
            .SetDestinations(_ => [Destinations.AccessToken]);
        return Results.SignIn(new ClaimsPrincipal(identity), authenticationScheme: OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);
    }
}

/// <summary>What a client may be, as it is kept among the properties of its application.</summary>
/// <param name="Roles">See <see cref="ServiceDefaults.Access.Roles"/>.</param>
/// <param name="Communes">INSEE codes.</param>
/// <param name="Suspended">Gets no token, and those it has are refused by the hub.</param>
internal sealed record Client(IReadOnlyList<string> Roles, IReadOnlyList<string> Communes, bool Suspended)
{
    private const string Property = "rights";

    /// <summary>Reads it; null when there is none.</summary>
    public static Client? Of(ImmutableDictionary<string, JsonElement> properties) =>
        properties.TryGetValue(Property, out var rights) ? rights.Deserialize<Client>(JsonSerializerOptions.Web) : null;

    /// <summary>Puts it among the properties.</summary>
    public void Into(IDictionary<string, JsonElement> properties) => properties[Property] = JsonSerializer.SerializeToElement(this, JsonSerializerOptions.Web);
}
