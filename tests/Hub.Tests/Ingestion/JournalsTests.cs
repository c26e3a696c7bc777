using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Hub.Ingestion;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class JournalsTests(HubStore hub) : IClassFixture<HubStore>
{
    private readonly Guid _journal = Guid.NewGuid();

    [Fact]
    public async Task Given_events_of_interleaved_records_When_stored_Then_the_store_keeps_the_journals_order()
    {
        var envelopes = Enumerable.Range(1, 30).Select(i => Birth($"order/{i % 3}")).ToList();

        var outcome = await hub.StoreAsync([.. envelopes.Select((envelope, i) => Incoming(envelope, _journal, i + 1))]);

        Assert.Equal(30, outcome.Ends[("35085", _journal)].Through);
        Assert.Equal(
            envelopes.Select(envelope => envelope.Id),
            await hub.RowsAsync($"SELECT headers->>'id' FROM hub.mt_events WHERE headers->>'journal' = '{_journal}' ORDER BY seq_id"));
        Assert.Equal(
            ["35085/civil-records/order/0 10", "35085/civil-records/order/1 10", "35085/civil-records/order/2 10"],
            await hub.RowsAsync("SELECT stream_id, max(version) FROM hub.mt_events WHERE stream_id LIKE '%/order/%' GROUP BY 1 HAVING count(*) = max(version) ORDER BY 1"));
    }

    [Fact]
    public async Task Given_a_stored_run_When_it_comes_again_with_more_Then_only_what_is_new_is_stored()
    {
        var (first, second) = (Birth("again/1"), Birth("again/2"));
        await hub.StoreAsync(Incoming(first, _journal, 1));

        var outcome = await hub.StoreAsync(Incoming(first, _journal, 1), Incoming(second, _journal, 2));

        Assert.Equal([second.EventId], outcome.Stored.Select(read => read.EventId));
        Assert.Equal(["2"], await hub.RowsAsync($"SELECT events FROM ingestion.journal WHERE journal = '{_journal}'"));
    }

    [Fact]
    public async Task Given_a_missing_position_When_later_ones_arrive_Then_they_are_not_stored()
    {
        await hub.StoreAsync(Incoming(Birth("gap/1"), _journal, 1));

        var outcome = await hub.StoreAsync(Incoming(Birth("gap/3"), _journal, 3), Incoming(Birth("gap/4"), _journal, 4));

        Assert.Empty(outcome.Stored);
        Assert.Equal(1, outcome.Ends[("35085", _journal)].Through);
    }

    [Fact]
    public async Task Given_a_lost_journal_When_its_events_come_in_a_new_one_Then_they_are_stored_once()
    {
        var envelope = Birth("lost/1");
        await hub.StoreAsync(Incoming(envelope, _journal, 1));
        var anew = Guid.NewGuid();

        var outcome = await hub.StoreAsync(Incoming(envelope, anew, 1), Incoming(Birth("lost/2"), anew, 2), Incoming(envelope, anew, 3));

        Assert.Single(outcome.Stored);
        Assert.Equal(3, outcome.Ends[("35085", anew)].Through);
        Assert.Equal(["1"], await hub.RowsAsync($"SELECT count(*) FROM hub.mt_events WHERE id = '{envelope.EventId}'"));
    }

    [Fact]
    public async Task Given_an_event_that_the_hub_does_not_know_When_it_arrives_Then_it_takes_its_place_in_quarantine_and_the_next_go_on()
    {
        var unknown = JsonSerializer.SerializeToElement(Birth("unknown/1") with { Type = "fr.intercommunalite.civil-records.birth-registered.v2" }, ContractJson.Options);

        var outcome = await hub.StoreAsync(Incoming(unknown, _journal, 1, Combourg), Incoming(Birth("unknown/2"), _journal, 2));

        Assert.Single(outcome.Stored);
        Assert.Equal(2, outcome.Ends[("35085", _journal)].Through);
        Assert.Equal(["1 1"], await hub.RowsAsync($"SELECT events, quarantined FROM ingestion.journal WHERE journal = '{_journal}'"));
        Assert.Equal(
            ["1 type: not a type of the catalogue"],
            await hub.RowsAsync($"SELECT position, reason FROM ingestion.quarantine WHERE journal = '{_journal}'"));
    }

    [Fact]
    public async Task Given_a_commune_of_another_territory_When_its_event_arrives_Then_it_is_in_quarantine()
    {
        var rennes = CommuneCode.Parse("35238");
        var outcome = await hub.StoreAsync(Incoming(Event(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")), "x", rennes), _journal, 1));
        Assert.Equal("source: not a commune of CC Bretagne Romantique", Assert.Single(outcome.Quarantined).Reason);
    }

    [Fact]
    public async Task Given_personal_data_When_stored_Then_it_stands_apart_from_the_event_and_has_an_end()
    {
        var envelope = Event(
            new InvoiceIssued(Slug.Parse("canteen"), new Cents(100), new DateOnly(2026, 11, 1)) { Personal = new DebtorPersonal(new Person("MARQUEUR")) }, "personal/1");

        await hub.StoreAsync(Incoming(envelope, _journal, 1));

        Assert.Equal(["0"], await hub.RowsAsync($"SELECT count(*) FROM hub.mt_events e WHERE e::text LIKE '%MARQUEUR%'"));
        Assert.Equal(
            ["35085 2031-11-24 debtor"],
            await hub.RowsAsync($"SELECT commune, keep_until::date::text, path FROM privacy.personal_data WHERE event_id = '{envelope.EventId}'"));
    }

    [Fact]
    public async Task Given_an_event_that_the_store_refuses_When_the_run_is_narrowed_down_Then_only_that_event_is_in_quarantine()
    {
        // Its personal data would have to be kept beyond the last day that there is.
        var annulled = new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")) { Personal = new AmendmentPersonal([new Person("X")]) };
        var refused = Event(annulled, "refused/2") with { Time = DateTimeOffset.MaxValue.AddDays(-1) };
        var work = new IncomingEvents([.. Enumerable.Range(1, 9).Select(i => Incoming(i == 5 ? refused : Birth($"refused/{i}"), _journal, i))]);

        while (!work.Done)
        {
            try
            {
                await hub.StoreAsync([.. work.Run]);
                work.Stored();
            }
            catch (ArgumentOutOfRangeException)
            {
                work.Narrow("refused");
            }
        }

        Assert.Equal(["9 8 1"], await hub.RowsAsync($"SELECT received_through, events, quarantined FROM ingestion.journal WHERE journal = '{_journal}'"));
        Assert.Equal(["5 refused"], await hub.RowsAsync($"SELECT position, reason FROM ingestion.quarantine WHERE journal = '{_journal}'"));
    }

    private static CloudEvent Birth(string subject) => Event(new BirthRegistered(PartialDate.Parse("2026-11-20"), "1", Tinteniac), subject);
}
