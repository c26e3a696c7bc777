using System.Text;
using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Reader = Intercommunalite.Connector.Formats.PayFip.PayFip;

namespace Intercommunalite.Connector.Tests.Formats.PayFip;

public sealed class PayFipTests
{
    private const string Commune = "35085";
    private const string Form = PayFipSamples.Form;
    private const string Json = PayFipSamples.Json;

    [SharedDataFact]
    public async Task Given_a_recorded_answer_When_it_is_read_Then_every_field_is_as_it_says()
    {
        var records = await ReadAsync(await File.ReadAllBytesAsync(SharedData.File("payfip", "detail-paiement.json")!));

        var read = Assert.IsType<EventRecord>(records[0]).Event;
        Assert.Equal("fr.intercommunalite.payments.online-payment-answered.v1", read.Type);
        Assert.Equal("urn:insee:commune:35085:payfip", read.Source.ToString());
        Assert.Equal("online-payment/090909-EFEFAEFG-12122019-1311", read.Subject);
        Assert.Equal("2019-12-12T13:11:00.0000000+01:00", read.Time.ToString("O"));
        Assert.Equal(
            """{"invoice":"EFEFAEFG","amount":1000,"answeredAt":"2019-12-12T13:11:00\u002B01:00","outcome":"direct-debit-paid","personal":{"email":"john.doe@example.com"}}""",
            read.Data.GetRawText());
        // It was recorded in the test mode, which a live connector should not hear of.
        var remark = Assert.IsType<RemarkRecord>(records[1]);
        Assert.Equal((1, "saisie", "T"), (remark.Line, remark.Fault.Field, remark.Fault.Value));
        Assert.Equal(2, records.Count);
    }

    [Theory]
    [InlineData(Json)]
    [InlineData(Form)]
    [InlineData($"?{Form}")]
    [InlineData($"https://communes.example/payfip?{Form}\n")]
    [InlineData($"[{Json}]")]
    [InlineData($"\uFEFF[\n  {Json}\n]\n")]
    [InlineData("""{"numcli":90909,"refdet":"FAC20260001","montant":4250,"dattrans":2072026,"heurtrans":905,"resultrans":"P","idop":"0f7a-1","mel":"lea@example.org","other":{}}""")]
    public async Task Given_an_answer_in_any_form_When_it_is_read_Then_it_is_the_same_event(string text)
    {
        text = text.Replace(",\"other\":{}", "", StringComparison.Ordinal);

        var read = Assert.IsType<EventRecord>(Assert.Single(await ReadAsync(text))).Event;

        var expected = Assert.IsType<EventRecord>(Assert.Single(await ReadAsync(Json))).Event;
        Assert.Equal((expected.EventId, expected.Subject, expected.Time, expected.Data.GetRawText()), (read.EventId, read.Subject, read.Time, read.Data.GetRawText()));
        Assert.Equal("online-payment/090909-FAC20260001-02072026-0905", read.Subject);
    }

    [Fact]
    public async Task Given_answers_on_lines_in_an_array_or_side_by_side_When_they_are_read_Then_each_has_its_line()
    {
        var second = Json.Replace("0F7A-1", "0F7A-2", StringComparison.Ordinal);
        var pretty = Json.Replace(",", ",\n", StringComparison.Ordinal);

        Assert.Equal([1, 3], Lines(await ReadAsync($"{Json}\n\n{second}\n")));
        Assert.Equal([1, 2], Lines(await ReadAsync($"{Json}\r\n{second}")));
        Assert.Equal([1, 2], Lines(await ReadAsync($"{Json}\r{second}")));
        Assert.Equal([1, 1], Lines(await ReadAsync($"[{Json},{second}]")));
        Assert.Equal([2, 12], Lines(await ReadAsync($"[\n{pretty},{second}]")));
        Assert.Equal([1, 2], Lines(await ReadAsync($"{Form}\n{Form.Replace("0f7a-1", "0f7a-2", StringComparison.Ordinal)}")));
    }

    [Theory]
    [InlineData("{\"refdet\":\"FAC20260001\",\"montant\":")]
    [InlineData("{\"refdet\":\"FAC20260001")]
    [InlineData("{\"refdet\":\"FAC2026\\")]
    [InlineData("nothing of the kind")]
    [InlineData("{}{}")]
    [InlineData("{{{{")]
    [InlineData("{\"refdet\":\"A\", {\"refdet\":\"B\"}")]
    [InlineData("{\"refdet\":{\"a\":\"b\"}}")]
    [InlineData("{\"refdet\":\"\\ud800\"}")]
    public async Task Given_a_broken_answer_among_others_When_they_are_read_Then_it_does_not_take_the_next_along(string broken)
    {
        var records = await ReadAsync($"{Json}\n{broken}\n{Json}");

        Assert.Equal([1, 3], Lines(records.OfType<EventRecord>()));
        Assert.All(records.OfType<RejectedRecord>(), rejected => Assert.Equal((2L, CommuneCode.Parse(Commune)), (rejected.Line, rejected.Commune)));
        Assert.NotEmpty(records.OfType<RejectedRecord>());
    }

    [Fact]
    public async Task Given_an_answer_without_end_When_it_is_read_Then_it_is_rejected_and_the_next_is_sound()
    {
        foreach (var records in new[] { await ReadAsync($"{{\"mel\":\"{new string('x', 300_000)}\"}}\n{Json}"), await ReadAsync($"refdet={new string('x', 300_000)}\n{Form}"), await ReadAsync($"{{{new string('{', 300_000)}\n{Json}") })
        {
            Assert.Equal("longer than 64 KiB", Assert.Single(Assert.IsType<RejectedRecord>(records[0]).Faults).Reason.English);
            Assert.Equal(2, Assert.IsType<EventRecord>(records[1]).Line);
        }
    }

    [Theory]
    [InlineData("P", "card-paid")]
    [InlineData("V", "direct-debit-paid")]
    [InlineData("A", "abandoned")]
    [InlineData("R", "refused")]
    [InlineData("Z", "refused")]
    public async Task Given_each_outcome_When_it_is_read_Then_it_is_told(string code, string outcome)
    {
        var read = Assert.IsType<EventRecord>(Assert.Single(await ReadAsync(Form.Replace("resultrans=P", $"resultrans={code}", StringComparison.Ordinal)))).Event;

        Assert.Equal(outcome, read.Data.GetProperty("outcome").GetString());
    }

    [Theory]
    [InlineData("01072026", "1200", "2026-07-01T12:00:00.0000000+02:00")]
    [InlineData("01012026", "0000", "2026-01-01T00:00:00.0000000+01:00")]
    [InlineData("29032026", "0159", "2026-03-29T01:59:00.0000000+01:00")]
    [InlineData("29032026", "0230", "2026-03-29T03:30:00.0000000+02:00")]
    [InlineData("29032026", "0300", "2026-03-29T03:00:00.0000000+02:00")]
    [InlineData("25102026", "0159", "2026-10-25T01:59:00.0000000+02:00")]
    [InlineData("25102026", "0230", "2026-10-25T02:30:00.0000000+02:00")]
    [InlineData("25102026", "0300", "2026-10-25T03:00:00.0000000+01:00")]
    public async Task Given_a_time_on_the_clock_When_it_is_read_Then_it_is_that_of_France(string date, string time, string expected)
    {
        var text = Form.Replace("dattrans=02072026&heurtrans=0905", $"dattrans={date}&heurtrans={time}", StringComparison.Ordinal);

        Assert.Equal(expected, Assert.IsType<EventRecord>(Assert.Single(await ReadAsync(text))).Event.Time.ToString("O"));
    }

    [Fact]
    public async Task Given_no_reference_of_PayFiP_When_answers_are_read_Then_creditor_debt_and_minute_tell_them_apart()
    {
        var old = Form.Replace("&idop=0f7a-1", "", StringComparison.Ordinal);

        var records = (await ReadAsync($"{old}\n{old.Replace("heurtrans=0905", "heurtrans=0906", StringComparison.Ordinal)}\n{old}")).Cast<EventRecord>().ToList();

        Assert.Equal("online-payment/090909-FAC20260001-02072026-0905", records[0].Event.Subject);
        Assert.Equal("online-payment/090909-FAC20260001-02072026-0906", records[1].Event.Subject);
        Assert.Equal(records[0].Event.EventId, records[2].Event.EventId);
    }

    [Theory]
    [InlineData("mel=", false)]
    [InlineData("other=", false)]
    [InlineData("mel=lea", false)]
    [InlineData("mel=lea%40", false)]
    [InlineData("mel=%40example.org", false)]
    [InlineData("mel=le%20a%40example.org", false)]
    [InlineData("mel=le%0Aa%40example.org", false)]
    [InlineData("mel=l%40e%40example.org", false)]
    [InlineData("mel=marc%40example.org", true)]
    public async Task Given_an_address_or_none_When_it_is_read_Then_only_a_sound_one_is_kept_and_the_event_is_the_same(string mel, bool isKept)
    {
        var read = Assert.IsType<EventRecord>(Assert.Single(await ReadAsync(Form.Replace("mel=lea%40example.org", mel, StringComparison.Ordinal)))).Event;

        Assert.Equal(isKept, read.Data.TryGetProperty("personal", out _));
        Assert.Equal(((EventRecord)(await ReadAsync(Form))[0]).Event.EventId, read.EventId);
    }

    [Theory]
    [InlineData("refdet=FAC20260001", "refdet=FAC26", "refdet", null, "6 to 30 letters and digits expected")]
    [InlineData("refdet=FAC20260001", "refdet=", "refdet", null, "the field is empty")]
    [InlineData("refdet=FAC20260001", "refdet=2026-00001", "refdet", "2026-00001", "6 to 30 letters and digits expected")]
    [InlineData("montant=4250", "montant=42.50", "montant", "42.50", "a whole number of cents from 0 to 99999999999 expected")]
    [InlineData("montant=4250", "montant=-1", "montant", "-1", "a whole number of cents from 0 to 99999999999 expected")]
    [InlineData("montant=4250", "montant=100000000000", "montant", "100000000000", "a whole number of cents from 0 to 99999999999 expected")]
    [InlineData("montant=4250", "montant=4250&montant=4251", "montant", null, "given twice, with two values")]
    [InlineData("dattrans=02072026", "dattrans=31022026", "dattrans", "31022026", "no such date; JJMMAAAA expected")]
    [InlineData("dattrans=02072026", "dattrans=26112026", "dattrans", "26112026", "in the future")]
    [InlineData("heurtrans=0905", "heurtrans=2400", "heurtrans", "2400", "no such time; HHMM expected")]
    [InlineData("heurtrans=0905", "heurtrans=905", "heurtrans", "905", "no such time; HHMM expected")]
    [InlineData("resultrans=P", "resultrans=X", "resultrans", "X", "P (card), V (direct debit), A (abandoned), R or Z (refused) expected")]
    [InlineData("resultrans=P&", "", "resultrans", null, "the field is empty")]
    [InlineData("numcli=090909&", "idop=&other=", "numcli", null, "the field is empty")]
    public async Task Given_a_field_that_cannot_be_read_When_the_answer_is_Then_it_is_rejected_with_the_field(string before, string after, string field, string? value, string reason)
    {
        var form = before.StartsWith("numcli", StringComparison.Ordinal) ? Form.Replace("&idop=0f7a-1", "", StringComparison.Ordinal) : Form;

        var fault = Assert.Single(Assert.IsType<RejectedRecord>(Assert.Single(await ReadAsync(form.Replace(before, after, StringComparison.Ordinal)))).Faults);

        Assert.Equal((field, value, reason), (fault.Field, fault.Value, fault.Reason.English));
    }

    [Theory]
    [InlineData("nomprenom;sexe\nMARTIN;2\n")]
    [InlineData("<PES_Retour/>")]
    [InlineData("{\"specversion\":\"1.0\"}")]
    [InlineData("a=b&c=d")]
    public async Task Given_another_kind_of_file_When_it_is_read_Then_it_is_refused(string text)
    {
        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => ReadAsync(text));

        Assert.Contains("PayFiP's fields", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData(" \r\n")]
    [InlineData("[]")]
    public async Task Given_an_empty_file_When_it_is_read_Then_it_is_refused(string text) =>
        Assert.Equal(Reason.EmptyFile, (await Assert.ThrowsAsync<FileRefusedException>(() => ReadAsync(text))).Reason);

    [Fact]
    public void Given_no_commune_When_a_file_is_to_be_read_Then_it_is_refused_before_and_told_to_name_one()
    {
        Assert.Contains("name the commune", new Reader().Refuses(SampleFiles.Context())!.ToDo.English, StringComparison.Ordinal);
        Assert.Null(new Reader().Refuses(SampleFiles.Context(Commune)));
    }

    [Fact]
    public void Given_the_beginning_of_a_file_When_it_is_looked_at_Then_it_is_known()
    {
        Assert.True(new Reader().LooksLike(Json));
        Assert.True(new Reader().LooksLike(Form));
        Assert.False(new Reader().LooksLike("nomprenom;sexe"));
    }

    [Fact]
    public async Task Given_files_cut_off_or_changed_anywhere_When_they_are_read_Then_they_are_read_or_refused_and_never_fail()
    {
        foreach (var text in new[] { $"[\n{Json},\n{Json}]", $"{Form}\n{Form}", $"{Json}{Json}" })
        {
            var whole = Encoding.UTF8.GetBytes(text);
            for (var length = 0; length < whole.Length; length++) await TryReadAsync(whole[..length]);
            for (var seed = 0; seed < 1_000; seed++)
            {
                var random = new Random(seed);
                var bytes = whole.ToArray();
                for (var changes = random.Next(1, 6); changes > 0; changes--) bytes[random.Next(bytes.Length)] = random.Next(2) == 0 ? (byte)random.Next(256) : (byte)"{}[]\",:\\&=?%+\n"[random.Next(14)];
                await TryReadAsync(bytes);
            }
        }
    }

    private static IEnumerable<long> Lines(IEnumerable<FormatRecord> records) => records.Select(record => record.Line);

    private static async Task TryReadAsync(byte[] bytes)
    {
        try
        {
            var records = await ReadAsync(bytes);
            foreach (var fault in records.OfType<RejectedRecord>().SelectMany(rejected => rejected.Faults)) Assert.DoesNotContain("lea", fault.Value ?? "", StringComparison.Ordinal);
        }
        catch (FileRefusedException)
        {
            // The first answer was too broken to be known for one.
        }
    }

    private static Task<List<FormatRecord>> ReadAsync(string text) => ReadAsync(Encoding.UTF8.GetBytes(text));

    private static async Task<List<FormatRecord>> ReadAsync(byte[] bytes)
    {
        using var file = new MemoryStream(bytes);
        var records = await new Reader().ReadAsync(file, SampleFiles.Context(Commune), CancellationToken.None).ToListAsync();
        foreach (var read in records.OfType<EventRecord>())
        {
            var isValid = EventReader.TryRead(JsonSerializer.SerializeToElement(read.Event, ContractJson.Options), CommuneCode.Parse(Commune), out _, out var errors);
            Assert.True(isValid, string.Join("; ", errors));
        }

        return records;
    }
}
