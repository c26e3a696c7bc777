using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Intercommunalite.Hub.Feeds.Webhooks;

/// <summary>Secrets and signatures as the Standard Webhooks specification (1.0.0) has them: symmetric, HMAC-SHA256, version <c>v1</c>.</summary>
internal static class WebhookSignature
{
    private const string Prefix = "whsec_";
    private const int MadeLength = 32;

    /// <summary>Makes a secret.</summary>
    public static byte[] NewSecret() => RandomNumberGenerator.GetBytes(MadeLength);

    /// <summary>The secret as it is told once.</summary>
    public static string Text(byte[] secret) => Prefix + Convert.ToBase64String(secret);

    /// <summary>Reads a secret that somebody else made: <c>whsec_</c> and 24 to 64 bytes in Base64; null when it is none.</summary>
    public static byte[]? Read(string text)
    {
        if (!text.StartsWith(Prefix, StringComparison.Ordinal) || text.Length > 200 || !Base64.IsValid(text.AsSpan(Prefix.Length))) return null;
        var secret = Convert.FromBase64String(text[Prefix.Length..]);
        return secret.Length is >= 24 and <= 64 ? secret : null;
    }

    /// <summary>Value of <c>webhook-signature</c>: one signature for each secret, separated by spaces.</summary>
    /// <param name="secrets">The secrets that are valid now.</param>
    /// <param name="id">Value of <c>webhook-id</c>.</param>
    /// <param name="timestamp">Value of <c>webhook-timestamp</c>: seconds since 1970.</param>
    /// <param name="body">The body as it is sent.</param>
    public static string Of(IEnumerable<byte[]> secrets, string id, long timestamp, byte[] body)
    {
        var signed = Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{id}.{timestamp}."));
        byte[] whole = [.. signed, .. body];
        return string.Join(' ', secrets.Select(secret => $"v1,{Convert.ToBase64String(HMACSHA256.HashData(secret, whole))}"));
    }
}
