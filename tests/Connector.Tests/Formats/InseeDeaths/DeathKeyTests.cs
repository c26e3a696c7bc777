using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

public sealed class DeathKeyTests
{
    [Fact]
    public async Task Given_two_persons_with_one_place_date_and_act_When_they_are_read_Then_they_are_two_deaths()
    {
        var one = await EventAsync(new Death(Name: "MARTIN*LEA/"));
        var other = await EventAsync(new Death(Name: "MARTIN*LEO/"));

        Assert.NotEqual(one.Subject, other.Subject);
        Assert.NotEqual(one.Id, other.Id);
    }

    [Fact]
    public async Task Given_the_same_row_twice_When_it_is_read_Then_it_is_one_event()
    {
        Assert.Equal((await EventAsync(new Death())).EventId, (await EventAsync(new Death())).EventId);
    }

    [Fact]
    public async Task Given_act_numbers_that_differ_by_zeros_When_they_are_read_Then_they_are_two_deaths()
    {
        Assert.NotEqual((await EventAsync(new Death(Act: "937"))).Subject, (await EventAsync(new Death(Act: "000000937"))).Subject);
    }

    [Fact]
    public async Task Given_a_birth_place_spelt_otherwise_in_a_later_file_When_it_is_read_Then_it_is_another_event_of_the_same_death()
    {
        var one = await EventAsync(new Death(BirthCommune: "ST-MALO"));
        var other = await EventAsync(new Death(BirthCommune: "SAINT-MALO"));

        Assert.Equal(one.Subject, other.Subject);
        Assert.NotEqual(one.Id, other.Id);
    }

    [Theory]
    [InlineData("L*P/", 200)]
    [InlineData("A*B/", 81)]
    [InlineData("A*B/", 80)]
    [InlineData("A* B/", 79)]
    public async Task Given_names_longer_than_their_columns_When_both_layouts_are_read_Then_they_agree(string pattern, int length)
    {
        // Death.ReadAsync compares the layouts; a blank falls on the cut in one of the cases.
        var name = pattern.Replace("*", $"{new string('X', 40)}*{new string('Y', length - 40 - pattern.Length)}", StringComparison.Ordinal);
        Assert.Equal(length, name.Length);
        await EventAsync(new Death(Name: name, BirthCommune: $"{new string('C', 29)} LE VIEUX", BirthCountry: new string('P', 31), Act: "1234567890"));
    }

    [Fact]
    public async Task Given_accents_When_the_file_is_in_utf8_latin1_or_decomposed_Then_the_event_is_one()
    {
        var death = new Death(Name: "GÉRARD*ZOÉ FRANÇOISE/", BirthCommune: "BÉCHEREL");
        var expected = (await EventAsync(death)).Id;

        Assert.Equal(expected, Id(await Death.ReadAsync($"{Death.Header}\n{death.Csv.Normalize(NormalizationForm.FormD)}")));
        Assert.Equal(expected, Id(await Death.ReadAsync(Encoding.Latin1.GetBytes($"{Death.Header}\n{death.Csv}"))));
        Assert.Equal(expected, Id(await Death.ReadAsync(death.FixedWidth)));
    }

    [Fact]
    public async Task Given_the_longest_fields_When_they_are_read_Then_subject_and_id_are_within_the_contract()
    {
        var read = await EventAsync(new Death(Name: $"{new string('X', 500)}*Y/", Act: new string('9', 40)));

        Assert.InRange(read.Subject.Length, 1, 200);
        Assert.InRange(read.Id.Length, 1, 200);
        Assert.DoesNotContain("XXX", read.Subject, StringComparison.Ordinal);
    }

    private static async Task<CloudEvent> EventAsync(Death death) => Assert.IsType<EventRecord>(await death.ReadAsync()).Event;

    private static string Id(List<FormatRecord> records) => Assert.IsType<EventRecord>(Assert.Single(records)).Event.Id;
}
