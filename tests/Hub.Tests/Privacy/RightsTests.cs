using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;
using Xunit;
using Xunit.Abstractions;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Privacy;

public sealed class RightsTests(ITestOutputHelper output) : IAsyncLifetime
{
    private static readonly Person s_zoe = new("MARQUEUR", "Zoé Anne", BirthDate: PartialDate.Parse("1979-03-07"), Address: "1 rue <du> Marqueur");

    private readonly HubStore _hub = new();
    private readonly List<HubStore> _others = [];
    private HubServer _server = null!;

    public async Task InitializeAsync()
    {
        await _hub.InitializeAsync();
        _server = await HubServer.StartAsync(_hub);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        foreach (var other in _others) await other.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_a_whole_identity_When_searched_Then_the_person_is_found_at_once_by_an_opaque_id()
    {
        await _hub.ArriveAsync(Invoice(s_zoe), "1");
        await _hub.ArriveAsync(Invoice(s_zoe with { LastName = "Marqueur", FirstNames = "ZOE ANNE" }), "2", Tinteniac);
        await _hub.ArriveAsync(Invoice(s_zoe with { BirthDate = PartialDate.Parse("1979-03-08") }), "3");

        var found = Assert.Single((await SearchAsync(new { lastName = "marqueur", firstNames = "zoé-anne", birthDate = "1979-03-07" }))["persons"]!.AsArray())!;
        Assert.Equal(2, (int)found["events"]!["fr.intercommunalite.payments.invoice-issued.v1"]!);
        Assert.Equal(["35085", "35337"], found["communes"]!.AsArray().Select(commune => (string)commune!));
        Assert.Empty((await SearchAsync(new { lastName = "marqueur", firstNames = "zoé", birthDate = "1979-03-07" }))["persons"]!.AsArray());
        Assert.Equal(["privacy.person-found", "privacy.person-not-found"], (await AuditAsync()).Select(entry => entry.Act));
    }

    [Fact]
    public async Task Given_partial_knowledge_When_searched_Then_what_is_held_is_looked_through_page_by_page()
    {
        await _hub.ArriveAsync(Invoice(new("MARQUEUR", UsualName: "Dupont")), "1");
        await _hub.ArriveAsync(Invoice(s_zoe), "2", Tinteniac);
        await _hub.ArriveAsync(Invoice(new("MARQUEUR", "Paul", BirthDate: PartialDate.Parse("1979"))), "3", Tinteniac);
        await FillAsync(PersonSearch.Page);

        Assert.Equal(3, (await SearchAllAsync(new JsonObject { ["lastName"] = "Marqueur" })).Count);
        Assert.Single(await SearchAllAsync(new JsonObject { ["lastName"] = "DUPONT" }));
        Assert.Equal(2, (await SearchAllAsync(new JsonObject { ["lastName"] = "Marqueur", ["commune"] = "35337" })).Count);
        Assert.Equal(["Zoé Anne"], (await SearchAllAsync(new JsonObject { ["lastName"] = "Marqueur", ["firstNames"] = "zoe", ["commune"] = "35337" })).Select(found => (string)found["firstNames"]!));
        Assert.Equal(2, (await SearchAllAsync(new JsonObject { ["lastName"] = "Marqueur", ["birthDate"] = "1979-04" })).Count);
    }

    [Fact]
    public async Task Given_a_person_When_exported_Then_all_that_is_held_is_told_with_source_purpose_end_and_recipients_and_nothing_of_others()
    {
        var birth = Event(new BirthRegistered(PartialDate.Parse("2026-11-20"), "77") { Personal = new(new("ENFANT", "Tom"), [s_zoe]) }, "birth/77");
        await _hub.ArriveAsync(birth);
        await _hub.ArriveAsync(Invoice(s_zoe), "invoice/1");
        var person = await PersonAsync();
        await using (var connection = await _hub.Database.OpenConnectionAsync())
            await Disclosures.RecordAsync(connection, [new(person, birth.EventId, "caf-35", "agreement-1/2", Now), new(person, birth.EventId, "caf-35", "agreement-1/2", Now.AddDays(1))], CancellationToken.None);

        var held = await GetAsync($"persons/{person}");
        Assert.DoesNotContain("MARQUEUR", held.ToJsonString(), StringComparison.OrdinalIgnoreCase);
        Assert.Equal(["parents.0", "debtor"], held["events"]!.AsArray().SelectMany(one => one!["paths"]!.AsArray()).Select(path => (string)path!).OrderDescending());

        var export = await GetAsync($"persons/{person}/export");
        var first = export["events"]!.AsArray().Single(one => (string)one!["subject"]! == "birth/77")!;
        Assert.Equal("1 rue <du> Marqueur", (string)first["data"]!["parents.0"]!["address"]!);
        Assert.Equal("77", (string)first["facts"]!["actNumber"]!);
        Assert.Equal("urn:insee:commune:35085:test", (string)first["source"]!);
        Assert.Contains("Code civil", (string)first["ground"]!, StringComparison.Ordinal);
        Assert.Equal(Now.AddMonths(12), (DateTimeOffset)first["keepUntil"]!);
        Assert.Equal(["caf-35 agreement-1/2"], export["disclosures"]!.AsArray().Select(one => $"{one!["recipient"]} {one["agreement"]}"));
        Assert.DoesNotContain("ENFANT", export.ToJsonString(), StringComparison.Ordinal);

        using var page = await _server.GetAsync($"/api/v1/privacy/persons/{person}/export?format=html");
        var html = await page.Content.ReadAsStringAsync();
        Assert.Equal("text/html", page.Content.Headers.ContentType?.MediaType);
        Assert.Contains("1 rue &lt;du&gt; Marqueur", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<du>", html, StringComparison.Ordinal);
        Assert.DoesNotContain("ENFANT", html, StringComparison.Ordinal);
        Assert.Contains("Naissance enregistrée", html, StringComparison.Ordinal);
        Assert.Contains("caf-35", html, StringComparison.Ordinal);
        Assert.DoesNotContain("http", html.Replace("https://", "http", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Equal(["privacy.person-found", "privacy.person-seen", "privacy.person-exported", "privacy.person-exported"], (await AuditAsync()).Select(entry => entry.Act));
        Assert.All(await AuditAsync(), entry => Assert.Equal(("test", person.ToString()), (entry.Who, entry.Subject)));
    }

    [Fact]
    public async Task Given_a_wrong_name_When_rectified_Then_the_person_is_found_by_the_right_one_and_the_commune_is_to_be_told()
    {
        var invoice = Event(Invoice(s_zoe), "invoice/1");
        await _hub.ArriveAsync(invoice);
        var person = await PersonAsync();

        using var wrong = await PostAsync($"persons/{person}/rectifications", new { @event = invoice.EventId, path = "debtor", person = new { nickname = "MARQUEUR" }, reason = "r" });
        Assert.Equal(HttpStatusCode.UnprocessableEntity, wrong.StatusCode);
        Assert.DoesNotContain("MARQUEUR", await wrong.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        using var elsewhere = await PostAsync($"persons/{person}/rectifications", new { @event = invoice.EventId, path = "child", person = new { lastName = "X" }, reason = "r" });
        Assert.Equal(HttpStatusCode.NotFound, elsewhere.StatusCode);

        using var done = await PostAsync($"persons/{person}/rectifications", new { @event = invoice.EventId, path = "debtor", person = new { firstNames = "Zoé", address = (string?)null }, reason = "first name" });
        Assert.Equal(HttpStatusCode.OK, done.StatusCode);
        var answer = (await done.Content.ReadFromJsonAsync<JsonNode>())!;
        Assert.Equal(("35085", "invoice/1"), ((string)answer["commune"]!, (string)answer["subject"]!));
        Assert.Equal((Guid)answer["person"]!, await PersonAsync("Zoé"));
        var data = (await GetAsync($"persons/{answer["person"]}/export"))["events"]![0]!["data"]!["debtor"]!;
        Assert.Equal("""{"lastName":"MARQUEUR","firstNames":"Zoé","birthDate":"1979-03-07"}""", data.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }));
        Assert.Equal("""{"event":"E","path":"debtor","fields":["firstNames","address"],"person":"P"}""", Assert.Single(await AuditAsync(), entry => entry.Act == "privacy.person-rectified").Details!
            .Replace($"{invoice.EventId}", "E", StringComparison.Ordinal).Replace($"{answer["person"]}", "P", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Given_a_hold_or_a_legal_ground_When_erasure_is_asked_for_Then_it_is_refused_and_that_is_kept()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        var person = await PersonAsync();

        using (var refused = await PostAsync($"persons/{person}/erasure", new { legalGroundForRefusing = "CGCT, art. L1617-5" })) Assert.False((bool)(await refused.Content.ReadFromJsonAsync<JsonNode>())!["erased"]!);
        using (var held = await PostAsync($"persons/{person}/holds", new { reason = "court case" })) Assert.Equal(HttpStatusCode.OK, held.StatusCode);
        using (var erased = await PostAsync($"persons/{person}/erasure", new { reason = "asked" })) Assert.Equal(HttpStatusCode.Conflict, erased.StatusCode);
        _hub.Clock.Now = Now.AddMonths(61);
        Assert.Empty((await GetAsync("retention"))["items"]!.AsArray());
        using (var run = await PostAsync("retention/run", new { })) Assert.Equal(0, (int)(await run.Content.ReadFromJsonAsync<JsonNode>())!["parts"]!);
        var file = await GetAsync($"persons/{person}");
        Assert.Equal(("CGCT, art. L1617-5", "court case"), ((string)file["refusals"]![0]!["ground"]!, (string)file["holds"]![0]!["reason"]!));

        using (var released = await _server.Client.DeleteAsync(new Uri($"/api/v1/privacy/persons/{person}/holds", UriKind.Relative))) Assert.Equal(HttpStatusCode.OK, released.StatusCode);
        using (var run = await PostAsync("retention/run", new { })) Assert.Equal(1, (int)(await run.Content.ReadFromJsonAsync<JsonNode>())!["persons"]!);
        using (var gone = await _server.GetAsync($"/api/v1/privacy/persons/{person}")) Assert.Equal(HttpStatusCode.NotFound, gone.StatusCode);
    }

    [Fact]
    public async Task Given_data_past_its_time_Then_the_dry_run_says_what_goes_and_the_run_deletes_it_with_the_keys_and_no_figure_changes()
    {
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1") { Personal = new(new("ENFANT"), [s_zoe]) }, "birth/1");
        await _hub.ArriveAsync(Invoice(s_zoe), "invoice/1");
        var refused = await _hub.StoreAsync(Incoming(Event(Invoice(s_zoe), "r", CommuneCode.Parse("35238")), Guid.NewGuid(), 1));
        Assert.Single(refused.Quarantined);
        await _hub.ProjectAsync();
        var figures = await _hub.RowsAsync("SELECT * FROM civil_records.act");
        _hub.Clock.Now = Now.AddMonths(13);

        Assert.Equal(["fr.intercommunalite.civil-records.birth-registered.v1 35085 1 2"], (await GetAsync("retention"))["items"]!.AsArray().Select(due => $"{due!["type"]} {due["commune"]} {due["events"]} {due["parts"]}"));
        using (var run = await PostAsync("retention/run", new { })) Assert.Equal("""{"parts":2,"persons":1,"quarantined":0}""", await run.Content.ReadAsStringAsync());
        Assert.Equal(["debtor"], await _hub.RowsAsync("SELECT path FROM privacy.personal_data"));
        _hub.Clock.Now = Now.AddMonths(61);
        using (var run = await PostAsync("retention/run", new { })) Assert.Equal("""{"parts":1,"persons":1,"quarantined":1}""", await run.Content.ReadAsStringAsync());
        Assert.Equal(["discarded -"], await _hub.RowsAsync("SELECT state, event FROM ingestion.quarantine"));
        Assert.Equal(0, await _hub.Services.GetRequiredService<KeyVault>().CountAsync(CancellationToken.None));
        await _hub.RebuildAsync("civil-records");
        Assert.Equal(figures, await _hub.RowsAsync("SELECT * FROM civil_records.act"));
    }

    [Fact]
    public async Task Given_100000_persons_and_a_backup_When_one_is_erased_Then_neither_the_database_nor_the_restored_backup_shows_that_one_and_the_others_stay()
    {
        await _hub.ArriveAsync(Invoice(s_zoe), "1");
        await _hub.ArriveAsync(Invoice(s_zoe with { FirstNames = "Paul" }), "2");
        var (zoe, paul) = (await PersonAsync(), await PersonAsync("Paul"));
        var backup = await Dump.BackUpAsync(_hub.ConnectionString);
        await FillAsync(100_000);

        var begin = Stopwatch.GetTimestamp();
        using (var erased = await PostAsync($"persons/{zoe}/erasure", new { reason = "asked" }))
        {
            var took = Stopwatch.GetElapsedTime(begin);
            output.WriteLine($"Erasing one of 100,000 persons took {took.TotalMilliseconds:0} ms.");
            Assert.Equal(1, (int)(await erased.Content.ReadFromJsonAsync<JsonNode>())!["parts"]!);
        }

        await NoZoeAsync(_server, zoe, paul);
        using (var again = await PostAsync($"persons/{zoe}/erasure", new { reason = "asked" })) Assert.Equal(HttpStatusCode.NotFound, again.StatusCode);

        // The hub's database as it was before, with the keys as they are now.
        await using var copy = await TestDatabase.CreateAsync();
        await Dump.RestoreAsync(copy.ConnectionString, backup);
        var restored = await RestoredAsync(copy.ConnectionString, _hub.KeysConnectionString);
        Assert.Equal(2L, await copy.ScalarAsync("SELECT count(*) FROM privacy.personal_data"));
        await using var server = await HubServer.StartAsync(restored);
        await NoZoeAsync(server, zoe, paul);
        // And it learns that it was erased: the row goes too.
        Assert.Equal(1, await restored.Services.GetRequiredService<Forgetting>().ReconcileAsync(CancellationToken.None));
        Assert.Equal(paul, await copy.ScalarAsync("SELECT person FROM privacy.personal_data"));
        Assert.Equal(0, await restored.Services.GetRequiredService<Forgetting>().ReconcileAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Given_an_older_copy_of_the_keys_is_put_back_Then_whoever_was_erased_since_is_erased_again_and_the_others_can_be_read()
    {
        await _hub.ArriveAsync(Invoice(s_zoe), "1");
        await _hub.ArriveAsync(Invoice(s_zoe with { FirstNames = "Paul" }), "2");
        var (zoe, paul) = (await PersonAsync(), await PersonAsync("Paul"));
        var (rows, keys) = (await Dump.BackUpAsync(_hub.ConnectionString), await Dump.BackUpAsync(_hub.KeysConnectionString));
        using (var erased = await PostAsync($"persons/{zoe}/erasure", new { reason = "asked" })) Assert.Equal(HttpStatusCode.OK, erased.StatusCode);

        await using var copy = await TestDatabase.CreateAsync();
        await Dump.RestoreAsync(copy.KeysConnectionString, keys);
        var restored = await RestoredAsync(_hub.ConnectionString, copy.KeysConnectionString);
        Assert.Equal(1, await restored.Services.GetRequiredService<Forgetting>().ReconcileAsync(CancellationToken.None));
        await using (var server = await HubServer.StartAsync(restored)) await NoZoeAsync(server, zoe, paul);

        // Not even a copy of the rows from before is readable with those keys now.
        await Dump.RestoreAsync(copy.ConnectionString, rows);
        var both = await RestoredAsync(copy.ConnectionString, copy.KeysConnectionString);
        await using var older = await HubServer.StartAsync(both);
        await NoZoeAsync(older, zoe, paul);
    }

    [Fact]
    public async Task Given_events_of_a_person_keep_coming_When_the_person_is_erased_again_and_again_Then_all_that_came_afterwards_can_be_read_and_nothing_from_before()
    {
        // Two nodes ingest events of the same person, a third one erases it.
        var second = await RestoredAsync(_hub.ConnectionString, _hub.KeysConnectionString);
        var rights = _hub.Services.GetRequiredService<Rights>();
        var (erasures, ended) = (0, false);
        var erasing = Task.Run(async () =>
        {
            while (!Volatile.Read(ref ended))
            {
                foreach (var person in (await _hub.RowsAsync("SELECT DISTINCT person FROM privacy.personal_data")).Select(Guid.Parse))
                {
                    if ((await rights.EraseAsync(person, "dpo", "again", CancellationToken.None)).Outcome == Erasure.Erased) erasures++;
                }
            }
        });
        (HubStore Node, CommuneCode Commune)[] nodes = [(_hub, Combourg), (second, Tinteniac)];
        await Task.WhenAll(nodes.Select(node => Task.Run(async () =>
        {
            var journal = Guid.NewGuid();
            for (var position = 1; position <= 150; position++) await node.Node.StoreAsync(Incoming(Event(Invoice(s_zoe), $"{position}", node.Commune), journal, position));
        })));
        Volatile.Write(ref ended, true);
        await erasing;

        Assert.True(erasures > 1, $"{erasures} erasures");
        Assert.Equal(["300"], await _hub.RowsAsync("SELECT count(*) FROM hub.mt_events"));
        // What is there is readable, every row of it; there is one person at most, and no key of another.
        var rows = await _hub.RowsAsync("SELECT count(*), count(DISTINCT person) FROM privacy.personal_data");
        await _hub.ArriveAsync(Invoice(s_zoe), "last");
        var last = await GetAsync($"persons/{await PersonAsync()}");
        Assert.Equal(int.Parse(rows[0].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture) + 1, last["events"]!.AsArray().Count);
        Assert.Equal(1, await _hub.Services.GetRequiredService<KeyVault>().CountAsync(CancellationToken.None));
        Assert.Equal([$"{erasures} {erasures}"], await _hub.RowsAsync("SELECT count(*), count(key_gone_at) FROM privacy.forgotten WHERE erased"));
    }

    [Fact]
    public async Task Given_an_erasure_that_did_not_reach_the_keys_When_an_event_of_the_person_comes_Then_it_has_a_new_key_and_the_old_one_goes()
    {
        await _hub.ArriveAsync(Invoice(s_zoe), "1");
        var before = await PersonAsync();
        await using (var connection = await _hub.Database.OpenConnectionAsync())
        {
            await using var transaction = await connection.BeginTransactionAsync();
            await _hub.Services.GetRequiredService<Forgetting>().RegisterAsync(connection, [before], erased: true, CancellationToken.None);
            await transaction.CommitAsync();
        }

        await _hub.ArriveAsync(Invoice(s_zoe), "2");
        Assert.NotEqual(before, await PersonAsync());
        Assert.Empty(await _hub.Services.GetRequiredService<KeyVault>().FindAsync([before], CancellationToken.None));
        await _hub.Services.GetRequiredService<Forgetting>().FinishAsync(null, CancellationToken.None);
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM privacy.forgotten WHERE key_gone_at IS NULL"));
    }

    [Theory]
    [InlineData("persons/search", "{}")]
    [InlineData("persons/search", """{"lastName":" "}""")]
    [InlineData("persons/search", """{"lastName":"X","birthDate":"yesterday"}""")]
    [InlineData("persons/search", """{"lastName":"X","commune":"Combourg"}""")]
    [InlineData("persons/search", """{"lastName":"X","after":"'; DROP TABLE x"}""")]
    [InlineData("persons/search", """{"lastName":"X\u0000"}""")]
    [InlineData("persons/search", "no json")]
    [InlineData("persons/00000000-0000-0000-0000-000000000001/erasure", "{}")]
    [InlineData("persons/00000000-0000-0000-0000-000000000001/erasure", """{"reason":"a","legalGroundForRefusing":"b"}""")]
    [InlineData("persons/00000000-0000-0000-0000-000000000001/holds", "{}")]
    [InlineData("persons/00000000-0000-0000-0000-000000000001/rectifications", """{"person":{"lastName":"MARQUEUR"}}""")]
    public async Task Given_a_request_without_sense_Then_a_problem_says_what_is_expected(string path, string body)
    {
        using var content = new StringContent(body, System.Text.Encoding.UTF8, "application/json");
        using var answer = await _server.Client.PostAsync(new Uri($"/api/v1/privacy/{path}", UriKind.Relative), content);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
    }

    private static InvoiceIssued Invoice(Person debtor) => new(Slug.Parse("canteen"), new Cents(100), new DateOnly(2026, 11, 1)) { Personal = new(debtor) };

    private async Task<HubStore> RestoredAsync(string connectionString, string keys)
    {
        var restored = new HubStore(connectionString, keys);
        _others.Add(restored);
        await restored.InitializeAsync();
        return restored;
    }

    // By no way that there is.
    private static async Task NoZoeAsync(HubServer server, Guid zoe, Guid paul)
    {
        foreach (var path in (string[])[$"persons/{zoe}", $"persons/{zoe}/export", $"persons/{zoe}/export?format=html"])
        {
            using var answer = await server.GetAsync($"/api/v1/privacy/{path}");
            Assert.Equal(HttpStatusCode.NotFound, answer.StatusCode);
        }

        using var paulsFile = await server.GetAsync($"/api/v1/privacy/persons/{paul}/export");
        Assert.Contains("Paul", await paulsFile.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        foreach (var sought in (object[])[new { lastName = "MARQUEUR", firstNames = "Zoé Anne", birthDate = "1979-03-07" }, new { lastName = "MARQUEUR", firstNames = "Zoé", everywhere = true }])
        {
            using var answer = await server.Client.PostAsJsonAsync(new Uri("/api/v1/privacy/persons/search", UriKind.Relative), sought);
            Assert.Empty((await answer.Content.ReadFromJsonAsync<JsonNode>())!["persons"]!.AsArray());
        }
    }

    // Strangers, made directly in the tables: to bring as many by events would take a minute.
    private async Task FillAsync(int persons)
    {
        await using var keys = NpgsqlDataSource.Create(_hub.KeysConnectionString);
        await using (var insert = keys.CreateCommand($"""
            INSERT INTO keys.data_key (id, pseudonym, wrapped)
            SELECT md5('id' || n)::uuid, md5('pseudonym' || n)::uuid, (SELECT wrapped FROM keys.data_key LIMIT 1) FROM generate_series(1, {persons}) n
            """)) await insert.ExecuteNonQueryAsync();
        // Encrypted with the key of the row before, since all have that one here, and put in a place of their own.
        var store = _hub.Services.GetRequiredService<PersonalDataStore>();
        var (first, key) = (await store.RowsAsync("true LIMIT 1", CancellationToken.None), default(DataKey));
        await using (var one = keys.CreateCommand("SELECT id FROM keys.data_key LIMIT 1")) key = new((Guid)(await one.ExecuteScalarAsync())!, []);
        key = new(key.Id, (await _hub.Services.GetRequiredService<KeyVault>().FindAsync([key.Id], CancellationToken.None))[key.Id]);
        var run = new SealedRun([.. Enumerable.Range(1, persons).Select(number =>
        {
            var eventId = Md5($"event{number}");
            return first[0] with
            {
                EventId = eventId,
                Path = "debtor",
                Person = Md5($"id{number}"),
                Content = PersonalDataStore.Seal(key, eventId, "debtor", System.Text.Encoding.UTF8.GetBytes($$"""{"lastName":"NOM {{number}}","firstNames":"Prénom","birthDate":"1980-01-01"}""")),
            };
        })], []);
        await using var connection = await _hub.Database.OpenConnectionAsync();
        await using var batch = new NpgsqlBatch(connection);
        run.Store(batch);
        await batch.ExecuteNonQueryAsync();

        [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5351", Justification = "As PostgreSQL makes the ids above.")]
        static Guid Md5(string text) => Guid.Parse(Convert.ToHexString(System.Security.Cryptography.MD5.HashData(System.Text.Encoding.UTF8.GetBytes(text))));
    }

    private async Task<Guid> PersonAsync(string firstNames = "Zoé Anne") =>
        (Guid)Assert.Single((await SearchAsync(new { lastName = "MARQUEUR", firstNames, birthDate = "1979-03-07" }))["persons"]!.AsArray())!["person"]!;

    private async Task<IReadOnlyList<JsonNode>> SearchAllAsync(JsonObject sought)
    {
        var found = new List<JsonNode>();
        for (var next = ""; next is not null;)
        {
            var answer = await SearchAsync(sought);
            found.AddRange(answer["persons"]!.AsArray()!);
            sought["after"] = next = (string?)answer["next"];
        }

        return found;
    }

    private async Task<JsonNode> SearchAsync(object sought)
    {
        using var answer = await PostAsync("persons/search", sought);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return (await answer.Content.ReadFromJsonAsync<JsonNode>())!;
    }

    private Task<HttpResponseMessage> PostAsync(string path, object body) => _server.Client.PostAsJsonAsync(new Uri($"/api/v1/privacy/{path}", UriKind.Relative), body);

    private async Task<JsonNode> GetAsync(string path)
    {
        using var answer = await _server.GetAsync($"/api/v1/privacy/{path}");
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        return (await answer.Content.ReadFromJsonAsync<JsonNode>())!;
    }

    private async Task<IReadOnlyList<AuditRow>> AuditAsync() => await _hub.Services.GetRequiredService<AuditLog>().ReadAsync(0, 1000, new(), CancellationToken.None);
}
