using System.Security.Cryptography;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Encrypted bytes, AES-256-GCM with a random nonce: 12 bytes nonce, the content encrypted, 16 bytes tag.</summary>
internal static class Sealed
{
    private const int NonceLength = 12;
    private const int TagLength = 16;

    /// <summary>By how much the encrypted form is longer.</summary>
    public const int Overhead = NonceLength + TagLength;

    /// <summary>A new random key.</summary>
    public static byte[] NewKey() => RandomNumberGenerator.GetBytes(32);

    /// <summary>Encrypts.</summary>
    /// <param name="key">32 bytes.</param>
    /// <param name="content">What to encrypt.</param>
    /// <param name="place">Where it belongs; it can be decrypted only together with the same.</param>
    public static byte[] Seal(ReadOnlySpan<byte> key, ReadOnlySpan<byte> content, ReadOnlySpan<byte> place)
    {
        var result = new byte[Overhead + content.Length];
        Seal(key, content, place, result);
        return result;
    }

    /// <summary>The same into <paramref name="result"/>, which is longer than the content by <see cref="Overhead"/>.</summary>
    public static void Seal(ReadOnlySpan<byte> key, ReadOnlySpan<byte> content, ReadOnlySpan<byte> place, Span<byte> result)
    {
        RandomNumberGenerator.Fill(result[..NonceLength]);
        using var aes = new AesGcm(key, TagLength);
        aes.Encrypt(result[..NonceLength], content, result[NonceLength..^TagLength], result[^TagLength..], place);
    }

    /// <summary>Decrypts.</summary>
    /// <exception cref="CryptographicException">Another key, another place, or not as it was encrypted.</exception>
    public static byte[] Open(ReadOnlySpan<byte> key, ReadOnlySpan<byte> content, ReadOnlySpan<byte> place)
    {
        if (content.Length < Overhead) throw new CryptographicException("This is nothing encrypted.");
        var result = new byte[content.Length - Overhead];
        using var aes = new AesGcm(key, TagLength);
        aes.Decrypt(content[..NonceLength], content[NonceLength..^TagLength], content[^TagLength..], result, place);
        return result;
    }
}
