using System.Globalization;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Microsoft.Playwright;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>The whole system, from the simulated software of 25 communes to the page in a real browser.</summary>
public sealed class DashboardTests
{
    /// <summary>How the browser is started.</summary>
    internal static readonly string[] Arguments =
        ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

    [Fact]
    public async Task Given_a_simulated_territory_When_the_dashboard_is_opened_Then_it_shows_the_figures_of_its_25_communes_live()
    {
        var communes = Deployment.CommunesOf(Some.BretagneRomantique);
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [communes[0]], [communes[1]], communes[2..])).StartAsync();
        var told = JsonNode.Parse(await deployment.IntercoAsync("simulate", "--backfill", "3", "--seed", "7", "--json"))!;
        await deployment.HasEventsAsync((long)told["accepted"]!, TimeSpan.FromMinutes(4));

        using var playwright = await Playwright.CreateAsync();
        await using var browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = Arguments });
        var page = await browser.NewPageAsync(new() { Locale = "fr-FR", ViewportSize = new() { Width = 1400, Height = 1600 } });
        var complaints = new List<string>();
        page.Console += (_, message) => { if (message.Type == "error") complaints.Add(message.Text); };
        page.PageError += (_, error) => complaints.Add(error);
        page.RequestFailed += (_, request) => complaints.Add(request.Url);
        await AccountHolder.OpenDashboardAsync(page, deployment);

        Assert.Contains("CC Bretagne Romantique", await page.InnerTextAsync("h1"), StringComparison.Ordinal);
        foreach (var figure in (string[])["births", "deaths", "marriages", "pupils", "pupils-outside", "issued", "collected", "outstanding"])
            Assert.True(await FigureAsync(page, figure) > 0, $"{figure} is zero");
        Assert.Equal(25, await page.Locator("[data-testid=communes-table] tbody tr").CountAsync());
        Assert.Equal(
            (await deployment.GetAsync("/api/v1/payments/summary?by=commune"))["items"]!.AsArray().Sum(item => (long)item!["issued"]!),
            await FigureAsync(page, "issued"));

        // What it shows can be taken away.
        var files = await page.Locator("a[download]").EvaluateAllAsync<string[]>("links => links.map(link => link.href)");
        Assert.Equal(3, files.Length);
        foreach (var file in files)
            Assert.Contains(";Combourg;", await (await page.APIRequest.GetAsync(file)).TextAsync(), StringComparison.Ordinal);

        // One more birth appears without a reload.
        var births = await FigureAsync(page, "births");
        var connector = Array.IndexOf(communes, Some.Combourg) is 0 or 1 ? Array.IndexOf(communes, Some.Combourg) : 2;
        using var posted = await deployment.PostAsync(connector, Some.Combourg, Some.Births(Some.Combourg, 1, 1));
        await Eventually.Equal(births + 1, () => FigureAsync(page, "births"));
        Assert.Empty(complaints);
    }

    private static async Task<long> FigureAsync(IPage page, string name) =>
        long.Parse((await page.Locator($"[data-testid={name}]").GetAttributeAsync("data-value"))!, CultureInfo.InvariantCulture);
}
