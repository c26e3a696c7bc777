using System.Collections.Frozen;
using System.Security.Claims;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>Who calls, as the token or the session says.</summary>
/// <param name="Id">Identifier of the client (software) or of the account (a person), as the issuer gives it: claim <c>sub</c>.</param>
/// <param name="Name">Name to be shown; the identifier where there is none.</param>
/// <param name="Roles">What the caller may be: see <see cref="Access.Roles"/>.</param>
/// <param name="Communes">INSEE codes of the communes for which <see cref="Access.Roles.OfCommunes"/> hold.</param>
public sealed record Caller(string Id, string Name, IReadOnlySet<string> Roles, IReadOnlySet<string> Communes)
{
    /// <summary>Claim with the caller's roles, once for each.</summary>
    public const string RolesClaim = "roles";

    /// <summary>Claim with the caller's communes, once for each.</summary>
    public const string CommunesClaim = "communes";

    /// <summary>Reads the claims of an authenticated caller.</summary>
    /// <exception cref="InvalidOperationException">The caller is not authenticated, or its token has no subject.</exception>
    public static Caller Of(ClaimsPrincipal user)
    {
        ArgumentNullException.ThrowIfNull(user);
        var id = user.FindFirstValue("sub") ?? throw new InvalidOperationException("The caller is not authenticated.");
        return new(id, user.FindFirstValue("name") ?? id, Values(RolesClaim), Values(CommunesClaim));

        FrozenSet<string> Values(string claim) => user.FindAll(claim).Select(value => value.Value).ToFrozenSet();
    }

    /// <summary>Whether the caller has one of these roles.</summary>
    public bool Is(params ReadOnlySpan<string> roles)
    {
        foreach (var role in roles)
        {
            if (Roles.Contains(role)) return true;
        }

        return false;
    }
}
