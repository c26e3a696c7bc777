using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

public sealed class QuarantineTests
{
    private const string TraceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    private const string Quarantine = "/api/v1/admin/quarantine";

    [Fact]
    public async Task Given_messages_that_nobody_can_read_among_good_ones_When_they_arrive_Then_they_are_in_quarantine_whole_and_the_others_go_on()
    {
        await using var deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        using var before = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 10));
        await deployment.HasEventsAsync(10);

        var journal = Guid.NewGuid();
        var events = Some.Births(Some.Tinteniac, 1, 5)
            .Select((birth, index) => birth with { TraceParent = $"00-{TraceId}-00f067aa0ba902b7-01", Journal = journal, Position = index + 1 }).ToArray();
        events[2] = events[2] with { Type = "fr.intercommunalite.civil-records.birth-registered.v9" };
        var unknown = JsonSerializer.SerializeToUtf8Bytes(events[2], ContractJson.Options);
        byte[][] unreadable =
        [
            [0xFF, 0x00, .. "NOM-DE-PERSONNE"u8],
            Encoding.UTF8.GetBytes("""{ "hello": "NOM-DE-PERSONNE" }"""),
            Envelope("urn:message:Other:Message", new { commune = Some.Combourg }),
            Envelope(MessageType, new { commune = Some.Combourg, journal = Guid.NewGuid(), firstPosition = 0, events = Array.Empty<int>() }),
            Envelope(MessageType, new { commune = Some.Combourg, journal = "NOM-DE-PERSONNE", firstPosition = 1, events = new[] { 1 } }),
        ];
        foreach (var message in unreadable) await deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, message);
        await deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, Envelope(MessageType, new
        {
            commune = Some.Tinteniac,
            journal,
            firstPosition = 1,
            events = events.Select(one => JsonSerializer.SerializeToElement(one, ContractJson.Options)),
        }));
        using var after = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 11, 2));

        await deployment.HasEventsAsync(16);
        var items = await Eventually.Is(async () => (await deployment.GetAsync(Quarantine))["items"]!.AsArray(), items => items.Count == 6);
        // Whole, and encrypted.
        var kept = await Task.WhenAll(items.Select(async item => (string)(await deployment.GetAsync($"{Quarantine}/{item!["id"]}"))["sha256"]!));
        Assert.Equal(unreadable.Append(unknown).Select(content => Convert.ToHexStringLower(SHA256.HashData(content))).Order(), kept.Order());
        Assert.DoesNotContain("NOM-DE-PERSONNE", await Dump.OfAsync(deployment.Database.ConnectionString), StringComparison.Ordinal);
        Assert.Equal(
            [
                "message: $.journal not readable 35085", "message: firstPosition: 1 or more expected 35085",
                "message: not JSON ", "message: not in the bus's envelope ", "message: of another type than a journal's segment 35085", "type: not a type of the catalogue 35337",
            ],
            items.Select(item => $"{item!["reason"]} {item["commune"]}").Order(StringComparer.Ordinal));
        Assert.DoesNotContain(deployment.Hub.LastLines, line => line.Contains("NOM-DE-PERSONNE", StringComparison.Ordinal));
        var counted = (await deployment.GetAsync("/api/v1/ingestion"))["items"]!.AsArray().Single(one => (string)one!["commune"]! == Some.Tinteniac)!;
        Assert.Equal((5, 4, 1), ((int)counted["receivedThrough"]!, (int)counted["events"]!, (int)counted["quarantined"]!));

        // The event: shown without names, refused again, accepted once it is of a known type.
        var id = (long)items.Single(item => (string)item!["kind"]! == "event")!["id"]!;
        var shown = await deployment.GetAsync($"{Quarantine}/{id}");
        Assert.Equal(TraceId, (string)shown["item"]!["traceId"]!);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(unknown)), (string)shown["sha256"]!);
        Assert.Equal("birth/2026/3", (string)shown["event"]!["subject"]!);
        Assert.DoesNotContain("NOM-DE-PERSONNE", shown.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal((HttpStatusCode.UnprocessableEntity, "type: not a type of the catalogue. It stays in quarantine."), await PostAsync(deployment, $"/{id}/retry"));
        // As entries from before they were encrypted are, which are read all the same.
        var known = Convert.ToHexString(Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(unknown).Replace(".v9", ".v1", StringComparison.Ordinal)));
        await deployment.Database.ExecuteAsync($"UPDATE ingestion.quarantine SET event = decode('{known}', 'hex'), key = NULL WHERE journal IS NOT NULL");
        Assert.Equal(
            "1 retried, 0 still refused",
            (await deployment.IntercoAsync("quarantine", "retry", "--reason", "type: not a type of the catalogue")).TrimEnd());
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync(deployment, $"/{id}/retry")).Status);
        await deployment.HasEventsAsync(17);

        // The messages: shown by size and hash alone, never retried, discarded with a reason.
        var garbage = (long)items.Single(item => (string)item!["reason"]! == "message: not JSON")!["id"]!;
        shown = await deployment.GetAsync($"{Quarantine}/{garbage}");
        Assert.Equal((unreadable[0].Length, Convert.ToHexStringLower(SHA256.HashData(unreadable[0]))), ((int)shown["item"]!["size"]!, (string)shown["sha256"]!));
        Assert.Null(shown["event"]);
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync(deployment, $"/{garbage}/retry")).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync(deployment, $"/retry?reason={Uri.EscapeDataString("message: not JSON")}")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(deployment, "/retry")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(deployment, $"/{garbage}/discard", new { reason = " " })).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(deployment, $"/{garbage}/discard", new { })).Status);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync(deployment, $"/{garbage}/discard", new { reason = "noise" })).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync(deployment, $"/{garbage}/discard", new { reason = "noise" })).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(deployment, "/999999/retry")).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await PostAsync(deployment, "/999999/discard", new { reason = "noise" })).Status);
        foreach (var left in JsonNode.Parse(await deployment.IntercoAsync("quarantine", "list", "--json"))!["items"]!.AsArray())
            await deployment.IntercoAsync("quarantine", "discard", $"{left!["id"]}", "--reason", "noise");

        Assert.Empty(JsonNode.Parse(await deployment.IntercoAsync("quarantine", "reasons", "--json"))!["items"]!.AsArray());
        Assert.Equal(6, (await deployment.GetAsync($"{Quarantine}?state=all"))["items"]!.AsArray().Count);
        Assert.Equal(0, await deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine WHERE event IS NOT NULL"));
        Assert.Equal(0, await deployment.CountAsync("SELECT sum(quarantined) FROM ingestion.journal"));
    }

    [Fact]
    public async Task Given_the_database_is_away_When_a_message_that_nobody_can_read_arrives_Then_it_is_in_quarantine_once_the_database_is_back()
    {
        await using var servers = await PrivateServers.StartAsync();
        await using var deployment = await (await Deployment.CreateAsync(servers, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        using var before = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, 1));
        await deployment.HasEventsAsync(1);

        await servers.StopPostgresAsync();
        await deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, "garbage"u8.ToArray());
        await Eventually.Is(() => deployment.Hub.LastLines.Count(line => line.Contains("into quarantine for now", StringComparison.Ordinal)), tries => tries >= 2);
        var linesMeanwhile = deployment.Hub.LastLines;
        deployment.Hub.Kill();
        await servers.StartPostgresAsync();
        await deployment.Hub.StartAsync();

        // Held, not given back: the broker would drop it after so many deliveries.
        Assert.DoesNotContain(linesMeanwhile, line => line.Contains("T-FAULT", StringComparison.Ordinal));
        await Eventually.Equal(1, () => deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine"), TimeSpan.FromMinutes(1));
        var kept = (await deployment.GetAsync(Quarantine))["items"]![0]!;
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("garbage"u8)), (string)(await deployment.GetAsync($"{Quarantine}/{kept["id"]}"))["sha256"]!);
        using var after = await deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 2, 1));
        await deployment.HasEventsAsync(2);
    }

    private static string MessageType => $"urn:message:{typeof(JournalSegment).Namespace}:{nameof(JournalSegment)}";

    private static byte[] Envelope(string type, object message) => JsonSerializer.SerializeToUtf8Bytes(new { messageType = new[] { type }, message });

    private static async Task<(HttpStatusCode Status, string? Detail)> PostAsync(Deployment deployment, string path, object? body = null)
    {
        using var client = deployment.ClientOf(deployment.Hub);
        using var response = await client.PostAsync(new Uri(Quarantine + path, UriKind.Relative), body is null ? null : JsonContent.Create(body));
        var answer = await response.Content.ReadFromJsonAsync<JsonNode>();
        if (!response.IsSuccessStatusCode) Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        return (response.StatusCode, (string?)answer!["detail"]);
    }
}
