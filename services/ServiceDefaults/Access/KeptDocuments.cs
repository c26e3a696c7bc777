using System.Security.Cryptography;
using System.Text;
using Microsoft.IdentityModel.Protocols;

namespace Intercommunalite.ServiceDefaults.Access;

/// <summary>
/// The issuer's discovery document and keys, kept on disk: a service that starts while the issuer is away goes on with those it
/// knew last. Keys are public; what matters is that nobody else may write there.
/// </summary>
/// <param name="folder">Where they are kept; made when needed.</param>
public sealed class KeptDocuments(string folder) : IDocumentRetriever, IDisposable
{
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(5), MaxResponseContentBufferSize = 1 << 20 };

    /// <inheritdoc/>
    public async Task<string> GetDocumentAsync(string address, CancellationToken cancel)
    {
        var kept = Path.Combine(folder, $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(address)))[..16]}.json");
        try
        {
            var document = await _http.GetStringAsync(new Uri(address), cancel);
            await KeepAsync(kept, document, cancel);
            return document;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancel.IsCancellationRequested && File.Exists(kept))
        {
            return await File.ReadAllTextAsync(kept, cancel);
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
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();
}
