namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>How people sign in to the pages; section <c>SignIn</c>.</summary>
internal sealed record SignInSettings
{
    /// <summary>Whether accounts with a password kept here are taken. By default only where no provider is configured.</summary>
    public bool? LocalAccounts { get; init; }

    /// <summary>How often an open page asks whether the person may still be in, in seconds: 1 to 60.</summary>
    public int RecheckSeconds { get; init; } = 30;

    /// <summary>The OpenID Connect provider; null where there is none.</summary>
    public OidcOptions? Oidc { get; init; }

    /// <summary>Whether there is a form for an address and a password.</summary>
    public bool TakesPasswords => LocalAccounts ?? Oidc is null;

    /// <summary>Reads the settings.</summary>
    /// <exception cref="InvalidOperationException">One is missing or wrong.</exception>
    public static SignInSettings Read(IConfiguration configuration)
    {
        var options = configuration.GetSection("SignIn").Get<SignInSettings>() ?? new SignInSettings();
        if (options.RecheckSeconds is < 1 or > 60) throw new InvalidOperationException("The setting SignIn:RecheckSeconds must be 1 to 60.");
        if (options.Oidc is not { } oidc) return options;
        if (oidc.Authority is null || !oidc.Authority.IsAbsoluteUri || !(oidc.Authority.Scheme == "https" || oidc.Authority.IsLoopback))
            throw new InvalidOperationException("The setting SignIn:Oidc:Authority must be the https address of the provider, as its discovery document names it (issuer).");
        if (string.IsNullOrEmpty(oidc.ClientId)) throw new InvalidOperationException("The setting SignIn:Oidc:ClientId is missing.");
        if (oidc.ClientSecretFile is { } file) oidc = oidc with { ClientSecret = File.ReadAllText(file).Trim() };
        if (string.IsNullOrEmpty(oidc.ClientSecret)) throw new InvalidOperationException("The setting SignIn:Oidc:ClientSecretFile (or SignIn:Oidc:ClientSecret) is missing.");
        return options with { Oidc = oidc };
    }
}

/// <summary>An OpenID Connect provider that tells who a person is.</summary>
internal sealed record OidcOptions
{
    /// <summary>The provider's issuer; its discovery document is below.</summary>
    public Uri? Authority { get; init; }

    /// <summary>The hub's client id there.</summary>
    public string? ClientId { get; init; }

    /// <summary>Its secret.</summary>
    public string? ClientSecret { get; init; }

    /// <summary>File that holds the secret.</summary>
    public string? ClientSecretFile { get; init; }

    /// <summary>What is asked for, separated by spaces. ProConnect: <c>openid email given_name usual_name</c>.</summary>
    public string Scopes { get; init; } = "openid email profile";

    /// <summary>Levels of authentication, one of which the provider must have reached, separated by spaces; null takes any.</summary>
    public string? AcrValues { get; init; }

    /// <summary>Claim with the person's roles. Where it is named, an account is made at the first sign-in, and has the roles of the last one.</summary>
    public string? RolesClaim { get; init; }

    /// <summary>Claim with the INSEE codes of a commune's agent, beside <see cref="RolesClaim"/>.</summary>
    public string CommunesClaim { get; init; } = "communes";

    /// <summary>Takes every e-mail address as checked, of a provider that checks all and sends no <c>email_verified</c>.</summary>
    public bool EmailIsVerified { get; init; }

    /// <summary>The provider's name on the button.</summary>
    public string Name { get; init; } = "le fournisseur d’identité";
}
