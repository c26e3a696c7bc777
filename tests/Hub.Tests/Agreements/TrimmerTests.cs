using System.Text.Json.Nodes;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Agreements;
using Xunit;
using static Intercommunalite.Hub.Tests.Agreements.SampleAgreements;

namespace Intercommunalite.Hub.Tests.Agreements;

public sealed class TrimmerTests
{
    [Theory]
    [InlineData("""{"a": 1, "b": "é\"\\", "c": [1, "x"], "d": null}""", "a c d", """{"a":1,"c":[1,"x"],"d":null}""")]
    [InlineData("""{"a": 1.500, "b": true}""", "a", """{"a":1.500}""")]
    [InlineData("""{"a": {"b": "in", "c": "out"}, "b": "out"}""", "a.b", """{"a":{"b":"in"}}""")]
    [InlineData("""{"a": [{"b": "in", "c": "out"}, {"c": "out"}, "out", ["out"]]}""", "a.b", """{"a":[{"b":"in"}]}""")]
    // Of what nothing is left nothing is told, not even that it is there; an empty list of values is a value.
    [InlineData("""{"a": {"c": "out"}, "b": {"c": {"d": "out"}}, "e": 1}""", "a.b b.c.e e", """{"e":1}""")]
    [InlineData("""{"e": 1, "a": [{"c": "out"}, {"c": "out"}], "f": [{}]}""", "a.b e f", """{"e":1}""")]
    [InlineData("""{"a": {"c": "out"}, "b": []}""", "a.b b", """{"b":[]}""")]
    [InlineData("""{"a": [[{"b": "out"}]], "b": "x"}""", "a.b b", """{"b":"x"}""")]
    [InlineData("""{"a": [{"b": "{", "c": 1}, {"b": "[", "d": {"e": ":", "f": ","}}]}""", "a.b a.d.e", """{"a":[{"b":"{"},{"b":"[","d":{"e":":"}}]}""")]
    // Where a value was allowed there is an object, or the other way round: nobody allowed that.
    [InlineData("""{"a": {"b": "out"}, "c": [{"b": "out"}, ["out"], 1]}""", "a c", """{"c":[1]}""")]
    [InlineData("""{"a": "out"}""", "a.b", "{}")]
    [InlineData("""{"\u0061": 1, "A": 2, "ab": 3, "": 4}""", "a", """{"a":1}""")]
    [InlineData("""["out"]""", "a", "{}")]
    [InlineData("""{"a": 1}""", "", "{}")]
    public void Given_a_document_When_trimmed_Then_what_is_allowed_is_left_and_nothing_else(string json, string paths, string left) =>
        Assert.Equal(left, Trimmer.Of(paths.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Trim(json));

    [Property(MaxTest = 500)]
    public Property Given_any_agreement_and_any_event_When_trimmed_Then_exactly_the_allowed_values_leave() => Prop.ForAll(Cases().ToArbitrary(), given =>
    {
        var (type, terms, data, personal) = given;
        var inForce = InForce(terms);
        var shared = terms.Events[0];
        var allowedData = shared.Data ?? ContractFields.Data(type);
        Same(Leaves(data).Where(leaf => allowedData.Contains(leaf.Path)), Leaves(JsonNode.Parse(inForce.TrimData(type.Name, data.ToJsonString()))), shared.Data is null);
        var left = inForce.TrimPersonal(type.Name, personal.ToJsonString());
        Same(Leaves(personal).Where(leaf => shared.Personal?.Contains(leaf.Path) == true), left is null ? [] : Leaves(JsonNode.Parse(left)), false);
    });

    private static void Same(IEnumerable<(string Path, string Value)> allowed, IEnumerable<(string Path, string Value)> left, bool all)
    {
        // Without a list of fields everything passes: what the contract does not know, the door has refused.
        if (!all) Assert.Equal(allowed.Order(), left.Order());
    }

    // Paths as the contract has them; what is nested where no contract has it has a path that no agreement can name.
    private static IEnumerable<(string Path, string Value)> Leaves(JsonNode? node, string path = "") => node switch
    {
        JsonObject item => item.SelectMany(field => Leaves(field.Value, path.Length == 0 ? field.Key : $"{path}.{field.Key}")),
        JsonArray items => items.SelectMany(item => Leaves(item, path)),
        _ => [(path, node?.ToJsonString() ?? "null")],
    };

    private static Gen<(EventType Type, AgreementTerms Terms, JsonObject Data, JsonObject Personal)> Cases() =>
        from type in Gen.Elements(Catalogue.All.Where(type => type.Personal is not null))
        from allFields in Gen.Elements(true, false, false)
        from dataFields in Gen.SubListOf(ContractFields.Data(type).ToArray())
        from personalFields in Gen.SubListOf(ContractFields.Personal(type).ToArray())
        from data in Object(ContractFields.Data(type))
        from personal in Object(ContractFields.Personal(type))
        select (type, Terms(new SharedEvents(type.Name, allFields ? null : [.. dataFields], personalFields.Count == 0 ? null : [.. personalFields])), data, personal);

    // Some of the fields of the contract, lists of one or several items, and fields that no contract has, at every depth.
    private static Gen<JsonObject> Object(IReadOnlyList<string> paths) =>
        from taken in Gen.SubListOf(paths.Append("unknown").Append("pupil.secret").Append("lastName").Distinct().ToArray())
        from lists in Gen.Choose(0, 2)
        from value in Gen.Elements("\"x\"", "\"é\\n\\\"\"", "1", "1.50", "true", "[\"a\",\"b\"]", "{\"lastName\":\"nested\"}")
        select Build(taken, lists, value);

    private static JsonObject Build(IEnumerable<string> paths, int items, string value)
    {
        var built = new JsonObject();
        foreach (var same in paths.Select(path => path.Split('.', 2)).GroupBy(path => path[0]))
        {
            var inner = same.Where(path => path.Length > 1).Select(path => path[1]).ToList();
            built[same.Key] = inner.Count == 0 ? JsonNode.Parse(value)
                : items == 0 ? Build(inner, items, value)
                : new JsonArray([.. Enumerable.Range(0, items).Select(_ => Build(inner, 0, value))]);
        }

        return built;
    }
}
