using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.Hub.Tests.OpenData;

/// <summary>The checker itself, on the schema's own examples.</summary>
public sealed class TableSchemaTests
{
    private const string Header = "COMMUNE_NOM,COLL_INSEE,ENFANT_SEXE,ENFANT_PRENOM,NOMBRE_OCCURRENCES,ANNEE\n";

    [SharedDataFact]
    public void Given_the_schema_s_valid_example_Then_no_row_is_refused() =>
        Assert.Empty(Schema().Faults(Example("prenoms-nouveaux-nes_exemple-valide.csv")));

    [SharedDataFact]
    public void Given_the_schema_s_invalid_example_Then_the_rows_that_are_wrong_are_refused_and_no_other() => Assert.Equal(
        [
            "2: COLL_INSEE: pattern", "2: ENFANT_PRENOM: pattern", "3: COMMUNE_NOM: pattern", "3: ENFANT_PRENOM: pattern", "4: COMMUNE_NOM: pattern",
            "4: ENFANT_SEXE: enum", "7: ENFANT_PRENOM: pattern",
        ],
        Schema().Faults(Example("prenoms-nouveaux-nes_exemple-invalide.csv")));

    [SharedDataTheory]
    [InlineData("Rennes,35238,M,Adam,0,2016", "NOMBRE_OCCURRENCES: minimum")]
    [InlineData("Rennes,35238,M,Adam,1000000,2016", "NOMBRE_OCCURRENCES: maximum")]
    [InlineData("Rennes,35238,M,Adam,3.5,2016", "NOMBRE_OCCURRENCES: integer")]
    [InlineData("Rennes,35238,M,Adam,,2016", "NOMBRE_OCCURRENCES: required")]
    [InlineData("Rennes,35238,M,Adam,3,16", "ANNEE: year")]
    [InlineData("Rennes,35238,M,Adam,3,", "ANNEE: required")]
    [InlineData("Rennes,,M,Adam,3,2016", "COLL_INSEE: required")]
    [InlineData("Rennes,35238,,Adam,3,2016", "ENFANT_SEXE: required")]
    [InlineData("Rennes,35238,M,,3,2016", "ENFANT_PRENOM: required")]
    [InlineData("Rennes,35238,M,Adam,3", "number of fields")]
    [InlineData("Rennes,35238,M,Adam,3,2016,x", "number of fields")]
    [InlineData(",35238,M,Adam,3,2016", null)]
    public void Given_a_row_with_one_fault_Then_it_is_that_which_is_found(string row, string? fault) =>
        Assert.Equal(fault is null ? [] : [$"2: {fault}"], Schema().Faults($"{Header}{row}\n"));

    [SharedDataFact]
    public void Given_another_header_Then_it_is_refused() =>
        Assert.Equal(["1: header"], Schema().Faults($"\uFEFF{Header}"));

    /// <summary>The schema of first names.</summary>
    internal static TableSchema Schema() => new(Example("prenoms.schema.json"));

    private static string Example(string name) => File.ReadAllText(SharedData.File("first-names", name)!);
}
