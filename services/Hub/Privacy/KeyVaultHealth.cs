using System.Security.Cryptography;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Whether the keys can be had: without them nothing that names persons can be stored or read.</summary>
internal sealed class KeyVaultHealth(KeyVault vault, Forgetting forgetting) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            await vault.AskAsync(cancellationToken);
            return forgetting.IsVaultOlder
                ? HealthCheckResult.Degraded("the keys' database is older than the hub's: persons stored since cannot be read. Put a newer copy of it back")
                : HealthCheckResult.Healthy();
        }
        catch (NpgsqlException)
        {
            return HealthCheckResult.Unhealthy("the keys' database does not answer");
        }
        catch (CryptographicException e)
        {
            return HealthCheckResult.Unhealthy($"the keys cannot be unwrapped: {e.Message}");
        }
        catch (WrongKeysException e)
        {
            return HealthCheckResult.Unhealthy(e.Message);
        }
    }
}
