namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>Whose tokens are taken; section <c>Access</c>.</summary>
public sealed record AccessOptions
{
    /// <summary>The issuer: an OpenID Connect provider's URL, as its tokens name it in <c>iss</c>.</summary>
    public string? Issuer { get; init; }

    /// <summary>Where the issuer's discovery document is; without it, below <see cref="Issuer"/>. It must name the same issuer.</summary>
    public string? MetadataAddress { get; init; }

    /// <summary>Whether the discovery document may come without TLS from another machine: on a closed network of containers.</summary>
    public bool AllowHttp { get; init; }

    /// <summary>Folder in which the issuer's discovery document and keys are kept for a start without it.</summary>
    public string? KeptIn { get; init; }

    /// <summary>What tokens must be meant for (<c>aud</c>).</summary>
    public string Audience { get; init; } = "intercommunalite";

    /// <summary>Claim of the issuer's tokens that holds the roles: an array of texts, or texts separated by spaces.</summary>
    public string RolesClaim { get; init; } = Caller.RolesClaim;

    /// <summary>Claim that holds the INSEE codes of communes, likewise.</summary>
    public string CommunesClaim { get; init; } = Caller.CommunesClaim;

    /// <summary>Of a hub: whether it issues tokens itself. Set to false where another issuer does.</summary>
    public bool TokenServer { get; init; } = true;

    /// <summary>The discovery document's address.</summary>
    /// <exception cref="InvalidOperationException">There is no issuer.</exception>
    public string Metadata => MetadataAddress ?? $"{(Issuer ?? throw new InvalidOperationException("Access:Issuer is missing.")).TrimEnd('/')}/.well-known/openid-configuration";
}
