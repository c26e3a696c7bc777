using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Testing;
using Npgsql;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Replay;

public sealed class EventsExportTests : IAsyncLifetime
{
    private const string Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    private readonly HubStore _hub = new();
    private HubServer _server = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await HubServer.StartAsync(_hub);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_events_with_persons_When_exported_Then_each_is_read_again_as_the_same_event_without_them()
    {
        CloudEvent[] sent =
        [
            Event(new BirthRegistered(PartialDate.Parse("2026-11"), "1", Tinteniac) { Personal = new BirthPersonal(new Person("NOM-DE-PERSONNE")) }, "birth/2026/é/1", id: "naissance n° 1") with { TraceParent = Trace },
            Event(new ActCorrected(ActKind.Birth, PartialDate.Parse("2026"), PartialDate.Parse("2026-11-01")) { Personal = new AmendmentPersonal([new Person("NOM-DE-PERSONNE")]) }, "birth/2026/é/1"),
            Event(new InvoiceIssued(Slug.Parse("canteen"), new Cents(1), new(2026, 9, 30)), "i/1", Tinteniac) with { DataContentType = "application/json" },
            Event(new SchoolDeclared(Uai.Parse("0350122T"), "École \"des\\Lilas\" 😀", new SchoolYear(2026), [SchoolLevel.CP], 100), "0350122T"),
        ];
        await _hub.ArriveAsync(sent);

        using var file = await FileAsync("");
        Assert.Equal("application/jsonl", file.Content.Headers.ContentType?.ToString());
        Assert.Equal("evenements-243500733.jsonl", file.Content.Headers.ContentDisposition?.FileNameStar);
        Assert.Equal(["4"], file.Headers.GetValues("X-Hub-Position"));
        var lines = await LinesAsync(file);

        Assert.Equal(sent.Length, lines.Length);
        foreach (var (line, original) in lines.Zip(sent))
        {
            var json = JsonElement.Parse(line);
            Assert.True(EventReader.TryRead(json, original.Source.Commune, out var read, out var errors), string.Join(", ", errors));
            Assert.Equal(original.EventId, read.EventId);
            Assert.Equal((original.Id, original.Subject, original.Time, original.Type, original.TraceParent), (read.Envelope.Id, read.Envelope.Subject, read.Envelope.Time, read.Envelope.Type, read.Envelope.TraceParent));
            Assert.Equal((null, null), (read.Envelope.Journal, read.Envelope.Position));
            var facts = JsonSerializer.SerializeToNode(original.Data, ContractJson.Options)!.AsObject();
            facts.Remove("personal");
            Assert.True(JsonNode.DeepEquals(facts, JsonNode.Parse(json.GetProperty("data").GetRawText())), line);
        }

        // What the hub has, it does not take twice.
        var again = lines.Select(line => JsonElement.Parse(line).Deserialize<CloudEvent>(ContractJson.Options)!).ToArray();
        await _hub.ArriveAsync(again);
        Assert.Equal(["4"], await _hub.RowsAsync("SELECT count(*) FROM hub.mt_events"));
    }

    [Theory]
    [InlineData("from=2026-01-01&to=2026-01-31", "first last")]
    [InlineData("from=2026-01-01", "first last summer next")]
    [InlineData("to=2025-12-31", "before")]
    [InlineData("from=2026-07-01&to=2026-07-01", "summer")]
    [InlineData("from=0001-01-01&to=9999-12-31", "before first last summer next")]
    [InlineData("from=2026-03-01&to=2026-03-31", "")]
    public async Task Given_days_When_events_are_exported_Then_they_are_those_of_the_days_in_Paris(string query, string ids)
    {
        await AtAsync("before", "2025-12-31T23:59:59.9999+01:00");
        await AtAsync("first", "2025-12-31T23:00:00Z");
        await AtAsync("last", "2026-01-31T17:59:59-05:00");
        // Clocks are two hours ahead in summer.
        await AtAsync("summer", "2026-06-30T22:00:00Z");
        await AtAsync("next", "2026-07-01T22:00:00Z");
        Assert.Equal(ids, string.Join(' ', await IdsAsync(query)));
    }

    [Fact]
    public async Task Given_a_commune_and_a_type_When_events_are_exported_Then_they_are_those_of_both_in_the_order_of_the_store()
    {
        await AtAsync("2", "2026-01-02T12:00:00Z");
        await AtAsync("1", "2026-01-01T12:00:00Z");
        await AtAsync("3", "2026-01-03T12:00:00Z", Tinteniac);
        await _hub.ArriveAsync(Event(new InvoiceIssued(Slug.Parse("canteen"), new Cents(100), new(2026, 9, 30)), "i/1", id: "i"));

        Assert.Equal(["2", "1", "3", "i"], await IdsAsync(""));
        Assert.Equal(["2", "1", "i"], await IdsAsync("commune=35085"));
        Assert.Equal(["2", "1", "3"], await IdsAsync("type=fr.intercommunalite.civil-records.*"));
        Assert.Equal(["i"], await IdsAsync("commune=35085&type=fr.intercommunalite.payments.invoice-issued.v1"));
        using var named = await FileAsync("commune=35085&from=2026-01-01&to=2026-01-31");
        Assert.Equal("evenements-35085-2026-01-01-2026-01-31.jsonl", named.Content.Headers.ContentDisposition?.FileNameStar);
    }

    [Fact]
    public async Task Given_positions_far_apart_When_events_are_exported_Then_all_are_there()
    {
        await AtAsync("1", "2026-01-01T12:00:00Z");
        await RunAsync("SELECT setval('hub.mt_events_sequence', 35000)");
        await AtAsync("2", "2026-01-02T12:00:00Z");
        Assert.Equal(["1", "2"], await IdsAsync("from=2026-01-01"));
    }

    [Theory]
    [InlineData("from=2026-01")]
    [InlineData("to=2026-02-30")]
    [InlineData("from=2026-01-02&to=2026-01-01")]
    [InlineData("commune=35238")]
    [InlineData("type=fr.%")]
    [InlineData("type=*")]
    [InlineData("type=fr.intercommunalite.payments")]
    [InlineData("type=fr.intercommunalite.no-such.*")]
    public async Task Given_a_question_without_sense_Then_a_problem_says_why(string query)
    {
        using var answer = await FileAsync(query);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(1000)]
    public async Task Given_a_fault_in_the_middle_When_events_are_exported_Then_the_transfer_does_not_end_as_if_it_were_whole(int position)
    {
        await ManyAsync(1000);
        await RunAsync($$"""UPDATE hub.mt_events SET headers = '{"time": "2026-01-01T12:00:00Z"}' WHERE seq_id = {{position}}""");

        await Assert.ThrowsAnyAsync<HttpRequestException>(async () =>
        {
            using var file = await FileAsync("");
            Assert.Equal(HttpStatusCode.OK, file.StatusCode);
            await file.Content.ReadAsStringAsync();
        });
    }

    [Fact]
    public async Task Given_a_fault_at_once_When_events_are_exported_Then_the_answer_is_a_problem()
    {
        await ManyAsync(2);
        await RunAsync("""UPDATE hub.mt_events SET headers = '{"time": "2026-01-01T12:00:00Z"}' WHERE seq_id = 1""");

        using var answer = await FileAsync("");
        Assert.Equal(HttpStatusCode.InternalServerError, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        Assert.DoesNotContain("birth", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_reader_that_goes_away_When_the_query_runs_Then_it_is_ended()
    {
        await ManyAsync(1);
        await using var connection = await _hub.Database.OpenConnectionAsync();
        await using var transaction = await connection.BeginTransactionAsync();
        await using (var hold = new NpgsqlCommand("LOCK TABLE hub.mt_events IN ACCESS EXCLUSIVE MODE", connection, transaction)) await hold.ExecuteNonQueryAsync();

        using var gone = new CancellationTokenSource();
        var asked = FileAsync("", gone.Token);
        await Eventually.Equal(1, () => WaitingAsync(connection));
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asked);
        // Sooner than any statement would be given up by itself.
        await Eventually.Equal(0, () => WaitingAsync(connection), TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task Given_a_reader_that_stops_reading_and_goes_away_When_events_are_exported_Then_nothing_more_is_looked_for()
    {
        // More than the buffers hold on both ways, from the database and to the reader; then a way to the end that would take hours.
        await ManyAsync(9000, new string('€', 900));
        await RunAsync("SELECT setval('hub.mt_events_sequence', 1000000000000)");
        await AtAsync("last", "2026-01-01T12:00:00Z");
        await using var watch = new NpgsqlConnection(_hub.ConnectionString);
        await watch.OpenAsync();
        using (var file = await FileAsync("")) await Eventually.Equal(1, () => BusyAsync(watch, "state = 'active'"));
        await Eventually.Equal(0, () => BusyAsync(watch, "(state = 'active' OR state_change > clock_timestamp() - interval '1 s')"), TimeSpan.FromSeconds(20));
    }

    private static async Task<int> BusyAsync(NpgsqlConnection connection, string state)
    {
        await using var command = new NpgsqlCommand($"""
            SELECT count(*)::int FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%FROM hub.mt_events%' AND {state}
            """, connection);
        return (int)(await command.ExecuteScalarAsync())!;
    }

    private static async Task<int> WaitingAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand("SELECT count(*)::int FROM pg_locks WHERE relation = 'hub.mt_events'::regclass AND NOT granted", connection);
        return (int)(await command.ExecuteScalarAsync())!;
    }

    private Task<HttpResponseMessage> FileAsync(string query, CancellationToken cancellation = default) =>
        _server.GetAsync($"/api/v1/admin/events?{query}", cancellation);

    private async Task<string[]> IdsAsync(string query)
    {
        using var file = await FileAsync(query);
        return [.. (await LinesAsync(file)).Select(line => JsonElement.Parse(line).GetProperty("id").GetString()!)];
    }

    private static async Task<string[]> LinesAsync(HttpResponseMessage file)
    {
        Assert.Equal(HttpStatusCode.OK, file.StatusCode);
        var text = await file.Content.ReadAsStringAsync();
        Assert.DoesNotContain("NOM-DE-PERSONNE", text, StringComparison.Ordinal);
        Assert.True(text.Length == 0 || text.EndsWith('\n'));
        return text.Split('\n')[..^1];
    }

    private Task AtAsync(string id, string time, CommuneCode? commune = null) => _hub.ArriveAsync(
        Event(new BirthRegistered(PartialDate.Parse("2026-01-01"), "1"), $"birth/{id}", commune, id) with { Time = DateTimeOffset.Parse(time, System.Globalization.CultureInfo.InvariantCulture) });

    private async Task ManyAsync(int count, string number = "1")
    {
        foreach (var some in Enumerable.Range(0, count).Chunk(500))
            await _hub.ArriveAsync([.. some.Select(act => Event(new BirthRegistered(PartialDate.Parse("2026-01-01"), number), $"birth/2026/{act}"))]);
    }

    private async Task RunAsync(string sql)
    {
        await using var command = _hub.Database.CreateCommand(sql);
        await command.ExecuteNonQueryAsync();
    }
}
