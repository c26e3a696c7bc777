using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Intercommunalite.ServiceDefaults.Edges;

/// <summary>
/// Certificate authorities of an installation's own, from a PEM file: what they issued is trusted, what anybody else did is not, whatever the
/// machine trusts. Revocation is not looked up, since such authorities have no place to; give certificates a short life.
/// </summary>
public sealed class TrustedCa
{
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1";

    private readonly X509Certificate2Collection _roots = [];

    /// <summary>Reads the file.</summary>
    /// <exception cref="InvalidOperationException">It is not there or holds no certificate.</exception>
    public TrustedCa(string file)
    {
        try
        {
            _roots.ImportFromPemFile(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new InvalidOperationException($"The certificates of {file} (Tls:ClientCa or Tls:BusCa) cannot be read: a PEM file expected.", e);
        }

        if (_roots.Count == 0) throw new InvalidOperationException($"{file} (Tls:ClientCa or Tls:BusCa) holds no certificate: a PEM file expected.");
    }

    /// <summary>Whether one of the authorities issued a client's certificate, and it is valid now.</summary>
    public bool HasIssuedToClient(X509Certificate2 certificate, X509Chain? presented) => HasIssued(certificate, presented, ClientAuthentication);

    /// <summary>Whether one of the authorities issued a server's certificate, it is valid now, and names the server that was meant.</summary>
    public bool HasIssuedToServer(X509Certificate? certificate, X509Chain? presented, SslPolicyErrors errors)
    {
        if (certificate is null || errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch) || errors.HasFlag(SslPolicyErrors.RemoteCertificateNotAvailable)) return false;
        return HasIssued(certificate as X509Certificate2 ?? new X509Certificate2(certificate), presented, ServerAuthentication);
    }

    private bool HasIssued(X509Certificate2 certificate, X509Chain? presented, string purpose)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(_roots);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(purpose));
        if (presented is not null) chain.ChainPolicy.ExtraStore.AddRange(presented.ChainElements.Select(element => element.Certificate).ToArray());
        return chain.Build(certificate);
    }
}
