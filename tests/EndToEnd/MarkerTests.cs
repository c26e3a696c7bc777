using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>
/// Markers stand in every personal field of every type of event, of good ones and of refused ones, and in a message that nobody can
/// read; then everything that the hub keeps, writes and answers is looked through for them.
/// </summary>
public sealed partial class MarkerTests
{
    private const string Mark = "ZQXMARK";

    private static readonly DateTimeOffset s_time = DateTimeOffset.UtcNow.AddDays(-2);
    private static readonly CommuneCode s_combourg = CommuneCode.Parse(Some.Combourg);
    private static int s_markers;

    // Wherever it begins among the groups of three bytes; without the characters that its neighbours have a part in.
    private static readonly string[] s_inBase64 =
        [.. Enumerable.Range(0, 3).Select(before => Convert.ToBase64String([.. new byte[before], .. Encoding.UTF8.GetBytes(Mark)]).TrimEnd('=')[((before * 8 + 5) / 6)..(((before + Mark.Length) * 8) / 6)])];

    [Fact]
    public async Task Given_markers_in_all_personal_data_When_it_went_through_the_hub_Then_no_table_key_log_queue_or_answer_shows_one()
    {
        await using var collector = await Collector.StartAsync();
        await using var deployment = await (await Deployment.CreateAsync(collector.Settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
        var types = Catalogue.All.Where(type => type.Personal is not null).ToList();
        var events = Facts().Select((data, index) => CloudEvent.Create(data, $"{index}", new EventSource(s_combourg, "test"), $"subject/{index}", s_time)).ToList();
        Assert.Equal(types.Select(type => type.Name).Order(), events.Select(one => one.Type).Distinct().Order());
        using var posted = await deployment.PostAsync(0, Some.Combourg, events);
        Assert.Equal(HttpStatusCode.Accepted, posted.StatusCode);
        // At the door: a fault beside the markers.
        using var refused = await deployment.PostAsync(0, Some.Combourg, Faulty(events));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.StatusCode);
        NoMarker("the connector's answer", await refused.Content.ReadAsStringAsync());
        // Straight onto the bus: each type with a fault, in one run; and what nobody can read.
        await deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, JsonSerializer.SerializeToUtf8Bytes(new
        {
            messageType = new[] { $"urn:message:{typeof(JournalSegment).Namespace}:{nameof(JournalSegment)}" },
            message = new { commune = Some.Combourg, journal = Guid.NewGuid(), firstPosition = 1, events = Faulty(events).Select(one => JsonSerializer.SerializeToElement(one, ContractJson.Options)) },
        }));
        await deployment.VirtualHost.PublishAsync(BusNames.IngestionQueue, Encoding.UTF8.GetBytes($"{{ \"lastName\": \"{Mark}0\" "));
        await deployment.HasEventsAsync(events.Count);
        await Eventually.Equal(events.Count + 1, () => deployment.CountAsync("SELECT count(*) FROM ingestion.quarantine"));
        NoMarker("interco quarantine list", await deployment.IntercoAsync("quarantine", "list", "--json"));
        NoMarker("interco quarantine show", await deployment.IntercoAsync("quarantine", "show", "1", "--json"));
        await deployment.IntercoAsync("quarantine", "discard", "1", "--reason", "test");

        foreach (var path in (string[])["admin/quarantine?limit=1000", "admin/quarantine/reasons", "admin/quarantine/2", "ingestion", "civil-records/indicators", "schools/rolls", "payments/summary", "admin/projections"])
            NoMarker(path, (await deployment.GetAsync($"/api/v1/{path}")).ToJsonString());
        using (var client = deployment.ClientOf(deployment.Hub)) NoMarker("export", await client.GetStringAsync(new Uri("/api/v1/admin/events", UriKind.Relative)));
        NoMarker("feed", await deployment.IntercoAsync("feed", "read", "--after", "", "--limit", "1000", "--json"));
        NoMarker("the hub's database", await Dump.OfAsync(deployment.Database.ConnectionString));
        NoMarker("the keys' database", await Dump.OfAsync(deployment.Database.KeysConnectionString));
        Assert.All(deployment.Connectors.Append(deployment.Hub), service => NoMarker(service.Name, ReadShared(service.LogFile)));
        // The span of the last event's append, and a measurement after it: what had to be exported, was.
        await Eventually.Is(() => collector.Everything, exported => exported.Contains("journal append", StringComparison.Ordinal) && exported.Contains("hub.quarantine.kept", StringComparison.Ordinal));
        NoMarker("traces and metrics", collector.Everything);
        var logs = await ServerLogsAsync(deployment);
        Assert.NotEmpty(logs);
        foreach (var log in logs) NoMarker(log, ReadShared(log));
        // No queue of faults or dead letters, and nothing left in the two that there are.
        await Eventually.Equal("commune-35085 0, hub-ingestion 0", async () => string.Join(", ", await deployment.VirtualHost.QueuesAsync()), TimeSpan.FromMinutes(1));

        // That it is there all the same: each marker that was accepted is found again by whoever may.
        var kept = await ExportedAsync(deployment);
        var sent = Markers(string.Concat(events.Select(one => one.Data.GetRawText())));
        Assert.True(sent.Count > 150, $"{sent.Count} markers");
        Assert.Empty(sent.Except(kept));
    }

    // Every type, with a marker of its own in each text of its personal data.
    private static IEnumerable<DomainEvent> Facts()
    {
        var day = DateOnly.FromDateTime(s_time.Date);
        var date = PartialDate.Of(day);
        var school = Uai.Parse("0350122T");
        return
        [
            new BirthRegistered(date, "1") { Personal = new(Someone(), [Someone(), Someone()]) },
            new RecognitionRegistered(date, "2") { Personal = new(Someone(), Someone()) },
            new MarriageRegistered(date, "3") { Personal = new(Someone(), Someone()) },
            new PacsRegistered(date, "4") { Personal = new(Someone(), Someone()) },
            new DeathRegistered(date, "5") { Personal = new(Someone()) },
            new NameChangeRegistered(date, "6", NameChange.LastName) { Personal = new(Someone(), Someone()) },
            new ActCorrected(ActKind.Birth, date, date, "7") { Personal = new([Someone(), Someone()]) },
            new ActAnnulled(ActKind.Death, date) { Personal = new([Someone()]) },
            new PupilEnrolled(school, new SchoolYear(2026), SchoolLevel.CP, s_combourg, day) { Personal = new(Someone(), Marker(), Marker(), [Someone(), Someone()]) },
            new PupilChangedClass(school, new SchoolYear(2026), SchoolLevel.CE1, s_combourg, day) { Personal = new(Someone(), Marker(), Marker(), [Someone()]) },
            new PupilWithdrawn(school, new SchoolYear(2026), SchoolLevel.CE1, s_combourg, day) { Personal = new(Someone(), Marker(), Marker(), [Someone()]) },
            new InvoiceIssued(Slug.Parse("canteen"), new Cents(1), day) { Personal = new(Someone()) },
            new InvoiceReduced(new Cents(1), day) { Personal = new(Someone()) },
            new InvoiceCancelled(day) { Personal = new(Someone()) },
            new OnlinePaymentAnswered("1", new Cents(1), s_time, OnlinePaymentOutcome.CardPaid) { Personal = new($"{Marker()}@exemple.fr") },
            new PaymentCollected(new Cents(1), day) { Personal = new(Someone()) },
            new PaymentRefunded(new Cents(1), day) { Personal = new(Someone()) },
            new RequestSubmitted(Slug.Parse("birth-certificate"), s_time) { Personal = new(Someone()) },
            new RequestCompleted(Slug.Parse("birth-certificate"), s_time) { Personal = new(Someone()) },
            new RequestRefused(Slug.Parse("birth-certificate"), s_time, RefusalReason.Other) { Personal = new(Someone()) },
        ];
    }

    private static Person Someone() => new(Marker(), Marker(), Marker(), Sex.Female, PartialDate.Parse("1980-02-03"), Marker(), Marker(), Marker(), $"{Marker()}@exemple.fr", Marker());

    private static string Marker() => $"{Mark}{++s_markers}x";

    // A fact that is none, beside personal data as it should be.
    private static List<CloudEvent> Faulty(IEnumerable<CloudEvent> events) => [.. events.Select(one =>
    {
        var data = JsonNode.Parse(one.Data.GetRawText())!.AsObject();
        var fact = data.First(field => field.Key != "personal").Key;
        data[fact] = new JsonArray();
        return one with { Id = $"{one.Id}-faulty", Data = JsonSerializer.SerializeToElement(data) };
    })];

    private static HashSet<string> Markers(string text) => [.. MarkerPattern().Matches(text).Select(match => match.Value)];

    private static void NoMarker(string where, string text)
    {
        Assert.False(text.Contains(Mark, StringComparison.OrdinalIgnoreCase), $"a marker in {where}");
        Assert.False(text.Contains(Convert.ToHexString(Encoding.UTF8.GetBytes(Mark)), StringComparison.OrdinalIgnoreCase), $"a marker in {where}, in hexadecimal");
        Assert.All(s_inBase64, mark => Assert.False(text.Contains(mark, StringComparison.Ordinal), $"a marker in {where}, in Base64"));
    }

    // The servers' own, where they are on this machine as deploy/servers makes them.
    private static async Task<IReadOnlyList<string>> ServerLogsAsync(Deployment deployment)
    {
        var data = (string)(await deployment.Database.ScalarAsync("SELECT current_setting('data_directory')"))!;
        string[] logs = [$"{Path.GetDirectoryName(data)}.log", .. await deployment.VirtualHost.LogFilesAsync()];
        return [.. logs.Where(File.Exists)];
    }

    private static string ReadShared(string path)
    {
        using var file = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return file.ReadToEnd();
    }

    private static async Task<HashSet<string>> ExportedAsync(Deployment deployment)
    {
        var persons = (string)(await deployment.Database.ScalarAsync("SELECT string_agg(DISTINCT person::text, ' ') FROM privacy.personal_data"))!;
        using var client = new HttpClient { BaseAddress = deployment.Hub.Address, DefaultRequestHeaders = { Authorization = new("Bearer", TestIssuer.Token(["dpo"])) } };
        var found = new HashSet<string>();
        foreach (var person in persons.Split(' ')) found.UnionWith(Markers(await client.GetStringAsync(new Uri($"/api/v1/privacy/persons/{person}/export", UriKind.Relative))));
        return found;
    }

    [GeneratedRegex("ZQXMARK[0-9]+x")]
    private static partial Regex MarkerPattern();
}
