using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.OpenIdConnect;
using Microsoft.AspNetCore.Identity;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>
/// Signing in by an OpenID Connect provider (ProConnect, an own Keycloak): code flow with PKCE, state and nonce. The provider says who
/// it is; an account here says what the person may do, unless a claim of the provider does.
/// </summary>
internal static partial class OpenIdConnect
{
    /// <summary>Name of the scheme.</summary>
    public const string Scheme = "OpenIdConnect";

    private const int MaxUserInfoBytes = 256 * 1024;

    public static void Add(AuthenticationBuilder authentication, OidcOptions options, bool secure) => authentication.AddOpenIdConnect(Scheme, oidc =>
    {
        oidc.Authority = options.Authority!.ToString();
        oidc.RequireHttpsMetadata = !options.Authority.IsLoopback;
        oidc.ClientId = options.ClientId;
        oidc.ClientSecret = options.ClientSecret;
        oidc.ResponseType = OpenIdConnectResponseType.Code;
        // The answer comes by a redirection, which brings cookies along that are not sent with a form of another site.
        oidc.ResponseMode = OpenIdConnectResponseMode.Query;
        oidc.UsePkce = true;
        oidc.MapInboundClaims = false;
        oidc.GetClaimsFromUserInfoEndpoint = false;
        oidc.Scope.Clear();
        foreach (var scope in options.Scopes.Split(' ', StringSplitOptions.RemoveEmptyEntries)) oidc.Scope.Add(scope);
        oidc.SignInScheme = oidc.SignOutScheme = Sessions.Scheme;
        oidc.CallbackPath = $"{SignInPages.Provider}/retour";
        oidc.SignedOutCallbackPath = $"{SignInPages.Provider}/fin";
        oidc.RemoteSignOutPath = default;
        oidc.SignedOutRedirectUri = SignInPages.SignIn;
        foreach (var cookie in (CookieBuilder[])[oidc.CorrelationCookie, oidc.NonceCookie])
        {
            cookie.SameSite = SameSiteMode.Lax;
            cookie.SecurePolicy = secure ? CookieSecurePolicy.Always : CookieSecurePolicy.SameAsRequest;
        }

        oidc.Events = new OpenIdConnectEvents
        {
            OnRedirectToIdentityProvider = going =>
            {
                going.ProtocolMessage.AcrValues = options.AcrValues;
                return Task.CompletedTask;
            },
            OnTokenValidated = validated => LetInAsync(validated, options),
            OnRemoteFailure = failed =>
            {
                failed.HandleResponse();
                LogFailed(Log(failed.HttpContext), failed.Failure?.GetBaseException().GetType().Name);
                failed.Response.Redirect($"{SignInPages.SignIn}?{SignInPages.Failed}=1");
                return Task.CompletedTask;
            },
        };
    });

    /// <summary>Whether the provider can be asked: its discovery document is known.</summary>
    public static async Task<bool> IsThereAsync(HttpContext context)
    {
        try
        {
            var oidc = context.RequestServices.GetRequiredService<Microsoft.Extensions.Options.IOptionsMonitor<OpenIdConnectOptions>>().Get(Scheme);
            return await oidc.ConfigurationManager!.GetConfigurationAsync(context.RequestAborted) is not null;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            LogAway(Log(context), e.GetBaseException().GetType().Name);
            return false;
        }
    }

    private static async Task LetInAsync(TokenValidatedContext validated, OidcOptions options)
    {
        var person = JsonNode.Parse(validated.SecurityToken.Payload.SerializeToJson())!.AsObject();
        var (issuer, subject) = ((string)person["iss"]!, (string)person["sub"]!);
        if (options.AcrValues is { } levels && !levels.Split(' ').Contains((string?)person["acr"]))
        {
            validated.Fail("The provider did not reach the level of authentication that was asked for.");
            return;
        }

        if (await UserInfoAsync(validated) is { } told)
        {
            if ((string?)told["sub"] != subject)
            {
                // OpenID Connect Core, 5.3.2: it may be the answer about another person.
                validated.Fail("The provider's user info is about another subject.");
                return;
            }

            foreach (var (claim, value) in told) person.TryAdd(claim, value?.DeepClone());
        }

        var (services, cancellation) = (validated.HttpContext.RequestServices, validated.HttpContext.RequestAborted);
        var changes = services.GetRequiredService<RightsChanges>();
        // What the provider takes away is taken away also of whoever is refused.
        var account = await changes.MakeAsync(
            async () =>
            {
                var found = await AccountAsync(services, changes, options, issuer, subject, person, cancellation);
                if (found is not { Suspended: false }) return null;
                await changes.NoteAsync(new(found.Id, "access.signed-in", found.Id, Details: new() { ["how"] = Sessions.ByProvider }), cancellation);
                return found;
            },
            _ => true,
            cancellation);
        if (account is null)
        {
            validated.HandleResponse();
            validated.Response.Redirect(SignInPages.Refused);
            return;
        }

        validated.Principal = await services.GetRequiredService<Sessions>().PrincipalAsync(account, Sessions.ByProvider);
        // The provider wants it back at signing out.
        if (validated.TokenEndpointResponse?.IdToken is { } token) validated.Properties!.StoreTokens([new() { Name = OpenIdConnectParameterNames.IdToken, Value = token }]);
    }

    // Known by issuer and subject; before the first sign-in, by an address that the provider has checked.
    private static async Task<Account?> AccountAsync(
        IServiceProvider services, RightsChanges changes, OidcOptions options, string issuer, string subject, JsonObject person, CancellationToken cancellation)
    {
        var accounts = services.GetRequiredService<UserManager<Account>>();
        var email = options.EmailIsVerified || IsTrue(person["email_verified"]) ? (string?)person["email"] : null;
        var account = await accounts.FindByLoginAsync(issuer, subject);
        if (account is null && email is not null && await accounts.FindByNameAsync(email) is { } invited)
        {
            // One person a provider: the address may have gone to somebody else since.
            if ((await accounts.GetLoginsAsync(invited)).Any(login => login.LoginProvider == issuer)) return null;
            account = invited;
            await BindAsync();
        }

        if (options.RolesClaim is not { } rolesClaim) return account;
        var roles = Values(person[rolesClaim]).Where(AccountsAdmin.RolesOfPeople.Contains).ToList();
        var communes = roles.Any(Roles.OfCommunes.Contains) ? Values(person[options.CommunesClaim]).ToList() : [];
        if (account is null)
        {
            if (roles.Count == 0 || AccountsAdmin.Check(roles, communes, services.GetRequiredService<Epci>()).Any()) return null;
            account = new Account { DisplayName = Name(person) };
            account.UserName = email ?? account.Id;
            account.Email = email;
            if (!(await accounts.CreateAsync(account)).Succeeded) return null;
            await changes.NoteAsync(new(account.Id, "access.account-created", account.Id, "roles claim of the provider"), cancellation);
            await BindAsync();
        }

        if (AccountsAdmin.Check(roles, communes, services.GetRequiredService<Epci>()).Any()) (roles, communes) = ([], []);
        if (await AccountsAdmin.SetRightsAsync(accounts, account, roles, communes))
            await changes.NoteAsync(new(account.Id, "access.account-changed", account.Id, "roles claim of the provider", AccountsAdmin.Rights(roles, communes)), cancellation);
        return roles.Count > 0 ? account : null;

        async Task BindAsync()
        {
            await AccountsAdmin.MustAsync(accounts.AddLoginAsync(account!, new(issuer, subject, options.Name)));
            await changes.NoteAsync(new(account!.Id, "access.account-bound", account.Id, Details: new() { ["issuer"] = issuer }), cancellation);
        }
    }

    // The answer is JSON, or (ProConnect) a JWT, whose signature is checked here: the framework's own reading of it does not.
    private static async Task<JsonObject?> UserInfoAsync(TokenValidatedContext validated)
    {
        var configuration = await validated.Options.ConfigurationManager!.GetConfigurationAsync(validated.HttpContext.RequestAborted);
        if (string.IsNullOrEmpty(configuration.UserInfoEndpoint) || validated.TokenEndpointResponse?.AccessToken is not { Length: > 0 } access) return null;
        using var request = new HttpRequestMessage(HttpMethod.Get, configuration.UserInfoEndpoint) { Headers = { Authorization = new AuthenticationHeaderValue("Bearer", access) } };
        using var response = await validated.Options.Backchannel.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, validated.HttpContext.RequestAborted);
        response.EnsureSuccessStatusCode();
        await response.Content.LoadIntoBufferAsync(MaxUserInfoBytes, validated.HttpContext.RequestAborted);
        var body = await response.Content.ReadAsStringAsync(validated.HttpContext.RequestAborted);
        if (response.Content.Headers.ContentType?.MediaType != "application/jwt") return JsonNode.Parse(body)!.AsObject();
        var result = await new JsonWebTokenHandler().ValidateTokenAsync(body, new TokenValidationParameters
        {
            ValidIssuer = configuration.Issuer,
            ValidAudience = validated.Options.ClientId,
            IssuerSigningKeys = configuration.SigningKeys,
            // It is asked for now and thrown away: providers set no end to it.
            RequireExpirationTime = false,
        });
        if (!result.IsValid) throw result.Exception;
        return JsonNode.Parse(Base64UrlEncoder.Decode(((JsonWebToken)result.SecurityToken).EncodedPayload))!.AsObject();
    }

    private static string? Name(JsonObject person) =>
        (string?)person["name"] ?? (string.Join(' ', new[] { (string?)person["given_name"], (string?)(person["usual_name"] ?? person["family_name"]) }.OfType<string>()) is { Length: > 0 } name ? name : null);

    private static bool IsTrue(JsonNode? value) => value is JsonValue flag && (flag.GetValueKind() == JsonValueKind.True || (flag.TryGetValue<string>(out var text) && text == "true"));

    private static IEnumerable<string> Values(JsonNode? claim) => claim switch
    {
        JsonArray items => items.OfType<JsonValue>().Where(item => item.GetValueKind() == JsonValueKind.String).Select(item => item.GetValue<string>()).Distinct(),
        JsonValue one when one.TryGetValue<string>(out var text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Distinct(),
        _ => [],
    };

    private static ILogger Log(HttpContext context) => context.RequestServices.GetRequiredService<ILoggerFactory>().CreateLogger("Intercommunalite.Hub.Access");

    // The kind alone: messages may repeat what a token says.
    [LoggerMessage(Level = LogLevel.Warning, Message = "Signing in by the provider of SignIn:Oidc:Authority failed: {Kind}")]
    private static partial void LogFailed(ILogger log, string? kind);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The provider of SignIn:Oidc:Authority does not answer: {Kind}")]
    private static partial void LogAway(ILogger log, string? kind);
}
