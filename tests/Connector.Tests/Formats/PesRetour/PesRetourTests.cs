using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;
using Intercommunalite.Testing;
using Reader = Intercommunalite.Connector.Formats.PesRetour.PesRetour;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

public sealed class PesRetourTests
{
    private const string First = "213500853/315-00/2026/44/1449/1";

    [SharedDataFact]
    public async Task Given_the_sample_of_an_exchange_platform_When_it_is_read_Then_every_field_is_as_the_file_says()
    {
        var records = await Pes.ReadAsync(await File.ReadAllBytesAsync(SharedData.File("pes", "PES_Exemple_Retour.xml")!), Pes.OtherCommune);

        // The commune is the context's: the file's SIREN is nobody's.
        const string Budget = "123456725/315-00/2005/44";
        Assert.Equal(
            [
                $$$$"""47 invoice-issued invoice/{{{{Budget}}}}/1449/1 2006-01-13 {"service":"nature-7067","amount":27405,"issuedOn":"2006-01-13","personal":{"debtor":{"lastName":"LES ROIS DE FRANCE et DE NAVARRE","address":"9 AVENUE DU CHATEAU, 78000 VERSAILLES"}}}""",
                $$"""102 payment-collected collection/{{Budget}}/1449/1/1077988511 2008-01-10 {"amount":156,"collectedOn":"2008-01-10","invoice":"invoice/{{Budget}}/1449/1"}""",
                $$"""109 payment-collected collection/{{Budget}}/1449/1/1085134311 2008-01-15 {"amount":15000,"collectedOn":"2008-01-15","invoice":"invoice/{{Budget}}/1449/1"}""",
                $$$$"""131 invoice-issued invoice/{{{{Budget}}}}/1456/1 2006-01-13 {"service":"nature-7067","amount":43051,"issuedOn":"2006-01-13","personal":{"debtor":{"lastName":"BOND James","address":"CHEZ M, 34980 QUELQUE PART"}}}""",
                $$"""172 payment-collected collection/{{Budget}}/1456/1/1014035611 2007-11-29 {"amount":20021,"collectedOn":"2007-11-29","invoice":"invoice/{{Budget}}/1456/1"}""",
                $$"""179 payment-collected collection/{{Budget}}/1456/1/1107199111 2008-01-30 {"amount":23030,"collectedOn":"2008-01-30","invoice":"invoice/{{Budget}}/1456/1"}""",
            ],
            records.OfType<EventRecord>().Select(Told));
        Assert.All(records.OfType<EventRecord>(), read => Assert.Equal("urn:insee:commune:35238:pes-retour", read.Event.Source.ToString()));
        // The slip says more than its lines sum up to; that is told, at the place where it says so.
        var remark = Assert.Single(records.OfType<RemarkRecord>());
        Assert.Equal(
            (31, "BlocBordereau/MtBordHt", "11119.07", "stated total; sum of the slip's lines in the file: 704.56"),
            (remark.Line, remark.Fault.Field, remark.Fault.Value, remark.Fault.Reason.English));
        Assert.Empty(records.OfType<RejectedRecord>());
    }

    [Theory]
    [InlineData("213500853")]
    [InlineData("21350085300017")]
    public async Task Given_a_communes_SIREN_or_SIRET_When_no_commune_is_named_Then_the_events_are_that_communes(string idColl)
    {
        var read = Assert.IsType<EventRecord>(Assert.Single(await new Pes { IdColl = idColl }.ReadAsync(null)));

        Assert.Equal(CommuneCode.Parse(Pes.Commune), read.Commune);
        Assert.Equal($"invoice/{First}", read.Event.Subject);
    }

    [Theory]
    [InlineData("""<CodColl V="315"/><CodBud V="00"/>""", "invoice/213500853/315-00/2026/44/1449/1")]
    [InlineData("""<CodCol V="316"/><CodBud V="00"/>""", "invoice/213500853/316-00/2026/44/1449/1")]
    [InlineData("""<CodCol V="315"/><CodBud V="01"/>""", "invoice/213500853/315-01/2026/44/1449/1")]
    public async Task Given_budgets_of_one_SIREN_When_they_number_their_titres_alike_Then_the_subjects_differ(string codes, string subject)
    {
        Assert.Equal([subject], Subjects(await new Pes { Codes = codes }.ReadAsync()));
    }

    [Fact]
    public async Task Given_numbers_padded_with_zeros_When_the_file_is_read_Then_the_events_are_the_same()
    {
        var plain = new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") };
        var padded = plain with
        {
            Slip = plain.Slip.Replace("\"44\"", "\"0000044\"", StringComparison.Ordinal),
            PieceBlock = plain.PieceBlock.Replace("1449", "0000001449", StringComparison.Ordinal),
            Info = plain.Info.Replace("IdLigne V=\"1\"", "IdLigne V=\" 000001\"", StringComparison.Ordinal).Replace("100.50", "0100.5", StringComparison.Ordinal),
            Collections = Pes.Collection("2026-04-01", "10.00", "000000000077"),
        };

        Assert.Equal(Ids(await plain.ReadAsync()), Ids(await padded.ReadAsync()));
        Assert.Equal([$"invoice/{First}", $"collection/{First}/77"], Subjects(await padded.ReadAsync()));
    }

    [Fact]
    public async Task Given_the_same_file_twice_When_it_is_read_Then_the_events_are_the_same()
    {
        var file = new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") + Pes.Collection("2026-04-01", "10") };

        Assert.Equal(Ids(await file.ReadAsync()), Ids(await file.ReadAsync()));
    }

    [Fact]
    public async Task Given_a_collection_corrected_in_a_later_file_When_both_are_read_Then_it_is_another_event_of_the_same_subject()
    {
        var first = await new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") }.ReadAsync();
        var later = await new Pes { Collections = Pes.Collection("2026-04-01", "12", "77") }.ReadAsync();

        Assert.Equal(Subjects(first), Subjects(later));
        Assert.Equal(Ids(first)[0], Ids(later)[0]);
        Assert.NotEqual(Ids(first)[1], Ids(later)[1]);
    }

    [Theory]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"100.51\"")]
    [InlineData("7067", "7066")]
    [InlineData("MARTIN", "MARTINE")]
    [InlineData("RUE HAUTE", "RUE BASSE")]
    [InlineData("2026-03-02", "2026-03-03")]
    public async Task Given_an_invoice_corrected_in_a_later_file_When_both_are_read_Then_it_is_another_event_of_the_same_subject(string before, string after)
    {
        var file = new Pes().Text;

        var first = await Pes.ReadAsync(Encoding.UTF8.GetBytes(file));
        var later = await Pes.ReadAsync(Encoding.UTF8.GetBytes(file.Replace(before, after, StringComparison.Ordinal)));

        Assert.Equal(Subjects(first), Subjects(later));
        Assert.NotEqual(Ids(first), Ids(later));
    }

    [Fact]
    public async Task Given_schema_5_3_When_it_is_read_Then_equal_collections_are_told_apart_by_their_rank()
    {
        var records = await new Pes
        {
            Collections = Pes.Collection("2026-04-01", "10") + Pes.Collection("2026-04-01", "20.5") + Pes.Collection("2026-04-01", "10.00") + Pes.Collection("2026-05-01", "10"),
        }.ReadAsync();

        Assert.Equal(
            [
                $"invoice/{First}", $"collection/{First}/20260401-1000-1", $"collection/{First}/20260401-2050-1", $"collection/{First}/20260401-1000-2",
                $"collection/{First}/20260501-1000-1",
            ],
            Subjects(records));
        Assert.Equal(5, Ids(records).Distinct().Count());
    }

    [Theory]
    [InlineData("150", 15000)]
    [InlineData("230.3", 23030)]
    [InlineData("11119.07", 1111907)]
    [InlineData("1.500", 150)]
    [InlineData("0", 0)]
    [InlineData("000.10", 10)]
    [InlineData("999999999.99", 99_999_999_999)]
    public async Task Given_amounts_of_any_scale_When_they_are_read_Then_they_are_cents(string amount, long cents)
    {
        var read = (EventRecord)Assert.Single(await new Pes { Info = $"""<IdLigne V="1"/><MtHT V="{amount}"/>""" }.ReadAsync());

        Assert.Equal(cents, read.Event.Data.GetProperty("amount").GetInt64());
        Assert.Equal("nature-unknown", read.Event.Data.GetProperty("service").GetString());
    }

    [Fact]
    public async Task Given_VAT_When_the_line_is_read_Then_the_invoice_is_of_both_and_the_totals_are_compared_apart()
    {
        var file = new Pes
        {
            Slip = """<Exer V="2026"/><IdBord V="44"/><DteBordEm V="2026-03-02"/><NbrPce V="1"/><MtBordHt V="100"/><MtBordTVA V="20"/>""",
            Info = """<IdLigne V="1"/><Nature V="7067"/><MtHT V="100"/><MtTVA V="20"/>""",
        };

        Assert.Equal(12000, ((EventRecord)Assert.Single(await file.ReadAsync())).Event.Data.GetProperty("amount").GetInt64());
        var remark = (RemarkRecord)(await (file with { Slip = file.Slip.Replace("\"20\"", "\"21\"", StringComparison.Ordinal) }).ReadAsync())[^1];
        Assert.Equal(("BlocBordereau/MtBordTVA", "21", "stated total; sum of the slip's lines' VAT in the file: 20.00"), (remark.Fault.Field, remark.Fault.Value, remark.Fault.Reason.English));
    }

    [Theory]
    [InlineData("""<NbrReco V="2"/><MtRecoTot V="10"/>""", "InfoRecouvrement/NbrReco", "2", "stated total; collections of the line in the file: 1")]
    [InlineData("""<NbrReco V="1"/><MtRecoTot V="10.01"/>""", "InfoRecouvrement/MtRecoTot", "10.01", "stated total; sum of the line's collections in the file: 10.00")]
    [InlineData("""<NbrReco V="1"/><MtRecoTot V="1,0"/>""", "InfoRecouvrement/MtRecoTot", "1,0", "this stated total cannot be read; it is not compared")]
    public async Task Given_stated_collections_that_differ_When_the_line_is_read_Then_it_is_taken_with_a_remark(string stated, string field, string value, string reason)
    {
        var records = await new Pes { Stated = stated, Collections = Pes.Collection("2026-04-01", "10", "77") }.ReadAsync();

        Assert.Equal(2, records.OfType<EventRecord>().Count());
        var remark = Assert.Single(records.OfType<RemarkRecord>());
        Assert.Equal((8, field, value, reason), (remark.Line, remark.Fault.Field, remark.Fault.Value, remark.Fault.Reason.English));
    }

    [Fact]
    public async Task Given_a_wrong_number_of_pieces_and_another_kind_of_file_When_it_is_read_Then_both_are_remarked()
    {
        var records = await new Pes { Kind = "PESRETOUR", Slip = """<Exer V="2026"/><IdBord V="44"/><DteBordEm V="2026-03-02"/><NbrPce V="2"/>""" }.ReadAsync();

        Assert.Equal(["3 Parametres/TypFic", "5 BlocBordereau/NbrPce"], records.OfType<RemarkRecord>().Select(remark => $"{remark.Line} {remark.Fault.Field}"));
        Assert.Single(records.OfType<EventRecord>());
    }

    [Theory]
    [InlineData("""<DteBordEm V="2026-01-01"/>""", """<DteAsp V="2026-01-04"/><DtePceInt V="2026-01-02"/><DtePcePec V="2026-01-03"/>""", "2026-01-01")]
    [InlineData("", """<DteAsp V="2026-01-04"/><DtePceInt V="2026-01-02"/><DtePcePec V="2026-01-03"/>""", "2026-01-02")]
    [InlineData("", """<DteAsp V="2026-01-04"/><DtePcePec V="2026-01-03"/>""", "2026-01-03")]
    [InlineData("", """<DteAsp V="2026-01-04"/>""", "2026-01-04")]
    public async Task Given_several_dates_When_the_invoice_is_read_Then_the_slips_date_goes_before_those_of_the_Tresor(string slip, string piece, string issuedOn)
    {
        var records = await new Pes { Slip = $"""<Exer V="2026"/><IdBord V="44"/>{slip}""", PieceBlock = $"""<IdPce V="1449"/>{piece}""" }.ReadAsync();

        var read = Assert.IsType<EventRecord>(Assert.Single(records)).Event;
        Assert.Equal(issuedOn, read.Data.GetProperty("issuedOn").GetString());
        Assert.Equal($"{issuedOn}T00:00:00.0000000+00:00", read.Time.ToString("O"));
    }

    [Theory]
    [InlineData("", null)]
    [InlineData("""<InfoTiers><Nom V="NC"/></InfoTiers>""", null)]
    [InlineData("""<InfoTiers><Nom V=" "/></InfoTiers><Adresse><Ville V="COMBOURG"/></Adresse>""", null)]
    [InlineData("""<InfoTiers><Nom V="A"/><Prenom V="NC"/></InfoTiers>""", """{"lastName":"A"}""")]
    [InlineData("""<InfoTiers><Nom V=" A &#10; B  "/></InfoTiers>""", """{"lastName":"A B"}""")]
    [InlineData("""<InfoTiers><Nom V="A"/></InfoTiers><Adresse><Adr1 V="X"/><Adr2 V="Y"/><Adr3 V="Z"/><Ville V="V"/></Adresse></Tiers><Tiers><InfoTiers><Nom V="OTHER"/></InfoTiers>""", """{"lastName":"A","address":"X, Y, Z, V"}""")]
    public async Task Given_debtors_of_all_kinds_When_they_are_read_Then_only_what_names_somebody_is_kept(string debtor, string? expected)
    {
        var read = Assert.IsType<EventRecord>(Assert.Single(await new Pes { Debtor = debtor }.ReadAsync())).Event;

        Assert.Equal(expected, read.Data.TryGetProperty("personal", out var personal) ? personal.GetProperty("debtor").GetRawText() : null);
    }

    [Theory]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"100,50\"", 8, "InfoLignePiece/MtHT", "100,50", "an amount in euros expected: digits, and a point before the cents")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"-3\"", 8, "InfoLignePiece/MtHT", "-3", "a negative amount is not taken")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"1.001\"", 8, "InfoLignePiece/MtHT", "1.001", "finer than a cent")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"1000000000\"", 8, "InfoLignePiece/MtHT", "1000000000", "beyond 999,999,999.99 €")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"99999999999999999999\"", 8, "InfoLignePiece/MtHT", "99999999999999999999", "beyond 999,999,999.99 €")]
    [InlineData("MtHT V=\"100.50\"/><MtTVA V=\"0\"", "MtHT V=\"999999999.99\"/><MtTVA V=\"0.01\"", 8, "InfoLignePiece/MtHT", "999999999.99", "beyond 999,999,999.99 €")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"MARTIN\"", 8, "InfoLignePiece/MtHT", null, "an amount in euros expected: digits, and a point before the cents")]
    [InlineData("MtHT V=\"100.50\"", "MtHT V=\"\"", 8, "InfoLignePiece/MtHT", null, "the field is empty")]
    [InlineData("MtHT V=\"100.50\"", "MtXX V=\"1\"", 8, "InfoLignePiece/MtHT", null, "the field is empty")]
    [InlineData("7067", "70 67", 8, "InfoLignePiece/Nature", "70 67", "an account of 10 letters and digits at most expected")]
    [InlineData("2026-03-02", "2026-02-30", 8, "BlocBordereau/DteBordEm", "2026-02-30", "no such date; AAAA-MM-JJ expected")]
    [InlineData("2026-03-02", "02/03/2026", 8, "BlocBordereau/DteBordEm", "02/03/2026", "no such date; AAAA-MM-JJ expected")]
    [InlineData("2026-03-02", "2026-11-27", 8, "BlocBordereau/DteBordEm", "2026-11-27", "in the future")]
    [InlineData("TypBord V=\"01\"", "TypBord V=\"02\"", 8, "BlocBordereau/TypBord", "02", "a cancellation or reduction: the file does not say of which invoice, so nothing is reduced")]
    [InlineData("NatPce V=\"01\"", "NatPce V=\"06\"", 8, "BlocPiece/NatPce", "06", "a cancellation or reduction: the file does not say of which invoice, so nothing is reduced")]
    public async Task Given_a_line_that_cannot_be_read_When_the_file_is_Then_it_is_rejected_with_its_place_and_its_collection_is_taken(
        string before, string after, long line, string field, string? value, string reason)
    {
        var text = new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") }.Text;

        var records = await Pes.ReadAsync(Encoding.UTF8.GetBytes(text.Replace(before, after, StringComparison.Ordinal)));

        Assert.Equal(
            [$"collection/{First}/77"],
            Subjects(records));
        var rejected = Assert.Single(records.OfType<RejectedRecord>());
        Assert.Equal(CommuneCode.Parse(Pes.Commune), rejected.Commune);
        var fault = Assert.Single(rejected.Faults);
        Assert.Equal((line, field, value, reason), (rejected.Line, fault.Field, fault.Value, fault.Reason.English));
    }

    [Theory]
    [InlineData("<Exer V=\"2026\"/>", "", "BlocBordereau/Exer", "the field is empty")]
    [InlineData("Exer V=\"2026\"", "Exer V=\"26\"", "BlocBordereau/Exer", "a year of four digits expected")]
    [InlineData("IdBord V=\"44\"", "IdBord V=\"4-4\"", "BlocBordereau/IdBord", "a number of 18 digits at most expected")]
    [InlineData("IdPce V=\"1449\"", "IdPce V=\"1234567890123456789\"", "BlocPiece/IdPce", "a number of 18 digits at most expected")]
    [InlineData("<IdLigne V=\"1\"/>", "", "InfoLignePiece/IdLigne", "the field is empty")]
    public async Task Given_a_key_that_cannot_be_read_When_the_file_is_Then_the_line_and_its_collections_are_rejected(string before, string after, string field, string reason)
    {
        var text = new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") }.Text;

        var records = await Pes.ReadAsync(Encoding.UTF8.GetBytes(text.Replace(before, after, StringComparison.Ordinal)));

        Assert.Equal([(8, field, reason), (11, field, reason)], records.Cast<RejectedRecord>().Select(rejected =>
        {
            var fault = Assert.Single(rejected.Faults);
            return (rejected.Line, fault.Field, fault.Reason.English);
        }));
    }

    [Theory]
    [InlineData("2026-13-01", "10", "77", "Recouvrement/DteReco", "2026-13-01")]
    [InlineData("", "10", "77", "Recouvrement/DteReco", null)]
    [InlineData("2026-04-01", "-10", "77", "Recouvrement/MtReco", "-10")]
    [InlineData("2026-04-01", "10", "7A", "Recouvrement/IdEncaissement", "7A")]
    public async Task Given_a_collection_that_cannot_be_read_When_the_file_is_Then_only_that_one_is_rejected(string date, string amount, string number, string field, string? value)
    {
        var records = await new Pes
        {
            Stated = """<NbrReco V="2"/><MtRecoTot V="20"/>""",
            Collections = Pes.Collection(date, amount, number) + "\n" + Pes.Collection("2026-04-01", "10", "78"),
        }.ReadAsync();

        Assert.Equal([$"invoice/{First}", $"collection/{First}/78"], Subjects(records));
        var rejected = Assert.IsType<RejectedRecord>(records[1]);
        var fault = Assert.Single(rejected.Faults);
        Assert.Equal((11, field, value), (rejected.Line, fault.Field, fault.Value));
        Assert.Equal(3, records.Count);
    }

    [Theory]
    [InlineData("04")]
    [InlineData("05")]
    public async Task Given_collections_that_wait_for_an_invoice_When_they_are_read_Then_they_are_remarked_once_and_not_counted(string type)
    {
        var file = new Pes { Slip = $"""<Exer V="2026"/><IdBord V="44"/><TypBord V="{type}"/><MtBordHt V="7"/>""", Collections = Pes.Collection("2026-04-01", "10", "77") };

        var remark = Assert.IsType<RemarkRecord>(Assert.Single(await (file with { Pieces = file.Piece + file.Piece }).ReadAsync()));

        Assert.Equal((5, "BlocBordereau/TypBord", type), (remark.Line, remark.Fault.Field, remark.Fault.Value));
    }

    [Fact]
    public async Task Given_a_titre_that_the_Tresor_rejected_When_it_is_read_Then_it_is_remarked_and_not_counted_as_issued()
    {
        var remark = Assert.IsType<RemarkRecord>(Assert.Single(await new Pes { PieceBlock = """<IdPce V="1449"/><DtePceRej V="2026-03-10"/>""" }.ReadAsync()));

        Assert.Equal((6, "BlocPiece/DtePceRej", "2026-03-10"), (remark.Line, remark.Fault.Field, remark.Fault.Value));
    }

    [Fact]
    public async Task Given_several_lines_and_pieces_When_they_are_read_Then_each_keeps_its_own()
    {
        var one = new Pes { Collections = Pes.Collection("2026-04-01", "1", "1") };
        var line = one.Piece[one.Piece.IndexOf("<LigneDePiece>", StringComparison.Ordinal)..one.Piece.IndexOf("</Piece>", StringComparison.Ordinal)];
        var two = one.Piece.Replace("</Piece>", line.Replace("IdLigne V=\"1\"", "IdLigne V=\"2\"", StringComparison.Ordinal).Replace("MARTIN", "", StringComparison.Ordinal) + "</Piece>", StringComparison.Ordinal);
        var other = (one with { PieceBlock = """<IdPce V="1450"/>""", Collections = "" }).Piece;

        var records = await (one with { Pieces = two + other }).ReadAsync();

        const string Slip = "213500853/315-00/2026/44";
        Assert.Equal(
            [$"invoice/{Slip}/1449/1", $"collection/{Slip}/1449/1/1", $"invoice/{Slip}/1449/2", $"collection/{Slip}/1449/2/1", $"invoice/{Slip}/1450/1"],
            Subjects(records));
        Assert.Equal([true, false, false, false, true], records.Cast<EventRecord>().Select(read => read.Event.Data.TryGetProperty("personal", out _)));
    }

    [Theory]
    [InlineData("<PES_Retour xmlns=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/autre\"/>")]
    [InlineData("<PES_Retour/>")]
    [InlineData("<autre xmlns=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour\"/>")]
    [InlineData("nomprenom;sexe\nMARTIN;2\n")]
    [InlineData("{\"a\":1}")]
    public async Task Given_another_kind_of_file_When_it_is_read_Then_it_is_refused_and_told_what_is_expected(string text)
    {
        var reason = await Pes.RefusalAsync(Encoding.UTF8.GetBytes(text));

        Assert.Contains($"PES_Retour in the namespace {Pes.Namespace}", reason.English, StringComparison.Ordinal);
        Assert.DoesNotContain("MARTIN", reason.English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_PES_Aller_or_a_return_of_expenses_When_it_is_read_Then_it_is_refused_as_such()
    {
        var aller = Encoding.UTF8.GetBytes("<n:PES_Aller xmlns:n=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller\"/>");
        var expenses = Encoding.UTF8.GetBytes(new Pes().Text.Replace("PES_RecetteRetour", "PES_DepenseRetour", StringComparison.Ordinal));

        Assert.Contains("PES Aller", (await Pes.RefusalAsync(aller)).French, StringComparison.Ordinal);
        Assert.Contains("no PES_RecetteRetour", (await Pes.RefusalAsync(expenses)).English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_return_of_expenses_beside_that_of_receipts_When_it_is_read_Then_only_the_receipts_are_taken()
    {
        var receipts = new Pes().Text;
        var block = receipts[receipts.IndexOf("<PES_RecetteRetour>", StringComparison.Ordinal)..(receipts.IndexOf("</PES_RecetteRetour>", StringComparison.Ordinal) + "</PES_RecetteRetour>".Length)];
        var both = receipts.Replace(block, block.Replace("PES_RecetteRetour", "PES_DepenseRetour", StringComparison.Ordinal).Replace("<IdBord V=\"", "<IdBord V=\"9", StringComparison.Ordinal) + block, StringComparison.Ordinal);

        var alone = await Pes.ReadAsync(Encoding.UTF8.GetBytes(receipts));
        var read = await Pes.ReadAsync(Encoding.UTF8.GetBytes(both));

        Assert.NotEmpty(alone.OfType<EventRecord>());
        Assert.Equal(alone.OfType<EventRecord>().Select(record => record.Event.Id), read.OfType<EventRecord>().Select(record => record.Event.Id));
    }

    [Theory]
    [InlineData("", "neither a SIRET")]
    [InlineData("21350085", "neither a SIRET")]
    [InlineData("21350085X", "neither a SIRET")]
    [InlineData("123456725", "no commune's")]
    public async Task Given_a_file_of_nobody_When_no_commune_is_named_Then_it_is_refused_and_told_to_name_one(string idColl, string reason)
    {
        var refusal = await new Pes { IdColl = idColl }.RefusalAsync(null);

        Assert.Contains(reason, refusal.English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""<CodCol V="315"/>""")]
    [InlineData("""<CodBud V="00"/>""")]
    [InlineData("""<CodCol V="315/.."/><CodBud V="00"/>""")]
    public async Task Given_a_budget_that_cannot_be_read_When_the_file_is_Then_it_is_refused(string codes) =>
        Assert.Contains("EnTetePES/CodBud", (await new Pes { Codes = codes }.RefusalAsync()).English, StringComparison.Ordinal);

    [Fact]
    public async Task Given_a_communes_file_sent_for_another_When_it_is_read_Then_it_is_refused_whole()
    {
        var reason = await new Pes().RefusalAsync(Pes.OtherCommune);

        Assert.Equal("The SIREN 213500853 is that of the commune 35085, and the file was sent for 35238.", reason.English);
    }

    [Fact]
    public async Task Given_no_header_before_the_first_slip_When_the_file_is_read_Then_it_is_refused()
    {
        var text = new Pes().Text;
        var header = text[text.IndexOf("<EnTetePES>", StringComparison.Ordinal)..text.IndexOf("<PES_RecetteRetour>", StringComparison.Ordinal)];

        Assert.Contains("EnTetePES/IdColl", (await Pes.RefusalAsync(Encoding.UTF8.GetBytes(text.Replace(header, "", StringComparison.Ordinal)))).English, StringComparison.Ordinal);
    }

    [Fact]
    public void Given_the_beginning_of_a_file_When_it_is_looked_at_Then_it_is_known()
    {
        Assert.True(new Reader().LooksLike(new Pes().Text));
        Assert.False(new Reader().LooksLike("{\"x\":\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour\"}"));
        Assert.False(new Reader().LooksLike("<n:PES_Aller xmlns:n=\"http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/aller\"/>"));
    }

    private static string Told(EventRecord read) =>
        $"{read.Line} {read.Event.Type.Split('.')[^2]} {read.Event.Subject} {read.Event.Time:yyyy-MM-dd} {read.Event.Data.GetRawText()}";

    private static List<string> Subjects(IEnumerable<FormatRecord> records) => [.. records.OfType<EventRecord>().Select(read => read.Event.Subject)];

    private static List<Guid> Ids(IEnumerable<FormatRecord> records) => [.. records.OfType<EventRecord>().Select(read => read.Event.EventId)];
}
