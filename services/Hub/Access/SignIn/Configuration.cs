using Intercommunalite.Hub.Privacy;
using Intercommunalite.ServiceDefaults.Edges;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Components.Authorization;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.DataProtection.KeyManagement;
using Microsoft.AspNetCore.Identity;
using Npgsql;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>Registers how people sign in to the pages.</summary>
internal static class Configuration
{
    // OWASP, Password Storage Cheat Sheet: 600,000 for PBKDF2 (the framework's, with HMAC-SHA512, needs fewer; more is safe).
    private const int HashIterations = 600_000;

    private static readonly TimeSpan s_idle = TimeSpan.FromMinutes(30);
    private static readonly TimeSpan s_halfway = TimeSpan.FromMinutes(5);

    public static void Add(WebApplicationBuilder builder, AuthenticationBuilder authentication)
    {
        var options = SignInSettings.Read(builder.Configuration);
        var services = builder.Services;
        services.AddSingleton(options);
        services.AddScoped<Sessions>().AddScoped<Passwords>().AddScoped<Lockout>();
        services.AddScoped<SessionCookie>();
        services.AddIdentityCore<Account>(identity =>
            {
                identity.User.AllowedUserNameCharacters = "";
                identity.Password = new PasswordOptions
                {
                    RequiredLength = 12,
                    RequireDigit = false,
                    RequireLowercase = false,
                    RequireUppercase = false,
                    RequireNonAlphanumeric = false,
                    RequiredUniqueChars = 1,
                };
            })
            .AddUserStore<AccountStore>()
            .AddPasswordValidator<GuessablePasswords>()
            .AddTokenProvider<AuthenticatorTokenProvider<Account>>(TokenOptions.DefaultAuthenticatorProvider);
        services.Configure<PasswordHasherOptions>(hasher => hasher.IterationCount = HashIterations);

        // Every node has the same keys, so that any of them takes the cookies and forms of the others.
        services.AddDataProtection().SetApplicationName("intercommunalite.hub");
        services.AddOptions<KeyManagementOptions>().Configure<NpgsqlDataSource, IKeyWrapping>((keys, database, master) =>
            (keys.XmlRepository, keys.XmlEncryptor) = (new KeyRing(database), new KeyRingEncryptor(master)));

        var secure = builder.Configuration.GetValue<bool>("Edge:BehindTlsProxy")
            || Edge.Addresses(builder.Configuration).All(address => address.StartsWith("https:", StringComparison.OrdinalIgnoreCase));
        AddCookie(Sessions.Scheme, "session", s_idle);
        AddCookie(Sessions.HalfwayScheme, "halfway", s_halfway);
        services.AddAntiforgery(antiforgery => Protect(antiforgery.Cookie, "form"));
        if (options.Oidc is { } oidc) OpenIdConnect.Add(authentication, oidc, secure);

        services.AddCascadingAuthenticationState();
        services.AddScoped<AuthenticationStateProvider, OpenPages>();

        void AddCookie(string scheme, string name, TimeSpan idle) => authentication.AddCookie(scheme, cookie =>
        {
            Protect(cookie.Cookie, name);
            cookie.ExpireTimeSpan = idle;
            if (scheme == Sessions.Scheme) cookie.EventsType = typeof(SessionCookie);
            else cookie.SlidingExpiration = false;
        });

        // With the prefix, a browser takes it from this host alone and over TLS alone (RFC 6265bis, 4.1.3.2).
        void Protect(CookieBuilder cookie, string name)
        {
            cookie.Name = secure ? $"__Host-{name}" : name;
            cookie.Path = "/";
            cookie.HttpOnly = true;
            cookie.SecurePolicy = secure ? CookieSecurePolicy.Always : CookieSecurePolicy.SameAsRequest;
            cookie.SameSite = SameSiteMode.Lax;
        }
    }
}
