using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Schools;

public sealed class RollsTests : IAsyncLifetime
{
    private static readonly Uai s_school = Uai.Parse("0350122T");
    private static readonly SchoolYear s_year = new(2026);
    private static readonly DateOnly s_day = new(2026, 9, 1);

    private readonly HubStore _hub = new();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_pupils_enrolled_moved_and_withdrawn_When_projected_and_rebuilt_Then_the_rolls_hold_those_present()
    {
        await _hub.ArriveAsync(new SchoolDeclared(s_school, "École", s_year, [SchoolLevel.CP, SchoolLevel.CE1], 100), "0350122T");
        await _hub.ArriveAsync(new SchoolDeclared(s_school, "École des Lilas", s_year, [SchoolLevel.CP, SchoolLevel.CE1], 120), "0350122T");
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CP, Combourg, s_day), "e/1");
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CP, Combourg, s_day), "e/2");
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CP, Tinteniac, s_day, DerogationReason.Sibling), "e/3");
        await _hub.ProjectAsync();

        await _hub.ArriveAsync(new PupilChangedClass(s_school, s_year, SchoolLevel.CE1, Combourg, s_day), "e/2");
        await _hub.ArriveAsync(new PupilWithdrawn(s_school, s_year, SchoolLevel.CP, Combourg, s_day), "e/1");
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CP, Tinteniac, s_day), "e/3");
        await _hub.ProjectAsync();

        string[] expected = ["CE1 35085 1", "CP 35337 1"];
        Assert.Equal(expected, await RollsAsync());
        Assert.Equal(["École des Lilas 120"], await _hub.RowsAsync("SELECT name, places FROM schools.school"));

        await _hub.RebuildAsync("schools");
        Assert.Equal(expected, await RollsAsync());
    }

    [Fact]
    public async Task Given_a_pupil_who_leaves_and_comes_back_at_another_level_When_projected_at_once_or_step_by_step_Then_the_pupil_counts_once_while_there()
    {
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CP, Combourg, s_day), "e/1");
        await _hub.ArriveAsync(new PupilWithdrawn(s_school, s_year, SchoolLevel.CP, Combourg, s_day), "e/1");
        await _hub.ProjectAsync();
        Assert.Empty(await RollsAsync());

        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CE1, Combourg, s_day), "e/1");
        await _hub.ArriveAsync(new PupilChangedClass(s_school, s_year, SchoolLevel.CE1, Tinteniac, s_day), "e/1");
        await _hub.ProjectAsync();
        Assert.Equal(["CE1 35337 1"], await RollsAsync());

        await _hub.ArriveAsync(new PupilWithdrawn(s_school, s_year, SchoolLevel.CE1, Tinteniac, s_day), "e/1");
        await _hub.ProjectAsync();
        await _hub.ArriveAsync(new PupilEnrolled(s_school, s_year, SchoolLevel.CE1, Tinteniac, s_day), "e/1");
        await _hub.ProjectAsync();
        Assert.Equal(["CE1 35337 1"], await RollsAsync());
        await _hub.RebuildAsync("schools");
        Assert.Equal(["CE1 35337 1"], await RollsAsync());
    }

    private Task<IReadOnlyList<string>> RollsAsync() =>
        _hub.RowsAsync("SELECT level, residence, pupils FROM schools.roll WHERE pupils <> 0 ORDER BY level, residence");
}
