using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Testing;
using Npgsql;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>What is wrong shows: in the answers, the log, and the readiness. The limits are short ones.</summary>
public sealed class AlertsTests
{
    private static readonly Dictionary<string, string?> s_settings = new()
    {
        ["Forwarding__Silence"] = "00:00:01",
        ["Alerts__UnheardAge"] = "00:00:06",
        ["Alerts__UnreceivedAge"] = "00:00:01",
        ["Alerts__ResendAge"] = "00:00:01",
        ["Health__MaxProjectionLag"] = "00:00:02",
        ["Health__MaxStoreLag"] = "00:00:02",
    };

    [Fact]
    public async Task Given_a_connector_that_gives_no_sign_of_life_Then_it_is_an_alert_until_it_does()
    {
        await using var deployment = await (await Deployment.CreateAsync(s_settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 10));
        await deployment.HasEventsAsync(10);
        var answer = await deployment.GetAsync("/api/v1/ingestion");
        var item = answer["items"]![0]!;
        Assert.Equal((10, 0, false), ((int)item["lastPosition"]!, (int)item["unreceived"]!, (bool)item["superseded"]!));
        Assert.NotNull(item["begunAt"]);
        Assert.Equal(24, answer["neverSent"]!.AsArray().Count);

        deployment.Connectors[0].Kill();
        await AlertsAsync(deployment, Some.Combourg, "unheard");
        await Eventually.Equal(1, () => Task.FromResult(Logged(deployment, ": unheard since ")));
        Assert.Contains("gives no sign of life", await deployment.IntercoAsync("status", "--connectors", ""), StringComparison.Ordinal);

        await deployment.Connectors[0].StartAsync();
        await AlertsAsync(deployment, Some.Combourg);
        await Eventually.Equal(1, () => Task.FromResult(Logged(deployment, ": no longer unheard")));
    }

    [Fact]
    public async Task Given_a_connector_that_dies_before_all_is_sent_Then_the_hub_knows_how_much_is_missing_and_since_when()
    {
        const int all = 6_000;
        await using var deployment = await Deployment.CreateAsync(s_settings, Some.BretagneRomantique, [Some.Combourg]);
        await deployment.Connectors[0].StartAsync();
        var before = DateTimeOffset.UtcNow.AddSeconds(-1);
        using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, all));
        using (var client = deployment.ClientOf(deployment.Connectors[0]))
        {
            // As far ahead as it goes without a hub.
            await Eventually.Is(
                async () => (int)(await client.GetFromJsonAsync<JsonNode>(new Uri($"/communes/{Some.Combourg}/journal", UriKind.Relative)))!["publishedThrough"]!,
                published => published >= 4_000);
        }

        deployment.Connectors[0].Kill();
        await deployment.Hub.StartAsync();
        var item = await Eventually.Is(
            async () => (await deployment.GetAsync("/api/v1/ingestion"))["items"]!.AsArray().Single()!, item => Kinds(item!).Contains("unreceived", StringComparison.Ordinal));
        Assert.Equal(all, (int)item!["lastPosition"]!);
        Assert.InRange((int)item["unreceived"]!, 1, all - 4_000);
        Assert.InRange((DateTimeOffset)item["oldestUnreceivedAt"]!, before, DateTimeOffset.UtcNow);

        await deployment.Connectors[0].StartAsync();
        await deployment.HasEventsAsync(all);
        await AlertsAsync(deployment, Some.Combourg);
    }

    [Fact]
    public async Task Given_events_that_are_missing_and_one_that_is_refused_Then_they_are_alerts_until_they_come_and_are_mended()
    {
        var settings = new Dictionary<string, string?>(s_settings) { ["Alerts__UnheardAge"] = "01:00:00" };
        await using var deployment = await (await Deployment.CreateAsync(settings, Some.BretagneRomantique)).StartAsync();
        var journal = Guid.NewGuid();
        var events = Some.Births(Some.Tinteniac, 1, 5).Select((birth, index) => birth with { Journal = journal, Position = index + 1 }).ToArray();
        events[0] = events[0] with { Type = "fr.intercommunalite.civil-records.birth-registered.v9" };
        var acceptedAt = DateTimeOffset.UtcNow.AddMinutes(-10);
        Task SendAsync(int first, int count) => deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, JsonSerializer.SerializeToUtf8Bytes(new
        {
            messageType = new[] { $"urn:message:{typeof(JournalSegment).Namespace}:{nameof(JournalSegment)}" },
            message = new
            {
                commune = Some.Tinteniac,
                journal,
                firstPosition = first,
                last = 5,
                acceptedAt,
                events = events.Skip(first - 1).Take(count).Select(one => JsonSerializer.SerializeToElement(one, ContractJson.Options)),
            },
        }));

        await SendAsync(1, 1);
        var item = await AlertsAsync(deployment, Some.Tinteniac, "unreceived", "quarantined");
        Assert.Equal((5, 4), ((int)item["lastPosition"]!, (int)item["unreceived"]!));
        Assert.Equal(acceptedAt, (DateTimeOffset)item["oldestUnreceivedAt"]!, TimeSpan.FromMilliseconds(1));
        await SendAsync(3, 1);
        await AlertsAsync(deployment, Some.Tinteniac, "unreceived", "resending", "quarantined");

        await SendAsync(2, 4);
        item = await AlertsAsync(deployment, Some.Tinteniac, "quarantined");
        Assert.Null(item["oldestUnreceivedAt"]);
        var id = (await deployment.GetAsync("/api/v1/admin/quarantine"))["items"]![0]!["id"]!;
        await deployment.IntercoAsync("quarantine", "discard", $"{id}", "--reason", "noise");
        await AlertsAsync(deployment, Some.Tinteniac);

        // The commune's connector begins again with another journal.
        journal = Guid.NewGuid();
        await SendAsync(2, 4);
        await SendAsync(1, 5);
        await Eventually.Is(
            async () => (await deployment.GetAsync("/api/v1/ingestion"))["items"]!.AsArray(),
            items => items.Count == 2 && Kinds(items[1]!) == "new-journal, quarantined" && (bool)items[0]!["superseded"]! && Kinds(items[0]!) == "");
    }

    [Fact]
    public async Task Given_a_projection_or_the_store_that_stands_still_Then_the_hub_is_not_ready_and_lives()
    {
        await using var deployment = await (await Deployment.CreateAsync(s_settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        Assert.Equal((HttpStatusCode.OK, "Healthy"), await ReadyAsync(deployment));

        await using (await LockAsync(deployment, "civil_records.indicator"))
        {
            using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
            var (_, why) = await Eventually.Is(() => ReadyAsync(deployment), ready => ready.Status == HttpStatusCode.ServiceUnavailable);
            Assert.Contains("civil-records is 3 events and ", why, StringComparison.Ordinal);
            var projection = await ProjectionAsync(deployment);
            Assert.Equal((3, "running", true), ((int)projection["lag"]!, (string)projection["state"]!, (double)projection["lagSeconds"]! > 2));
            using var client = deployment.ClientOf(deployment.Hub);
            using var live = await client.GetAsync(new Uri("/health/live", UriKind.Relative));
            Assert.Equal(HttpStatusCode.OK, live.StatusCode);
        }

        await Eventually.Equal((HttpStatusCode.OK, "Healthy"), () => ReadyAsync(deployment));
        await deployment.HasEventsAsync(3);
        await using (await LockAsync(deployment, "ingestion.journal"))
        {
            using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 4, 1));
            var (_, why) = await Eventually.Is(() => ReadyAsync(deployment), ready => ready.Status == HttpStatusCode.ServiceUnavailable);
            Assert.Contains("what has arrived could not be stored for ", why, StringComparison.Ordinal);
        }

        await Eventually.Equal((HttpStatusCode.OK, "Healthy"), () => ReadyAsync(deployment));
        await deployment.HasEventsAsync(4);
    }

    [Fact]
    public async Task Given_a_projection_that_fails_Then_it_is_paused_with_its_error_and_the_hub_is_ready_and_degraded()
    {
        await using var deployment = await (await Deployment.CreateAsync(s_settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();

        await deployment.Database.ExecuteAsync("ALTER TABLE civil_records.indicator RENAME TO elsewhere");
        using var posted = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 3));
        await Eventually.Equal((HttpStatusCode.OK, "civil-records: paused, see interco projections list"), () => ReadyAsync(deployment));
        var projection = await Eventually.Is(() => ProjectionAsync(deployment), projection => (double)projection["lagSeconds"]! > 2);
        Assert.Equal("paused", (string)projection["state"]!);
        Assert.NotNull(projection["pausedSince"]);
        Assert.Contains("civil_records.indicator", (string)projection["error"]!, StringComparison.Ordinal);
        // Past the limit too: the figures of the others are right, and it must be mended through the hub.
        Assert.Equal(HttpStatusCode.OK, (await ReadyAsync(deployment)).Status);
        Assert.Matches(@"To look at[\s\S]*civil-records +paused", await deployment.IntercoAsync("status"));

        await deployment.Database.ExecuteAsync("ALTER TABLE civil_records.elsewhere RENAME TO indicator");
        await deployment.HasEventsAsync(3);
        await Eventually.Equal((HttpStatusCode.OK, "Healthy"), () => ReadyAsync(deployment));
        Assert.Null((await ProjectionAsync(deployment))["pausedSince"]);
    }

    private static int Logged(Deployment deployment, string text) => deployment.Hub.LastLines.Count(line => line.Contains(text, StringComparison.Ordinal));

    private static string Kinds(JsonNode item) => string.Join(", ", item["alerts"]!.AsArray().Select(alert => (string)alert!["alert"]!));

    private static Task<JsonNode> AlertsAsync(Deployment deployment, string commune, params string[] kinds) => Eventually.Is(
        async () => (await deployment.GetAsync("/api/v1/ingestion"))["items"]!.AsArray().Single(item => (string)item!["commune"]! == commune)!,
        item => Kinds(item) == string.Join(", ", kinds));

    private static async Task<JsonNode> ProjectionAsync(Deployment deployment) => await deployment.GetAsync("/api/v1/admin/projections/civil-records");

    // The status, and what the checks that do not pass say.
    private static async Task<(HttpStatusCode Status, string Why)> ReadyAsync(Deployment deployment)
    {
        using var client = deployment.ClientOf(deployment.Hub);
        using var response = await client.GetAsync(new Uri("/health/ready", UriKind.Relative));
        var checks = (await response.Content.ReadFromJsonAsync<JsonNode>())!["checks"]!.AsObject();
        var failing = checks.Where(check => (string)check.Value!["status"]! != "Healthy").Select(check => (string)check.Value!["description"]!).ToList();
        return (response.StatusCode, failing.Count == 0 ? "Healthy" : string.Join(' ', failing));
    }

    // Readers go on, writers wait, until it is disposed of.
    private static async Task<NpgsqlConnection> LockAsync(Deployment deployment, string table)
    {
        var connection = new NpgsqlConnection(new NpgsqlConnectionStringBuilder(deployment.Database.ConnectionString) { Pooling = false }.ConnectionString);
        await connection.OpenAsync();
        await using var command = new NpgsqlCommand($"BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE", connection);
        await command.ExecuteNonQueryAsync();
        return connection;
    }
}
