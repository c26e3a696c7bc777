using System.Text.RegularExpressions;
using Xunit;

namespace Intercommunalite.Contracts.Tests;

public sealed partial class CatalogueTests
{
    [Fact]
    public void Given_the_catalogue_Then_every_wire_name_has_domain_fact_and_version()
    {
        Assert.All(Catalogue.All, type => Assert.Matches(WireName(), type.Name));
        Assert.Equal(Catalogue.All.Count, Catalogue.All.Select(type => type.Name).Distinct().Count());
    }

    [Fact]
    public void Given_the_assembly_Then_every_event_record_is_in_the_catalogue_once()
    {
        var records = typeof(DomainEvent).Assembly.GetTypes().Where(type => type.IsSubclassOf(typeof(DomainEvent)) && !type.IsAbstract);
        Assert.Equal(records.OrderBy(type => type.Name), Catalogue.All.Select(type => type.Record).OrderBy(type => type.Name));
    }

    [Fact]
    public void Given_a_record_with_personal_data_Then_the_catalogue_says_how_long_it_is_kept()
    {
        Assert.All(Catalogue.All, type => Assert.Equal(type.Record.GetProperty("Personal") is not null, type.Personal is not null));
    }

    [Fact]
    public void Given_the_samples_Then_there_is_one_of_every_type()
    {
        Assert.Equal(Catalogue.All.Select(type => type.Record), Samples.All.Select(sample => sample.GetType()));
    }

    [GeneratedRegex("^fr\\.intercommunalite\\.(civil-records|schools|payments|requests)\\.[a-z]+(-[a-z]+)+\\.v[1-9]$")]
    private static partial Regex WireName();
}
