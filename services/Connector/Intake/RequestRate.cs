using System.Globalization;
using System.Threading.RateLimiting;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Intake;

/// <summary>
/// How many requests with events or files a commune may send: a bucket of tokens for each commune served, and one for files that
/// span communes. No commune takes another's.
/// </summary>
internal static class RequestRate
{
    /// <summary>Name of the policy, for the endpoints that it holds for.</summary>
    public const string Policy = "commune";

    public static void Add(IServiceCollection services, IntakeOptions options) => services.AddRateLimiter(limiter =>
    {
        limiter.AddPolicy(Policy, context => PartitionOf(context, options));
        limiter.OnRejected = async (rejected, _) =>
        {
            var context = rejected.HttpContext;
            var retryAfter = rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out var told) ? told : TimeSpan.FromSeconds(1);
            var rate = string.Create(
                CultureInfo.InvariantCulture, $"A commune may send {options.RequestsPerSecond} requests a second, {options.RequestBurst} at once (Intake:RequestsPerSecond, Intake:RequestBurst).");
            await Refusals.TooMany(context.Response, Served(context), retryAfter, rate).ExecuteAsync(context);
        };
    });

    private static RateLimitPartition<string> PartitionOf(HttpContext context, IntakeOptions options)
    {
        var commune = Served(context);
        // A code that is not served gets its 404 without a bucket: there are as many as somebody cares to make up.
        if (commune is null && context.Request.RouteValues.ContainsKey("code")) return RateLimitPartition.GetNoLimiter("not served");
        return RateLimitPartition.GetTokenBucketLimiter(commune?.ToString() ?? "several", _ => new TokenBucketRateLimiterOptions
        {
            TokenLimit = options.RequestBurst,
            TokensPerPeriod = options.RequestsPerSecond,
            ReplenishmentPeriod = TimeSpan.FromSeconds(1),
        });
    }

    private static CommuneCode? Served(HttpContext context) =>
        context.Request.RouteValues["code"] is string code && context.RequestServices.GetRequiredService<Journals>().Find(code, out _) is { } journal ? journal.Commune : null;
}
