using System.Diagnostics.Metrics;
using System.Text;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Hub.Ingestion;
using Intercommunalite.ServiceDefaults;
using Xunit;
using static Intercommunalite.Hub.Tests.HubStore;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class QuarantineTests(HubStore hub) : IClassFixture<HubStore>
{
    private const string TraceId = "4bf92f3577b34da6a3ce929d0e0e4736";

    private readonly Guid _journal = Guid.NewGuid();
    private readonly string _reason = $"for a test {Guid.NewGuid():N}";

    [Fact]
    public async Task Given_an_event_that_nobody_could_write_back_When_it_is_refused_Then_it_is_kept_byte_by_byte()
    {
        // A field twice, odd spaces, and a byte that is no UTF-8.
        byte[] content =
        [
            .. Encoding.UTF8.GetBytes($$"""{ "id":"1",  "id": "é","traceparent":"00-{{TraceId}}-00f067aa0ba902b7-01" , "note":"""),
            (byte)'"', 0xFF, (byte)'"', (byte)' ', (byte)'}',
        ];

        await hub.StoreAsync(Incoming(Quarantine.Json(content), _journal, 1, Combourg));

        var (item, kept) = (await hub.Quarantine.FindAsync(await IdAsync(1), default))!.Value;
        Assert.Equal(content, kept);
        Assert.Equal(("kept", "35085", _journal, 1L, TraceId, content.Length), (item.State, item.Commune, item.Journal, item.Position, item.TraceId, item.Size));
        Assert.Contains("id: given twice", item.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_event_with_a_thousand_faults_When_it_is_refused_Then_its_reason_stays_readable()
    {
        var faulty = JsonSerializer.SerializeToElement(new { type = "fr.intercommunalite.schools.school-declared.v1", data = new { levels = Enumerable.Repeat("é\0😀", 1000) } });

        await hub.StoreAsync(Incoming(faulty, _journal, 1, Combourg));

        var item = (await hub.Quarantine.FindAsync(await IdAsync(1), default))!.Value.Item;
        Assert.InRange(item.Reason.Length, 400, 500);
        Assert.Contains("data.levels[0]", item.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_fields_that_nobody_knows_When_their_event_is_refused_Then_the_reason_does_not_say_their_names()
    {
        var faulty = JsonSerializer.SerializeToElement(Enumerable.Range(0, 1000).ToDictionary(i => $"MARQUEUR{i}", i => i));

        await hub.StoreAsync(Incoming(faulty, _journal, 1, Combourg));

        var item = (await hub.Quarantine.FindAsync(await IdAsync(1), default))!.Value.Item;
        Assert.Contains("unknown field", item.Reason, StringComparison.Ordinal);
        Assert.DoesNotContain("MARQUEUR", item.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_event_that_is_accepted_by_now_When_it_is_retried_Then_it_is_stored_with_its_personal_data_and_no_longer_in_quarantine()
    {
        var envelope = Birth(1);
        await hub.StoreAsync(Refused(envelope, 1), Incoming(Birth(2), _journal, 2));

        Assert.True(await hub.Quarantine.RetryAsync(await IdAsync(1), default));

        // After the later event, in the store as in its record.
        Assert.Equal(
            ["2 1", "1 2"],
            await hub.RowsAsync($"SELECT headers->>'position', version FROM hub.mt_events WHERE headers->>'journal' = '{_journal}' ORDER BY seq_id"));
        Assert.Equal(["35085"], await hub.RowsAsync($"SELECT commune FROM privacy.personal_data WHERE event_id = '{envelope.EventId}'"));
        Assert.Equal(["2 2 0"], await JournalAsync());
        var (item, content) = (await hub.Quarantine.FindAsync(await IdAsync(1), default))!.Value;
        Assert.Null(content);
        Assert.Equal(("retried", "stored"), (item.State, item.EndReason));
        Assert.NotNull(item.EndedAt);
        Assert.Null(await hub.Quarantine.RetryAsync(item.Id, default));
    }

    [Fact]
    public async Task Given_an_event_that_is_still_refused_When_it_is_retried_Then_it_stays_with_the_new_reason()
    {
        var unknown = JsonSerializer.SerializeToElement(Birth(1) with { Type = "fr.intercommunalite.civil-records.birth-registered.v2" }, ContractJson.Options);
        await hub.StoreAsync(Incoming(unknown, _journal, 1, Combourg) with { Refused = _reason });
        var elsewhere = CommuneCode.Parse("35238");
        var ofElsewhere = Event(new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")), "x", elsewhere);
        await hub.StoreAsync(Incoming(ofElsewhere, _journal, 1) with { Read = null, Refused = _reason });

        Assert.Equal(new RetryCounts(0, 2), await hub.Quarantine.RetryAllAsync(_reason, null, default));

        Assert.Equal(
            ["kept type: not a type of the catalogue", "kept source: not a commune of CC Bretagne Romantique"],
            await hub.RowsAsync($"SELECT state, reason FROM ingestion.quarantine WHERE journal = '{_journal}' ORDER BY id"));
        Assert.Equal(["1 0 1", "1 0 1"], await JournalAsync());
    }

    [Fact]
    public async Task Given_an_event_that_another_journal_brought_meanwhile_When_it_is_retried_Then_it_is_stored_once()
    {
        var envelope = Birth(1);
        await hub.StoreAsync(Refused(envelope, 1));
        await hub.StoreAsync(Incoming(envelope, Guid.NewGuid(), 1));

        Assert.True(await hub.Quarantine.RetryAsync(await IdAsync(1), default));

        Assert.Equal(["1"], await hub.RowsAsync($"SELECT count(*) FROM hub.mt_events WHERE id = '{envelope.EventId}'"));
        Assert.Equal(["1 0 0"], await JournalAsync());
        Assert.Equal("in the event store already", (await hub.Quarantine.FindAsync(await IdAsync(1), default))!.Value.Item.EndReason);
    }

    [Fact]
    public async Task Given_more_events_than_a_page_When_all_of_a_reason_are_retried_Then_they_are_stored_in_their_order_and_the_bad_one_stays()
    {
        // The personal data of one would have to be kept beyond the last day that there is: the store cannot take it.
        var tooLate = DateTimeOffset.MaxValue.AddDays(-1);
        var events = Enumerable.Range(1, 450).Select(i => Refused(i == 230 ? Birth(i) with { Time = tooLate } : Birth(i), i)).ToArray();
        await hub.StoreAsync(events);
        await hub.StoreAsync(Refused(Birth(451), 451) with { Refused = "for another reason" });

        Assert.Equal(new RetryCounts(0, 0), await hub.Quarantine.RetryAllAsync(_reason, "35337", default));
        Assert.Equal(new RetryCounts(449, 1), await hub.Quarantine.RetryAllAsync(_reason, "35085", default));

        Assert.Equal(
            Enumerable.Range(1, 450).Where(i => i != 230),
            (await hub.RowsAsync($"SELECT headers->>'position' FROM hub.mt_events WHERE headers->>'journal' = '{_journal}' ORDER BY seq_id")).Select(int.Parse));
        Assert.Equal(["451 449 2"], await JournalAsync());
        Assert.Equal(
            ["230 the event store refused it (ArgumentOutOfRangeException)", "451 for another reason"],
            await hub.RowsAsync($"SELECT position, reason FROM ingestion.quarantine WHERE journal = '{_journal}' AND state = 'kept' ORDER BY id"));
    }

    [Fact]
    public async Task Given_two_administrators_and_a_journal_that_comes_again_When_all_are_at_work_at_once_Then_every_event_ends_once()
    {
        var envelopes = Enumerable.Range(1, 600).Select(Birth).ToArray();
        var again = Guid.NewGuid();
        await hub.StoreAsync([.. envelopes.Select((envelope, i) => Refused(envelope, i + 1))]);
        var ids = (await hub.Quarantine.ListAsync(null, _reason, "kept", 0, 1000, default)).Select(item => item.Id).ToArray();

        var retries = Task.WhenAll(Enumerable.Range(0, 2).Select(_ => hub.Quarantine.RetryAllAsync(_reason, null, default)));
        var discards = Task.WhenAll(ids.Reverse().Take(300).Select(id => hub.Quarantine.DiscardAsync(id, "a test", default)));
        foreach (var (index, envelope) in envelopes.Index()) await AgainAsync(Incoming(envelope, again, index + 1));

        var (retried, discarded) = ((await retries).Sum(counts => counts.Retried), (await discards).Count(done => done));
        Assert.Equal(600, retried + discarded);
        Assert.Equal(["600"], await hub.RowsAsync($"SELECT count(*) FROM hub.mt_events WHERE headers->>'journal' IN ('{_journal}', '{again}')"));
        Assert.Equal(["0"], await hub.RowsAsync($"SELECT quarantined FROM ingestion.journal WHERE journal = '{_journal}'"));
        Assert.Equal(["600"], await hub.RowsAsync($"SELECT sum(events) FROM ingestion.journal WHERE journal IN ('{_journal}', '{again}')"));
        Assert.Equal(["0"], await hub.RowsAsync($"SELECT count(*) FROM ingestion.quarantine WHERE journal = '{_journal}' AND (state = 'kept' OR event IS NOT NULL)"));

        // As the ingestion does: what fails for another transaction's sake is tried again.
        async Task AgainAsync(IncomingEvent incoming)
        {
            while (true)
            {
                try
                {
                    await hub.StoreAsync(incoming);
                    return;
                }
                catch (Npgsql.PostgresException e) when (!Hub.Ingestion.Ingestion.IsOfAnEvent(e))
                {
                    // Known on the next try.
                }
            }
        }
    }

    [Fact]
    public async Task Given_an_event_in_quarantine_When_it_is_discarded_Then_its_content_is_erased_and_why_stays()
    {
        await hub.StoreAsync(Refused(Birth(1), 1), Incoming(Birth(2), _journal, 2));
        var id = await IdAsync(1);

        Assert.True(await hub.Quarantine.DiscardAsync(id, "sent by mistake", default));
        Assert.False(await hub.Quarantine.DiscardAsync(id, "again", default));
        Assert.Null(await hub.Quarantine.RetryAsync(id, default));
        Assert.False(await hub.Quarantine.DiscardAsync(long.MaxValue, "none", default));

        var (item, content) = (await hub.Quarantine.FindAsync(id, default))!.Value;
        Assert.Null(content);
        Assert.Equal(("discarded", "sent by mistake", _reason), (item.State, item.EndReason, item.Reason));
        Assert.Equal(["2 1 0"], await JournalAsync());
        Assert.Equal(0, (await hub.Journals.AllAsync(default)).Single(journal => journal.Journal == _journal).Quarantined);
    }

    [Fact]
    public async Task Given_a_message_that_cannot_be_read_When_the_broker_delivers_it_again_Then_it_is_kept_once_and_cannot_be_retried()
    {
        var message = new UndecipherableMessage(_reason, null, TraceId);
        byte[] body = [0, 0xFF, .. Guid.NewGuid().ToByteArray()];

        await hub.Quarantine.KeepAsync(message, body, redelivered: false, sender: null, default);
        await hub.Quarantine.KeepAsync(message, body, redelivered: true, sender: null, default);
        await hub.Quarantine.KeepAsync(message, [1], redelivered: true, sender: null, default);

        var items = await hub.Quarantine.ListAsync(null, _reason, "kept", 0, 10, default);
        Assert.Equal(["message", "message"], items.Select(item => item.Kind));
        Assert.Equal(body, (await hub.Quarantine.FindAsync(items[0].Id, default))!.Value.Content);
        Assert.Null(await hub.Quarantine.RetryAsync(items[0].Id, default));
        Assert.Equal(new RetryCounts(0, 0), await hub.Quarantine.RetryAllAsync(_reason, null, default));
        Assert.True(await hub.Quarantine.IsOfMessagesAsync(_reason, default));
        Assert.True(await hub.Quarantine.DiscardAsync(items[0].Id, "noise", default));
    }

    [Fact]
    public async Task Given_a_broker_user_that_sends_what_it_may_not_When_it_is_much_Then_a_hundred_are_kept_and_the_rest_is_counted_And_another_loses_nothing()
    {
        var sender = $"sender-{Guid.NewGuid():N}";
        var message = new UndecipherableMessage(_reason, "35085", null);

        // At once, as they are delivered.
        var kept = await Task.WhenAll(Enumerable.Range(0, 130).Select(_ => hub.Quarantine.KeepAsync(message, Guid.NewGuid().ToByteArray(), redelivered: false, sender, default)));
        var other = await hub.Quarantine.KeepAsync(message, Guid.NewGuid().ToByteArray(), redelivered: false, $"other-{sender}", default);

        Assert.Equal((100, true), (kept.Count(one => one), other));
        Assert.Equal(["100"], await hub.RowsAsync($"SELECT count(*) FROM ingestion.quarantine WHERE sender = '{sender}'"));
        Assert.Equal(130, (await hub.Quarantine.OfSendersAsync(default))[sender]);
    }

    [Fact]
    public async Task Given_many_in_quarantine_When_they_are_listed_Then_pages_follow_each_other_and_reasons_are_counted()
    {
        await hub.StoreAsync([.. Enumerable.Range(1, 5).Select(i => Refused(Birth(i), i))]);

        var first = await hub.Quarantine.ListAsync("35085", _reason, "kept", 0, 3, default);
        var second = await hub.Quarantine.ListAsync("35085", _reason, null, first[^1].Id, 3, default);

        Assert.Equal([1L, 2, 3, 4, 5], first.Concat(second).Select(item => item.Position!.Value));
        Assert.Empty(await hub.Quarantine.ListAsync("35337", _reason, "kept", 0, 3, default));
        Assert.Empty(await hub.Quarantine.ListAsync(null, _reason, "retried", 0, 3, default));
        var reason = (await hub.Quarantine.ReasonsAsync(default)).Single(one => one.Reason == _reason);
        Assert.Equal(("35085", "event", 5), (reason.Commune, reason.Kind, reason.Count));
    }

    [Fact]
    public async Task Given_events_and_messages_in_quarantine_When_it_is_measured_Then_both_are_counted_by_commune()
    {
        var (counted, kept) = (new List<string?>(), new Dictionary<string, long>());
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Meter == Telemetry.Meter) self.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            var commune = tags.Length == 0 ? "" : tags[0].Value as string;
            lock (kept)
            {
                if (instrument.Name == "hub.events.quarantined") counted.Add(commune);
                // Other tests' hubs, in this process, show theirs too.
                if (instrument.Name == "hub.quarantine.kept") kept[commune!] = kept.GetValueOrDefault(commune!) + value;
            }
        });
        listener.Start();
        await hub.StoreAsync(Refused(Birth(1), 1));
        await hub.Quarantine.KeepAsync(new(_reason, null, null), Guid.NewGuid().ToByteArray(), redelivered: false, sender: null, default);
        await hub.Quarantine.KeepAsync(new(_reason, "35339", null), Guid.NewGuid().ToByteArray(), redelivered: false, sender: null, default);

        listener.RecordObservableInstruments();

        Assert.Equal(["", "35339"], counted.TakeLast(2));
        Assert.Equal(1, kept["35339"]);
        Assert.True(kept[""] >= 1);
        Assert.True(kept["35085"] >= 1);
    }

    private CloudEvent Birth(int number) => Event(
        new BirthRegistered(PartialDate.Parse("2026-11-20"), $"{number}", Tinteniac) { Personal = new BirthPersonal(new Person("MARQUEUR")) }, $"{_journal}/record");

    private IncomingEvent Refused(CloudEvent envelope, long position) => Incoming(envelope, _journal, position) with { Read = null, Refused = _reason };

    private async Task<long> IdAsync(long position) => long.Parse(
        (await hub.RowsAsync($"SELECT id FROM ingestion.quarantine WHERE journal = '{_journal}' AND position = {position}")).Single(),
        System.Globalization.CultureInfo.InvariantCulture);

    private Task<IReadOnlyList<string>> JournalAsync() =>
        hub.RowsAsync($"SELECT received_through, events, quarantined FROM ingestion.journal WHERE journal = '{_journal}' ORDER BY commune");
}
