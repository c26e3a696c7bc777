using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Agreements;

public sealed class AgreementTermsTests
{
    [Fact]
    public void Given_terms_in_order_Then_nothing_is_wrong() => Assert.Empty((Terms(
        new("fr.intercommunalite.civil-records.*", ["date", "residenceCommune"]),
        new(Enrolments, ["school", "level"], ["pupil.lastName", "responsibles.phone"]),
        new("fr.intercommunalite.payments.invoice-issued.v1", [])) with
    { Communes = ["35085", "35337"], To = null }).Check(SampleAgreements.Territory));

    [Fact]
    public void Given_faults_everywhere_Then_each_is_named()
    {
        var wrong = Terms(
            new("fr.intercommunalite.%"), new("fr.intercommunalite.nothing.v1"), new(Births, ["date", "name", "personal"], []), new(Births),
            new("fr.intercommunalite.civil-records.b*"), new(Enrolments, ["school", "school"], ["pupil", "pupil.lastName.x", "lastName"]),
            new("fr.intercommunalite.schools.school-declared.v1", null, ["pupil.lastName"])) with
        { Communes = ["35085", "35238", "x", "*"], To = new(2025, 1, 1), Partner = new("x", []) };

        Assert.Equal(
            [
                "communes[1]", "communes[2]", "communes[3]", "events", "events[0].type", "events[1].type", "events[2].data[1]", "events[2].data[2]", "events[2].personal",
                "events[3].type", "events[4].type", "events[5].data", "events[5].personal[0]", "events[5].personal[1]", "events[5].personal[2]", "events[6].personal",
                "partner.clients", "to",
            ],
            wrong.Check(SampleAgreements.Territory).Select(error => error.Field).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Given_every_type_Then_its_fields_are_those_of_its_contract()
    {
        foreach (var type in Catalogue.All)
        {
            Assert.NotEmpty(ContractFields.Data(type));
            Assert.DoesNotContain("personal", ContractFields.Data(type));
            Assert.Equal(type.Personal is not null, ContractFields.Personal(type).Count > 0);
        }

        Assert.Contains("parents.birthDate", ContractFields.Personal(Catalogue.Find(Births)!));
        Assert.Contains("ine", ContractFields.Personal(Catalogue.Find(Enrolments)!));
    }
}
