using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

public sealed class DeathRecordTests
{
    [Fact]
    public async Task Given_a_death_When_it_is_read_Then_every_field_has_its_place()
    {
        var (read, death) = await EventAsync(new Death(BirthCountry: "NOWHERE"));

        Assert.Equal("urn:insee:commune:35238:insee-deaths", read.Source.ToString());
        Assert.Equal(new DateTimeOffset(1970, 12, 10, 0, 0, 0, TimeSpan.Zero), read.Time);
        Assert.Matches("^death/1970/35238/12/[0-9a-f]{12}$", read.Subject);
        Assert.Matches("^[0-9a-f]{32}$", read.Id);
        var expected = new DeathRegistered(PartialDate.Parse("1970-12-10"), "12", BirthCommune: CommuneCode.Parse("35085"))
        {
            Personal = new DeathPersonal(new Person(
                "MARTIN", "LEA MARIE", Sex: Sex.Female, BirthDate: PartialDate.Parse("1922-01-09"), BirthPlace: "DINGE", BirthCountry: "NOWHERE")),
        };
        Assert.Equal(expected, death);
    }

    [Theory]
    [InlineData("19701210", "1970-12-10", "1970-12-10")]
    [InlineData("19701200", "1970-12", "1970-12-01")]
    [InlineData("19700000", "1970", "1970-01-01")]
    [InlineData("19700012", "1970", "1970-01-01")]
    [InlineData("197012", "1970-12", "1970-12-01")]
    [InlineData("1970", "1970", "1970-01-01")]
    [InlineData("20240229", "2024-02-29", "2024-02-29")]
    public async Task Given_a_date_of_which_a_part_is_unknown_When_it_is_read_Then_what_is_known_is_kept(string written, string expected, string time)
    {
        var (read, death) = await EventAsync(new Death(DeathDate: written));

        Assert.Equal(expected, death.Date.ToString());
        Assert.Equal(DateTimeOffset.Parse($"{time}T00:00:00Z", System.Globalization.CultureInfo.InvariantCulture), read.Time);
    }

    [Theory]
    [InlineData("19701399", "no such date")]
    [InlineData("19700230", "no such date")]
    [InlineData("1970121", "no such date")]
    [InlineData("19", "no such date")]
    [InlineData("1970-1-1", "no such date")]
    [InlineData("00000000", "the year is unknown")]
    [InlineData("", "the year is unknown")]
    [InlineData("29990101", "in the future")]
    public async Task Given_a_date_of_death_that_cannot_be_When_it_is_read_Then_the_line_is_rejected_with_it(string written, string reason)
    {
        var fault = Assert.Single((await RejectedAsync(new Death(DeathDate: written))).Faults);

        Assert.Equal(("datedeces", written), (fault.Field, fault.Value));
        Assert.StartsWith(reason, fault.Reason.English, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("19220000", "1922")]
    [InlineData("00000000", null)]
    [InlineData("", null)]
    [InlineData("19221399", null)]
    [InlineData("1922010", null)]
    [InlineData("19801210", "1980-12-10")]
    public async Task Given_a_doubtful_birth_date_When_it_is_read_Then_the_death_counts_even_so(string written, string? expected)
    {
        var (_, death) = await EventAsync(new Death(BirthDate: written));

        Assert.Equal(expected, death.Personal!.Deceased.BirthDate?.ToString());
    }

    [Theory]
    [InlineData("35238", "35238")]
    [InlineData("75114", "75056")]
    [InlineData("69383", "69123")]
    [InlineData("13203", "13055")]
    [InlineData("01039", "01138")]
    [InlineData("2A004", "2A004")]
    [InlineData("97411", "97411")]
    public async Task Given_a_place_of_whatever_time_When_it_is_read_Then_the_death_belongs_to_the_commune_of_today(string place, string commune)
    {
        var (read, _) = await EventAsync(new Death(DeathPlace: place));

        Assert.Equal(commune, read.Source.Commune.ToString());
        Assert.StartsWith($"death/1970/{place}/", read.Subject, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("99109")]
    [InlineData("91352")]
    [InlineData("94352")]
    [InlineData("35990")]
    [InlineData("00000")]
    public async Task Given_a_place_that_is_no_commune_When_it_is_read_Then_the_death_belongs_to_none(string place)
    {
        var record = Assert.IsType<PlacelessRecord>(await new Death(DeathPlace: place).ReadAsync());

        Assert.Equal(("lieudeces", place), (record.Why.Field, record.Why.Value));
    }

    [Theory]
    [InlineData("")]
    [InlineData("352")]
    [InlineData("35 38")]
    public async Task Given_a_place_that_is_no_code_When_it_is_read_Then_the_line_is_rejected(string place)
    {
        Assert.Equal("lieudeces", Assert.Single((await RejectedAsync(new Death(DeathPlace: place))).Faults).Field);
    }

    [Theory]
    [InlineData("75114", "75056")]
    [InlineData("01039", "01138")]
    [InlineData("91352", null)]
    [InlineData("99350", null)]
    [InlineData("35990", null)]
    [InlineData("", null)]
    public async Task Given_a_birth_place_of_whatever_time_When_it_is_read_Then_its_commune_of_today_is_named_if_there_is_one(string place, string? commune)
    {
        var (_, death) = await EventAsync(new Death(BirthPlace: place));

        Assert.Equal(commune, death.BirthCommune?.ToString());
    }

    [Theory]
    [InlineData("DINGE", "35085", "DINGE")]
    [InlineData("", "99350", "99350")]
    [InlineData("", "", null)]
    public async Task Given_a_birth_place_without_a_name_When_it_is_read_Then_its_code_stands_for_it(string name, string code, string? expected)
    {
        var (_, death) = await EventAsync(new Death(BirthCommune: name, BirthPlace: code));

        Assert.Equal(expected, death.Personal!.Deceased.BirthPlace);
    }

    [Theory]
    [InlineData("12/BIS", "12/BIS", "12/BIS")]
    [InlineData(" 937 ", "937", "937")]
    [InlineData("000000937", "000000937", "000000937")]
    [InlineData("1234 5", "1234 5", "1234 5")]
    [InlineData("", null, "-")]
    [InlineData("         ", null, "-")]
    public async Task Given_an_act_number_of_whatever_form_When_it_is_read_Then_it_is_kept_as_it_is(string written, string? act, string inSubject)
    {
        var (read, death) = await EventAsync(new Death(Act: written));

        Assert.Equal(act, death.ActNumber);
        Assert.StartsWith($"death/1970/35238/{inSubject}/", read.Subject, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("MARTIN*LEA MARIE/", "MARTIN", "LEA MARIE")]
    [InlineData("MARTIN*/", "MARTIN", null)]
    [InlineData("MARTIN*LEA", "MARTIN", "LEA")]
    [InlineData("DE LA TOUR*JEAN-MARC/", "DE LA TOUR", "JEAN-MARC")]
    [InlineData("L'HER D\"OR*ANNE/", "L'HER D\"OR", "ANNE")]
    [InlineData("MARTIN;DIT*LEA/", "MARTIN;DIT", "LEA")]
    public async Task Given_a_name_When_it_is_read_Then_last_and_first_names_are_parted(string written, string lastName, string? firstNames)
    {
        var (_, death) = await EventAsync(new Death(Name: written));

        Assert.Equal((lastName, firstNames), (death.Personal!.Deceased.LastName, death.Personal.Deceased.FirstNames));
    }

    [Theory]
    [InlineData("1", Sex.Male)]
    [InlineData("2", Sex.Female)]
    [InlineData("9", null)]
    [InlineData(" ", null)]
    public async Task Given_a_sex_When_it_is_read_Then_it_is_named_or_left_out(string written, Sex? expected)
    {
        var (_, death) = await EventAsync(new Death(Sex: written));

        Assert.Equal(expected, death.Personal!.Deceased.Sex);
    }

    [Theory]
    [InlineData("*LEA/")]
    [InlineData(" * /")]
    public async Task Given_no_last_name_When_it_is_read_Then_the_line_is_rejected_without_repeating_the_name(string name)
    {
        var fault = Assert.Single((await RejectedAsync(new Death(Name: name))).Faults);

        Assert.Equal(("nomprenom", null, "the last name is missing; LASTNAME*FIRST NAMES/ expected"), (fault.Field, fault.Value, fault.Reason.English));
    }

    [Fact]
    public async Task Given_several_faults_When_the_line_is_read_Then_each_is_named_with_the_commune_that_it_belongs_to()
    {
        var rejected = await RejectedAsync(new Death(Name: "MAR\u0001TIN*LEA/", DeathDate: "19701399", DeathPlace: "69383"));

        Assert.Equal(["nomprenom", "datedeces"], rejected.Faults.Select(fault => fault.Field));
        Assert.Equal("69123", rejected.Commune.ToString());
        Assert.DoesNotContain(rejected.Faults, fault => fault.ToString().Contains("TIN", StringComparison.Ordinal));
    }

    private static async Task<(CloudEvent Event, DeathRegistered Death)> EventAsync(Death death)
    {
        var read = Assert.IsType<EventRecord>(await death.ReadAsync()).Event;
        var json = JsonElement.Parse(JsonSerializer.SerializeToUtf8Bytes(read, ContractJson.Options));
        Assert.True(EventReader.TryRead(json, read.Source.Commune, out var valid, out var errors), string.Join("; ", errors));
        return (read, (DeathRegistered)valid.Data);
    }

    private static async Task<RejectedRecord> RejectedAsync(Death death) => Assert.IsType<RejectedRecord>(await death.ReadAsync());
}
