using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class HubApiTests : IAsyncLifetime
{
    private Deployment _deployment = null!;

    public async Task InitializeAsync() => _deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();

    public async Task DisposeAsync() => await _deployment.DisposeAsync();

    [Fact]
    public async Task Given_events_posted_When_the_figures_are_asked_for_with_their_position_Then_they_hold_them()
    {
        using var posted = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
        var position = await Eventually.Is(async () => (long)(await _deployment.GetAsync("/api/v1/ingestion"))["position"]!, position => position == 3);

        using var client = _deployment.ClientOf(_deployment.Hub);
        using var response = await client.GetAsync(new Uri($"/api/v1/civil-records/indicators?commune=35085&from=2026-11&to=2026-11&minPosition={position}", UriKind.Relative));

        Assert.True(long.Parse(Assert.Single(response.Headers.GetValues("X-Hub-Position")), CultureInfo.InvariantCulture) >= position);
        var item = Assert.Single(JsonNode.Parse(await response.Content.ReadAsStringAsync())!["items"]!.AsArray());
        Assert.Equal(
            """{"commune":"35085","period":"2026-11","births":3,"recognitions":0,"marriages":0,"pacs":0,"deaths":0,"nameChanges":0}""",
            item!.ToJsonString());
        Assert.Equal("2026", (string)(await ItemAsync("civil-records/indicators?by=year"))["period"]!);
        Assert.Equal("35337", (string)(await ItemAsync("civil-records/indicators?basis=residence&by=commune"))["commune"]!);
    }

    [Fact]
    public async Task Given_figures_When_a_projection_is_rebuilt_Then_they_are_the_same_and_the_service_went_on()
    {
        using var posted = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 50));
        await _deployment.HasEventsAsync(50);

        await _deployment.Database.ExecuteAsync("UPDATE civil_records.indicator SET births = 999; DELETE FROM civil_records.act");

        var rebuild = _deployment.IntercoAsync("projections", "rebuild", "civil-records", "--reason", "altered by hand");
        using var meanwhile = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 51, 1));
        Assert.Equal(HttpStatusCode.Accepted, meanwhile.StatusCode);
        Assert.NotNull(await _deployment.GetAsync("/api/v1/civil-records/indicators"));
        await rebuild;

        await Eventually.Equal(51, async () => (int)(await ItemAsync("civil-records/indicators?by=commune"))["births"]!);
        Assert.Equal("completed", (string)(await _deployment.GetAsync("/api/v1/admin/projections/civil-records"))["rebuild"]!["state"]!);
    }

    [Fact]
    public async Task Given_an_event_that_the_store_cannot_take_When_it_arrives_among_others_Then_it_alone_is_in_quarantine()
    {
        // Its personal data would have to be kept beyond the last day that there is.
        var events = Some.Births(Some.Combourg, 1, 20);
        events[7] = events[7] with { Time = DateTimeOffset.MaxValue.AddDays(-1) };
        using var posted = await _deployment.PostAsync(0, Some.Combourg, events);
        Assert.Equal(HttpStatusCode.Accepted, posted.StatusCode);

        await _deployment.HasEventsAsync(19);
        using var later = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 21, 1));
        await _deployment.HasEventsAsync(20);

        Assert.Equal(1, (long)(await _deployment.GetAsync("/api/v1/ingestion"))["items"]![0]!["quarantined"]!);
        Assert.Equal(8, await _deployment.CountAsync("SELECT position FROM ingestion.quarantine"));
    }

    [Fact]
    public async Task Given_persons_in_the_events_Then_neither_the_event_store_nor_any_log_names_them()
    {
        using var posted = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
        using var refused = await _deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Tinteniac, 1, 1));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.StatusCode);
        Assert.DoesNotContain("NOM-DE-PERSONNE", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        await _deployment.HasEventsAsync(3);

        Assert.Equal(3, await _deployment.CountAsync("SELECT count(*) FROM privacy.personal_data"));
        Assert.DoesNotContain("NOM-DE-PERSONNE", await Dump.OfAsync(_deployment.Database.ConnectionString), StringComparison.Ordinal);
        Assert.All(_deployment.Connectors.Append(_deployment.Hub), service =>
            Assert.DoesNotContain(service.LastLines, line => line.Contains("NOM-DE-PERSONNE", StringComparison.Ordinal)));
    }

    private async Task<JsonNode> ItemAsync(string query) => Assert.Single((await _deployment.GetAsync($"/api/v1/{query}"))["items"]!.AsArray())!;
}
