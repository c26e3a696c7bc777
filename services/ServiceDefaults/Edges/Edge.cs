using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;

namespace Intercommunalite.ServiceDefaults.Edges;

/// <summary>What is behind the settings <c>Edge__…</c>.</summary>
public sealed record EdgeOptions
{
    /// <summary>
    /// Whether TLS ends at a proxy in front of the service, so that it may listen without TLS on other addresses than loopback. Nobody else
    /// may reach these addresses.
    /// </summary>
    public bool BehindTlsProxy { get; init; }

    /// <summary>
    /// Addresses of the proxies (<c>10.0.0.5</c>) and their networks (<c>10.0.1.0/24</c>), separated by commas, whose
    /// <c>X-Forwarded-For</c>, <c>-Proto</c> and <c>-Host</c> are believed; those of others are not. Loopback always is, behind a proxy.
    /// </summary>
    public string Proxies { get; init; } = "";
}

/// <summary>Where a service meets the network: TLS, client certificates, limits of a connection, headers of every answer.</summary>
public static partial class Edge
{
    // A year, as https://hstspreload.org has it. Browsers mind it only under TLS.
    private const string StrictTransportSecurity = "max-age=31536000";

    /// <summary>Adds the limits of connections, and the client certificates that <c>Tls__ClientCa</c> asks for.</summary>
    public static WebApplicationBuilder AddEdge(this WebApplicationBuilder builder)
    {
        var clientCa = builder.Configuration["Tls:ClientCa"] is { Length: > 0 } file ? new TrustedCa(file) : null;
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            // Headers that trickle in hold a connection; slow bodies have Kestrel's own limit of 240 bytes a second.
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
            kestrel.ConfigureHttpsDefaults(https =>
            {
                if (clientCa is null) return;
                https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
                https.ClientCertificateValidation = (certificate, chain, _) => clientCa.HasIssuedToClient(certificate, chain);
            });
        });
        return builder;
    }

    /// <summary>
    /// Believes the configured proxies, and gives every answer its security headers. What a page or a file says of itself stays.
    /// </summary>
    /// <exception cref="InvalidOperationException">
    /// The service is to listen without TLS on an address that is not loopback, and is not behind a proxy; or a setting is not understood.
    /// </exception>
    public static WebApplication UseEdge(this WebApplication app)
    {
        ArgumentNullException.ThrowIfNull(app);
        var options = app.Configuration.GetSection("Edge").Get<EdgeOptions>() ?? new EdgeOptions();
        if (options.BehindTlsProxy)
        {
            if (options.Proxies.Length == 0 && Addresses(app.Configuration).Any(IsOpen)) LogProxiesNotNamed(app.Logger);
            app.UseForwardedHeaders(Forwarded(options));
        }
        else if (Addresses(app.Configuration).FirstOrDefault(IsOpen) is { } open)
        {
            throw new InvalidOperationException(
                $"{open} would be open to the network without TLS. Give https addresses in ASPNETCORE_URLS and a certificate in Kestrel__Certificates__Default__Path and …__KeyPath, "
                + "listen on loopback, or set Edge__BehindTlsProxy=true where a proxy ends TLS and nobody else reaches this address.");
        }

        app.Use((context, next) =>
        {
            context.Response.OnStarting(Harden, context);
            return next(context);
        });
        return app;
    }

    /// <summary>The addresses on which a service is to listen, as configured.</summary>
    public static IEnumerable<string> Addresses(IConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        var endpoints = configuration.GetSection("Kestrel:Endpoints").GetChildren().Select(endpoint => endpoint["Url"]).OfType<string>().ToList();
        return endpoints.Count > 0 ? endpoints
            : [.. Split(WebHostDefaults.ServerUrlsKey, "", ';'), .. Split(WebHostDefaults.HttpPortsKey, "http://*:", ';'), .. Split(WebHostDefaults.HttpsPortsKey, "https://*:", ';')];

        IEnumerable<string> Split(string key, string before, char separator) =>
            (configuration[key] ?? "").Split(separator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(part => before + part);
    }

    private static bool IsOpen(string text)
    {
        var address = BindingAddress.Parse(text);
        return !address.IsUnixPipe && address.Scheme.Equals("http", StringComparison.OrdinalIgnoreCase) && !IsLoopback(address.Host);
    }

    private static bool IsLoopback(string host) =>
        host.Equals("localhost", StringComparison.OrdinalIgnoreCase) || (IPAddress.TryParse(host.Trim('[', ']'), out var address) && IPAddress.IsLoopback(address));

    private static ForwardedHeadersOptions Forwarded(EdgeOptions options)
    {
        var forwarded = new ForwardedHeadersOptions
        {
            ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost,
            // As many as there are known proxies one behind the other.
            ForwardLimit = null,
        };
        foreach (var proxy in options.Proxies.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            if (IPAddress.TryParse(proxy, out var address)) forwarded.KnownProxies.Add(address);
            else if (System.Net.IPNetwork.TryParse(proxy, out var network)) forwarded.KnownIPNetworks.Add(network);
            else throw new InvalidOperationException($"The setting Edge:Proxies has '{proxy}', which is neither an address (10.0.0.5) nor a network (10.0.1.0/24).");
        }

        return forwarded;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Edge__BehindTlsProxy is set without Edge__Proxies: what a proxy on another machine says of its callers is not believed, so that all of them count as one (rate limits) and links may lead to http. Name the proxy's addresses, unless it runs on this machine.")]
    private static partial void LogProxiesNotNamed(ILogger log);

    private static Task Harden(object state)
    {
        var context = (HttpContext)state;
        var headers = context.Response.Headers;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "same-origin";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        if (context.Request.IsHttps) headers.StrictTransportSecurity = StrictTransportSecurity;
        // Of answers that are no pages nothing is run, and none is shown in a frame.
        if (headers.ContentSecurityPolicy.Count == 0) headers.ContentSecurityPolicy = "default-src 'none'; frame-ancestors 'none'";
        if (headers.CacheControl.Count == 0) headers.CacheControl = "no-store";
        return Task.CompletedTask;
    }
}
