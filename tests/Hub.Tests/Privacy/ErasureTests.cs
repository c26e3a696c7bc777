using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Npgsql;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Privacy;

/// <summary>That who was erased stays erased: in quarantine, after restores of either database, with the keys away.</summary>
public sealed class ErasureTests : IAsyncLifetime
{
    private static readonly Person s_zoe = new("MARQUEUR", "Zoé Anne", BirthDate: PartialDate.Parse("1979-03-07"), Email: "zoe@exemple.fr");
    private static readonly Person s_paul = s_zoe with { FirstNames = "Paul", Email = null };
    private static readonly CommuneCode s_elsewhere = CommuneCode.Parse("35238");

    private readonly HubStore _hub = new();
    private readonly List<IAsyncDisposable> _others = [];

    public Task InitializeAsync() => _hub.InitializeAsync();

    public async Task DisposeAsync()
    {
        foreach (var other in Enumerable.Reverse(_others)) await other.DisposeAsync();
        await _hub.DisposeAsync();
    }

    [Fact]
    public async Task Given_a_hub_restored_from_before_an_event_came_When_it_comes_again_Then_who_was_erased_is_not_in_it_and_the_others_are()
    {
        var before = await Dump.BackUpAsync(_hub.ConnectionString);
        var (birth, invoice) = (Birth(s_zoe, s_paul), Event(Invoice(s_zoe), "invoice/1"));
        await _hub.ArriveAsync(birth, invoice);
        await EraseAsync(_hub, s_zoe);

        var copy = await CopyAsync();
        await Dump.RestoreAsync(copy.ConnectionString, before);
        var restored = await OtherAsync(copy.ConnectionString, _hub.KeysConnectionString);
        await restored.ArriveAsync(birth, invoice);
        Assert.Equal(["2"], await restored.RowsAsync("SELECT count(*) FROM hub.mt_events"));
        Assert.Equal(["child", "parents.1"], await restored.RowsAsync("SELECT path FROM privacy.personal_data ORDER BY 1"));
        Assert.Null(await FindAsync(restored, s_zoe));
        Assert.NotNull(await FindAsync(restored, s_paul));

        // Once the event would be kept no longer, nothing needs to be remembered of it.
        _hub.Clock.Now = Now.AddMonths(61);
        await _hub.Services.GetRequiredService<Expiry>().RunAsync("dpo", CancellationToken.None);
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM privacy.erased_part"));
        Assert.Empty(await Vault(_hub).ErasedPartsAsync([birth.EventId, invoice.EventId], CancellationToken.None));
    }

    [Fact]
    public async Task Given_an_older_copy_of_the_keys_is_put_back_When_an_event_of_who_was_erased_comes_first_Then_it_can_be_read_and_stays_so()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        var keys = await Dump.BackUpAsync(_hub.KeysConnectionString);
        var before = await EraseAsync(_hub, s_zoe);

        var copy = await CopyAsync();
        await Dump.RestoreAsync(copy.KeysConnectionString, keys);
        var restored = await OtherAsync(_hub.ConnectionString, copy.KeysConnectionString);
        await restored.ArriveAsync(Event(Invoice(s_zoe), "2", Tinteniac));
        var forgetting = restored.Services.GetRequiredService<Forgetting>();
        await forgetting.ReconcileAsync(CancellationToken.None);

        var person = await FindAsync(restored, s_zoe);
        Assert.NotNull(person);
        Assert.NotEqual(before, person);
        Assert.False(forgetting.IsVaultOlder);
        Assert.Single(await Vault(restored).ErasedPartsAsync([.. (await restored.RowsAsync("SELECT event_id FROM privacy.erased_part")).Select(Guid.Parse)], CancellationToken.None));
    }

    [Fact]
    public async Task Given_a_copy_of_the_keys_that_lacks_some_Then_it_is_said_that_it_is_older()
    {
        await _hub.ArriveAsync(Event(Invoice(s_paul), "1"));
        var keys = await Dump.BackUpAsync(_hub.KeysConnectionString);
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "2"));
        var copy = await CopyAsync();
        await Dump.RestoreAsync(copy.KeysConnectionString, keys);

        Assert.Equal(HealthStatus.Healthy, (await HealthAsync(_hub)).Status);
        Assert.Equal(HealthStatus.Degraded, (await HealthAsync(await OtherAsync(_hub.ConnectionString, copy.KeysConnectionString))).Status);
    }

    [Fact]
    public async Task Given_the_keys_of_another_hub_or_none_or_the_hubs_own_database_Then_they_are_not_taken_and_nothing_is_written_there()
    {
        await _hub.ArriveAsync(Event(Invoice(s_paul), "1"));
        var other = new HubStore();
        _others.Add(new Disposing(other));
        await other.InitializeAsync();
        await other.ArriveAsync(Event(Invoice(s_paul), "1"));
        var empty = await CopyAsync();

        foreach (var keys in (string[])[other.KeysConnectionString, empty.KeysConnectionString, _hub.ConnectionString])
        {
            var wrong = await OtherAsync(_hub.ConnectionString, keys);
            var refused = await Assert.ThrowsAsync<WrongKeysException>(() => wrong.ArriveAsync(Event(Invoice(s_zoe), "2", Tinteniac)));
            Assert.Contains("ConnectionStrings:Keys", refused.Message, StringComparison.Ordinal);
            var health = await HealthAsync(wrong, reconciled: false);
            Assert.Equal((HealthStatus.Unhealthy, refused.Message), (health.Status, health.Description));
        }

        await using (var database = NpgsqlDataSource.Create(empty.KeysConnectionString))
        {
            await using var command = database.CreateCommand("SELECT to_regnamespace('keys')::text");
            Assert.Equal(DBNull.Value, await command.ExecuteScalarAsync());
        }

        Assert.Equal(["1"], await _hub.RowsAsync("SELECT count(*) FROM hub.mt_events"));
        Assert.NotNull(await FindAsync(_hub, s_paul));
    }

    [Fact]
    public async Task Given_quarantine_names_a_person_Then_it_is_found_and_told_there_and_an_erasure_takes_it_out_of_there_and_out_of_backups()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        var journal = Guid.NewGuid();
        CloudEvent[] refused = [Birth(s_zoe, s_paul) with { Source = new(s_elsewhere, "test") }, Event(Invoice(s_zoe), "2", s_elsewhere), Event(Invoice(s_paul), "3", s_elsewhere)];
        Assert.Equal(3, (await _hub.StoreAsync([.. refused.Select((envelope, index) => Incoming(envelope, journal, index + 1))])).Quarantined.Count);
        var search = _hub.Services.GetRequiredService<PersonSearch>();
        Assert.Equal([1, 2], (await search.FindQuarantinedAsync(new("marqueur", "zoe anne"), null, CancellationToken.None)).Select(found => found.Id));
        Assert.Equal([1, 2], (await search.FindQuarantinedAsync(new(Identifier: "ZOE@exemple.fr"), null, CancellationToken.None)).Select(found => found.Id));
        var file = await FileAsync(_hub, (await FindAsync(_hub, s_zoe))!.Value);
        Assert.Equal(["Zoé Anne", "Zoé Anne"], file!.Quarantined.SelectMany(found => found.Data!).Select(person => (string)person!["firstNames"]!));
        var page = PersonPage.Of(file);
        Assert.Contains("En attente de vérification", page, StringComparison.Ordinal);
        Assert.DoesNotContain("Paul", page, StringComparison.Ordinal);
        var backup = await Dump.BackUpAsync(_hub.ConnectionString);
        // One that nobody can read any more must not keep the others from being erased.
        await _hub.StoreAsync(Incoming(Event(Invoice(s_zoe), "4", s_elsewhere), journal, 4));
        await _hub.RowsAsync("UPDATE ingestion.quarantine SET event = set_byte(event, 20, (get_byte(event, 20) + 1) % 256) WHERE id = 4");

        var (outcome, rows, quarantined) = await _hub.Services.GetRequiredService<Rights>().EraseAsync(file.Person, "dpo", "asked", CancellationToken.None);
        Assert.Equal((Erasure.Erased, 1, 2), (outcome, rows, quarantined));
        var birth = JsonNode.Parse(await ContentAsync(_hub, 1))!["data"]!["personal"]!;
        Assert.Equal(("ENFANT", null, "Paul"), ((string)birth["child"]!["lastName"]!, birth["parents"]![0], (string)birth["parents"]![1]!["firstNames"]!));
        Assert.Null(JsonNode.Parse(await ContentAsync(_hub, 2))!["data"]!["personal"]);
        Assert.Contains("Paul", await ContentAsync(_hub, 3), StringComparison.Ordinal);
        // The events can be retried: they are what the contract says.
        Assert.All([1, 2], id => Assert.NotNull(Incoming(JsonSerializer.Deserialize<JsonElement>(ContentAsync(_hub, id).Result), journal, id, s_elsewhere).Read));

        var copy = await CopyAsync();
        await Dump.RestoreAsync(copy.ConnectionString, backup);
        var restored = await OtherAsync(copy.ConnectionString, _hub.KeysConnectionString);
        Assert.Empty(await restored.Services.GetRequiredService<PersonSearch>().FindQuarantinedAsync(new("MARQUEUR", "Zoé Anne"), null, CancellationToken.None));
        Assert.Equal(("", ""), (await ContentAsync(restored, 1), await ContentAsync(restored, 2)));
        Assert.Contains("Paul", await ContentAsync(restored, 3), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_somebody_was_erased_from_quarantine_When_the_event_comes_again_refused_or_accepted_Then_it_comes_without_that_one()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        var birth = Birth(s_zoe, s_paul);
        var faulty = JsonNode.Parse(birth.Data.GetRawText())!;
        faulty["weight"] = 3200;
        Assert.Single((await _hub.StoreAsync(Incoming(birth with { Data = JsonSerializer.SerializeToElement(faulty) }, Guid.NewGuid(), 1))).Quarantined);
        await EraseAsync(_hub, s_zoe);

        Assert.Single((await _hub.StoreAsync(Incoming(birth with { Data = JsonSerializer.SerializeToElement(faulty) }, Guid.NewGuid(), 1))).Quarantined);
        Assert.All([1, 2], id => Assert.DoesNotContain("Zo", ContentAsync(_hub, id).Result, StringComparison.Ordinal));
        Assert.All([1, 2], id => Assert.Contains("Paul", ContentAsync(_hub, id).Result, StringComparison.Ordinal));
        Assert.Single((await _hub.StoreAsync(Incoming(birth, Guid.NewGuid(), 1))).Stored);
        Assert.Equal(["child", "parents.1"], await _hub.RowsAsync("SELECT path FROM privacy.personal_data ORDER BY 1"));
    }

    [Theory]
    [InlineData("""{"a":"\ud800","b":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07"}}""", "{}")]
    [InlineData("""{"a":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07"},"b":[{"lastName":"Marqueur","firstNames":"ZOE-ANNE","birthDate":"1979-03-07"},1]}""", """{"b":[null,1]}""")]
    [InlineData("""{"\ud800\ud800\ud800":1,"b":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07"}}""", "{}")]
    [InlineData("""{"\ud800":1,"b":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07"}}""", "{}")]
    [InlineData("""{"id":"1","source":"x","\u0000":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07",},}""", """{"id":"1","source":"x"}""")]
    [InlineData("""{"personal":{"debtor":{"lastName":"MARQUEUR","firstNames":"Zoé Anne","birthDate":"1979-03-07","nickname":"Z"},"note":"of Zoé"}}""", "{}")]
    public async Task Given_quarantine_holds_what_is_no_event_Then_an_erasure_takes_the_person_out_of_it_all_the_same(string content, string rest)
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        await _hub.Quarantine.KeepAsync(new("not an event", null, null), Encoding.UTF8.GetBytes(content), false, null, CancellationToken.None);
        Assert.Empty(await _hub.Services.GetRequiredService<PersonSearch>().FindQuarantinedAsync(new(Identifier: "zoe@exemple.fr"), null, CancellationToken.None));
        await EraseAsync(_hub, s_zoe);
        Assert.Equal(rest, await ContentAsync(_hub, 1));
        // Where it stood is noted only as a contract names it: a sender may put anything into a name.
        Assert.Equal(["debtor"], await _hub.RowsAsync("SELECT path FROM privacy.erased_part"));
    }

    [Fact]
    public async Task Given_the_keys_are_away_When_somebody_is_erased_Then_it_is_begun_and_ends_once_they_are_back_and_until_then_quarantine_is_not_retried()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        var journal = Guid.NewGuid();
        await _hub.StoreAsync(Incoming(Event(Invoice(s_zoe), "2", s_elsewhere), journal, 1), Incoming(Event(Invoice(s_paul), "3", s_elsewhere), journal, 2));
        var discarded = Guid.Parse((await _hub.RowsAsync("SELECT key FROM ingestion.quarantine WHERE id = 2"))[0]);
        var (rights, person) = (_hub.Services.GetRequiredService<Rights>(), (await FindAsync(_hub, s_zoe))!.Value);
        var keys = new NpgsqlConnectionStringBuilder(_hub.KeysConnectionString).Database;
        await _hub.RowsAsync($"ALTER DATABASE \"{keys}\" WITH ALLOW_CONNECTIONS false");
        await _hub.RowsAsync($"SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{keys}'");

        Assert.Equal(Erasure.Begun, (await rights.EraseAsync(person, "dpo", "asked", CancellationToken.None)).Outcome);
        Assert.Equal(Erasure.Begun, (await rights.EraseAsync(person, "dpo", "asked", CancellationToken.None)).Outcome);
        Assert.Equal(["0"], await _hub.RowsAsync("SELECT count(*) FROM privacy.personal_data"));
        await Assert.ThrowsAsync<ErasureUnderWayException>(() => _hub.Quarantine.RetryAsync(1, CancellationToken.None));
        Assert.True(await _hub.Quarantine.DiscardAsync(2, "test", CancellationToken.None));

        await _hub.RowsAsync($"ALTER DATABASE \"{keys}\" WITH ALLOW_CONNECTIONS true");
        Assert.Equal((Erasure.Erased, 0, 1), await rights.EraseAsync(person, "dpo", "asked", CancellationToken.None));
        Assert.Equal(Erasure.Unknown, (await rights.EraseAsync(person, "dpo", "asked", CancellationToken.None)).Outcome);
        await _hub.Services.GetRequiredService<Forgetting>().FinishAsync(null, CancellationToken.None);
        Assert.Empty(await Vault(_hub).FindAsync([person, discarded], CancellationToken.None));
        Assert.False(await _hub.Quarantine.RetryAsync(1, CancellationToken.None));
        Assert.Single(await _hub.Services.GetRequiredService<AuditLog>().ReadAsync(0, 100, new(Act: "privacy.person-erased"), CancellationToken.None));
    }

    [Fact]
    public async Task Given_an_event_of_who_is_being_erased_comes_before_the_end_Then_what_quarantine_holds_from_before_is_erased_all_the_same()
    {
        await _hub.ArriveAsync(Event(Invoice(s_zoe), "1"));
        await _hub.StoreAsync(Incoming(Event(Invoice(s_zoe), "2", s_elsewhere), Guid.NewGuid(), 1));
        var forgetting = _hub.Services.GetRequiredService<Forgetting>();
        await using (var connection = await _hub.Database.OpenConnectionAsync())
        {
            await using var transaction = await connection.BeginTransactionAsync();
            await forgetting.RegisterAsync(connection, [(await FindAsync(_hub, s_zoe))!.Value], erased: true, CancellationToken.None);
            await transaction.CommitAsync();
        }

        await _hub.ArriveAsync(Event(Invoice(s_zoe), "3"));
        // As after a start.
        await forgetting.ReconcileAsync(CancellationToken.None);
        Assert.Equal(1, await forgetting.FinishAsync(null, CancellationToken.None));
        Assert.DoesNotContain("MARQUEUR", await ContentAsync(_hub, 1), StringComparison.Ordinal);
        Assert.NotNull(await FindAsync(_hub, s_zoe));
        Assert.Empty(await Vault(_hub).PseudonymsAsync([.. (await _hub.RowsAsync("SELECT person FROM privacy.forgotten")).Select(Guid.Parse)], CancellationToken.None));
    }

    [Theory]
    [InlineData(" ZOE@exemple.FR", "debtor")]
    [InlineData("payeur@exemple.fr", "")]
    [InlineData("0123 456 789 AB", "", "pupil")]
    public async Task Given_an_identifier_Then_all_that_holds_it_is_found_also_beside_the_persons(string identifier, params string[] paths)
    {
        await _hub.ArriveAsync(
            Event(Invoice(s_zoe), "1"), Event(Invoice(s_paul), "2"),
            Event(new OnlinePaymentAnswered("1", new Cents(100), Now, OnlinePaymentOutcome.CardPaid) { Personal = new("payeur@exemple.fr") }, "payment/1"),
            Event(new PupilEnrolled(Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, Combourg, new DateOnly(2026, 9, 1)) { Personal = new(s_paul with { BirthDate = PartialDate.Parse("2019-01-02") }, "0123456789AB") }, "enrolment/1"));
        var (persons, next) = await _hub.Services.GetRequiredService<PersonSearch>().FindAsync(new(Identifier: identifier), null, CancellationToken.None);
        Assert.Null(next);
        Assert.Equal(paths, (await FileAsync(_hub, Assert.Single(persons).Person))!.Events.SelectMany(held => held.Paths).Order());
    }

    [Fact]
    public async Task Given_what_was_sent_of_a_person_is_corrected_to_another_one_Then_the_recipients_are_told_of_that_one_and_a_hold_forbids_it()
    {
        var invoice = Event(Invoice(s_zoe), "1");
        await _hub.ArriveAsync(invoice);
        var (rights, disclosures, zoe) = (_hub.Services.GetRequiredService<Rights>(), _hub.Services.GetRequiredService<Disclosures>(), (await FindAsync(_hub, s_zoe))!.Value);
        await using (var connection = await _hub.Database.OpenConnectionAsync())
            await Disclosures.RecordAsync(connection, [new(zoe, invoice.EventId, "caf-35", "a", Now), new(zoe, Guid.NewGuid(), "msa-35", "b", Now)], CancellationToken.None);
        await rights.HoldAsync(zoe, "dpo", "court case", CancellationToken.None);
        await Assert.ThrowsAsync<LegalHoldException>(RectifyAsync);
        await rights.ReleaseAsync(zoe, "dpo", CancellationToken.None);

        var (zoé, recipients) = (await RectifyAsync())!.Value;
        Assert.Equal(["caf-35"], recipients);
        Assert.Equal(["caf-35"], (await disclosures.OfAsync(zoé, CancellationToken.None)).Select(disclosure => disclosure.Recipient));
        Assert.Equal(["msa-35"], (await disclosures.OfAsync(zoe, CancellationToken.None)).Select(disclosure => disclosure.Recipient));

        Task<(Guid Person, IReadOnlyList<string> Recipients)?> RectifyAsync() =>
            rights.RectifyAsync(zoe, invoice.EventId, "debtor", new JsonObject { ["firstNames"] = "Zoé" }, "dpo", "first name", CancellationToken.None);
    }

    private static InvoiceIssued Invoice(Person debtor) => new(Slug.Parse("canteen"), new Cents(100), new DateOnly(2026, 11, 1)) { Personal = new(debtor) };

    private static CloudEvent Birth(params Person[] parents) =>
        Event(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1") { Personal = new(new("ENFANT", "Tom"), parents) }, "birth/1");

    private static KeyVault Vault(HubStore hub) => hub.Services.GetRequiredService<KeyVault>();

    private static async Task<Guid?> FindAsync(HubStore hub, Person person) => (await hub.Services.GetRequiredService<PersonSearch>().FindAsync(
        new(person.LastName, person.FirstNames, $"{person.BirthDate}"), person.BirthDate, CancellationToken.None)).Persons.SingleOrDefault()?.Person;

    private static Task<PersonFile?> FileAsync(HubStore hub, Guid person) => hub.Services.GetRequiredService<PersonFiles>().ReadAsync(person, withData: true, CancellationToken.None);

    private static async Task<Guid> EraseAsync(HubStore hub, Person person)
    {
        var id = (await FindAsync(hub, person))!.Value;
        Assert.Equal(Erasure.Erased, (await hub.Services.GetRequiredService<Rights>().EraseAsync(id, "dpo", "asked", CancellationToken.None)).Outcome);
        return id;
    }

    private static async Task<string> ContentAsync(HubStore hub, long id) => Encoding.UTF8.GetString((await hub.Quarantine.FindAsync(id, CancellationToken.None))!.Value.Content ?? []);

    private static async Task<HealthCheckResult> HealthAsync(HubStore hub, bool reconciled = true)
    {
        var forgetting = hub.Services.GetRequiredService<Forgetting>();
        if (reconciled) await forgetting.ReconcileAsync(CancellationToken.None);
        return await new KeyVaultHealth(Vault(hub), forgetting).CheckHealthAsync(new());
    }

    private async Task<TestDatabase> CopyAsync()
    {
        var copy = await TestDatabase.CreateAsync();
        _others.Add(copy);
        return copy;
    }

    private async Task<HubStore> OtherAsync(string connectionString, string keys)
    {
        var other = new HubStore(connectionString, keys);
        _others.Add(new Disposing(other));
        await other.InitializeAsync();
        return other;
    }

    private sealed class Disposing(HubStore hub) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync() => await hub.DisposeAsync();
    }
}
