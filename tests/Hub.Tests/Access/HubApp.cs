using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Mvc.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.Access;

/// <summary>The hub as it is, with its own token server, on a database of the test's own and with a broker that is never there.</summary>
public sealed class HubApp : WebApplicationFactory<Program>, IAsyncLifetime
{
    internal const string BootstrapSecret = "a-secret-that-only-the-host-knows";

    private readonly string _secretFile = Path.GetTempFileName();
    private TestDatabase _database = null!;

    /// <summary>A client without a token.</summary>
    internal HttpClient Anyone { get; private set; } = null!;

    /// <summary>The first administrator.</summary>
    internal HttpClient Administrator { get; private set; } = null!;

    /// <summary>The account of the first administrator, with its temporary password.</summary>
    internal JsonNode FirstAccount { get; private set; } = null!;

    internal TestDatabase Database => _database;

    internal string AdministratorToken { get; private set; } = "";

    public async Task InitializeAsync()
    {
        _database = await TestDatabase.CreateAsync();
        await File.WriteAllTextAsync(_secretFile, BootstrapSecret);
        UseKestrel();
        StartServer();
        Anyone = CreateClient();
        await Eventually.Is(async () => (await Anyone.GetAsync(new Uri("/health/ready", UriKind.Relative))).IsSuccessStatusCode, ready => ready, TimeSpan.FromMinutes(1));
        using var made = await Anyone.PostAsJsonAsync("/api/v1/access/bootstrap", new { secret = BootstrapSecret, email = "first@example.fr" });
        var answer = (await made.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<JsonNode>())!;
        FirstAccount = answer["account"]!;
        AdministratorToken = await TokenAsync((string)answer["id"]!, (string)answer["secret"]!);
        Administrator = With(AdministratorToken);
    }

    async Task IAsyncLifetime.DisposeAsync()
    {
        await DisposeAsync();
        await _database.DisposeAsync();
        File.Delete(_secretFile);
    }

    /// <summary>A client that comes with a token.</summary>
    internal HttpClient With(string token)
    {
        var client = CreateClient();
        client.DefaultRequestHeaders.Authorization = new("Bearer", token);
        return client;
    }

    /// <summary>Makes a client.</summary>
    /// <returns>Its secret.</returns>
    internal async Task<string> MakeClientAsync(string id, string[] roles, string[]? communes = null, JsonNode? publicKeys = null)
    {
        using var made = await Administrator.PostAsJsonAsync("/api/v1/access/clients", new { id, name = id, roles, communes = communes ?? [], publicKeys });
        Assert.Equal(System.Net.HttpStatusCode.Created, made.StatusCode);
        return (await made.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("secret").GetString() ?? "";
    }

    /// <summary>A client of its own that may be this.</summary>
    internal async Task<HttpClient> AsAsync(string id, string[] roles, string[]? communes = null) => With(await TokenAsync(id, await MakeClientAsync(id, roles, communes)));

    /// <summary>Asks for a token.</summary>
    internal async Task<string> TokenAsync(string id, string secret)
    {
        using var answer = await AskAsync(new() { ["client_id"] = id, ["client_secret"] = secret });
        return (await answer.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<JsonElement>()).GetProperty("access_token").GetString()!;
    }

    /// <summary>Asks the token server.</summary>
    internal Task<HttpResponseMessage> AskAsync(Dictionary<string, string> form) =>
        Anyone.PostAsync(new Uri("/connect/token", UriKind.Relative), new FormUrlEncodedContent(form.Append(new("grant_type", "client_credentials"))));

    protected override void ConfigureWebHost(IWebHostBuilder builder)
    {
        builder.UseSetting(WebHostDefaults.ServerUrlsKey, $"http://127.0.0.1:{FreePorts.Take()}");
        builder.UseSetting("ConnectionStrings:Hub", _database.ConnectionString);
        builder.UseSetting("ConnectionStrings:Keys", _database.KeysConnectionString);
        builder.UseSetting("ConnectionStrings:Bus", "amqp://guest:guest@127.0.0.1:1/");
        builder.UseSetting("Privacy:MasterKey", TestDatabase.MasterKey);
        builder.UseSetting("Hub:Territory", "243500733");
        builder.UseSetting("Access:BootstrapSecretFile", _secretFile);
        builder.UseSetting("Logging:LogLevel:Default", "None");
    }
}
