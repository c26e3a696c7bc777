using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.Hub.Privacy;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Privacy;

public sealed class PersonalDataTests : IAsyncLifetime
{
    private readonly HubStore _hub = new();

    private PersonalDataStore Store => _hub.Services.GetRequiredService<PersonalDataStore>();

    private KeyVault Vault => _hub.Services.GetRequiredService<KeyVault>();

    public Task InitializeAsync() => _hub.InitializeAsync();

    public Task DisposeAsync() => _hub.DisposeAsync();

    [Fact]
    public async Task Given_one_person_in_events_of_several_communes_Then_it_is_one_person_and_strangers_are_not()
    {
        var someone = new Person("MARQUEUR", "Zoé", BirthDate: PartialDate.Parse("2019-03-07"));
        var stranger = new Person("MARQUEUR", "Zoé");
        await _hub.ArriveAsync(new BirthRegistered(PartialDate.Parse("2019-03-07"), "1") { Personal = new(someone, [stranger]) }, "birth");
        await _hub.ArriveAsync(Enrolled(someone with { LastName = "Marqueur", FirstNames = "ZOE" }, [stranger]), "enrolment", Tinteniac);
        await _hub.ArriveAsync(new InvoiceIssued(Slug.Parse("canteen"), new Cents(1), new DateOnly(2026, 11, 1)) { Personal = new(stranger) }, "invoice");

        Assert.Equal(["2 child pupil", "1 responsibles.0", "1 debtor", "1 parents.0"], (await _hub.RowsAsync("""
            SELECT count(*), string_agg(path, ' ' ORDER BY path) FROM privacy.personal_data WHERE path <> '' GROUP BY person ORDER BY 1 DESC, 2 DESC
            """)).OrderBy(row => row[0] == '2' ? 0 : row.Contains("resp", StringComparison.Ordinal) ? 1 : row.Contains("debtor", StringComparison.Ordinal) ? 2 : 3));
        // INE and class go with the pupil.
        Assert.Equal(["1"], await _hub.RowsAsync("SELECT count(*) FROM privacy.personal_data a JOIN privacy.personal_data b USING (event_id, person) WHERE a.path = 'pupil' AND b.path = ''"));
    }

    [Fact]
    public async Task Given_personal_data_Then_no_table_of_either_database_shows_it_and_it_is_read_again_as_it_came()
    {
        var envelope = Event(Enrolled(new("MARQUEUR", "Zoé", BirthDate: PartialDate.Parse("2019-03-07")), [new("MARQUEUR", Email: "MARQUEUR@exemple.fr")]), "enrolment");
        await _hub.ArriveAsync(envelope);

        Assert.DoesNotContain("MARQUEUR", await Dump.OfAsync(_hub.ConnectionString), StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("MARQUEUR", await Dump.OfAsync(_hub.KeysConnectionString), StringComparison.OrdinalIgnoreCase);
        var parts = await PartsAsync(Store, envelope.EventId);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(envelope.Data.GetProperty("personal").GetRawText()), Together(parts)));
        Assert.Equal(2, parts.Select(part => part.Person).Distinct().Count());
    }

    [Fact]
    public async Task Given_a_row_put_in_the_place_of_another_Then_it_cannot_be_read_there()
    {
        var someone = new Person("MARQUEUR", "Zoé", BirthDate: PartialDate.Parse("2019-03-07"));
        var first = Event(Enrolled(someone, []), "1");
        await _hub.ArriveAsync(first, Event(Enrolled(someone, []), "2"));
        await _hub.RowsAsync($"UPDATE privacy.personal_data a SET sealed = b.sealed FROM privacy.personal_data b WHERE a.event_id = '{first.EventId}' AND b.event_id <> a.event_id AND a.path = b.path");
        await Assert.ThrowsAnyAsync<CryptographicException>(() => PartsAsync(Store, first.EventId));
    }

    [Fact]
    public async Task Given_an_event_of_long_ago_or_of_the_future_Then_its_persons_are_kept_as_long_as_the_catalogue_says_and_no_longer()
    {
        var birth = new BirthRegistered(PartialDate.Parse("2024-01-01"), "1") { Personal = new(new("MARQUEUR")) };
        await _hub.ArriveAsync(Event(birth, "long-ago") with { Time = Now.AddMonths(-12) });
        await _hub.ArriveAsync(Event(birth, "recent") with { Time = Now.AddMonths(-11) });
        await _hub.ArriveAsync(Event(birth, "future") with { Time = Now.AddYears(50) });
        Assert.Equal(["3"], await _hub.RowsAsync("SELECT count(*) FROM hub.mt_events"));
        Assert.Equal(["2026-12-24", "2027-11-24"], await _hub.RowsAsync("SELECT (keep_until AT TIME ZONE 'utc')::date::text FROM privacy.personal_data ORDER BY 1"));
    }

    [Fact]
    public async Task Given_the_master_key_is_changed_When_the_keys_are_wrapped_anew_Then_the_old_one_is_not_needed_any_more()
    {
        var envelopes = Enumerable.Range(0, 50).Select(number => Event(Enrolled(new($"NOM {number}", "Zoé", BirthDate: PartialDate.Parse("2019-03-07")), []), $"{number}")).ToArray();
        await _hub.ArriveAsync(envelopes);
        var fresh = Convert.ToBase64String(Enumerable.Repeat((byte)9, 32).ToArray());

        await using (var rotating = Other($"{fresh}\n{TestDatabase.MasterKey}"))
        {
            var rewrapped = 0;
            for (Guid? after = Guid.Empty; after is { } from;)
            {
                (var page, after) = await rotating.RewrapAsync(from, 20, CancellationToken.None);
                rewrapped += page;
            }

            Assert.Equal(50, rewrapped);
            // Once more finds nothing to do.
            Assert.Equal(0, (await rotating.RewrapAsync(Guid.Empty, 100, CancellationToken.None)).Rewrapped);
        }

        await using var after1 = Other(fresh);
        var store = new PersonalDataStore(_hub.Database, after1);
        Assert.Equal(50, (await PartsAsync(store, [.. envelopes.Select(envelope => envelope.EventId)])).DistinctBy(part => part.EventId).Count());
        Assert.Equal(await Vault.SecretAsync(CancellationToken.None), await after1.SecretAsync(CancellationToken.None));
        await using var old = Other(TestDatabase.MasterKey);
        await Assert.ThrowsAsync<CryptographicException>(() => old.SecretAsync(CancellationToken.None));
    }

    [Fact]
    public async Task Given_a_database_from_before_persons_were_encrypted_When_it_is_brought_up_to_date_Then_nothing_in_it_shows_them_and_all_can_be_read()
    {
        var envelope = Event(Enrolled(new("MARQUEUR", "Zoé", BirthDate: PartialDate.Parse("2019-03-07")), [new("MARQUEUR")]), "enrolment");
        await _hub.ArriveAsync(envelope);
        await _hub.StoreAsync(Incoming(Event(Enrolled(new("MARQUEUR"), []), "refused", CommuneCode.Parse("35238")), Guid.NewGuid(), 1));
        await _hub.RowsAsync($$"""
            DROP TABLE privacy.personal_data;
            CREATE TABLE privacy.personal_data (event_id uuid PRIMARY KEY, commune text NOT NULL, type text NOT NULL, keep_until timestamptz NOT NULL, personal jsonb NOT NULL);
            INSERT INTO privacy.personal_data VALUES ('{{envelope.EventId}}', '35085', 'x', now(), '{{envelope.Data.GetProperty("personal").GetRawText()}}');
            UPDATE ingestion.quarantine SET event = convert_to('MARQUEUR', 'UTF8'), key = NULL;
            COMMENT ON SCHEMA hub IS 'older';
            """);

        await StoreSchema.ApplyAsync(_hub.Store, _hub.Database, CancellationToken.None);
        await ClearText.EncryptAsync(_hub.Services, CancellationToken.None);

        Assert.DoesNotContain("MARQUEUR", await Dump.OfAsync(_hub.ConnectionString), StringComparison.Ordinal);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(envelope.Data.GetProperty("personal").GetRawText()), Together(await PartsAsync(Store, envelope.EventId))));
        Assert.Equal("MARQUEUR"u8.ToArray(), (await _hub.Quarantine.FindAsync(1, CancellationToken.None))!.Value.Content);
        Assert.Equal(["-"], await _hub.RowsAsync("SELECT to_regclass('privacy.personal_data_clear')::text"));
    }

    private static PupilEnrolled Enrolled(Person pupil, Person[] responsibles) => new(
        Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, Combourg, new DateOnly(2026, 9, 1))
    { Personal = new(pupil, "MARQUEUR-INE", "CLASSE MARQUEUR", responsibles) };

    private KeyVault Other(string masterKeys) => new(_hub.KeysConnectionString, MasterKey.Read(
        new Microsoft.Extensions.Configuration.ConfigurationManager { ["Privacy:MasterKey"] = masterKeys }), _hub.Database);

    private static async Task<IReadOnlyList<PersonalRow>> PartsAsync(PersonalDataStore store, params Guid[] events) =>
        await store.OpenAsync(await store.RowsAsync("event_id = ANY($1)", CancellationToken.None, events), CancellationToken.None);

    private static JsonObject Together(IEnumerable<PersonalRow> parts) => Persons.Together(parts.Select(part => (part.Path, part.Content)));
}
