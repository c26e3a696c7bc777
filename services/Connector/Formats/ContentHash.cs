using System.Security.Cryptography;
using System.Text;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// Hashes of what a record says, for ids and subjects: the same content gives the same one, in every file, layout and connector. None
/// has a secret key: a commune that has lost its journal must make the same ids again.
/// </summary>
internal static class ContentHash
{
    /// <summary>The first hexadecimal digits of the SHA-256 of some fields.</summary>
    /// <param name="length">How many digits.</param>
    /// <param name="fields">Texts without control characters; null and empty are the same.</param>
    public static string Of(int length, params ReadOnlySpan<string?> fields) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\u001F', fields))))[..length];
}
