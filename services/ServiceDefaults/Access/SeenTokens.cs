using System.Collections.Concurrent;
using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>
/// Tokens that were found good less than a minute ago: the signature of one that comes with every request is not computed each time.
/// Known by their hash, so that no token lies in memory longer than its request.
/// </summary>
internal sealed class SeenTokens
{
    private const int MaxTokens = 10_000;

    private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, (ClaimsIdentity Identity, DateTimeOffset End)> _seen = new(StringComparer.Ordinal);

    /// <summary>What a token says that was found good, as a copy; null when it was not seen, or is over.</summary>
    /// <param name="authorization">The request's header.</param>
    public ClaimsIdentity? Find(string? authorization) =>
        authorization is not null && _seen.TryGetValue(Key(authorization), out var seen) && DateTimeOffset.UtcNow < seen.End ? seen.Identity.Clone() : null;

    /// <summary>Keeps what a token says, until the token ends or a minute is over.</summary>
    public void Keep(string? authorization, ClaimsIdentity identity, DateTime until)
    {
        var now = DateTimeOffset.UtcNow;
        if (authorization is null || until <= now.UtcDateTime) return;
        if (_seen.Count >= MaxTokens)
        {
            foreach (var (key, seen) in _seen)
            {
                if (seen.End <= now) _seen.TryRemove(key, out _);
            }

            if (_seen.Count >= MaxTokens) return;
        }

        var end = new DateTimeOffset(until, TimeSpan.Zero);
        _seen[Key(authorization)] = (identity.Clone(), end < now + s_longest ? end : now + s_longest);
    }

    private static string Key(string authorization) => Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(authorization)));
}
