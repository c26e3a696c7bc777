using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.Hub.Tests.Feeds.Webhooks;

/// <summary>A request that an endpoint got.</summary>
internal sealed record Received(string Id, string Timestamp, string Signature, string ContentType, string Body, DateTimeOffset At)
{
    public JsonElement Event { get; } = JsonElement.Parse(Body);

    /// <summary>The last part of the subject.</summary>
    public string Record => Event.GetProperty("subject").GetString()!.Split('/')[^1];

    public int Attempt => Event.GetProperty("attempt").GetInt32();

    /// <summary>Whether one of the signatures is that of the secret, worked out from the specification alone.</summary>
    public bool IsSignedBy(string secret)
    {
        using var hmac = new HMACSHA256(Convert.FromBase64String(secret["whsec_".Length..]));
        var expected = "v1," + Convert.ToBase64String(hmac.ComputeHash(Encoding.UTF8.GetBytes($"{Id}.{Timestamp}.{Body}")));
        return Signature.Split(' ').Contains(expected);
    }
}

/// <summary>An endpoint of a partner, on a server of its own.</summary>
internal sealed class TestEndpoint : IAsyncDisposable
{
    private readonly WebApplication _app;
    private int _atATime;

    private TestEndpoint(WebApplication app, Uri url) => (_app, Url) = (app, url);

    public Uri Url { get; }

    /// <summary>What came, the handshake apart.</summary>
    public ConcurrentQueue<Received> Requests { get; } = new();

    /// <summary>What it answers; 204 when null is returned.</summary>
    public Func<Received, HttpContext, Task<int?>> Answer { get; set; } = (_, _) => Task.FromResult<int?>(null);

    /// <summary>How it answers when it is asked.</summary>
    public Action<HttpContext> Handshake { get; set; } = context => context.Response.Headers["WebHook-Allowed-Origin"] = "hub.example";

    public string? AskedOrigin { get; private set; }

    public int MostAtATime { get; private set; }

    /// <summary>What it took: answered with 2xx.</summary>
    public ConcurrentQueue<Received> Taken { get; } = new();

    public static async Task<TestEndpoint> StartAsync(TestAuthority? authority = null, int port = 0)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listen =>
        {
            if (authority is null) return;
            var (certificate, key) = authority.Server();
            using var pem = X509Certificate2.CreateFromPemFile(certificate, key);
            listen.UseHttps(X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null));
        }));
        var app = builder.Build();
        TestEndpoint? endpoint = null;
        app.Run(context => endpoint!.HandleAsync(context));
        await app.StartAsync();
        endpoint = new(app, new Uri(new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()), "/events"));
        return endpoint;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private async Task HandleAsync(HttpContext context)
    {
        if (context.Request.Method == "OPTIONS")
        {
            AskedOrigin = context.Request.Headers["WebHook-Request-Origin"];
            Handshake(context);
            return;
        }

        var now = Interlocked.Increment(ref _atATime);
        lock (Taken) MostAtATime = Math.Max(MostAtATime, now);
        using var reader = new StreamReader(context.Request.Body);
        var headers = context.Request.Headers;
        var received = new Received(
            headers["webhook-id"].ToString(), headers["webhook-timestamp"].ToString(), headers["webhook-signature"].ToString(), context.Request.ContentType ?? "", await reader.ReadToEndAsync(), DateTimeOffset.UtcNow);
        Requests.Enqueue(received);
        var status = await Answer(received, context) ?? StatusCodes.Status204NoContent;
        if (status < 300) Taken.Enqueue(received);
        Interlocked.Decrement(ref _atATime);
        context.Response.StatusCode = status;
    }
}
