using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using JasperFx;
using Marten;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Brings the database's schema up to date at the start, as soon as the database answers; whatever needs the tables waits on
/// <see cref="Applied"/>. A schema that is as this version made it is not looked through again; one that a newer build of the hub works
/// with (see <see cref="Builds"/>) is left as it is.
/// </summary>
internal sealed partial class StoreSchema(
    IDocumentStore store, NpgsqlDataSource database, IEnumerable<SchemaPart> parts, IServiceProvider services, ILogger<StoreSchema> logger) : BackgroundService, IHealthCheck
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
                // What a newer build of the hub needs, this one would take away again.
                if (await Builds.IsNewerAtWorkAsync(database, stoppingToken))
                {
                    LogLeft();
                }
                else
                {
                    await ApplyAsync(store, database, stoppingToken);
                    await ApplyPartsAsync(stoppingToken);
                }

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

    /// <summary>Makes all tables as this version needs them again, when another build of the hub has changed those of the store since.</summary>
    public async Task MendAsync(CancellationToken cancellation)
    {
        if (await ApplyAsync(store, database, cancellation)) await ApplyPartsAsync(cancellation);
    }

    /// <summary>Makes or changes the tables of the store where they are not as this version needs them.</summary>
    /// <returns>Whether they were not.</returns>
    public static async Task<bool> ApplyAsync(IDocumentStore store, NpgsqlDataSource database, CancellationToken cancellation)
    {
        var version = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(TimeLess().Replace(store.Storage.ToDatabaseScript(), ""))));
        await using var known = database.CreateCommand("SELECT obj_description(to_regnamespace('hub'), 'pg_namespace')");
        if (version.Equals(await known.ExecuteScalarAsync(cancellation))) return false;
        await Privacy.ClearText.PutAsideAsync(database, cancellation);
        await store.Storage.ApplyAllConfiguredChangesToDatabaseAsync(AutoCreate.CreateOrUpdate);
        // The append makes an event's stream in the same statement; to look each one up again would cost half as much as the append itself.
        await using var finish = database.CreateCommand($"""
            ALTER TABLE hub.mt_events DROP CONSTRAINT IF EXISTS fkey_mt_events_stream_id;
            COMMENT ON SCHEMA hub IS '{version}';
            """);
        await finish.ExecuteNonQueryAsync(cancellation);
        return true;
    }

    private async Task ApplyPartsAsync(CancellationToken cancellation)
    {
        foreach (var part in parts) await part.ApplyAsync(services, cancellation);
    }

    // Marten's script has a default that is the time at which it was written.
    [GeneratedRegex("'[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9:.+]*'")]
    private static partial Regex TimeLess();

    [LoggerMessage(Level = LogLevel.Warning, Message = "A newer build of the hub is at work: the database's schema is left as that needs it.")]
    private partial void LogLeft();

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database's schema could not be brought up to date yet: {Reason}")]
    private partial void LogUnavailable(string reason);
}

/// <summary>Tables of a room that are not Marten's to make; brought up to date after these.</summary>
/// <param name="ApplyAsync">Makes or changes them where they are not as this version needs them; several nodes may do so at once.</param>
internal sealed record SchemaPart(Func<IServiceProvider, CancellationToken, Task> ApplyAsync);
