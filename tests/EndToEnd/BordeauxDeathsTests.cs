using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>A real file of deaths, counted by the hub and counted by hand.</summary>
public sealed class BordeauxDeathsTests(ITestOutputHelper output)
{
    private const string BordeauxMetropole = "243300316";

    [SharedDataFact]
    public async Task Given_the_deaths_of_1970_When_imported_in_both_layouts_Then_the_figures_are_those_of_the_file()
    {
        var (csv, fixedWidth) = (SharedData.File("deaths", "deaths-1970.csv")!, SharedData.File("deaths", "deaths-1970.txt")!);
        await using var deployment = await (await Deployment.CreateAsync(BordeauxMetropole, Deployment.CommunesOf(BordeauxMetropole))).StartAsync();
        var expected = Count(csv);

        var clock = System.Diagnostics.Stopwatch.StartNew();
        var import = await ImportAsync(deployment, csv);
        output.WriteLine($"CSV layout: {import.ToJsonString()} in {clock.Elapsed.TotalSeconds:0.0} s");
        await deployment.HasEventsAsync(expected.Values.Sum());

        var items = (await deployment.GetAsync("/api/v1/civil-records/indicators"))["items"]!.AsArray();
        Assert.Equal(
            expected.OrderBy(pair => pair.Key).Select(pair => $"{pair.Key} {pair.Value}"),
            items.Select(item => $"{item!["commune"]} {item["period"]} {item["deaths"]}").Order(StringComparer.Ordinal));
        Assert.Equal(13_544, (int)import["linesRead"]!);
        Assert.Equal(expected.Values.Sum(), (int)import["accepted"]!);

        var again = await ImportAsync(deployment, fixedWidth);
        Assert.Equal(0, (int)again["accepted"]!);
        Assert.Equal((int)import["accepted"]! + (int)import["duplicates"]!, (int)again["duplicates"]!);
        Assert.Equal((int)import["elsewhere"]!, (int)again["elsewhere"]!);
    }

    // By hand: rows said once, the death place of today, the month of the death.
    private static SortedDictionary<string, int> Count(string csv)
    {
        var former = File.ReadLines(SharedData.File("territories", "former-communes.csv")!).Skip(1).Select(line => line.Split(';'))
            .GroupBy(row => row[0]).ToDictionary(rows => rows.Key, rows => rows.First()[3]);
        var members = File.ReadLines(SharedData.File("territories", "epci-communes.csv")!).Skip(1).Select(line => line.Split(';'))
            .Where(row => row[0] == BordeauxMetropole).Select(row => row[3]).ToHashSet();
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var row in File.ReadLines(csv).Skip(1).Distinct().Select(line => line[1..^1].Split("\";\"")))
        {
            var (date, place) = (row[6], former.GetValueOrDefault(row[7], row[7]));
            if (!members.Contains(place)) continue;
            var period = date[4..6] == "00" ? date[..4] : $"{date[..4]}-{date[4..6]}";
            counts[$"{place} {period}"] = counts.GetValueOrDefault($"{place} {period}") + 1;
        }

        return counts;
    }

    private static async Task<JsonNode> ImportAsync(Deployment deployment, string file)
    {
        using var client = deployment.ClientOf(deployment.Connectors[0]);
        await using var content = File.OpenRead(file);
        using var response = await client.PostAsync(new Uri("/files/insee-deaths", UriKind.Relative), new StreamContent(content));
        response.EnsureSuccessStatusCode();
        var id = JsonNode.Parse(await response.Content.ReadAsStringAsync())!["importId"];
        return await Eventually.Is(
            async () => JsonNode.Parse(await client.GetStringAsync(new Uri($"/imports/{id}", UriKind.Relative)))!,
            import => (string)import["status"]! == "completed",
            TimeSpan.FromMinutes(2));
    }
}
