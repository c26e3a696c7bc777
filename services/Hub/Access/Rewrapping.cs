using System.Security.Cryptography;
using System.Xml.Linq;
using Intercommunalite.Hub.Privacy;
using Microsoft.EntityFrameworkCore;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// Wraps what this room keeps with the newest master key: the secrets of authenticator apps, recovery codes, and the keys of cookies and forms.
/// </summary>
internal static class Rewrapping
{
    /// <summary>Wraps them; keys of cookies whose master key is not given any more are left, since they have had their time.</summary>
    /// <returns>How many were wrapped anew.</returns>
    /// <exception cref="CryptographicException">A person's secret is wrapped with a master key that is not among those given.</exception>
    public static async Task<int> RewrapAsync(AccessDatabase database, IKeyWrapping master, CancellationToken cancellation)
    {
        var rewrapped = 0;
        foreach (var token in await database.UserTokens.AsNoTracking().ToListAsync(cancellation))
        {
            // One that changes meanwhile (a recovery code is used) is written with the newest key by whoever changes it.
            if (token.Value is { } old && Newest(old, master) is { } value)
            {
                rewrapped += await database.UserTokens
                    .Where(kept => kept.UserId == token.UserId && kept.LoginProvider == token.LoginProvider && kept.Name == token.Name && kept.Value == old)
                    .ExecuteUpdateAsync(kept => kept.SetProperty(one => one.Value, value), cancellation);
            }
        }

        foreach (var key in await database.DataProtectionKeys.ToListAsync(cancellation))
        {
            var xml = XElement.Parse(key.Xml!);
            foreach (var wrapped in xml.Descendants("wrapped"))
            {
                if (NewestIfReadable(wrapped.Value, master) is not { } value) continue;
                wrapped.Value = value;
                key.Xml = xml.ToString(SaveOptions.DisableFormatting);
                rewrapped++;
            }
        }

        await database.SaveChangesAsync(cancellation);
        return rewrapped;
    }

    // Null where nothing is to be done.
    private static string? Newest(string kept, IKeyWrapping master)
    {
        var wrapped = Convert.FromBase64String(kept);
        return master.IsNewest(wrapped) ? null : Convert.ToBase64String(master.Wrap(master.Unwrap(wrapped)));
    }

    // The keys of cookies outlive their use, and with it a master key.
    private static string? NewestIfReadable(string kept, IKeyWrapping master)
    {
        try
        {
            return Newest(kept, master);
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
