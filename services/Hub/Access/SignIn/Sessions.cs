using System.Globalization;
using System.Security.Claims;
using Intercommunalite.Hub.Audit;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Identity;

namespace Intercommunalite.Hub.Access.SignIn;

/// <summary>What a person has to do before the pages open.</summary>
internal enum Todo
{
    /// <summary>Nothing.</summary>
    Nothing,

    /// <summary>Choose a password of one's own.</summary>
    ChangePassword,

    /// <summary>Set the authenticator app up.</summary>
    SetUpCode,
}

/// <summary>
/// A person who is in. The cookie says who it is, how and when it came in; what the person may do is asked of the account at every
/// request, so that a change of rights or a suspension holds at once.
/// </summary>
internal sealed class Sessions(UserManager<Account> accounts, AuditLog audit, TimeProvider clock)
{
    /// <summary>Scheme of the session's cookie.</summary>
    public const string Scheme = "Session";

    /// <summary>Scheme of the cookie between the right password and the code.</summary>
    public const string HalfwayScheme = "Halfway";

    /// <summary>Claim that says how the person came in: <see cref="ByPassword"/> or <see cref="ByProvider"/>.</summary>
    public const string HowClaim = "how";

    /// <summary>By a password kept here.</summary>
    public const string ByPassword = "password";

    /// <summary>By the OpenID Connect provider.</summary>
    public const string ByProvider = "provider";

    /// <summary>How long a session lasts at most.</summary>
    public static readonly TimeSpan Longest = TimeSpan.FromHours(8);

    private const string StampClaim = "stamp";
    private const string SinceClaim = "auth_time";

    // They reach rights and personal data: a stolen password must not be enough.
    private static readonly string[] s_needCode = [Roles.Administrator, Roles.DataProtectionOfficer];

    /// <summary>What the person has to do first.</summary>
    public async Task<Todo> TodoAsync(Account account, string how) =>
        how == ByProvider ? Todo.Nothing
        : account.MustChangePassword ? Todo.ChangePassword
        : !account.TwoFactorEnabled && (await accounts.GetClaimsAsync(account)).Any(claim => claim.Type == Caller.RolesClaim && s_needCode.Contains(claim.Value)) ? Todo.SetUpCode
        : Todo.Nothing;

    /// <summary>The person as the rules see it; without any right as long as something has to be done first.</summary>
    public async Task<ClaimsPrincipal> PrincipalAsync(Account account, string how, DateTimeOffset? since = null)
    {
        var identity = new ClaimsIdentity(Scheme, "name", Caller.RolesClaim);
        identity.AddClaim(new("sub", account.Id));
        identity.AddClaim(new("name", account.DisplayName ?? account.Email ?? account.Id));
        identity.AddClaim(new(HowClaim, how));
        identity.AddClaim(new(StampClaim, account.SecurityStamp ?? ""));
        identity.AddClaim(new(SinceClaim, (since ?? clock.GetUtcNow()).ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)));
        if (await TodoAsync(account, how) == Todo.Nothing)
            identity.AddClaims((await accounts.GetClaimsAsync(account)).Where(claim => claim.Type is Caller.RolesClaim or Caller.CommunesClaim));
        return new(identity);
    }

    /// <summary>The person by now; null when the session is over, or the account is suspended, deleted, or has another password since.</summary>
    public async Task<ClaimsPrincipal?> RecheckAsync(ClaimsPrincipal user)
    {
        if (!long.TryParse(user.FindFirstValue(SinceClaim), CultureInfo.InvariantCulture, out var seconds)) return null;
        var since = DateTimeOffset.FromUnixTimeSeconds(seconds);
        return since + Longest > clock.GetUtcNow() && await AccountAsync(user) is { Suspended: false } account && account.SecurityStamp == user.FindFirstValue(StampClaim)
            ? await PrincipalAsync(account, user.FindFirstValue(HowClaim) ?? "", since)
            : null;
    }

    /// <summary>The account of a person who is in.</summary>
    public async Task<Account?> AccountAsync(ClaimsPrincipal user) => user.FindFirstValue("sub") is { } id ? await accounts.FindByIdAsync(id) : null;

    /// <summary>Lets the person in.</summary>
    public async Task OpenAsync(HttpContext context, Account account)
    {
        await context.SignOutAsync(HalfwayScheme);
        await context.SignInAsync(Scheme, await PrincipalAsync(account, ByPassword));
        await audit.AppendAsync(new(account.Id, "access.signed-in", account.Id, Details: new() { ["how"] = ByPassword }), context.RequestAborted);
    }

    /// <summary>Goes on after a change that ended all sessions of the account: this one stays.</summary>
    public async Task KeepAsync(HttpContext context, Account account) =>
        await context.SignInAsync(Scheme, await PrincipalAsync(account, context.User.FindFirstValue(HowClaim) ?? ByPassword));
}
