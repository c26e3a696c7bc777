using System.Text;
using Intercommunalite.Hub.Privacy;
using Microsoft.AspNetCore.Identity;
using Microsoft.AspNetCore.Identity.EntityFrameworkCore;

namespace Intercommunalite.Hub.Access;

/// <summary>A person who signs in to the pages; rights are claims (<c>roles</c>, <c>communes</c>) kept beside it.</summary>
internal sealed class Account : IdentityUser
{
    /// <summary>Name to be shown.</summary>
    public string? DisplayName { get; set; }

    /// <summary>Its password was made by an administrator: another must be chosen before anything else.</summary>
    public bool MustChangePassword { get; set; }

    /// <summary>Until when such a password lets in: <see cref="SignIn.Passwords.TemporaryFor"/> after it was made.</summary>
    public DateTimeOffset? TemporaryUntil { get; set; }

    /// <summary>Does not come in, and is sent out where it is in.</summary>
    public bool Suspended { get; set; }

    /// <summary>The code of its authenticator app that was taken last: it is not taken again (RFC 6238, 5.2).</summary>
    public string? LastCode { get; set; }
}

/// <summary>Keeps accounts. The secrets of authenticator apps and the recovery codes are wrapped by the master key.</summary>
internal sealed class AccountStore(AccessDatabase database, IKeyWrapping master) : UserOnlyStore<Account, AccessDatabase>(database)
{
    /// <inheritdoc/>
    public override Task SetTokenAsync(Account user, string loginProvider, string name, string? value, CancellationToken cancellationToken) =>
        base.SetTokenAsync(user, loginProvider, name, value is null ? null : Convert.ToBase64String(master.Wrap(Encoding.UTF8.GetBytes(value))), cancellationToken);

    /// <inheritdoc/>
    public override async Task<string?> GetTokenAsync(Account user, string loginProvider, string name, CancellationToken cancellationToken)
    {
        if (await base.GetTokenAsync(user, loginProvider, name, cancellationToken) is not { } kept) return null;
        return Encoding.UTF8.GetString(master.Unwrap(Convert.FromBase64String(kept)));
    }
}
