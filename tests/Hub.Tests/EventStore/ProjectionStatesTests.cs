using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.EventStore;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Intercommunalite.Hub.Tests.EventStore;

public sealed class ProjectionStatesTests(HubStore hub) : IClassFixture<HubStore>
{
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);

    private static ProjectionState Behind(string name, int minutes, string? pause = null) => new(
        name, 10, 20, TimeSpan.FromMinutes(minutes), pause is null ? null : new Pause(DateTimeOffset.MinValue, pause), null);

    [Fact]
    public void Given_projections_behind_for_less_than_the_limit_Then_the_hub_is_ready() =>
        Assert.Equal(HealthStatus.Healthy, ProjectionStates.Health([Behind("a", 4), Behind("b", 0)], s_limit).Status);

    [Fact]
    public void Given_a_projection_behind_for_longer_Then_the_hub_is_not_ready_and_says_which()
    {
        var health = ProjectionStates.Health([Behind("a", 6), Behind("b", 0)], s_limit);
        Assert.Equal(
            (HealthStatus.Unhealthy, "a is 10 events and 360 s behind, more than 00:05:00 (Health:MaxProjectionLag)"), (health.Status, health.Description));
    }

    [Fact]
    public void Given_a_paused_projection_Then_the_hub_is_degraded_and_with_all_paused_not_ready()
    {
        Assert.Equal(HealthStatus.Degraded, ProjectionStates.Health([Behind("a", 600, "wrong"), Behind("b", 0)], s_limit).Status);
        Assert.Equal(HealthStatus.Unhealthy, ProjectionStates.Health([Behind("a", 0, "wrong"), Behind("b", 0, "wrong")], s_limit).Status);
    }

    [Theory]
    [InlineData("UTC")]
    [InlineData("Europe/Paris")]
    public async Task Given_an_event_that_no_projection_has_seen_Then_its_age_is_their_lag_whatever_the_servers_time_zone(string timeZone)
    {
        await using var zoned = Npgsql.NpgsqlDataSource.Create(new Npgsql.NpgsqlConnectionStringBuilder(hub.ConnectionString) { Timezone = timeZone }.ConnectionString);
        await hub.ProjectAsync();
        using var states = new ProjectionStates(zoned, null!, hub.Projections, new HealthOptions(), NullLogger<ProjectionStates>.Instance);
        Assert.All(await states.AllAsync(CancellationToken.None), state => Assert.Equal((0, TimeSpan.Zero), (state.Lag, state.Behind)));

        await hub.In(zoned).StoreAsync([HubStore.Incoming(HubStore.Event(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")), timeZone), Guid.NewGuid(), 1)], DateTimeOffset.UtcNow, CancellationToken.None);

        Assert.All(await states.AllAsync(CancellationToken.None), state =>
        {
            Assert.Equal(1, state.Lag);
            Assert.InRange(state.Behind, TimeSpan.FromTicks(1), TimeSpan.FromMinutes(10));
        });
    }
}
