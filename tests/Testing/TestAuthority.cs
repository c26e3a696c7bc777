using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Intercommunalite.Testing;

/// <summary>A certificate authority of a test's own. Disposing deletes its files.</summary>
public sealed class TestAuthority : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("authority-").FullName;
    private readonly X509Certificate2 root;

    /// <summary>Makes one.</summary>
    public TestAuthority()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN=Test authority {Guid.NewGuid():N}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        root = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddDays(1));
        System.IO.File.WriteAllText(File, root.ExportCertificatePem());
    }

    /// <summary>Its own certificate, PEM.</summary>
    public string File => Path.Combine(folder, "ca.pem");

    /// <summary>A certificate of a server at <c>localhost</c> and 127.0.0.1.</summary>
    /// <param name="certificate">PEM file to write.</param>
    /// <param name="key">PEM file of its key.</param>
    /// <param name="name">Its name, in place of localhost and the address.</param>
    public void WriteServer(string certificate, string key, string? name = null)
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name ?? "localhost");
        if (name is null) names.AddIpAddress(IPAddress.Loopback);
        using var issued = Issue("CN=server", "1.3.6.1.5.5.7.3.1", names.Build());
        System.IO.File.WriteAllText(certificate, issued.ExportCertificatePem());
        System.IO.File.WriteAllText(key, issued.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
    }

    /// <summary>A server's certificate in files of the authority's own.</summary>
    /// <returns>Certificate and key, PEM.</returns>
    public (string Certificate, string Key) Server(string? name = null)
    {
        var files = (Certificate: Path.Combine(folder, $"{Guid.NewGuid():N}.pem"), Key: Path.Combine(folder, $"{Guid.NewGuid():N}.pem"));
        WriteServer(files.Certificate, files.Key, name);
        return files;
    }

    /// <summary>A client's certificate with its key.</summary>
    /// <param name="purpose">What it may be used for; by default, to be a client.</param>
    public X509Certificate2 Client(string purpose = "1.3.6.1.5.5.7.3.2") => Issue("CN=client", purpose, null);

    /// <summary>An <see cref="HttpClient"/>'s handler that trusts this authority alone.</summary>
    /// <param name="client">The certificate that it shows.</param>
    public SocketsHttpHandler Handler(X509Certificate2? client = null)
    {
        var handler = new SocketsHttpHandler();
        handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        handler.SslOptions.CertificateChainPolicy.CustomTrustStore.Add(root);
        if (client is not null) handler.SslOptions.ClientCertificates = [client];
        return handler;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        root.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    private X509Certificate2 Issue(string subject, string purpose, X509Extension? names)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        if (names is not null) request.CertificateExtensions.Add(names);
        using var issued = request.Create(root, DateTimeOffset.UtcNow.AddMinutes(-30), DateTimeOffset.UtcNow.AddHours(12), RandomNumberGenerator.GetBytes(12));
        return issued.CopyWithPrivateKey(key);
    }
}
