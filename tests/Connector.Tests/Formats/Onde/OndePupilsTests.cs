using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.Onde;
using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Testing;

namespace Intercommunalite.Connector.Tests.Formats.Onde;

public sealed class OndePupilsTests
{
    [SharedDataFact]
    public async Task Given_the_sample_When_it_is_read_Then_each_pupil_is_as_its_line_says()
    {
        var records = await OndePupil.ReadAsync(await File.ReadAllBytesAsync(SharedData.File("onde", "eleves.csv")!));

        Assert.Equal(3, records.Count);
        var roll = Assert.IsType<RollRecord>(records[0]);
        Assert.Equal((1L, "0350122T-2026", 1.0 / 3), (roll.Line, roll.Roll.ToString(), roll.MaxWithdrawnShare));
        AssertPupil(records[1], 2, SchoolLevel.CE2, "Martin", "1111111111A", "Classe de M Machin");
        AssertPupil(records[2], 3, SchoolLevel.CE1, "Martine", "1111111112A", "Classe de M Truc");

        void AssertPupil(FormatRecord record, long line, SchoolLevel level, string firstNames, string ine, string className)
        {
            var pupil = Assert.IsType<PupilRecord>(record);
            Assert.Equal((line, "35085", roll.Roll), (pupil.Line, pupil.Commune.ToString(), pupil.Roll));
            Assert.Equal(
                new Pupil(level, CommuneCode.Parse("21231"), new PupilPersonal(new Person("MARTIN", firstNames, Sex: Sex.Male, BirthDate: PartialDate.Parse("2001-01-01")), ine, className)),
                pupil.Pupil);
        }
    }

    [SharedDataFact]
    public async Task Given_the_sample_of_responsible_adults_When_it_is_read_Then_it_is_refused_and_the_other_file_asked_for()
    {
        var bytes = await File.ReadAllBytesAsync(SharedData.File("onde", "responsables.csv")!);

        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => OndePupil.ReadAsync(bytes));

        Assert.Contains("eleves.csv", refusal.Reason.French, StringComparison.Ordinal);
        Assert.Contains("eleves.csv", refusal.Reason.English, StringComparison.Ordinal);
        Assert.False(new OndePupils(new FormatsOptions()).LooksLike(Encoding.UTF8.GetString(bytes)));
    }

    [Theory]
    [InlineData("utf-8", false)]
    [InlineData("utf-8", true)]
    [InlineData("windows-1252", false)]
    public async Task Given_a_file_in_any_of_its_encodings_When_it_is_read_Then_it_says_the_same(string encoding, bool mark)
    {
        var how = encoding == "utf-8" ? new UTF8Encoding(mark) : CodePagesEncodingProvider.Instance.GetEncoding(1252)!;

        var records = await OndePupil.ReadAsync([.. how.GetPreamble(), .. how.GetBytes(OndePupil.File(new OndePupil("Zoé", "LEFÈVRE")).Replace("\n", "\r\n", StringComparison.Ordinal))]);

        Assert.Equal(("LEFÈVRE", "Zoé"), (Single(records).Personal.Pupil.LastName, Single(records).Personal.Pupil.FirstNames));
    }

    [Fact]
    public async Task Given_a_header_in_other_case_with_blanks_When_it_is_read_Then_it_is_the_header()
    {
        var records = await OndePupil.ReadAsync($"{OndePupil.Header.ToUpperInvariant().Replace(";", " ; ", StringComparison.Ordinal)}\n{new OndePupil().Csv}\n");

        Assert.Equal(SchoolLevel.CP, Single(records).Level);
    }

    [Theory]
    [InlineData("Sexe", "Genre", "Colonnes manquantes : Sexe. Colonnes inconnues : Genre.", "Columns missing: Sexe. Columns not known: Genre.")]
    [InlineData(";INE;", ";", "Colonnes manquantes : INE.", "Columns missing: INE.")]
    [InlineData("Sexe;INE", "INE;Sexe", "dans un autre ordre", "another order")]
    [InlineData("élève", "eleve", "Colonnes manquantes : Nom élève, Nom d'usage élève, Prénom élève. Colonnes inconnues : Nom eleve", "Columns missing: Nom élève")]
    public async Task Given_another_header_When_it_is_read_Then_the_refusal_names_what_is_missing_and_what_is_unknown(string column, string instead, string french, string english)
    {
        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => OndePupil.ReadAsync(OndePupil.File(new OndePupil()).Replace(column, instead, StringComparison.Ordinal)));

        Assert.Contains(french, refusal.Reason.French, StringComparison.Ordinal);
        Assert.Contains(english, refusal.Reason.English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_file_without_header_When_it_is_read_Then_the_refusal_does_not_repeat_its_first_line()
    {
        var refusal = await Assert.ThrowsAsync<FileRefusedException>(() => OndePupil.ReadAsync(new OndePupil(LastName: "SECRET").Csv));

        Assert.DoesNotContain("SECRET", $"{refusal.Reason}", StringComparison.OrdinalIgnoreCase);
        Assert.Contains("Nom élève", refusal.Reason.English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PS", SchoolLevel.PS)]
    [InlineData("ms ", SchoolLevel.MS)]
    [InlineData("G.S.", SchoolLevel.GS)]
    [InlineData("c p", SchoolLevel.CP)]
    [InlineData("CE1", SchoolLevel.CE1)]
    [InlineData("ce 2", SchoolLevel.CE2)]
    [InlineData("Cm1", SchoolLevel.CM1)]
    [InlineData("CM-2", SchoolLevel.CM2)]
    [InlineData("ULIS", SchoolLevel.ULIS)]
    [InlineData("ULIS école", SchoolLevel.ULIS)]
    public async Task Given_a_level_as_people_write_it_When_it_is_read_Then_it_is_that_level(string written, SchoolLevel level)
    {
        Assert.Equal(level, Single(await OndePupil.ReadAsync(OndePupil.File(new OndePupil(Level: written)))).Level);
    }

    [Fact]
    public async Task Given_toddlers_When_they_are_read_Then_they_count_as_petite_section_and_one_remark_says_so()
    {
        var records = await OndePupil.ReadAsync(OndePupil.File(new OndePupil("Léa", Level: "TPS"), new OndePupil("Léo", Level: "tps")));

        Assert.All(records.OfType<PupilRecord>(), record => Assert.Equal(SchoolLevel.PS, record.Pupil.Level));
        Assert.Equal(("Niveau", 2L), Assert.Single(records.OfType<RemarkRecord>()) is var remark ? (remark.Fault.Field, remark.Line) : default);
    }

    public static TheoryData<string, string?, string, string> Faults => new()
    {
        { "Nom élève", null, "empty", new OndePupil(LastName: "  ").Csv },
        { "Prénom élève", null, "empty", new OndePupil("").Csv },
        { "Prénom élève", null, "control characters", new OndePupil("Lé\u0001a").Csv },
        { "Nom élève", null, "longer than 200 characters", new OndePupil(LastName: new string('M', 201)).Csv },
        { "Date naissance", null, "empty", new OndePupil(BirthDate: "").Csv },
        { "Date naissance", null, "no such date; JJ/MM/AAAA expected", new OndePupil(BirthDate: "31/02/2019").Csv },
        { "Date naissance", null, "no such date; JJ/MM/AAAA expected", new OndePupil(BirthDate: "2019-03-14").Csv },
        { "Date naissance", null, "in the future", new OndePupil(BirthDate: "25/11/2026").Csv },
        { "Date naissance", null, "more than 30 years ago", new OndePupil(BirthDate: "23/11/1996").Csv },
        { "Sexe", null, "M or F expected", new OndePupil(Sex: "X").Csv },
        { "INE", null, "not an INE", new OndePupil(Ine: "12345678AAA").Csv },
        { "INE", null, "not an INE", new OndePupil(Ine: "12345678901").Csv },
        { "Niveau", null, "empty", new OndePupil(Level: "").Csv },
        { "Niveau", null, "not a level", new OndePupil(Level: "6EME").Csv },
        { "Cp1", "35271", "no commune of that name", new OndePupil(PostalCode: "35271", Town: "Nulle-Part").Csv },
        { "Cp1", "3527", "five digits", new OndePupil(PostalCode: "3527").Csv },
        { "Cp1", null, "five digits", new OndePupil(PostalCode: "Combourg", Town: "35270").Csv },
        { "Cp1", null, "empty", new OndePupil(PostalCode: "").Csv },
        { "Commune1", null, "empty", new OndePupil(Town: "").Csv },
        { "Pays1", null, "lives abroad", new OndePupil(Country: "BELGIQUE").Csv },
        { "", null, "21 fields, 22 expected", new OndePupil().Csv[..^1] },
        { "", null, "a quote is not closed", $"\"{new OndePupil().Csv}" },
        { "", null, "longer than 16384 bytes", new OndePupil().Csv + new string(' ', 1_000_000) },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public async Task Given_a_line_that_is_wrong_When_it_is_read_Then_it_is_rejected_with_its_reason_and_the_others_go_on(string field, string? value, string reason, string line)
    {
        var records = await OndePupil.ReadAsync($"{OndePupil.Header}\n{line}\n{new OndePupil().Csv}\n");

        var rejected = Assert.IsType<RejectedRecord>(records[1]);
        var fault = Assert.Single(rejected.Faults);
        Assert.Equal((2L, field, value), (rejected.Line, fault.Field, fault.Value));
        Assert.Contains(reason, fault.Reason.English, StringComparison.Ordinal);
        Assert.NotEqual(fault.Reason.English, fault.Reason.French);
        Assert.Equal(3, Assert.IsType<PupilRecord>(records[2]).Line);
    }

    [Theory]
    [InlineData("123456789ab", "123456789AB")]
    [InlineData("1234567890a", "1234567890A")]
    [InlineData("", null)]
    public async Task Given_an_INE_of_either_form_or_none_When_it_is_read_Then_it_is_in_capitals(string written, string? ine)
    {
        Assert.Equal(ine, Single(await OndePupil.ReadAsync(OndePupil.File(new OndePupil(Ine: written)))).Personal.Ine);
    }

    [Fact]
    public async Task Given_an_empty_first_address_When_it_is_read_Then_the_second_is_the_residence()
    {
        var records = await OndePupil.ReadAsync(OndePupil.File(new OndePupil(PostalCode: "", Town: "", Second: "2 rue du Secret;35190;Tinténiac;")));

        Assert.Equal("35337", Single(records).Residence.ToString());
    }

    [Theory]
    [InlineData("2026-06-30T23:30:00+02:00", 2025, false)]
    [InlineData("2026-06-30T22:30:00Z", 2026, true)]
    [InlineData("2026-08-31T12:00:00+02:00", 2026, true)]
    [InlineData("2026-09-01T12:00:00+02:00", 2026, false)]
    [InlineData("2027-01-15T12:00:00+01:00", 2026, false)]
    public async Task Given_no_school_year_When_it_is_read_Then_it_is_that_of_the_day_and_from_July_the_coming_one(string takenAt, int year, bool remarked)
    {
        using var file = new MemoryStream(Encoding.UTF8.GetBytes(OndePupil.File()));
        var context = SampleFiles.Context("35085", ("uai", "0350122t")) with { TakenAt = DateTimeOffset.Parse(takenAt, System.Globalization.CultureInfo.InvariantCulture) };

        var records = await new OndePupils(new FormatsOptions()).ReadAsync(file, context, CancellationToken.None).ToListAsync();

        Assert.Equal($"0350122T-{year}", Assert.IsType<RollRecord>(records[0]).Roll.ToString());
        Assert.Equal(remarked, records.OfType<RemarkRecord>().Any());
    }

    [Theory]
    [InlineData(null, "0350122T", null, "which commune")]
    [InlineData("35085", null, null, "which school")]
    [InlineData("35085", "350122T", null, "not a UAI")]
    [InlineData("35085", "0350122T", "26", "school year")]
    [InlineData("35085", "0350122T", "2026-2027", "school year")]
    [InlineData("35085", "0350122T", "2026", null)]
    [InlineData("35085", "0350122t", null, null)]
    public void Given_settings_When_they_are_looked_at_Then_what_is_missing_or_wrong_is_said(string? commune, string? uai, string? year, string? refusal)
    {
        (string, string)[] settings = [.. new[] { ("uai", uai), ("schoolYear", year) }.Where(one => one.Item2 is not null).Select(one => (one.Item1, one.Item2!))];

        var reason = new OndePupils(new FormatsOptions()).Refuses(SampleFiles.Context(commune, settings));

        if (refusal is null) Assert.Null(reason);
        else Assert.Contains(refusal, reason!.English, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_files_broken_in_any_way_When_they_are_read_Then_they_are_refused_or_their_lines_rejected_and_nothing_else()
    {
        var dice = new Random(42);
        var sound = Encoding.UTF8.GetBytes(OndePupil.File(OndePupil.ClassOf(20)));
        for (var round = 0; round < 2_000; round++)
        {
            var broken = sound[..dice.Next(sound.Length)];
            for (var hit = dice.Next(20); hit > 0 && broken.Length > 0; hit--) broken[dice.Next(broken.Length)] = dice.Next(4) == 0 ? (byte)"\0\"\n;"[dice.Next(4)] : (byte)dice.Next(256);
            await AssertReadsAsync(broken);
        }

        await AssertReadsAsync(Encoding.UTF8.GetBytes(new string(';', 1_000_000)));
        await AssertReadsAsync(Encoding.UTF8.GetBytes($"{OndePupil.Header}\n{new string(';', 1_000_000)}\n{new string(';', 16_000)}\n{new string('"', 16_001)}\n"));
        await AssertReadsAsync(new byte[100_000]);
        await AssertReadsAsync([0xFF, 0xFE, .. Encoding.Unicode.GetBytes(OndePupil.File(new OndePupil()))]);
        await AssertReadsAsync([]);

        static async Task AssertReadsAsync(byte[] bytes)
        {
            try
            {
                Assert.All(await OndePupil.ReadAsync(bytes), record => Assert.True(record is RollRecord or PupilRecord or RejectedRecord));
            }
            catch (FileRefusedException refusal)
            {
                Assert.NotEmpty(refusal.Reason.French);
            }
        }
    }

    private static Pupil Single(List<FormatRecord> records) => Assert.Single(records.OfType<PupilRecord>()).Pupil;
}
