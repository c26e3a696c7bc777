using System.Globalization;
using Intercommunalite.Hub.EventStore;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// Unhealthy when what has arrived at this node could not be stored for too long: the database answers, and yet takes nothing. A
/// node that has nothing to store is healthy.
/// </summary>
internal sealed class IngestionHealth(Ingestion ingestion, HealthOptions options, TimeProvider clock) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var waiting = ingestion.StoringSince is { } since ? clock.GetUtcNow() - since : TimeSpan.Zero;
        return Task.FromResult(waiting <= options.MaxStoreLag
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy(string.Create(
                CultureInfo.InvariantCulture, $"what has arrived could not be stored for {waiting.TotalSeconds:F0} s, longer than {options.MaxStoreLag} (Health:MaxStoreLag)")));
    }
}
