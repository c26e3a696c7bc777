using System.Globalization;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.RateLimiting;

namespace Intercommunalite.Hub.Access;

/// <summary>How often a caller may ask; section <c>RateLimits</c>.</summary>
internal sealed record RateLimitOptions
{
    /// <summary>Requests a second, over time.</summary>
    public int RequestsPerSecond { get; init; } = 100;

    /// <summary>Requests at once.</summary>
    public int RequestBurst { get; init; } = 1_000;

    /// <summary>Requests for a token in a minute, from one address.</summary>
    public int TokensPerMinute { get; init; } = 60;

    /// <summary>Tries to sign in in a minute, from one address.</summary>
    public int SignInsPerMinute { get; init; } = 10;
}

/// <summary>
/// Limits how often the hub is asked: a bucket for each caller, known by its token, else (sessions too) by its address; narrower ones by address
/// for requests for tokens and where people sign in. Health is exempt. A stream of the feed is one request.
/// </summary>
internal static class RateLimits
{
    /// <summary>Policy of the routes where people sign in.</summary>
    public const string SignIn = "sign-in";

    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);

    public static void Add(WebApplicationBuilder builder)
    {
        var options = Options(builder.Configuration);
        builder.Services.AddRateLimiter(limiter =>
        {
            limiter.GlobalLimiter = PartitionedRateLimiter.Create<HttpContext, string>(context =>
                context.Request.Path.StartsWithSegments("/health") || IsForToken(context) ? RateLimitPartition.GetNoLimiter("exempt")
                : Bucket(Caller(context), options.RequestBurst, options.RequestsPerSecond, TimeSpan.FromSeconds(1)));
            limiter.AddPolicy(SignIn, context => Bucket(Address(context), options.SignInsPerMinute, options.SignInsPerMinute, s_minute));
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
        await TypedResults.Problem(
            title: "Too many requests",
            detail: $"This caller asks more often than it may. Send again after {wait} s; the administrator sets the rates (RateLimits__…).",
            statusCode: StatusCodes.Status429TooManyRequests).ExecuteAsync(rejected.HttpContext);
    }

    private static RateLimitPartition<string> Bucket(string caller, int burst, int rate, TimeSpan period) =>
        RateLimitPartition.GetTokenBucketLimiter(caller, _ => new TokenBucketRateLimiterOptions { TokenLimit = burst, TokensPerPeriod = rate, ReplenishmentPeriod = period });

    private static string Caller(HttpContext context) => context.User.FindFirst("sub") is { } known ? $"caller {known.Value}" : $"address {Address(context)}";

    private static string Address(HttpContext context) => context.Connection.RemoteIpAddress?.ToString() ?? "";
}
