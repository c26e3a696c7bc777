using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Xunit;

namespace Intercommunalite.Contracts.Tests;

public sealed class EventReaderTests
{
    private static readonly JsonSerializerOptions s_unescaped = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static TheoryData<int> SampleIndexes => [.. Enumerable.Range(0, Samples.All.Count)];

    [Theory]
    [MemberData(nameof(SampleIndexes))]
    public void Given_an_event_of_each_type_When_written_and_read_Then_it_is_the_same(int index)
    {
        var envelope = Samples.Envelope(Samples.All[index]);

        Assert.True(EventReader.TryRead(JsonSerializer.SerializeToElement(envelope, ContractJson.Options), Samples.Combourg, out var read, out var errors));

        Assert.Empty(errors);
        Assert.Equal(envelope.EventId, read.Envelope.EventId);
        Assert.Equal(
            JsonSerializer.Serialize(Samples.All[index], Samples.All[index].GetType(), ContractJson.Options),
            JsonSerializer.Serialize(read.Data, read.Type.Record, ContractJson.Options));
    }

    [Theory]
    [MemberData(nameof(SampleIndexes))]
    public void Given_an_event_Then_neither_its_stored_form_nor_its_text_names_anybody(int index)
    {
        var stored = Samples.All[index].WithoutPersonal();
        Assert.DoesNotContain("personal", JsonSerializer.Serialize(stored, stored.GetType(), ContractJson.Options), StringComparison.Ordinal);
        Assert.DoesNotContain("NOM", $"{Samples.All[index]}{Samples.Envelope(Samples.All[index])}", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("data.lastName", "\"X\"", "belongs in data.personal")]
    [InlineData("data.personal.child.nickname", "\"X\"", "unknown field")]
    [InlineData("data.date", "\"2026-02-30\"", "a date (2026-11-24), a month (2026-11) or a year (2026) expected")]
    [InlineData("data.date", "20261124", "a date (2026-11-24), a month (2026-11) or a year (2026) expected")]
    [InlineData("data.date", "null", "must not be null")]
    [InlineData("data.actNumber", "12", "text expected")]
    [InlineData("data.actNumber", "\"\"", "empty text")]
    [InlineData("data.actNumber", "\"1\\u0000\"", "control characters")]
    [InlineData("data.actNumber", "\"\\ud800\"", "Unicode")]
    [InlineData("data.residenceCommune", "\"99101\"", "an INSEE commune code")]
    [InlineData("data.personal.parents", "{}", "a list expected")]
    [InlineData("data.personal.parents[0].sex", "\"male \"", "one of male, female expected")]
    [InlineData("data.personal.child", "\"X\"", "an object expected")]
    [InlineData("data", "[]", "an object expected")]
    [InlineData("specversion", "\"0.3\"", "1.0 expected")]
    [InlineData("source", "\"urn:insee:commune:35337\"", "another commune's source")]
    [InlineData("source", "\"35085\"", "urn:insee:commune:{INSEE code}")]
    [InlineData("type", "\"fr.intercommunalite.civil-records.birth-registered.v9\"", "not a type of the catalogue")]
    [InlineData("time", "\"2026-11-24T09:30:00\"", "with its offset")]
    [InlineData("time", "\"2026-11-24\"", "with its offset")]
    [InlineData("traceparent", "\"NOM Prénom\"", "a W3C trace context")]
    [InlineData("dataschema", "\"NOM Prénom\"", "an absolute URI")]
    [InlineData("comvendorextension", "\"X\"", "unknown field")]
    public void Given_a_faulty_field_When_read_Then_it_is_named(string field, string value, string reason)
    {
        var json = JsonNode.Parse(JsonSerializer.Serialize(Samples.Envelope(Samples.All[0]), ContractJson.Options))!;
        Set(json, field, value);

        // The text is given as it came: a broken escape could not be written again.
        using var sent = JsonDocument.Parse(json.ToJsonString(s_unescaped).Replace("\"@@\"", value, StringComparison.Ordinal));
        Assert.False(EventReader.TryRead(sent.RootElement, Samples.Combourg, out _, out var errors));

        var error = Assert.Single(errors);
        Assert.Equal(field, error.Field);
        Assert.Contains(reason, error.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Given_several_faults_When_read_Then_every_one_is_named()
    {
        using var json = JsonDocument.Parse("""
            {"specversion":"1.0","id":"1","id":"2","source":"urn:insee:commune:35337","type":"fr.intercommunalite.payments.invoice-issued.v1",
             "time":"x","data":{"service":"Cantine","amount":12.5,"issuedOn":"2026-13-01","debtor":"X"}}
            """);

        Assert.False(EventReader.TryRead(json.RootElement, Samples.Combourg, out _, out var errors));

        Assert.Equal(
            ["data.amount", "data.debtor", "data.issuedOn", "data.service", "id", "source", "subject", "time"],
            errors.Select(error => error.Field).Order());
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("17")]
    [InlineData("{}")]
    [InlineData("{\"\\ud800\":1}")]
    public void Given_what_is_no_event_When_read_Then_it_is_refused_with_a_reason(string text)
    {
        using var json = JsonDocument.Parse(text);
        Assert.False(EventReader.TryRead(json.RootElement, Samples.Combourg, out _, out var errors));
        Assert.NotEmpty(errors);
    }

    private static void Set(JsonNode json, string field, string value)
    {
        var steps = field.Replace("[0]", ".0", StringComparison.Ordinal).Split('.');
        foreach (var step in steps[..^1]) json = int.TryParse(step, out var index) ? json[index]! : json[step]!;
        json[steps[^1]] = value.Contains("\\ud800", StringComparison.Ordinal) ? JsonValue.Create("@@") : JsonNode.Parse(value);
    }
}
