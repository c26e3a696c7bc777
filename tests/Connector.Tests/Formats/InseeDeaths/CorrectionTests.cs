using System.Text.Json;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

/// <summary>A death that a later file tells otherwise is corrected; it is not a second death.</summary>
public sealed class CorrectionTests : IDisposable
{
    private const string Registered = "death-registered";
    private const string Corrected = "act-corrected";

    private static readonly Death s_death = new(Name: "MARTIN*LEA ANNE/", Sex: "2", BirthDate: "19220109", DeathDate: "19701210", Act: "937");

    private readonly TemporaryFolder _data = new();
    private readonly ConnectorApp _app;

    public CorrectionTests() => _app = ConnectorApp.Start(_data.FullPath, "35238,35085");

    public void Dispose()
    {
        _app.Dispose();
        _data.Dispose();
    }

    [Theory]
    [InlineData("MARTEIN*LEA ANNE/")]
    [InlineData(null, "1")]
    [InlineData(null, null, "19230109")]
    [InlineData(null, null, null, "19701211")]
    [InlineData(null, null, null, null, "938")]
    [InlineData(null, null, null, null, "")]
    public async Task Given_a_death_When_a_later_file_tells_it_otherwise_Then_the_act_is_corrected_under_its_subject(
        string? name = null, string? sex = null, string? birthDate = null, string? deathDate = null, string? actNumber = null)
    {
        var corrected = new Death(
            name ?? s_death.Name, sex ?? s_death.Sex, birthDate ?? s_death.BirthDate, DeathDate: deathDate ?? s_death.DeathDate, Act: actNumber ?? s_death.Act);
        await ImportAsync(s_death);

        await ImportAsync(corrected);

        var events = _app.Events("35238");
        Assert.Equal([Registered, Corrected], events.Select(Kind));
        Assert.Single(events.Select(json => json.GetProperty("subject").GetString()).Distinct());
        var facts = events[1].GetProperty("data");
        Assert.Equal("Death", facts.GetProperty("kind").GetString(), ignoreCase: true);
        Assert.Equal(corrected.Act.Length > 0 ? corrected.Act : null, facts.TryGetProperty("actNumber", out var act) ? act.GetString() : null);
        Assert.Equal(corrected.DeathDate, facts.GetProperty("date").GetString()!.Replace("-", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Given_a_death_and_its_correction_When_either_file_comes_again_Then_nothing_changes()
    {
        var corrected = s_death with { Name = "MARTEIN*LEA ANNE/" };
        await ImportAsync(s_death);
        await ImportAsync(corrected);

        var older = await ImportAsync(s_death);
        var newer = await ImportAsync(corrected);

        Assert.Equal((1, 1), (older.GetProperty("duplicates").GetInt32(), newer.GetProperty("duplicates").GetInt32()));
        Assert.Equal(2, _app.Journal("35238").Last);
    }

    [Fact]
    public async Task Given_a_corrected_death_When_it_is_corrected_again_Then_it_is_still_the_first_act()
    {
        await ImportAsync(s_death);
        await ImportAsync(s_death with { Name = "MARTEIN*LEA ANNE/" });
        await ImportAsync(s_death with { Name = "MARTEIN*LEA ANNE/", BirthDate = "19230109" });

        Assert.Equal([Registered, Corrected, Corrected], _app.Events("35238").Select(Kind));
        Assert.Single(_app.Events("35238").Select(json => json.GetProperty("subject").GetString()).Distinct());
    }

    [Fact]
    public async Task Given_two_persons_under_one_number_in_one_file_When_it_is_read_Then_they_are_two_deaths()
    {
        var state = await ImportAsync(s_death, s_death with { Name = "MARTIN*ROSE/" }, s_death with { Name = "MARTEIN*LEA ANNE/" });

        Assert.Equal(3, state.GetProperty("accepted").GetInt32());
        Assert.Equal([Registered, Registered, Registered], _app.Events("35238").Select(Kind));
    }

    [Theory]
    [InlineData("MARTIN*ROSE/", "19220109", "937")]
    [InlineData("DURAND*LEA ANNE/", "19220110", "937")]
    [InlineData("MARTIN*LEA ANNE/", "19220109", "938", "19701111")]
    public async Task Given_a_death_When_a_later_file_has_another_persons_Then_it_is_a_second_death(string name, string birthDate, string act, string deathDate = "19701210")
    {
        await ImportAsync(s_death);

        await ImportAsync(s_death with { Name = name, BirthDate = birthDate, Act = act, DeathDate = deathDate });

        Assert.Equal([Registered, Registered], _app.Events("35238").Select(Kind));
    }

    [Fact]
    public async Task Given_a_death_of_a_former_commune_When_a_later_file_has_todays_code_Then_it_is_one_death()
    {
        // 69383 is an arrondissement of Lyon.
        using var data = new TemporaryFolder();
        await using var app = ConnectorApp.Start(data.FullPath, "69123");
        foreach (var place in new[] { "69383", "69123" })
            await app.ImportAsync("/files/insee-deaths", $"{Death.Header}\n{(s_death with { DeathPlace = place }).Csv}\n");

        Assert.Equal([Registered, Corrected], app.Events("69123").Select(Kind));
    }

    [Fact]
    public async Task Given_a_death_known_When_a_file_has_it_and_a_namesake_who_died_there_that_day_Then_they_are_two_deaths()
    {
        await ImportAsync(s_death);

        await ImportAsync(s_death, s_death with { BirthDate = "19500203", Act = "938" });

        Assert.Equal([Registered, Registered], _app.Events("35238").Select(Kind));
    }

    [Fact]
    public async Task Given_the_connector_starts_again_When_a_correction_comes_Then_the_act_is_still_known()
    {
        await ImportAsync(s_death);
        await _app.DisposeAsync();
        await using var again = ConnectorApp.Start(_data.FullPath, "35238,35085");

        await again.ImportAsync("/files/insee-deaths", $"{Death.Header}\n{(s_death with { Sex = "1" }).Csv}\n");

        Assert.Equal([Registered, Corrected], again.Events("35238").Select(Kind));
    }

    private static string Kind(JsonElement json) => json.GetProperty("type").GetString()!.Split('.')[^2];

    private Task<JsonElement> ImportAsync(params Death[] deaths) =>
        _app.ImportAsync("/files/insee-deaths", $"{Death.Header}\n{string.Concat(deaths.Select(death => $"{death.Csv}\n"))}");
}
