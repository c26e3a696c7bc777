using System.Text;
using Intercommunalite.Hub.Ingestion;
using Xunit;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class ShownEventTests
{
    private const string Type = "fr.intercommunalite.civil-records.birth-registered.v1";

    [Theory]
    [InlineData("date", "\"2026-11-20\"", "\"2026-11-20\"")]
    [InlineData("date", "\"MARQUEUR\"", "\"[not shown]\"")]
    [InlineData("date", "{\"a\":\"MARQUEUR\"}", "\"[not shown]\"")]
    [InlineData("unknown", "{\"a\":[\"MARQUEUR\"]}", "\"[not shown]\"")]
    [InlineData("Personal", "{\"a\":\"MARQUEUR\"}", "\"[not shown]\"")]
    [InlineData("personal", "\"MARQUEUR\"", "\"[personal]\"")]
    [InlineData("personal", "{\"child\":{\"lastName\":\"MARQUEUR\",\"birthDate\":\"2026\",\"unknown\":\"MARQUEUR\"}}", "{\"child\":{\"lastName\":\"[personal]\",\"birthDate\":\"[personal]\",\"unknown\":\"[not shown]\"}}")]
    [InlineData("personal", "{\"child\":[\"MARQUEUR\"],\"parents\":null}", "{\"child\":\"[personal]\",\"parents\":null}")]
    public void Given_a_field_of_the_data_When_the_event_is_shown_Then_only_facts_are_seen(string field, string value, string shown) => Assert.Equal(
        Event(field, shown), Show(Event(field, value)));

    [Theory]
    [InlineData("""{"id":"1","type":"other","time":"MARQUEUR","data":{"date":"2026"}}""", """{"id":"1","type":"other","time":"[not shown]","data":"[not shown]"}""")]
    [InlineData("""{"id":"1","id":"2","data":null}""", """{"id":"2","data":null}""")]
    [InlineData("""{"id":"\ud800","\ud800":1}""", "\"[not shown]\"")]
    [InlineData("""{"subject":"\ud800","type":"\ud800"}""", """{"subject":"[not shown]","type":"[not shown]"}""")]
    [InlineData("\"MARQUEUR\"", "\"[not shown]\"")]
    [InlineData("[1]", "\"[not shown]\"")]
    [InlineData("null", null)]
    public void Given_an_event_of_another_form_When_it_is_shown_Then_nothing_is_that_the_catalogue_does_not_know(string json, string? shown) =>
        Assert.Equal(shown, Show(json));

    private static string Event(string field, string value) => $$$"""{"type":"{{{Type}}}","data":{"{{{field}}}":{{{value}}}}}""";

    private static string? Show(string json) => ShownEvent.Of(Quarantine.Json(Encoding.UTF8.GetBytes(json)))?.ToJsonString();
}
