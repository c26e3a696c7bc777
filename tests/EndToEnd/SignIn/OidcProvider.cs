using System.Diagnostics;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>A real OpenID Connect provider that is none of ours: OidcProvider/provider.js, with what it needs installed below <c>.local</c>.</summary>
internal sealed class OidcProvider : IDisposable
{
    /// <summary>Secret of each of its clients.</summary>
    public const string ClientSecret = "not-a-secret-but-long-enough";

    private static readonly string s_source = Path.Combine(AppContext.BaseDirectory, "OidcProvider");
    private static readonly string s_installed = RepositoryRoot.Combine(".local", "oidc-provider");

    private readonly string _log = Path.GetTempFileName();
    private Process? _process;

    /// <summary>Its issuer.</summary>
    public Uri Issuer { get; } = new($"http://127.0.0.1:{FreePorts.Take()}");

    /// <summary>What it was asked for, one line a request: what for, and the parameters.</summary>
    public string[] Requests => File.ReadAllLines(_log);

    /// <summary>Starts it for hubs at these addresses.</summary>
    public async Task StartAsync(params Uri[] hubs)
    {
        Directory.CreateDirectory(s_installed);
        foreach (var file in Directory.EnumerateFiles(s_source)) File.Copy(file, Path.Combine(s_installed, Path.GetFileName(file)), overwrite: true);
        var (list, done) = (Path.Combine(s_installed, "package-lock.json"), Path.Combine(s_installed, "installed.json"));
        if (!File.Exists(done) || await File.ReadAllTextAsync(done) != await File.ReadAllTextAsync(list))
        {
            using var npm = Run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts");
            var said = npm.StandardError.ReadToEndAsync();
            await npm.StandardOutput.ReadToEndAsync();
            await npm.WaitForExitAsync();
            if (npm.ExitCode != 0) throw new InvalidOperationException($"npm ci: {await said}");
            File.Copy(list, done, overwrite: true);
        }

        _process = Run("node", ["provider.js", $"{Issuer.Port}", _log, .. hubs.Select(hub => hub.ToString())]);
        _process.ErrorDataReceived += (_, _) => { };
        _process.BeginErrorReadLine();
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line == "ready") return;
        }

        throw new InvalidOperationException("The provider did not start.");
    }

    /// <summary>A token of its own, by client credentials.</summary>
    public async Task<string> TokenAsync(string client, string audience)
    {
        using var http = new HttpClient();
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{client}:{ClientSecret}")));
        using var form = new FormUrlEncodedContent([new("grant_type", "client_credentials"), new("resource", $"urn:{audience}")]);
        using var response = await http.PostAsync(new Uri(Issuer, "token"), form);
        return (string)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["access_token"]!;
    }

    public void Dispose()
    {
        _process?.Kill(entireProcessTree: true);
        _process?.Dispose();
        File.Delete(_log);
    }

    private static Process Run(string program, params IEnumerable<string> arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { WorkingDirectory = s_installed, RedirectStandardOutput = true, RedirectStandardError = true })!;
}
