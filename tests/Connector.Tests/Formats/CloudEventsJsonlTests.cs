using System.Text;
using System.Text.Json.Nodes;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.CloudEvents;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class CloudEventsJsonlTests
{
    [Fact]
    public async Task Given_events_and_blank_lines_When_they_are_read_Then_each_event_belongs_to_the_commune_of_its_source()
    {
        var other = SampleEvents.Json(SampleEvents.Birth("2", "33063"));

        var records = await ReadAsync($"{SampleEvents.Json("1")}\n\n  \r\n{other}");

        Assert.Equal([(1, "35085", "1"), (4, "33063", "2")], records.Cast<EventRecord>().Select(read => (read.Line, $"{read.Commune}", read.Event.Id)));
    }

    [Fact]
    public async Task Given_a_line_of_an_export_When_it_is_read_Then_journal_and_position_are_named()
    {
        var rejected = await RejectedAsync(SampleEvents.Json("1", json =>
        {
            json["journal"] = Guid.NewGuid().ToString();
            json["position"] = 1;
        }));

        Assert.Equal(["journal", "position"], rejected.Faults.Select(fault => fault.Field));
        Assert.All(rejected.Faults, fault => Assert.Equal("set by the connector, not by the sender", fault.Reason.English));
        Assert.Equal("35085", $"{rejected.Commune}");
    }

    [Theory]
    [InlineData("{\"id\":")]
    [InlineData("hello")]
    [InlineData("{} {}")]
    public async Task Given_a_line_that_is_not_json_When_it_is_read_Then_it_is_rejected_and_the_next_is_sound(string line)
    {
        var records = await ReadAsync($"{SampleEvents.Json("0")}\n{line}\n{SampleEvents.Json("1")}");

        Assert.Equal("not JSON", Assert.Single(Assert.IsType<RejectedRecord>(records[1]).Faults).Reason.English);
        Assert.IsType<EventRecord>(records[2]);
    }

    [Theory]
    [InlineData("12")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("{\"source\":12}")]
    [InlineData("{\"source\":\"urn:insee:commune:99109\"}")]
    [InlineData("{\"\\ud800\":1,\"source\":\"\\ud800\"}")]
    public async Task Given_a_line_without_a_commune_When_it_is_read_Then_it_is_rejected_and_belongs_to_none(string line)
    {
        var rejected = await RejectedAsync(line);

        Assert.Null(rejected.Commune);
        Assert.NotEmpty(rejected.Faults);
    }

    [Fact]
    public async Task Given_a_fault_in_data_When_the_line_is_read_Then_the_field_is_named_and_no_value_is_shown()
    {
        var rejected = await RejectedAsync(SampleEvents.Json("1", json => json["data"]!["lastName"] = "DUPONT"));

        Assert.Equal(("data.lastName", null), (rejected.Faults.Single().Field, rejected.Faults.Single().Value));
    }

    [Fact]
    public async Task Given_a_line_that_is_too_long_or_not_utf8_When_it_is_read_Then_it_is_rejected_and_the_next_is_sound()
    {
        var tooLong = SampleEvents.Json("1", json => json["data"]!["personal"]!["parents"] = new JsonArray([.. Enumerable.Repeat(0, 20_000)
            .Select(_ => new JsonObject { ["lastName"] = "A LAST NAME OF SOME LENGTH, TWENTY THOUSAND TIMES" })]));
        byte[] file = [.. Encoding.UTF8.GetBytes($"{tooLong}\n"), .. Encoding.Latin1.GetBytes($"{SampleEvents.Json("é2")}\n".Replace("\\u00E9", "é", StringComparison.Ordinal)), .. Encoding.UTF8.GetBytes(SampleEvents.Json("3"))];

        var records = await ReadAsync(file);

        Assert.Equal(["longer than 1 MiB", "not UTF-8"], records.Take(2).Select(record => Assert.Single(Assert.IsType<RejectedRecord>(record).Faults).Reason.English));
        Assert.Equal("3", Assert.IsType<EventRecord>(records[2]).Event.Id);
    }

    [Fact]
    public async Task Given_an_event_with_very_many_faults_When_it_is_read_Then_some_are_named()
    {
        var rejected = await RejectedAsync(SampleEvents.Json("1", json =>
        {
            for (var i = 0; i < 400; i++) json["data"]![$"{new string('x', 500)}{i}"] = i;
        }));

        Assert.InRange(rejected.Faults.Count, 1, 50);
        Assert.All(rejected.Faults, fault => Assert.InRange(fault.Field.Length, 1, 200));
    }

    [Theory]
    [InlineData("")]
    [InlineData("\n \n")]
    [InlineData("nomprenom;sexe\n")]
    [InlineData("[]")]
    public async Task Given_a_file_that_has_no_object_on_its_first_line_When_it_is_read_Then_it_is_refused(string text) =>
        await Assert.ThrowsAsync<FileRefusedException>(() => ReadAsync(text));

    private static async Task<RejectedRecord> RejectedAsync(string line) => Assert.IsType<RejectedRecord>((await ReadAsync($"{SampleEvents.Json("0")}\n{line}"))[1]);

    private static Task<List<FormatRecord>> ReadAsync(string text) => ReadAsync(Encoding.UTF8.GetBytes(text));

    private static async Task<List<FormatRecord>> ReadAsync(byte[] bytes)
    {
        using var file = new MemoryStream(bytes);
        return await new CloudEventsJsonl().ReadAsync(file, SampleFiles.Context(), CancellationToken.None).ToListAsync();
    }
}
