using System.Net;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Testing;
using Npgsql;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.EventStore;

/// <summary>Figures as they were shown on a day, whatever came later.</summary>
public sealed class PastFiguresTests : IAsyncLifetime
{
    private const string Indicators = "civil-records/indicators?by=month";
    private const string Versions = "SELECT nspname FROM pg_namespace WHERE nspname ~ '_at_[0-9]+_' ORDER BY 1";

    private readonly HubStore _hub = new();
    private HubServer _server = null!;
    private long _dated;

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
    public async Task Given_figures_noted_on_a_day_When_all_is_corrected_later_and_rebuilt_Then_they_are_the_same_as_of_that_day()
    {
        string[] paths = [Indicators, "civil-records/indicators?basis=residence&by=commune", "schools/rolls?schoolYear=2026", "payments/summary?by=service"];
        var (school, year, day) = (Uai.Parse("0350122T"), new SchoolYear(2026), new DateOnly(2026, 9, 1));
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1", Tinteniac), "birth/1");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-03"), "2"), "birth/2");
        await _hub.ArriveAsync(new SchoolDeclared(school, "École", year, [SchoolLevel.CP], 20), "0350122T");
        await _hub.ArriveAsync(new PupilEnrolled(school, year, SchoolLevel.CP, Tinteniac, day), "e/1");
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(500), day), "invoice");
        await StoredAsync("2026-11-01 22:59:59");
        var noted = await AnswersAsync(paths);
        Assert.All(noted, answer => Assert.NotEmpty(answer["items"]!.AsArray()));

        await _hub.ArriveAsync(new ActCorrected(ActKind.Birth, PartialDate.Parse("2026-11-02"), PartialDate.Parse("2026-09-02"), ResidenceCommune: Combourg), "birth/1");
        await _hub.ArriveAsync(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026-11-02")), "birth/2");
        await _hub.ArriveAsync(new PupilWithdrawn(school, year, SchoolLevel.CP, Tinteniac, day), "e/1");
        await _hub.ArriveAsync(new PaymentCollected(new Cents(200), day, "invoice"), "payment");
        // The second of midnight in Paris: the next day.
        await StoredAsync("2026-11-01 23:00:00");
        var later = await AnswersAsync(paths);

        await AreAsync("2026-11-01", noted);
        await AreAsync("2026-11-01T22:59:59Z", noted);
        await AreAsync("2026-11-02T00:00:00+01:00", later);
        // A plus that was not escaped arrives as a space; what was meant is said and noted.
        Assert.Equal("2026-11-02T00:00:00+01:00", (string)(await AnswersAsync([$"{paths[0]}&asOf=2026-11-02T00:00:00+01:00"]))[0]["asOf"]!);
        Assert.Empty(await _hub.RowsAsync("SELECT 1 FROM audit.entry WHERE details::text LIKE '%00 01:00%'"));
        await _hub.RebuildAsync("civil-records");
        await AreAsync("2026-11-01", noted);
        await AreAsync("2026-11-02", later);
        Assert.Equal(6, (await _hub.RowsAsync(Versions)).Count);

        async Task AreAsync(string asOf, JsonNode[] expected)
        {
            var answers = await AnswersAsync([.. paths.Select(path => $"{path}&asOf={Uri.EscapeDataString(asOf)}")]);
            foreach (var (answer, then) in answers.Zip(expected))
            {
                Assert.Equal(asOf, (string)answer["asOf"]!);
                Assert.Equal(((long)then["position"]!, then["items"]!.ToJsonString()), ((long)answer["position"]!, answer["items"]!.ToJsonString()));
            }
        }
    }

    [Fact]
    public async Task Given_a_past_version_When_asked_for_again_and_by_many_at_once_Then_it_was_built_once()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");

        var answers = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => GetAsync($"{Indicators}&asOf=2026-11-01")));
        Assert.All(answers, answer => Assert.Equal(answers[0].ToJsonString(), answer.ToJsonString()));
        var asked = await _hub.RowsAsync("SELECT projection, position, ready, asked_at::text FROM replay.past");
        Assert.StartsWith("civil-records 1 True", Assert.Single(asked), StringComparison.Ordinal);

        // When it was last used is noted now and then, not at every look.
        await _hub.RowsAsync("UPDATE replay.past SET used_at = asked_at + interval '1 h'");
        await _hub.RowsAsync($"UPDATE {Indicator(1)} SET births = 77");
        Assert.Equal(77, (int)(await GetAsync("civil-records/indicators?by=year&asOf=2026-11-02"))["items"]![0]!["births"]!);
        Assert.Equal(asked, await _hub.RowsAsync("SELECT projection, position, ready, asked_at::text FROM replay.past WHERE used_at = asked_at + interval '1 h'"));
        await _hub.RowsAsync("UPDATE replay.past SET used_at = now() - interval '11 s'");
        await GetAsync("civil-records/indicators?by=year&asOf=2026-11-02");
        Assert.Equal(["True"], await _hub.RowsAsync("SELECT used_at > now() - interval '10 s' FROM replay.past"));

        // Who looked back, at what and to when, is on record once an hour, however often it was asked for.
        string[] looks = ["/api/v1/civil-records/indicators 2026-11-01 1", "/api/v1/civil-records/indicators 2026-11-02 1"];
        Assert.Equal(looks, await LooksAsync());
        await GetAsync("civil-records/indicators?by=year&asOf=2026-11-02&comparedWith=now");
        _hub.Clock.Now += TimeSpan.FromHours(1);
        await GetAsync("civil-records/indicators?by=year&asOf=2026-11-02");
        Assert.Equal([looks[0], looks[1].Replace(" 1", " 3", StringComparison.Ordinal)], await LooksAsync());

        Task<IReadOnlyList<string>> LooksAsync() => _hub.RowsAsync("SELECT subject || ' ' || (details::jsonb ->> 'asOf') || ' ' || count(*) FROM audit.entry WHERE act = 'figures.looked-back' GROUP BY subject, details::jsonb ->> 'asOf' ORDER BY 1");
    }

    [Fact]
    public async Task Given_a_version_of_another_build_of_the_hub_When_asked_for_Then_this_one_makes_its_own_and_that_of_the_other_stays_as_long_as_it_is_used()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        await GetAsync($"{Indicators}&asOf=2026-11-01");
        var (own, other) = (FiguresVersion.At(1), FiguresVersion.At(1, "other"));
        await _hub.RowsAsync($"UPDATE {Indicator(1)} SET births = 77");
        await _hub.RowsAsync($"ALTER SCHEMA civil_records{own.Suffix} RENAME TO civil_records{other.Suffix}");
        await _hub.RowsAsync($"UPDATE hub.mt_event_progression SET name = '{other.Shard("civil-records")}' WHERE name = '{own.Shard("civil-records")}'");
        await _hub.RowsAsync("UPDATE replay.past SET build = 'other'");

        Assert.Equal(1, (int)(await GetAsync($"{Indicators}&asOf=2026-11-02"))["items"]![0]!["births"]!);
        Assert.Equal(["77"], await _hub.RowsAsync($"SELECT births FROM {other.Of("civil_records.indicator")} WHERE births > 0"));

        await _hub.RowsAsync("UPDATE replay.past SET used_at = now() - interval '2 h' WHERE build = 'other'");
        await GetAsync("payments/summary?asOf=2026-11-02");
        await Eventually.Equal($"civil_records{own.Suffix} payments{own.Suffix}", async () => string.Join(" ", await _hub.RowsAsync(Versions)));
        Assert.Equal("2", (await _hub.RowsAsync("SELECT count(*) FROM replay.past")).Single());
    }

    [Fact]
    public async Task Given_a_statement_that_is_ended_while_a_version_is_built_Then_it_is_gone_on_with_and_no_error_is_kept()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        await GetAsync($"{Indicators}&asOf=2026-11-01");
        await _hub.RowsAsync("UPDATE replay.past SET ready = false");
        Task<HttpResponseMessage> asked;
        await using (var other = new NpgsqlConnection(_hub.NodeConnectionString("other")))
        {
            await other.OpenAsync();
            await using var holding = await other.BeginTransactionAsync();
            await using (var hold = new NpgsqlCommand($"LOCK TABLE {Indicator(1)} IN ACCESS EXCLUSIVE MODE", other)) await hold.ExecuteNonQueryAsync();
            asked = _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");
            await Eventually.Is(
                () => _hub.RowsAsync("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'ANALYZE%' AND wait_event_type = 'Lock' AND datname = current_database()"),
                ended => ended.Count == 1);
        }

        using (var answer = await asked) Assert.True(answer.StatusCode is HttpStatusCode.OK or HttpStatusCode.ServiceUnavailable, $"{answer.StatusCode}");
        var status = await Eventually.Is(StatusAsync, status => status != HttpStatusCode.ServiceUnavailable);
        Assert.Equal(HttpStatusCode.OK, status);
        Assert.Equal(["-"], await _hub.RowsAsync("SELECT error FROM replay.past"));

        async Task<HttpStatusCode> StatusAsync()
        {
            using var answer = await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");
            return answer.StatusCode;
        }
    }

    [Fact]
    public async Task Given_a_version_that_cannot_be_built_for_now_When_others_are_asked_for_Then_they_are_built_and_it_says_why_it_is_not()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/2");
        await StoredAsync("2026-11-02 10:00");
        await GetAsync($"{Indicators}&asOf=2026-11-01");
        await _hub.RowsAsync($"DROP TABLE {Indicator(1)}");
        await _hub.RowsAsync("UPDATE replay.past SET ready = false");

        var failing = _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");
        await Eventually.Is(() => _hub.RowsAsync("SELECT tries FROM replay.past"), tries => tries is [not "-"]);
        Assert.Equal(2, (int)(await GetAsync($"{Indicators}&asOf=2026-11-02"))["items"]![0]!["births"]!);
        await SaysWhyAsync(await failing, HttpStatusCode.ServiceUnavailable);

        await _hub.RowsAsync("UPDATE replay.past SET tries = 9 WHERE NOT ready");
        await SaysWhyAsync(await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01"), HttpStatusCode.InternalServerError);

        // After a while it is made anew.
        await _hub.RowsAsync("UPDATE replay.past SET asked_at = now() - interval '11 s' WHERE NOT ready");
        await GetAsync("payments/summary?asOf=2026-11-02");
        Assert.Equal(1, (int)(await GetAsync($"{Indicators}&asOf=2026-11-01"))["items"]![0]!["births"]!);

        static async Task SaysWhyAsync(HttpResponseMessage answer, HttpStatusCode status)
        {
            using (answer)
            {
                Assert.Equal(status, answer.StatusCode);
                Assert.Contains("indicator\" does not exist", (string)JsonNode.Parse(await answer.Content.ReadAsStringAsync())!["detail"]!, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task Given_versions_that_no_build_knows_any_longer_When_tidied_Then_they_are_dropped_with_their_positions_and_nothing_else()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        foreach (var schema in (string[])["civil_records_at_1", "waste_at_12_0123456789ab", "meetings_at_2024"]) await _hub.RowsAsync($"CREATE SCHEMA {schema}");
        await _hub.RowsAsync("INSERT INTO hub.mt_event_progression (name, last_seq_id) VALUES ('civil-records:at_1', 1), ('waste:at_12_0123456789ab', 12)");

        await GetAsync($"{Indicators}&asOf=2026-11-01");

        Assert.Equal([$"civil-records:{FiguresVersion.At(1).Suffix[1..]}"], await _hub.RowsAsync("SELECT name FROM hub.mt_event_progression WHERE name LIKE '%:at%'"));
        Assert.Equal([$"civil_records{FiguresVersion.At(1).Suffix}", "meetings_at_2024"], await _hub.RowsAsync("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%\\_at\\_%' ORDER BY 1"));
    }

    [Fact]
    public async Task Given_more_days_than_are_kept_When_asked_for_Then_those_used_last_are_kept()
    {
        for (var day = 1; day <= PastVersions.MostKept + 3; day++)
        {
            await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), $"birth/{day}");
            await StoredAsync($"2026-11-0{day} 10:00");
            Assert.Equal(day, (int)(await GetAsync($"{Indicators}&asOf=2026-11-0{day}"))["items"]![0]!["births"]!);
            Assert.Equal(1, (int)(await GetAsync($"{Indicators}&asOf=2026-11-01"))["items"]![0]!["births"]!);
        }

        await Eventually.Equal(PastVersions.MostKept, async () => (await _hub.RowsAsync(Versions)).Count);
        Assert.Contains($"civil_records{FiguresVersion.At(1).Suffix}", await _hub.RowsAsync(Versions));
        Assert.DoesNotContain($"civil_records{FiguresVersion.At(2).Suffix}", await _hub.RowsAsync(Versions));
        Assert.Equal($"{PastVersions.MostKept}", (await _hub.RowsAsync("SELECT count(*) FROM hub.mt_event_progression WHERE name LIKE '%:at_%'")).Single());
    }

    [Fact]
    public async Task Given_a_version_that_takes_long_When_asked_for_Then_the_answer_says_how_far_it_is_and_comes_later()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        // As another node would that builds.
        await using (var other = new NpgsqlConnection(_hub.NodeConnectionString("other")))
        {
            await other.OpenAsync();
            await using (var hold = new NpgsqlCommand("SELECT pg_advisory_lock(1870246)", other)) await hold.ExecuteNonQueryAsync();
            using var early = await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");

            Assert.Equal(HttpStatusCode.ServiceUnavailable, early.StatusCode);
            Assert.Equal(TimeSpan.FromSeconds(5), early.Headers.RetryAfter?.Delta);
            var problem = JsonNode.Parse(await early.Content.ReadAsStringAsync())!;
            Assert.Equal((0, 1, 0.0), ((long)problem["position"]!, (long)problem["target"]!, (double)problem["percent"]!));
        }

        Assert.Equal(1, (int)(await GetAsync($"{Indicators}&asOf=2026-11-01"))["items"]![0]!["births"]!);
    }

    [Fact]
    public async Task Given_two_days_When_compared_Then_each_item_has_both_and_the_difference()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await _hub.ArriveAsync(new DeathRegistered(PartialDate.Parse("2026-10-02"), "1"), "death/1", Tinteniac);
        await StoredAsync("2026-11-01 10:00");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-09"), "2"), "birth/2");
        await _hub.ArriveAsync(new ActAnnulled(ActKind.Death, PartialDate.Parse("2026-11-02")), "death/1", Tinteniac);
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-01"), "3"), "birth/3");
        await StoredAsync("2026-11-10 10:00");

        const string Nothing = "\"recognitions\":0,\"marriages\":0,\"pacs\":0";
        var items = $$$"""
            [{"commune":"35085","period":"2026-10","asOf":{"births":1,{{{Nothing}}},"deaths":0,"nameChanges":0},"comparedWith":{"births":2,{{{Nothing}}},"deaths":0,"nameChanges":0},"difference":{"births":1,{{{Nothing}}},"deaths":0,"nameChanges":0}},
            {"commune":"35085","period":"2026-11","asOf":null,"comparedWith":{"births":1,{{{Nothing}}},"deaths":0,"nameChanges":0},"difference":{"births":1,{{{Nothing}}},"deaths":0,"nameChanges":0}},
            {"commune":"35337","period":"2026-10","asOf":{"births":0,{{{Nothing}}},"deaths":1,"nameChanges":0},"comparedWith":null,"difference":{"births":0,{{{Nothing}}},"deaths":-1,"nameChanges":0}}]
            """.ReplaceLineEndings("");
        foreach (var second in (string[])["now", "2026-11-10"])
        {
            var answer = await GetAsync($"{Indicators}&asOf=2026-11-01&comparedWith={second}");
            Assert.Equal($$"""{"position":2,"asOf":"2026-11-01","comparedWith":{"asOf":"{{second}}","position":5},"items":{{items}}}""", answer.ToJsonString());
        }

        using var file = await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01&comparedWith=now&format=csv&commune=35337");
        Assert.Equal("etat-civil-enregistrement-35337-au-2026-11-01-et-aujourd’hui.csv", file.Content.Headers.ContentDisposition?.FileNameStar);
        Assert.Equal(["2"], file.Headers.GetValues("X-Hub-Position"));
        var lines = (await file.Content.ReadAsStringAsync()).Split("\r\n");
        Assert.Contains(";Décès au 01/11/2026;Décès aujourd’hui;Décès, écart;", lines[0], StringComparison.Ordinal);
        Assert.Equal("35337;Tinténiac;2026-10;0;;0;0;;0;0;;0;0;;0;1;;-1;0;;0", lines[1]);
    }

    [Fact]
    public async Task Given_a_past_day_When_asked_for_as_csv_Then_the_files_name_and_titles_say_so()
    {
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(512), new DateOnly(2026, 9, 1)), "invoice");
        await StoredAsync("2026-11-01 10:00");

        using var file = await _server.GetAsync("/api/v1/payments/summary?by=commune&format=csv&asOf=2026-11-01T12:00:00Z");

        Assert.Equal("recettes-243500733-au-2026-11-01-13h00.csv", file.Content.Headers.ContentDisposition?.FileNameStar);
        var lines = (await file.Content.ReadAsStringAsync()).Split("\r\n");
        Assert.Contains(";Période;Émis (€) au 01/11/2026 à 13:00;", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("35085;Combourg;;;5,12;", lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_day_before_the_first_event_Then_there_are_no_figures_at_position_0()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");

        Assert.Equal("""{"position":0,"asOf":"2026-10-31","items":[]}""", (await GetAsync($"{Indicators}&asOf=2026-10-31")).ToJsonString());
        Assert.Equal("""{"position":0,"asOf":"0001-01-01","items":[]}""", (await GetAsync($"{Indicators}&asOf=0001-01-01")).ToJsonString());
        Assert.Empty(await _hub.RowsAsync(Versions));
    }

    [Fact]
    public async Task Given_an_event_that_cannot_be_applied_When_a_day_after_it_is_asked_for_Then_it_is_said()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        await _hub.RowsAsync("""UPDATE hub.mt_events SET data = '{"date": 7}'""");

        using var answer = await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");

        Assert.Equal(HttpStatusCode.InternalServerError, answer.StatusCode);
        Assert.Contains("cannot be applied", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_event_that_cannot_be_applied_When_it_is_met_long_after_the_day_was_asked_for_Then_it_is_said_and_not_begun_anew_at_once()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-10-02"), "1"), "birth/1");
        await StoredAsync("2026-11-01 10:00");
        await _hub.RowsAsync("""UPDATE hub.mt_events SET data = '{"date": 7}'""");
        // As if it had been asked for an hour ago: to build a large one takes its time.
        await _hub.RowsAsync("CREATE FUNCTION replay.long_ago() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.asked_at := now() - interval '1 h'; RETURN NEW; END $$");
        await _hub.RowsAsync("CREATE TRIGGER long_ago BEFORE INSERT ON replay.past FOR EACH ROW EXECUTE FUNCTION replay.long_ago()");

        using var answer = await _server.GetAsync($"/api/v1/{Indicators}&asOf=2026-11-01");

        Assert.Equal(HttpStatusCode.InternalServerError, answer.StatusCode);
        Assert.Single(await _hub.RowsAsync("SELECT error FROM replay.past"));
    }

    [Fact]
    public async Task Given_a_time_of_the_last_minute_Then_it_says_when_it_can_be_asked_for()
    {
        foreach (var (query, seconds) in new[] { ("asOf=2026-11-24T09:29:10Z", 10), ("asOf=2026-11-24T10:30:00%2B01:00", 60), ("asOf=2026-11-01&comparedWith=2026-11-24T09:29:59Z", 59) })
        {
            using var answer = await _server.GetAsync($"/api/v1/{Indicators}&{query}");

            Assert.Equal((query, HttpStatusCode.Conflict, TimeSpan.FromSeconds(seconds)), (query, answer.StatusCode, answer.Headers.RetryAfter?.Delta));
            Assert.Contains($"Ask again in {seconds} s.", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        await GetAsync($"{Indicators}&asOf=2026-11-24T09:29:00Z");
    }

    [Fact]
    public async Task Given_a_time_without_sense_Then_it_says_what_is_expected()
    {
        (string Query, string Expected)[] all =
        [
            ("asOf=yesterday", "asOf: a day YYYY-MM-DD"),
            ("asOf=2026-11-01T10:00:00", "asOf: a day YYYY-MM-DD"),
            ("asOf=now", "asOf: a day YYYY-MM-DD"),
            ("asOf=2026-11-01%00", "asOf: a day YYYY-MM-DD"),
            ("asOf=2026-11-24", "asOf: a day that has ended"),
            ("asOf=9999-12-31", "asOf: a day that has ended"),
            ("asOf=2026-11-24T09:30:01Z", "asOf: a day that has ended"),
            ("comparedWith=now", "comparedWith: goes with asOf"),
            ("asOf=2026-11-01&comparedWith=2027-01-01", "comparedWith: a day that has ended"),
            ("asOf=2026-11-01&minPosition=3", "minPosition: goes with the figures of now"),
        ];
        foreach (var (query, expected) in all)
        {
            using var answer = await _server.GetAsync($"/api/v1/{Indicators}&{query}");

            Assert.Equal((query, HttpStatusCode.BadRequest), (query, answer.StatusCode));
            Assert.Contains(expected, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
    }

    private static string Indicator(long position) => FiguresVersion.At(position).Of("civil_records.indicator");

    // What arrived since the last call was stored at this time, and is in the figures. The store writes UTC, whatever the session's time zone.
    private async Task StoredAsync(string time)
    {
        await _hub.RowsAsync($"UPDATE hub.mt_events SET timestamp = '{time}' WHERE seq_id > {_dated}");
        _dated = long.Parse((await _hub.RowsAsync("SELECT max(seq_id) FROM hub.mt_events")).Single(), System.Globalization.CultureInfo.InvariantCulture);
        await _hub.ProjectAsync();
    }

    private async Task<JsonNode[]> AnswersAsync(string[] paths)
    {
        var answers = new List<JsonNode>();
        foreach (var path in paths) answers.Add(await GetAsync(path));
        return [.. answers];
    }

    private async Task<JsonNode> GetAsync(string path)
    {
        using var answer = await _server.GetAsync($"/api/v1/{path}");
        var body = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == HttpStatusCode.OK, body);
        return JsonNode.Parse(body)!;
    }
}
