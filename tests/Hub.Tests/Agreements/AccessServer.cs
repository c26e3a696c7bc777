using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;
using OpenIddict.Abstractions;

namespace Intercommunalite.Hub.Tests.Agreements;

/// <summary>
/// A node of the hub with its agreements and its feed, on the store of a test; whoever is named may come in with the roles given. Its
/// time can be moved.
/// </summary>
internal sealed class AccessServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly MovedTime _time;
    private readonly GrpcChannel _channel;

    private AccessServer(WebApplication app, MovedTime time)
    {
        (_app, _time) = (app, time);
        var addresses = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.ToList();
        Address = new Uri(addresses[0]);
        _channel = GrpcChannel.ForAddress(addresses[1]);
        Feed = new Feed.FeedClient(_channel);
        Subscriptions = new Subscriptions.SubscriptionsClient(_channel);
    }

    public Uri Address { get; }

    public Feed.FeedClient Feed { get; }

    public Subscriptions.SubscriptionsClient Subscriptions { get; }

    public IServiceProvider Services => _app.Services;

    public DateTimeOffset Now => _time.GetUtcNow();

    public static async Task<AccessServer> StartAsync(HubStore hub, params (string Key, string Value)[] settings)
    {
        var time = new MovedTime();
        var builder = WebApplication.CreateBuilder();
        builder.Configuration.AddInMemoryCollection(hub.Settings).AddInMemoryCollection(settings.ToDictionary(setting => setting.Key, setting => (string?)setting.Value));
        builder.AddServiceDefaults("hub");
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        builder.AddTerritory().AddEventStore().AddAccess().AddAudit().AddPrivacy().AddAgreements().AddFeeds();
        builder.Services.AddSingleton<TimeProvider>(time).AddSingleton(hub.Quarantine);
        var app = builder.Build();
        app.UseServiceDefaults();
        app.UseAuthentication();
        app.UseAuthorization();
        app.MapGroup("/api/v1").MapAgreements().MapFeedCalls();
        app.MapFeeds();
        await app.StartAsync();
        await app.Services.GetRequiredService<StoreSchema>().Applied.WaitAsync(Eventually.DefaultTimeout);
        return new AccessServer(app, time);
    }

    /// <summary>The clock of this node goes ahead.</summary>
    public void Move(TimeSpan by) => _time.Offset += by;

    /// <summary>Makes a client, and gives a token of it.</summary>
    public Task<string> LetInAsync(string id, params string[] roles) => LetInAsync(id, [], roles);

    /// <summary>The same, for communes.</summary>
    public async Task<string> LetInAsync(string id, string[] communes, params string[] roles)
    {
        await using var scope = Services.CreateAsyncScope();
        var applications = scope.ServiceProvider.GetRequiredService<IOpenIddictApplicationManager>();
        if (await applications.FindByClientIdAsync(id) is null) await ClientsAdmin.MakeAsync(applications, id, new ClientRequest(id, roles, communes), default);
        return Token(id, TimeSpan.FromDays(1000));
    }

    /// <summary>A token of a client that was made before.</summary>
    public string Token(string id, TimeSpan lifetime)
    {
        var options = Services.GetRequiredService<AccessOptions>();
        return new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
        {
            Issuer = options.Issuer,
            Audience = options.Audience,
            Expires = (Now + lifetime).UtcDateTime,
            Claims = new Dictionary<string, object> { ["sub"] = id, ["name"] = id },
            SigningCredentials = new(Services.GetRequiredService<TokenKeys>().Signing[0], SecurityAlgorithms.EcdsaSha256),
        });
    }

    /// <summary>Asks over HTTP.</summary>
    public async Task<(HttpStatusCode Status, JsonElement Body, string? Tag)> AskAsync(HttpMethod method, string path, string? token, object? body = null, string? ifMatch = null)
    {
        using var http = new HttpClient { BaseAddress = Address };
        using var request = new HttpRequestMessage(method, new Uri(path, UriKind.Relative)) { Content = body is null ? null : JsonContent.Create(body, options: ContractJson.Options) };
        if (token is not null) request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        if (ifMatch is not null) request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        using var response = await http.SendAsync(request);
        var text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, text.StartsWith('{') ? JsonElement.Parse(text) : JsonSerializer.SerializeToElement(text), response.Headers.ETag?.ToString());
    }

    /// <summary>An agreement is drafted and put into force, and this node knows it.</summary>
    public async Task ActivateAsync(string id, AgreementTerms terms)
    {
        var store = Services.GetRequiredService<AgreementStore>();
        Succeeded(await store.ChangeAsync(id, "administrator", "test", (agreement, act) => Decide.Draft(agreement, terms, act), default));
        Succeeded(await store.ChangeAsync(id, "administrator", "test", (agreement, act) => Decide.Activate(agreement!, null, act), default));
        var inForce = Services.GetRequiredService<AgreementsInForce>();
        await Eventually.Is(() => inForce.Of(terms.Partner.Clients[0]), found => found.Any(agreement => agreement.Id == id && agreement.Terms.Title == terms.Title));
    }

    public async Task ChangeAsync(string id, Func<Agreement, Act, Decision> decide) =>
        Succeeded(await Services.GetRequiredService<AgreementStore>().ChangeAsync(id, "administrator", "test", (agreement, act) => decide(agreement!, act), default));

    public static Metadata Headers(string token) => new() { { "authorization", $"Bearer {token}" } };

    /// <summary>Stops as a service that is told to, with the time that one has.</summary>
    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        _channel.Dispose();
        await _app.DisposeAsync();
    }

    private static void Succeeded((Agreement? Agreement, string? Refused) outcome)
    {
        if (outcome.Refused is not null) throw new InvalidOperationException(outcome.Refused);
    }

    private sealed class MovedTime : TimeProvider
    {
        private long _offset;

        public TimeSpan Offset
        {
            get => new(Volatile.Read(ref _offset));
            set => Volatile.Write(ref _offset, value.Ticks);
        }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Offset;
    }
}
