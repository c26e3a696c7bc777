using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Schools;
using Intercommunalite.Hub.Privacy;
using Xunit;

namespace Intercommunalite.Hub.Tests.Privacy;

public sealed class PersonsTests
{
    private static readonly byte[] s_secret = [1, 2, 3];

    [Fact]
    public void Given_the_same_identity_as_other_software_writes_it_Then_the_pseudonym_is_the_same()
    {
        var one = Of("Lefèvre-Œil", "Zoé  Anne-Marie", "2019-03-07");
        Assert.NotNull(one);
        Assert.Equal(one, Of("LEFEVRE OEIL", "ZOE Anne Marie", "2019-03-07"));
        Assert.Equal(one, Persons.Pseudonym(s_secret, new("Lefevre-Oeil", "Zoé Anne-Marie", "Autre", Sex.Female, PartialDate.Parse("2019-03-07"), "ici", Address: "là", Email: "x@y.fr")));
        Assert.NotEqual(one, Of("Lefèvre", "Œil Zoé Anne-Marie", "2019-03-07"));
        Assert.NotEqual(one, Of("Lefèvre-Œil", "Zoé", "2019-03-07"));
        Assert.NotEqual(one, Of("Lefèvre-Œil", "Zoé Anne-Marie", "2019-03-08"));
        Assert.NotEqual(one, Persons.Pseudonym([1, 2, 4], new("Lefèvre-Œil", "Zoé Anne-Marie", BirthDate: PartialDate.Parse("2019-03-07"))));
    }

    [Theory]
    [InlineData("NOM", null, "2019-03-07")]
    [InlineData("NOM", "-", "2019-03-07")]
    [InlineData("?", "Zoé", "2019-03-07")]
    [InlineData("NOM", "Zoé", null)]
    [InlineData("NOM", "Zoé", "2019-03")]
    [InlineData("NOM", "Zoé", "2019")]
    public void Given_too_little_to_tell_strangers_apart_Then_there_is_no_pseudonym(string lastName, string? firstNames, string? birthDate) =>
        Assert.Null(Of(lastName, firstNames, birthDate));

    [Fact]
    public void Given_personal_data_When_taken_apart_and_put_together_Then_it_is_as_it_came()
    {
        DomainEvent[] events =
        [
            new BirthRegistered(PartialDate.Parse("2026"), "1") { Personal = new(new("A"), [.. Enumerable.Range(0, 12).Select(number => new Person($"P{number}"))]) },
            new ActAnnulled(ActKind.Birth, PartialDate.Parse("2026")) { Personal = new([new("A", "B", "C", Sex.Male, PartialDate.Parse("1999-01"), "D", "E", "F", "G", "H"), new("I")]) },
            new PupilWithdrawn(Uai.Parse("0350122T"), new SchoolYear(2026), SchoolLevel.CP, CommuneCode.Parse("35085"), new DateOnly(2026, 11, 1)) { Personal = new(new("A"), "INE", "CLASSE", [new("B")]) },
            new OnlinePaymentAnswered("1", new Cents(1), DateTimeOffset.UnixEpoch, OnlinePaymentOutcome.CardPaid) { Personal = new("a@b.fr") },
        ];
        Assert.All(events, data =>
        {
            var together = Persons.Together(Persons.In(data).AsEnumerable().Reverse().Select(part => (part.Path, part.Json)));
            var whole = JsonSerializer.SerializeToNode(data, data.GetType(), ContractJson.Options)!["personal"];
            Assert.True(JsonNode.DeepEquals(whole, together), together.ToJsonString());
        });
        Assert.Equal(["child", "parents.0", "parents.1"], Persons.In(events[0]).Take(3).Select(part => part.Path));
        Assert.Equal(["pupil", "responsibles.0", ""], Persons.In(events[2]).Select(part => part.Path));
        Assert.Equal([""], Persons.In(events[3]).Select(part => part.Path));
    }

    [Fact]
    public void Given_the_catalogue_Then_persons_stand_where_they_are_found_in_every_type()
    {
        var types = Catalogue.All.Where(type => type.Personal is not null).Select(type => type.Record.GetProperty("Personal")!.PropertyType).Distinct();
        Assert.All(types.SelectMany(type => type.GetProperties()).Select(property => property.PropertyType), type => Assert.True(
            type == typeof(Person) || type.IsAssignableTo(typeof(IEnumerable<Person>)) || type == typeof(string), $"{type} may hold persons that are not found: see Persons.In"));
    }

    private static Guid? Of(string lastName, string? firstNames, string? birthDate) =>
        Persons.Pseudonym(s_secret, new(lastName, firstNames, BirthDate: birthDate is null ? null : PartialDate.Parse(birthDate)));
}
