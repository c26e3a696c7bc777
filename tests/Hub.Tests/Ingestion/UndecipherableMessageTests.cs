using System.Text;
using System.Text.Json;
using Intercommunalite.Hub.Ingestion;
using Xunit;

namespace Intercommunalite.Hub.Tests.Ingestion;

public sealed class UndecipherableMessageTests
{
    private const string Segment = "urn:message:Intercommunalite.Contracts.Bus:JournalSegment";
    private const string Journal = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";

    [Theory]
    [InlineData("", "message: not JSON", null)]
    [InlineData("MARQUEUR", "message: not JSON", null)]
    [InlineData("\u0000\u0001", "message: not JSON", null)]
    [InlineData("null", "message: not in the bus's envelope", null)]
    [InlineData("[1, 2]", "message: not in the bus's envelope", null)]
    [InlineData("""{"commune":"35085"}""", "message: not in the bus's envelope", null)]
    [InlineData("""{"messageType":"x","message":{}}""", "message: not in the bus's envelope", null)]
    [InlineData("""{"messageType":["urn:message:Other:MARQUEUR"],"message":{"commune":"35085"}}""", "message: of another type than a journal's segment", "35085")]
    [InlineData("""{"messageType":["urn:message:Other:MARQUEUR"],"message":{"commune":"MARQUEUR"}}""", "message: of another type than a journal's segment", null)]
    [InlineData($$"""{"messageType":["{{Segment}}"]}""", "message: content not readable", null)]
    [InlineData($$"""{"messageType":["{{Segment}}"],"message":null}""", "message: a journal's segment without content", null)]
    public void Given_no_journal_segment_When_it_is_read_Then_it_is_said_why_without_any_value(string body, string reason, string? commune) =>
        Assert.Equal(new UndecipherableMessage(reason, commune, null), UndecipherableMessage.Read(Encoding.UTF8.GetBytes(body)));

    [Theory]
    [InlineData("{}", "message: commune: an INSEE commune code expected", null)]
    [InlineData("""{"commune":"MARQUEUR"}""", "message: commune: an INSEE commune code expected", null)]
    [InlineData("""{"commune":"35085","journal":"MARQUEUR"}""", "message: $.journal not readable", "35085")]
    [InlineData("""{"commune":"35085"}""", "message: journal: a UUID expected", "35085")]
    [InlineData($$"""{"commune":"35085","journal":"{{Journal}}","events":[{}]}""", "message: firstPosition: 1 or more expected", "35085")]
    [InlineData($$"""{"commune":"35085","journal":"{{Journal}}","firstPosition":1}""", "message: events: at least one expected", "35085")]
    [InlineData($$"""{"commune":"35085","journal":"{{Journal}}","firstPosition":1,"events":[]}""", "message: events: at least one expected", "35085")]
    [InlineData($$"""{"commune":"35085","journal":"{{Journal}}","firstPosition":1,"events":"MARQUEUR"}""", "message: $.events not readable", "35085")]
    public void Given_a_journal_segment_without_sense_When_it_is_read_Then_the_field_is_named(string segment, string reason, string? commune) =>
        Assert.Equal(new UndecipherableMessage(reason, commune, null), Read(segment));

    [Fact]
    public void Given_a_journal_segment_When_it_is_read_Then_nothing_is_wrong_whatever_its_events_are() =>
        Assert.Null(Read($$"""{"commune":"35085","journal":"{{Journal}}","firstPosition":1,"events":[null, "x", {"id": 1}]}"""));

    private static UndecipherableMessage? Read(string segment) =>
        UndecipherableMessage.Read(JsonSerializer.SerializeToUtf8Bytes(new { messageType = new[] { Segment }, message = JsonDocument.Parse(segment).RootElement }));
}
