using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>
/// The issuer's discovery document and keys, kept on disk: a service that starts while the issuer is away, or answers nonsense, goes on with
/// those it knew last. Keys are public; what matters is that nobody else may write there.
/// </summary>
/// <param name="options">Whose documents.</param>
/// <param name="folder">Where they are kept; made when needed.</param>
/// <param name="log">Told when a document is refused, and once when none can be kept.</param>
public sealed partial class KeptDocuments(AccessOptions options, string folder, ILogger<KeptDocuments> log) : IDocumentRetriever, IDisposable
{
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(5), MaxResponseContentBufferSize = 1 << 20 };
    private bool _toldNotKept;

    /// <inheritdoc/>
    /// <exception cref="HttpRequestException">The issuer does not answer, and no document of it is kept.</exception>
    /// <exception cref="InvalidDataException">What it answers is not its discovery document, or no set of keys, and none is kept.</exception>
    public async Task<string> GetDocumentAsync(string address, CancellationToken cancel)
    {
        var kept = Path.Combine(folder, $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)))[..16]}.json");
        try
        {
            var document = await _http.GetStringAsync(new Uri(address), cancel);
            if (Fault(address, document) is { } fault)
            {
                LogRefused(address, fault);
                throw new InvalidDataException($"{address}: {fault}.");
            }

            await KeepAsync(kept, document, cancel);
            return document;
        }
        catch (Exception e) when (e is HttpRequestException or InvalidDataException or TaskCanceledException && !cancel.IsCancellationRequested && File.Exists(kept))
        {
            return await File.ReadAllTextAsync(kept, cancel);
        }
    }

    // A good document must not give way to the page of a proxy, or to that of another issuer.
    private string? Fault(string address, string document)
    {
        try
        {
            if (address != options.Metadata) return JsonWebKeySet.Create(document).GetSigningKeys().Any(key => key is AsymmetricSecurityKey) ? null : "no public key to check signatures by is in it";
            var discovery = OpenIdConnectConfiguration.Create(document);
            return discovery.Issuer?.TrimEnd('/') != options.Issuer?.TrimEnd('/') ? "it is not of the issuer of Access:Issuer"
                : string.IsNullOrEmpty(discovery.JwksUri) ? "it does not say where the keys are"
                : null;
        }
        catch (Exception e) when (e is ArgumentException or JsonException)
        {
            return "it cannot be read as JSON";
        }
    }

    // Without a copy the service works until it starts again while the issuer is away: no reason to refuse anything.
    private async Task KeepAsync(string kept, string document, CancellationToken cancel)
    {
        try
        {
            Directory.CreateDirectory(folder);
            await File.WriteAllTextAsync($"{kept}.new", document, cancel);
            File.Move($"{kept}.new", kept, overwrite: true);
            _toldNotKept = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!_toldNotKept) LogNotKept(folder, e.Message);
            _toldNotKept = true;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    [LoggerMessage(Level = LogLevel.Warning, Message = "What the issuer answers at {Address} is not taken: {Fault}")]
    private partial void LogRefused(string address, string fault);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The issuer's keys cannot be kept in {Folder}: started again while the issuer is away, this service could check no token. {Reason}")]
    private partial void LogNotKept(string folder, string reason);
}
