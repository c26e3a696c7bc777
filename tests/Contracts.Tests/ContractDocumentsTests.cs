using System.Text.Json;
using Intercommunalite.Testing;
using NJsonSchema;
using Xunit;

namespace Intercommunalite.Contracts.Tests;

/// <summary>
/// The committed documents are those that the catalogue gives. After a wanted change, run the tests once with
/// <c>UPDATE_CONTRACTS=1</c> and commit what it writes: the difference is a decision for review.
/// </summary>
public sealed class ContractDocumentsTests
{
    private static readonly string s_directory = RepositoryRoot.Combine("contracts", "schemas");

    public static TheoryData<int> SampleIndexes => [.. Enumerable.Range(0, Samples.All.Count)];

    [Fact]
    public void Given_the_catalogue_When_the_documents_are_generated_again_Then_nothing_changes()
    {
        var generated = ContractDocuments.Generate();
        if (Environment.GetEnvironmentVariable("UPDATE_CONTRACTS") == "1")
        {
            Directory.CreateDirectory(s_directory);
            foreach (var stale in Directory.GetFiles(s_directory)) File.Delete(stale);
            foreach (var (name, text) in generated) File.WriteAllText(Path.Combine(s_directory, name), text);
        }

        Assert.Equal(generated.Keys.Order(), Directory.GetFiles(s_directory).Select(Path.GetFileName).Order());
        Assert.All(generated, document => Assert.Equal(document.Value, File.ReadAllText(Path.Combine(s_directory, document.Key))));
    }

    [Theory]
    [MemberData(nameof(SampleIndexes))]
    public async Task Given_a_sample_Then_its_schema_accepts_it_and_refuses_an_unknown_field(int index)
    {
        var sample = Samples.All[index];
        var schema = await JsonSchema.FromJsonAsync(ContractDocuments.Generate()[$"{Catalogue.Of(sample).Name}.schema.json"]);
        var json = JsonSerializer.Serialize(sample, sample.GetType(), ContractJson.Options);

        Assert.Empty(schema.Validate(json));
        Assert.NotEmpty(schema.Validate(json.Insert(1, "\"lastName\":\"X\",")));
    }

    [Fact]
    public void Given_the_AsyncApi_document_Then_every_type_is_a_message_of_its_channel()
    {
        using var document = JsonDocument.Parse(ContractDocuments.Generate()["asyncapi.json"]);
        Assert.Equal("3.0.0", document.RootElement.GetProperty("asyncapi").GetString());
        var messages = document.RootElement.GetProperty("components").GetProperty("messages");
        var channel = document.RootElement.GetProperty("channels").GetProperty("communeEvents").GetProperty("messages");
        Assert.Equal(Catalogue.All.Select(type => type.Name), messages.EnumerateObject().Select(message => message.Name));
        Assert.Equal(Catalogue.All.Select(type => type.Name), channel.EnumerateObject().Select(message => message.Name));
    }
}
