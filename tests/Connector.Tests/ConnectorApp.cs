using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Connector.Tests;

/// <summary>
/// The connector as it is, on a loopback port, with a broker that is never there unless the settings name one. Disposing it stops it in the middle of whatever
/// it does; another one on the same folder goes on from there.
/// </summary>
internal sealed class ConnectorApp : WebApplicationFactory<Program>
{
    private readonly string _data;
    private readonly string _communes;
    private readonly Action<IServiceCollection> _services;
    private readonly IReadOnlyDictionary<string, string> _settings;

    private ConnectorApp(string data, string communes, Action<IServiceCollection> services, IReadOnlyDictionary<string, string> settings) =>
        (_data, _communes, _services, _settings) = (data, communes, services, settings);

    public HttpClient Http { get; private set; } = null!;

    public static ConnectorApp Start(
        string data, string communes, Action<IServiceCollection>? services = null, IReadOnlyDictionary<string, string>? settings = null)
    {
        var app = new ConnectorApp(data, communes, services ?? (_ => { }), settings ?? new Dictionary<string, string>());
        app.UseKestrel();
        app.StartServer();
        app.Http = app.CreateClient();
        app.Http.DefaultRequestHeaders.Authorization = new("Bearer", TestIssuer.Token(["connector"], communes.Split(',')));
        return app;
    }

    public CommuneJournal Journal(string commune) => Services.GetRequiredService<Journals>().Find(CommuneCode.Parse(commune))!;

    /// <summary>The hub says how far it has a commune's journal.</summary>
    public async Task ReceivedAsync(string commune, long through)
    {
        Services.GetRequiredService<Forwarders>().Heard(new JournalReceipt(commune, Journal(commune).Id, through));
        await Eventually.Is(() => Journal(commune).ReceivedThrough, received => received == through);
    }

    /// <summary>All events in a commune's journal, as CloudEvents.</summary>
    public IReadOnlyList<JsonElement> Events(string commune) =>
        [.. Journal(commune).Read(1, int.MaxValue, int.MaxValue).Select(stored => JsonElement.Parse(stored.Json))];

    public Task<HttpResponseMessage> PostEventAsync(string path, string json, string media = CloudEvent.MediaType) =>
        Http.PostAsync(new Uri(path, UriKind.Relative), new StringContent(json, Encoding.UTF8, MediaTypeHeaderValue.Parse(media)));

    public async Task<JsonElement> GetAsync(string path) => JsonElement.Parse(await Http.GetStringAsync(new Uri(path, UriKind.Relative)));

    /// <summary>Posts a file and waits for the end of its import.</summary>
    public async Task<JsonElement> ImportAsync(string path, byte[] content)
    {
        using var body = new ByteArrayContent(content);
        using var response = await Http.PostAsync(new Uri(path, UriKind.Relative), body);
        Assert.Equal(System.Net.HttpStatusCode.Accepted, response.StatusCode);
        return await EndOfAsync(response.Headers.Location!.ToString());
    }

    public Task<JsonElement> ImportAsync(string path, string content) => ImportAsync(path, Encoding.UTF8.GetBytes(content));

    public Task<JsonElement> EndOfAsync(string location) =>
        Eventually.Is(() => GetAsync(location), state => state.GetProperty("status").GetString() != "running", TimeSpan.FromSeconds(60));

    protected override void ConfigureWebHost(IWebHostBuilder builder)
    {
        builder.UseContentRoot(_data);
        // By configuration, not by the factory: that would set the port while the server may be starting already.
        builder.UseSetting(WebHostDefaults.ServerUrlsKey, "http://127.0.0.1:0");
        builder.UseSetting("ConnectionStrings:Bus", "amqp://guest:guest@127.0.0.1:1/");
        builder.UseSetting("Access:Issuer", TestIssuer.Url.ToString());
        builder.UseSetting("Connector:Communes", _communes);
        builder.UseSetting("Connector:DataDirectory", _data);
        builder.UseSetting("Formats:DropInterval", "00:00:00.050");
        builder.UseSetting("Formats:DropQuiet", "00:00:00.100");
        builder.UseSetting("Logging:LogLevel:Default", "Error");
        foreach (var (key, value) in _settings) builder.UseSetting(key, value);
        builder.ConfigureTestServices(_services);
    }
}
