using Npgsql;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests.Faults;

/// <summary>Outages of more than a minute, after which a retry that waits ever longer would come late.</summary>
[Collection(FaultServers.Second)]
public sealed class LongOutageTests(FaultServers servers, ITestOutputHelper output)
{
    private static readonly TimeSpan s_outage = TimeSpan.FromSeconds(65);

    [Fact]
    public async Task Given_a_minute_without_the_broker_and_elsewhere_one_without_the_database_When_they_are_back_Then_all_is_there_soon() =>
        await Task.WhenAll(WithoutBrokerAsync(), WithoutDatabaseAsync());

    private async Task WithoutBrokerAsync()
    {
        await using var scenario = await Scenario.StartAsync(servers.Servers, output);
        scenario.Sender.SendUpTo(4_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        await scenario.Servers.KillRabbitMqAsync();
        var outage = Task.Delay(s_outage);
        await scenario.Sender.HasAcceptedAsync(4_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        await outage;
        scenario.Sender.SendUpTo(8_000);
        await scenario.Servers.StartRabbitMqAsync();

        await scenario.RecoversAsync("a minute without the broker");
        await scenario.EndsCompleteAsync(10_000);
    }

    private async Task WithoutDatabaseAsync()
    {
        await using var scenario = await Scenario.StartAsync(await servers.OthersAsync(), output);
        scenario.Sender.SendUpTo(4_000);
        await scenario.Sender.HasAcceptedAsync(1_000);

        await AllowAsync(scenario, false);
        var outage = Task.Delay(s_outage);
        await scenario.Sender.HasAcceptedAsync(4_000);
        Assert.Empty(scenario.Sender.OtherAnswers);
        scenario.Sender.SendUpTo(8_000);
        await outage;
        await AllowAsync(scenario, true);

        await scenario.RecoversAsync("connections refused for a minute");
        await scenario.EndsCompleteAsync(10_000);
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
