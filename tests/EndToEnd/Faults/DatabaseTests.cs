using Npgsql;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>The hub's database refuses, or is set back.</summary>
[Collection(nameof(FaultServers))]
public sealed class DatabaseTests(FaultServers servers, ITestOutputHelper output)
{
    [Fact]
    public async Task Given_a_database_that_refuses_connections_for_a_minute_When_it_takes_them_again_Then_all_is_there_soon()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        scenario.Sender.SendUpTo(4_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        await AllowAsync(scenario, false);
        var minute = Task.Delay(TimeSpan.FromMinutes(1));
        await scenario.Sender.HasAcceptedAsync(4_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        scenario.Sender.SendUpTo(8_000);
        await minute;
        await AllowAsync(scenario, true);

        await scenario.RecoversAsync("connections refused for a minute");
        await scenario.EndsCompleteAsync(10_000);
    }

    [Fact]
    public async Task Given_a_backup_taken_in_the_middle_of_the_stream_When_the_hub_is_restored_from_it_Then_the_connectors_bring_the_rest_again()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        var backup = Path.Combine(Path.GetTempPath(), $"hub-test-{Guid.NewGuid():N}.dump");
        try
        {
            scenario.Sender.SendUpTo(6_000);
            await scenario.Sender.HasAcceptedAsync(2_000);
            await scenario.Servers.DumpPostgresAsync(scenario.Deployment.Database.Name, backup);
            await scenario.Sender.HasAcceptedAsync(6_000);
            await scenario.RecoversAsync("backup");
            scenario.Sender.SendUpTo(8_000);
            await scenario.Sender.HasAcceptedAsync(7_000);

            await scenario.Deployment.Hub.StopAsync();
            await scenario.Servers.RestorePostgresAsync(scenario.Deployment.Database.Name, backup);
            var restored = await scenario.Deployment.CountAsync("SELECT count(*) FROM hub.mt_events");
            Assert.InRange(restored, 1, 6_000);
            await scenario.Deployment.Hub.StartAsync();

            await scenario.RecoversAsync($"hub restored to {restored} events");
            await scenario.EndsCompleteAsync(9_000);
        }
        finally
        {
            File.Delete(backup);
        }
    }

    [Fact]
    public async Task Given_communes_that_fell_silent_since_the_backup_When_the_hub_is_restored_from_it_Then_they_bring_it_all_again_even_so()
    {
        await using var scenario = await Scenario.StartAsync(servers, output);
        var backup = Path.Combine(Path.GetTempPath(), $"hub-test-{Guid.NewGuid():N}.dump");
        try
        {
            // The backup knows none of the journals: there is nobody to whom the hub could say that it was restored.
            await scenario.Servers.DumpPostgresAsync(scenario.Deployment.Database.Name, backup);
            scenario.Sender.SendUpTo(1_000);
            await scenario.Sender.HasAcceptedAsync(1_000);
            await scenario.RecoversAsync("first events");

            await scenario.Deployment.Hub.StopAsync();
            await scenario.Servers.RestorePostgresAsync(scenario.Deployment.Database.Name, backup);
            await scenario.Deployment.Hub.StartAsync();

            await scenario.RecoversAsync("hub restored to the state before the first event");
            await scenario.EndsCompleteAsync(1_500);
        }
        finally
        {
            File.Delete(backup);
        }
    }

    private static async Task AllowAsync(Scenario scenario, bool connections)
    {
        var name = scenario.Deployment.Database.Name;
        var administration = new NpgsqlConnectionStringBuilder(scenario.Servers.Postgres) { Pooling = false };
        await using var connection = new NpgsqlConnection(administration.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand(
            $"ALTER DATABASE \"{name}\" ALLOW_CONNECTIONS {connections}; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE NOT {connections} AND datname = '{name}'", connection);
        await command.ExecuteNonQueryAsync();
    }
}
