using System.Security.Claims;
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
using Intercommunalite.ServiceDefaults;
using Intercommunalite.ServiceDefaults.Access;
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
        Client = new HttpClient { BaseAddress = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()) };
    }

    /// <summary>Asks it.</summary>
    public HttpClient Client { get; }

    /// <summary>Its time.</summary>
    public DateTimeOffset Now { get; }

    public static async Task<HubServer> StartAsync(HubStore hub, params (string Key, string Value)[] settings)
    {
        var builder = WebApplication.CreateBuilder();
        builder.AddServiceDefaults("hub");
        builder.Logging.ClearProviders();
        builder.Configuration.AddInMemoryCollection(settings.ToDictionary(setting => setting.Key, setting => (string?)setting.Value));
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(System.Net.IPAddress.Loopback, 0));
        builder.AddOpenData();
        builder.Services.AddSingleton(hub.Database).AddSingleton(hub.Services.GetRequiredService<Epci>()).AddSingleton(hub.Services.GetRequiredService<Positions>())
            .AddSingleton(hub.Services.GetRequiredService<ProjectionStates>()).AddSingleton<TimeProvider>(hub.Clock)
            .AddSingleton(hub.Services.GetRequiredService<PersonalDataStore>()).AddSingleton(hub.Services.GetRequiredService<AuditLog>())
            .AddSingleton(hub.Services.GetRequiredService<PersonSearch>()).AddSingleton(hub.Services.GetRequiredService<PersonFiles>())
            .AddSingleton(hub.Services.GetRequiredService<Rights>()).AddSingleton(hub.Services.GetRequiredService<Disclosures>())
            .AddSingleton(hub.Services.GetRequiredService<Expiry>()).AddSingleton(hub.Services.GetRequiredService<KeyVault>());
        builder.Services.AddAuthorization(Rules.Add);
        var app = builder.Build();
        app.UseServiceDefaults();
        app.Use((context, next) =>
        {
            context.User = new(new ClaimsIdentity([new("sub", "caller"), .. Roles.All.Select(role => new Claim(Caller.RolesClaim, role))], "test"));
            return next(context);
        });
        app.UseRouting();
        app.UseAuthorization();
        app.MapGroup("/api/v1").MapCivilRecords().MapSchools().MapPayments().MapOpenData().MapReplay().MapPrivacy();
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
