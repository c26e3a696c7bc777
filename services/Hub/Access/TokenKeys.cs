using System.Numerics;
using System.Security.Cryptography;
using Intercommunalite.Hub.Privacy;
using Microsoft.IdentityModel.Tokens;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// The keys of the token server, derived from the master key: every node has the same, and nothing more must be kept. While the master
/// key is being changed, tokens signed with the old one are still taken.
/// </summary>
internal sealed class TokenKeys(IKeyWrapping master)
{
    // Order of the curve P-256 (FIPS 186-5, D.1.2.3).
    private static readonly BigInteger s_order = new(Convert.FromHexString("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551"), isUnsigned: true, isBigEndian: true);

    /// <summary>ES256 keys, the one that signs first.</summary>
    public IReadOnlyList<ECDsaSecurityKey> Signing { get; } = [.. master.Derive("token-signing", 48).Select(SigningKey)];

    /// <summary>Key for what the token server encrypts for itself.</summary>
    public SymmetricSecurityKey Encryption { get; } = new(master.Derive("token-encryption", 32)[0]);

    // 128 bits more than the order, reduced: the bias cannot be noticed (FIPS 186-5, A.2.1).
    private static ECDsaSecurityKey SigningKey(byte[] seed)
    {
        var scalar = (new BigInteger(seed, isUnsigned: true, isBigEndian: true) % (s_order - 1)) + 1;
        var bytes = scalar.ToByteArray(isUnsigned: true, isBigEndian: true);
        var padded = new byte[32];
        bytes.CopyTo(padded, 32 - bytes.Length);
        var key = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, D = padded });
        var point = key.ExportParameters(false).Q;
        return new ECDsaSecurityKey(key) { KeyId = Base64UrlEncoder.Encode(SHA256.HashData([.. point.X!, .. point.Y!]).AsSpan(0, 12).ToArray()) };
    }
}
