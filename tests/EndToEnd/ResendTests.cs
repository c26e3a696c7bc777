using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class ResendTests
{
    [Fact]
    public async Task Given_a_connector_that_would_stay_silent_When_an_administrator_asks_for_its_journal_again_Then_what_the_hub_does_not_have_comes()
    {
        var silent = new Dictionary<string, string?> { ["Forwarding__Silence"] = "01:00:00" };
        await using var deployment = await (await Deployment.CreateAsync(silent, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
        await deployment.HasEventsAsync(3);
        // As if the database had been restored while the hub ran, which then did not announce how far it is.
        await deployment.Database.ExecuteAsync("""
            UPDATE ingestion.journal SET received_through = 1, events = 1, last_event_id = (SELECT id FROM hub.mt_events ORDER BY seq_id LIMIT 1);
            DELETE FROM hub.mt_events WHERE seq_id > 1; DELETE FROM hub.mt_streams WHERE id NOT IN (SELECT stream_id FROM hub.mt_events);
            DELETE FROM privacy.personal_data WHERE event_id NOT IN (SELECT id FROM hub.mt_events);
            """);
        using var administrator = deployment.ClientOf(deployment.Hub);

        using var asked = await administrator.PostAsJsonAsync(new Uri("/api/v1/admin/ingestion/resend", UriKind.Relative), new { reason = "restored", commune = Some.Combourg });

        Assert.Equal(HttpStatusCode.Accepted, asked.StatusCode);
        Assert.Equal(2, (long)(await asked.Content.ReadFromJsonAsync<JsonNode>())!["items"]![0]!["from"]!);
        await Testing.Eventually.Equal(3L, () => deployment.CountAsync("SELECT count(*) FROM hub.mt_events"));
        Assert.Equal("ingestion.resend restored", await deployment.Database.ScalarAsync("SELECT act || ' ' || why FROM audit.entry WHERE act LIKE 'ingestion.%'"));
        using var unknown = await administrator.PostAsJsonAsync(new Uri("/api/v1/admin/ingestion/resend", UriKind.Relative), new { reason = "x", commune = Some.Tinteniac });
        using var unexplained = await administrator.PostAsJsonAsync(new Uri("/api/v1/admin/ingestion/resend", UriKind.Relative), new { reason = "" });
        Assert.Equal((HttpStatusCode.NotFound, HttpStatusCode.BadRequest), (unknown.StatusCode, unexplained.StatusCode));
    }
}
