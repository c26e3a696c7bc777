using System.Collections.Frozen;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Intercommunalite.Hub.Access.SignIn;
using Microsoft.AspNetCore.RateLimiting;

namespace Intercommunalite.Hub.Access;

/// <summary>How often a caller may ask; section <c>RateLimits</c>.</summary>
internal sealed record RateLimitOptions
{
    /// <summary>Requests a second, over time.</summary>
    public int RequestsPerSecond { get; init; } = 100;

    /// <summary>Requests at once.</summary>
    public int RequestBurst { get; init; } = 1_000;

    /// <summary>Deliveries of durable subscriptions that a caller acknowledges or rejects in a second, over time; twice as many at once.</summary>
    public int AnswersPerSecond { get; init; } = 2_000;

    /// <summary>Requests for a token in a minute, from one address.</summary>
    public int TokensPerMinute { get; init; } = 60;

    /// <summary>Tries to sign in, or to make the first administrator, in a minute, from one address.</summary>
    public int SignInsPerMinute { get; init; } = 10;
}

/// <summary>
/// Limits how often the hub is asked: a bucket for each caller, known by its token, else (sessions too) by its address; narrower ones by address
/// for requests for tokens, where people sign in, and for the first administrator; a wider one for answers to deliveries. Health is exempt. A stream of the
/// feed is one request.
/// </summary>
internal static class RateLimits
{
    /// <summary>Policy of the routes where a person's secret, or that of the host, can be tried.</summary>
    public const string Secrets = "secrets";

    /// <summary>Calls that answer deliveries, one for each as a rule: whoever may have them at a rate may answer at that rate.</summary>
    public static readonly FrozenSet<string> Answers = new[] { "/intercommunalite.feed.v1.Subscriptions/Acknowledge", "/intercommunalite.feed.v1.Subscriptions/Reject" }.ToFrozenSet(StringComparer.Ordinal);

    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);

    public static void Add(WebApplicationBuilder builder)
    {
        var options = Options(builder.Configuration);
        builder.Services.AddRateLimiter(limiter =>
        {
            limiter.GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(context =>
                context.Request.Path.StartsWithSegments("/health") || IsForToken(context) ? RateLimitPartition.GetNoLimiter("exempt")
                : context.User.HasClaim(claim => claim.Type == "sub") && Answers.Contains(context.Request.Path.Value!) ? Bucket($"answers of {Caller(context)}", 2 * options.AnswersPerSecond, options.AnswersPerSecond, TimeSpan.FromSeconds(1))
                : Bucket(Caller(context), options.RequestBurst, options.RequestsPerSecond, TimeSpan.FromSeconds(1)));
            limiter.AddPolicy(Secrets, context => Bucket(Address(context), options.SignInsPerMinute, options.SignInsPerMinute, s_minute));
            limiter.OnRejected = RejectAsync;
        });
    }

    /// <summary>
    /// Limits requests for tokens, before the authentication, which answers those with a wrong secret by itself; all others after it, which
    /// knows the caller: <c>UseRateLimiter</c>.
    /// </summary>
    public static WebApplication UseTokenRateLimit(this WebApplication app)
    {
        var options = Options(app.Configuration);
        var limiter = new RateLimiterOptions
        {
            GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(context => Bucket(Address(context), options.TokensPerMinute, options.TokensPerMinute, s_minute)),
            OnRejected = RejectAsync,
        };
        app.UseWhen(IsForToken, tokens => tokens.UseRateLimiter(limiter));
        return app;
    }

    private static RateLimitOptions Options(IConfiguration configuration) => configuration.GetSection("RateLimits").Get<RateLimitOptions>() ?? new RateLimitOptions();

    private static bool IsForToken(HttpContext context) => context.Request.Path.StartsWithSegments(TokenServer.Path);

    private static async ValueTask RejectAsync(OnRejectedContext rejected, CancellationToken cancellation)
    {
        var wait = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var told) ? Math.Max(1, (int)Math.Ceiling(told.TotalSeconds)) : 1;
        rejected.HttpContext.Response.Headers.RetryAfter = wait.ToString(CultureInfo.InvariantCulture);
        if (SignInPages.Are(rejected.HttpContext.Request))
        {
            await SignInPages.TooOften(rejected.HttpContext, wait).ExecuteAsync(rejected.HttpContext);
            return;
        }

        await TypedResults.Problem(
            title: "Too many requests",
            detail: $"This caller asks more often than it may. Send again after {wait} s; the administrator sets the rates (RateLimits__…).",
            statusCode: StatusCodes.Status429TooManyRequests).ExecuteAsync(rejected.HttpContext);
    }

    private static RateLimitPartition<string> Bucket(string caller, int burst, int rate, TimeSpan period) =>
        RateLimitPartition.GetTokenBucketLimiter(caller, _ => new TokenBucketRateLimiterOptions { TokenLimit = burst, TokensPerPeriod = rate, ReplenishmentPeriod = period });

    private static string Caller(HttpContext context) => context.User.FindFirst("sub") is { } known ? $"caller {known.Value}" : $"address {Address(context)}";

    private static string Address(HttpContext context) => AddressOf(context.Connection.RemoteIpAddress);

    /// <summary>What counts as one address: of IPv6 the network of 64 bits, which is the least that a subscriber has (RFC 6177) and takes addresses from at will.</summary>
    internal static string AddressOf(IPAddress? address)
    {
        if (address is null) return "";
        if (address.IsIPv4MappedToIPv6) address = address.MapToIPv4();
        return address.AddressFamily == AddressFamily.InterNetworkV6 ? Convert.ToHexStringLower(address.GetAddressBytes().AsSpan(0, 8)) : address.ToString();
    }
}
