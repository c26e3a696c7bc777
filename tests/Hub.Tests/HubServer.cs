using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.CivilRecords;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.OpenData;
using Intercommunalite.Hub.Payments;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Replay;
using Intercommunalite.Hub.Schools;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.Hub.Tests;

/// <summary>The hub's calls over HTTP on the store of a test, at a time that stands still. What runs by itself does not run.</summary>
internal sealed class HubServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private HubServer(WebApplication app, DateTimeOffset now)
    {
        (_app, Now) = (app, now);
        Address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        Client = ClientOf("epci-agent", "administrator", "dpo");
    }

    /// <summary>Asks it as somebody who may do everything.</summary>
    public HttpClient Client { get; }

    /// <summary>Where it answers.</summary>
    public Uri Address { get; }

    /// <summary>Asks it as somebody who may be this.</summary>
    public HttpClient ClientOf(params string[] roles) => new() { BaseAddress = Address, DefaultRequestHeaders = { Authorization = new("Bearer", TestIssuer.Token(roles)) } };

    /// <summary>Its time.</summary>
    public DateTimeOffset Now { get; }

    public static async Task<HubServer> StartAsync(HubStore hub, params (string Key, string Value)[] settings)
    {
        var builder = WebApplication.CreateBuilder();
        builder.AddServiceDefaults("hub");
        builder.Logging.ClearProviders();
        builder.Configuration.AddInMemoryCollection(settings.ToDictionary(setting => setting.Key, setting => (string?)setting.Value));
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        builder.Configuration["Access:TokenServer"] = "false";
        builder.Configuration["Access:Issuer"] = TestIssuer.Url.ToString();
        builder.Configuration["Access:KeptIn"] = Path.Combine(Path.GetTempPath(), $"issuer-{Environment.ProcessId}");
        builder.AddAccess();
        builder.AddAudit();
        builder.AddOpenData();
        builder.Services.AddExceptionHandler<DatabaseAway>();
        builder.Services.AddSingleton(hub.Database).AddSingleton(hub.Services.GetRequiredService<Epci>()).AddSingleton(hub.Services.GetRequiredService<Positions>())
            .AddSingleton(hub.Services.GetRequiredService<ProjectionStates>()).AddSingleton(hub.Services.GetRequiredService<TerritoryClock>()).AddSingleton<TimeProvider>(hub.Clock)
            .AddSingleton(hub.Services.GetRequiredService<PersonalDataStore>()).AddSingleton(hub.Services.GetRequiredService<IKeyWrapping>())
            .AddSingleton(hub.Services.GetRequiredService<PersonSearch>()).AddSingleton(hub.Services.GetRequiredService<PersonFiles>())
            .AddSingleton(hub.Services.GetRequiredService<Rights>()).AddSingleton(hub.Services.GetRequiredService<Disclosures>())
            .AddSingleton(hub.Projections).AddSingleton(hub.Services.GetRequiredService<PastVersions>()).AddSingleton<LooksBack>()
            .AddSingleton(hub.Services.GetRequiredService<Expiry>()).AddSingleton(hub.Services.GetRequiredService<KeyVault>());
        var app = builder.Build();
        app.UseServiceDefaults();
        app.UseAuthentication();
        app.UseAuthorization();
        app.MapGroup("/api/v1").MapAudit().MapPrivacy().MapCivilRecords().MapSchools().MapPayments().MapOpenData().MapReplay();
        await app.StartAsync();
        return new HubServer(app, hub.Clock.Now);
    }

    /// <summary>The answer to a GET, as soon as its headers are there.</summary>
    public Task<HttpResponseMessage> GetAsync(string path, CancellationToken cancellation = default) =>
        Client.GetAsync(new Uri(path, UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellation);

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _app.DisposeAsync();
    }
}
