using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Testing;

namespace Intercommunalite.Connector.Tests.Formats.Concerto;

public sealed class ConcertoEnrolmentsTests
{
    private const string Schools = "name;uai\nEcole du Coin;0350122T\n";

    [SharedDataTheory]
    [InlineData("export_inscrits.csv", "ABCD", "John", "1998-08-15", "Jane", "2001-12-18", "Elémentaire Du Coin", "Maternelle Du Coin", "93029")]
    [InlineData("two_children_simple_home_folder.csv", "KAFKA", "Elli", "1998-07-15", "Franz", "2001-11-18", "Elémentaire Grange ST PIERRE", "Maternelle Grange ST PIERRE", "75056")]
    public async Task Given_a_sample_When_it_is_read_Then_each_pupil_is_as_its_line_says(
        string name, string lastName, string one, string oneBorn, string other, string otherBorn, string onePlace, string otherPlace, string residence)
    {
        var records = await ConcertoPupil.ReadAsync(
            await File.ReadAllBytesAsync(SharedData.File("concerto", name)!), $"{onePlace};0930001A\n\"{otherPlace.ToUpperInvariant()}\"; 0930002b \n");

        Assert.Equal([typeof(RollRecord), typeof(PupilRecord), typeof(RollRecord), typeof(PupilRecord)], records.Select(record => record.GetType()));
        AssertPupil((PupilRecord)records[1], 2, "0930001A-2026", SchoolLevel.CE2, one, oneBorn);
        AssertPupil((PupilRecord)records[3], 3, "0930002B-2026", SchoolLevel.GS, other, otherBorn);

        void AssertPupil(PupilRecord record, long line, string roll, SchoolLevel level, string firstNames, string born)
        {
            Assert.Equal((line, roll), (record.Line, record.Roll.ToString()));
            Assert.Equal(
                new Pupil(level, CommuneCode.Parse(residence), new PupilPersonal(new Person(lastName, firstNames, Sex: Sex.Male, BirthDate: PartialDate.Parse(born)))),
                record.Pupil);
        }
    }

    [SharedDataFact]
    public async Task Given_a_sample_without_a_table_of_schools_When_it_is_read_Then_each_line_is_rejected_and_says_what_to_add_where()
    {
        var records = await ConcertoPupil.ReadAsync(await File.ReadAllBytesAsync(SharedData.File("concerto", "export_inscrits.csv")!), "");

        Assert.Equal(2, records.Count);
        var fault = Assert.Single(Assert.IsType<RejectedRecord>(records[1]).Faults);
        Assert.Equal(("Lieu d'inscription", "Maternelle Du Coin"), (fault.Field, fault.Value));
        Assert.Contains("35085/schools.csv", fault.Reason.ToDo.French, StringComparison.Ordinal);
        Assert.Contains("Maternelle Du Coin;UAI", fault.Reason.ToDo.French, StringComparison.Ordinal);
        Assert.Contains("Maternelle Du Coin;UAI", fault.Reason.ToDo.English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_file_of_one_place_and_its_UAI_When_it_is_read_Then_no_table_is_needed_and_a_second_place_is_rejected()
    {
        var records = await ConcertoPupil.ReadAsync(
            ConcertoPupil.File(new ConcertoPupil("Léa"), new ConcertoPupil("Léo", Place: "Elsewhere"), new ConcertoPupil("Luc", Place: "ECOLE DU COIN")), "", ("uai", "0350999X"), ("schoolYear", "2027"));

        Assert.Equal("0350999X-2027", Assert.IsType<RollRecord>(records[0]).Roll.ToString());
        Assert.Equal([2L, 4L], records.OfType<PupilRecord>().Select(record => record.Line));
        Assert.Contains("schools.csv", Assert.Single(records.OfType<RejectedRecord>()).Faults[0].Reason.ToDo.English, StringComparison.Ordinal);
        Assert.Equal(3, Assert.Single(records.OfType<RejectedRecord>()).Line);
    }

    [Theory]
    [InlineData("Ecole du Coin;350122T\n", 1)]
    [InlineData("name;uai\nEcole du Coin\n", 2)]
    [InlineData("Ecole du Coin;0350122T\necole du coin;0350123U\n", 2)]
    [InlineData(";0350122T\n", 1)]
    [InlineData("\"Ecole;0350122T\n", 1)]
    public async Task Given_a_wrong_table_of_schools_When_a_file_is_read_Then_it_is_refused_and_the_line_of_the_table_named(string schools, int line)
    {
        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => ConcertoPupil.ReadAsync(ConcertoPupil.File(new ConcertoPupil()), schools));

        Assert.Contains($"schools.csv, is wrong at line {line}:", refusal.Reason.English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("24/11/26", "2026-11-24")]
    [InlineData("25/11/26", null)]
    [InlineData("31/12/99", "1999-12-31")]
    [InlineData("24/11/96", "1996-11-24")]
    [InlineData("23/11/96", null)]
    [InlineData("29/02/20", "2020-02-29")]
    [InlineData("29/02/19", null)]
    [InlineData("14/03/2019", "2019-03-14")]
    [InlineData("14/3/19", null)]
    [InlineData("", null)]
    public async Task Given_a_year_of_two_digits_When_it_is_read_Then_it_is_the_last_one_before_the_file(string written, string? born)
    {
        var record = (await ConcertoPupil.ReadAsync(ConcertoPupil.File(new ConcertoPupil(BirthDate: written)), Schools))[^1];

        if (born is null) Assert.Equal("Date de naissance inscrit", Assert.Single(Assert.IsType<RejectedRecord>(record).Faults).Field);
        else Assert.Equal(born, Assert.IsType<PupilRecord>(record).Pupil.Personal.Pupil.BirthDate.ToString());
    }

    [Theory]
    [InlineData("10  RUE DU CENTRE 93000 DRANCY", "93029")]
    [InlineData("12 RUE DE COTTE 75012 PARIS", "75056")]
    [InlineData("LD 12345 LE BOURG 35190 ST DOMINEUC", "35265")]
    [InlineData("35270 COMBOURG", "35085")]
    [InlineData("1 rue du Secret,\u00A035270\u00A0Combourg CEDEX", "35085")]
    [InlineData("RUE DU SECRET 35270", null)]
    [InlineData("RUE DU SECRET COMBOURG", null)]
    [InlineData("12 RUE DU SECRET 1000 BRUXELLES", null)]
    [InlineData("12 RUE DU SECRET 35270 NULLE PART", null)]
    [InlineData("", null)]
    public async Task Given_an_address_in_one_cell_When_it_is_read_Then_its_end_is_the_residence(string address, string? residence)
    {
        var record = (await ConcertoPupil.ReadAsync(ConcertoPupil.File(new ConcertoPupil(Address: address)), Schools))[^1];

        if (residence is not null)
        {
            Assert.Equal(residence, Assert.IsType<PupilRecord>(record).Pupil.Residence.ToString());
            return;
        }

        var fault = Assert.Single(Assert.IsType<RejectedRecord>(record).Faults);
        Assert.Equal("Adresse responsable 1", fault.Field);
        Assert.True(fault.Value is null or "35270");
    }

    [Theory]
    [InlineData(" 3,10", true)]
    [InlineData("\u00A03,10", true)]
    [InlineData("1\u202F160,00", true)]
    [InlineData("", true)]
    [InlineData("3,10 €", false)]
    [InlineData("gratuit", false)]
    public async Task Given_an_amount_When_it_is_none_Then_a_remark_says_so_and_the_pupil_is_taken(string amount, bool isAmount)
    {
        var records = await ConcertoPupil.ReadAsync(ConcertoPupil.File(new ConcertoPupil(Income: amount)), Schools);

        Assert.Single(records.OfType<PupilRecord>());
        Assert.Equal(isAmount ? [] : ["Valeur QF"], records.OfType<RemarkRecord>().Select(remark => remark.Fault.Field));
        Assert.All(records.OfType<RemarkRecord>(), remark => Assert.Null(remark.Fault.Value));
    }

    [Theory]
    [InlineData("Garçon", Sex.Male)]
    [InlineData("fille", Sex.Female)]
    [InlineData("", null)]
    public async Task Given_a_sex_When_it_is_read_Then_it_is_that_or_unknown(string written, Sex? sex)
    {
        Assert.Equal(sex, ((PupilRecord)(await ConcertoPupil.ReadAsync(ConcertoPupil.File(new ConcertoPupil(Sex: written)), Schools))[^1]).Pupil.Personal.Pupil.Sex);
    }

    [Fact]
    public async Task Given_names_where_others_belong_When_they_are_read_Then_no_reason_repeats_them()
    {
        var records = await ConcertoPupil.ReadAsync(
            ConcertoPupil.File(new ConcertoPupil(Sex: "SECRET", BirthDate: "SECRET", Level: "SECRET", Address: "SECRET", Income: "SECRET", Place: "SECRET")), Schools);

        var rejected = Assert.IsType<RejectedRecord>(Assert.Single(records));
        Assert.Equal(["Sexe inscrit", "Date de naissance inscrit", "Niveau inscrit", "Adresse responsable 1"], rejected.Faults.Select(fault => fault.Field));
        Assert.DoesNotContain("SECRET", string.Join(' ', rejected.Faults), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_files_broken_in_any_way_When_they_are_read_Then_they_are_refused_or_their_lines_rejected_and_nothing_else()
    {
        var dice = new Random(42);
        var sound = Encoding.UTF8.GetBytes(ConcertoPupil.File(Enumerable.Range(1, 10).Select(i => new ConcertoPupil($"Enfant {i}"))));
        for (var round = 0; round < 60; round++)
        {
            var broken = sound[..dice.Next(sound.Length)];
            for (var hit = dice.Next(10); hit > 0 && broken.Length > 0; hit--) broken[dice.Next(broken.Length)] = dice.Next(3) == 0 ? (byte)"\0\"\n,"[dice.Next(4)] : (byte)dice.Next(256);
            try
            {
                Assert.All(await ConcertoPupil.ReadAsync(broken, Schools), record => Assert.True(record is RollRecord or PupilRecord or RejectedRecord or RemarkRecord));
            }
            catch (FileRefusedException refusal)
            {
                Assert.NotEmpty(refusal.Reason.French);
            }
        }
    }
}
