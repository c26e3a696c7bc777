using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class ImportsTests
{
    private const int Deaths = 45_000;

    [Fact]
    public async Task Given_a_connector_killed_again_and_again_in_the_middle_of_a_file_When_it_restarts_Then_every_record_is_in_the_figures_once()
    {
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg, Some.Tinteniac])).StartAsync();
        var connector = deployment.Connectors[0];
        using var http = deployment.ClientOf(connector);
        var import = await PostAsync(http, File(corrected: false));
        for (var kill = 1; kill <= 2; kill++)
        {
            var enough = kill * Deaths / 3;
            await Eventually.Is(() => StateAsync(http, import), state => (long)state["accepted"]! >= enough);
            connector.Kill();
            await connector.StartAsync();
        }

        var end = await EndAsync(http, import);

        Assert.Equal(
            (Deaths, Deaths, 0, 0), ((int)end["linesRead"]!, (int)end["accepted"]!, (int)end["duplicates"]!, (int)end["rejected"]!));
        await deployment.HasEventsAsync(Deaths, TimeSpan.FromMinutes(1));
        Assert.Equal(Deaths, await DeathsAsync(deployment));

        // The same again under another name, by the drop folder; then a later file that tells one of them otherwise.
        var drop = Path.Combine(deployment.DataOf(0), "drop", "insee-deaths");
        await System.IO.File.WriteAllTextAsync(Path.Combine(drop, "renamed.csv"), File(corrected: false));
        var report = Path.Combine(drop, "done", "renamed.csv.report.json");
        await Eventually.Is(() => System.IO.File.Exists(report), exists => exists, TimeSpan.FromMinutes(1));
        Assert.Equal(Deaths, (int)JsonNode.Parse(await System.IO.File.ReadAllTextAsync(report))!["duplicates"]!);
        var corrected = await EndAsync(http, await PostAsync(http, File(corrected: true)));
        Assert.Equal((1, Deaths - 1), ((int)corrected["accepted"]!, (int)corrected["duplicates"]!));
        await deployment.HasEventsAsync(Deaths + 1);
        Assert.Equal(Deaths, await DeathsAsync(deployment));
        Assert.Equal(1, await deployment.CountAsync("SELECT count(*) FROM hub.mt_events WHERE type = 'fr.intercommunalite.civil-records.act-corrected.v1'"));
        Assert.Equal(0, await deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine"));
    }

    [SharedDataFact]
    public async Task Given_the_sample_files_of_money_and_schools_When_they_are_imported_Then_the_figures_are_theirs()
    {
        if (SharedData.File("pes", "PES_Exemple_Retour.xml") is not { } pes || SharedData.File("onde", "eleves.csv") is not { } pupils) return;
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        string[] pupilsOfSchool = ["--commune", Some.Combourg, "--set", "uai=0350122T", "--set", "schoolYear=2009"];

        // Two titres of 274.05 and 430.51 euros, the first paid in part: 1.56 and 150; the second whole: 200.21 and 230.30.
        await deployment.IntercoAsync("import", "pes-retour", pes, "--commune", Some.Combourg);
        await deployment.IntercoAsync(["import", "onde-pupils", pupils, .. pupilsOfSchool]);
        await deployment.HasEventsAsync(8);

        var amounts = (await deployment.GetAsync($"/api/v1/payments/summary?commune={Some.Combourg}&by=service"))["items"]!.AsArray();
        Assert.Equal(
            (704_56, 151_56 + 430_51, 122_49),
            (amounts.Sum(item => (int)item!["issued"]!), amounts.Sum(item => (int)item!["collected"]!), amounts.Sum(item => (int)item!["outstanding"]!)));
        Assert.Equal("35085 0350122T 2009: CE1 1, CE2 1; 2 elsewhere", await RollAsync(deployment));

        // One of the two pupils gone is more than a third.
        var fewer = Path.Combine(deployment.DataOf(0), "fewer.csv");
        await System.IO.File.WriteAllLinesAsync(fewer, (await System.IO.File.ReadAllLinesAsync(pupils)).SkipLast(1));
        var held = await Assert.ThrowsAsync<InvalidOperationException>(() => deployment.IntercoAsync(["import", "onde-pupils", fewer, .. pupilsOfSchool]));
        Assert.Contains("--confirm", held.Message, StringComparison.Ordinal);
        await deployment.IntercoAsync(["import", "onde-pupils", fewer, "--confirm", .. pupilsOfSchool]);
        await deployment.HasEventsAsync(9);
        Assert.Equal("35085 0350122T 2009: CE2 1; 1 elsewhere", await RollAsync(deployment));
    }

    private static async Task<string> RollAsync(Deployment deployment)
    {
        var roll = (await deployment.GetAsync("/api/v1/schools/rolls?schoolYear=2009"))["items"]!.AsArray().Single()!;
        var levels = roll["levels"]!.AsArray().Select(level => $"{level!["level"]} {level["pupils"]}");
        return $"{roll["commune"]} {roll["school"]} {roll["schoolYear"]}: {string.Join(", ", levels)}; {roll["outOfCommune"]} elsewhere";
    }

    private static async Task<string> PostAsync(HttpClient http, string file)
    {
        using var body = new StringContent(file, Encoding.UTF8);
        using var response = await http.PostAsync(new Uri("/files/insee-deaths", UriKind.Relative), body);
        response.EnsureSuccessStatusCode();
        return response.Headers.Location!.ToString();
    }

    private static async Task<JsonNode> StateAsync(HttpClient http, string import) => (await http.GetFromJsonAsync<JsonNode>(new Uri(import, UriKind.Relative)))!;

    private static Task<JsonNode> EndAsync(HttpClient http, string import) =>
        Eventually.Is(() => StateAsync(http, import), state => (string)state["status"]! == "completed", TimeSpan.FromMinutes(2));

    private static async Task<int> DeathsAsync(Deployment deployment) =>
        (await deployment.GetAsync("/api/v1/civil-records/indicators?by=commune"))["items"]!.AsArray().Sum(item => (int)item!["deaths"]!);

    private static string File(bool corrected)
    {
        var file = new StringBuilder("nomprenom;sexe;datenaiss;lieunaiss;commnaiss;paysnaiss;datedeces;lieudeces;actedeces\n");
        for (var i = 0; i < Deaths; i++)
        {
            var day = new DateOnly(1970, 1, 1).AddDays(i / 10);
            var name = corrected && i == 700 ? "CORRIGE" : $"NOM{i}";
            file.Append(CultureInfo.InvariantCulture, $"{name}*PRENOM{i}/;{(i % 2) + 1};19{i % 70:00}0203;35085;COMBOURG;;{day:yyyyMMdd};{(i % 3 == 0 ? Some.Combourg : Some.Tinteniac)};{i}\n");
        }

        return file.ToString();
    }
}
