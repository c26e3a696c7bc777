using Marten;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Brings the database's schema up to date at the start, as soon as the database answers; whatever needs the tables waits on
/// <see cref="Applied"/>.
/// </summary>
internal sealed partial class StoreSchema(IDocumentStore store, NpgsqlDataSource database, ILogger<StoreSchema> logger) : BackgroundService, IHealthCheck
{
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    private readonly TaskCompletionSource _applied = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Done once the schema is as this version needs it.</summary>
    public Task Applied => _applied.Task;

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if (!Applied.IsCompletedSuccessfully) return HealthCheckResult.Unhealthy("the database's schema is not ready");
        try
        {
            await using var command = database.CreateCommand("SELECT 1");
            await command.ExecuteScalarAsync(cancellationToken);
            return HealthCheckResult.Healthy();
        }
        catch (NpgsqlException)
        {
            return HealthCheckResult.Unhealthy("the database does not answer");
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                await store.Storage.ApplyAllConfiguredChangesToDatabaseAsync();
                _applied.SetResult();
                return;
            }
            catch (Exception e)
            {
                // Not there yet, or another node is at it: in either case the next try tells.
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database's schema could not be brought up to date yet: {Reason}")]
    private partial void LogUnavailable(string reason);
}
