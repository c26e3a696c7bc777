using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.CloudEvents;
using Intercommunalite.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class ImportRunTests : IDisposable
{
    private const string Communes = "35085,35238";

    private readonly TemporaryFolder _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Given_an_import_cut_off_in_the_middle_When_the_connector_starts_again_Then_it_ends_as_if_nothing_had_happened()
    {
        string path;
        await using (var first = Start(gateAt: 2_300))
        {
            await first.ImportAsync("/files/cloudevents-jsonl", $"{SampleEvents.Json("7")}\n{SampleEvents.Json("before")}");
            path = await PostAsync(first, Lines(3_000));
            await Eventually.Is(() => first.GetAsync(path), state => state.GetProperty("accepted").GetInt64() >= 1_999);
            Assert.Equal("running", (await first.GetAsync(path)).GetProperty("status").GetString());
        }

        await using var second = Start();
        var end = await second.EndOfAsync(path);

        AssertCounts(end, linesRead: 3_001, accepted: 2_999, duplicates: 2);
        Assert.Equal(3_001, second.Journal("35085").Last);
        Assert.Equal(["7", "before", .. Enumerable.Range(1, 3_000).Where(i => i != 7).Select(i => $"{i}")], second.Events("35085").Select(json => json.GetProperty("id").GetString()));
        Assert.False(File.Exists(UploadOf(path)));
    }

    [Fact]
    public async Task Given_an_import_past_a_checkpoint_When_the_connector_starts_again_Then_it_goes_on_from_there()
    {
        const int Count = 21_000;
        string path;
        await using (var first = Start(gateAt: 20_500))
        {
            path = await PostAsync(first, $"{{no event\n{Lines(Count)}");
            await Eventually.Is(() => first.GetAsync(path), state => state.GetProperty("linesRead").GetInt64() >= 20_500);
        }

        // Whoever read the beginning again would now find one fault more.
        await using (var upload = new FileStream(UploadOf(path), FileMode.Open, FileAccess.Write))
        {
            upload.Position = "{no event\n".Length;
            upload.Write("no event"u8);
        }

        await using var second = Start();
        var end = await second.EndOfAsync(path);

        Assert.Equal(1, end.GetProperty("rejected").GetInt64());
        Assert.Equal((Count + 2, Count, 1), (end.GetProperty("linesRead").GetInt64(), end.GetProperty("accepted").GetInt64(), end.GetProperty("duplicates").GetInt64()));
        Assert.Equal(Count, second.Journal("35085").Last);
        Assert.Equal(2, (await second.Http.GetStringAsync(new Uri($"{path}/rejects", UriKind.Relative))).Split("\r\n", StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Fact]
    public async Task Given_a_commune_whose_import_waits_When_another_communes_file_comes_Then_it_is_read_meanwhile()
    {
        await using var app = Start(gateAt: 0);
        using var body = new ByteArrayContent(Encoding.UTF8.GetBytes(Lines(3)));
        using var waiting = await app.Http.PostAsync(new Uri("/communes/35085/files/gated", UriKind.Relative), body);

        var state = await app.ImportAsync("/communes/35238/files/cloudevents-jsonl", SampleEvents.Json(SampleEvents.Birth("1", "35238")));

        AssertCounts(state, linesRead: 1, accepted: 1);
        Assert.Equal("running", (await app.GetAsync(waiting.Headers.Location!.ToString())).GetProperty("status").GetString());
    }

    [Theory]
    [InlineData("insee-deaths", "{\"specversion\":\"1.0\"}", "cloudevents-jsonl")]
    [InlineData("insee-deaths", "nom;prenom", null)]
    public async Task Given_a_file_of_another_format_When_it_is_posted_Then_it_is_said_which_it_looks_like(string format, string content, string? other)
    {
        await using var app = Start();

        var state = await app.ImportAsync($"/communes/35085/files/{format}", content);

        Assert.Equal("refused", state.GetProperty("status").GetString());
        Assert.Equal(other is not null, state.GetProperty("error").GetString()!.Contains("looks like", StringComparison.Ordinal));
        if (other is null) return;
        Assert.EndsWith($"The file looks like the format {other}.", state.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.EndsWith($"Le fichier ressemble au format {other}.", state.GetProperty("erreur").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_setting_that_the_format_does_not_know_When_a_file_is_posted_Then_it_is_refused_at_once()
    {
        await using var app = Start();
        using var body = new StringContent("");

        using var response = await app.Http.PostAsync(new Uri("/files/insee-deaths?uai=0350122T", UriKind.Relative), body);

        Assert.Equal(System.Net.HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Contains("no settings", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_imports_that_wait_When_the_connector_starts_again_Then_they_follow_in_their_order()
    {
        string one, other;
        await using (var first = Start(gateAt: 0))
        {
            one = await PostAsync(first, Lines(3));
            other = await PostAsync(first, Lines(5));
            Assert.True(File.Exists(UploadOf(other)));
        }

        await using var second = Start();

        AssertCounts(await second.EndOfAsync(one), linesRead: 4, accepted: 3, duplicates: 1);
        AssertCounts(await second.EndOfAsync(other), linesRead: 6, accepted: 2, duplicates: 4);
    }

    [Fact]
    public async Task Given_an_import_that_is_read_When_events_are_posted_Then_they_are_accepted_meanwhile()
    {
        await using var app = Start(gateAt: 0);
        await PostAsync(app, Lines(3));

        using var response = await app.PostEventAsync("/communes/35085/events", SampleEvents.Json("direct"));

        Assert.Equal(System.Net.HttpStatusCode.Accepted, response.StatusCode);
    }

    [Fact]
    public async Task Given_an_upload_that_did_not_come_whole_When_the_connector_starts_Then_it_is_cleared_away()
    {
        var torn = Directory.CreateDirectory(_data.Combine("imports", Guid.CreateVersion7().ToString())).FullName;
        await File.WriteAllTextAsync(Path.Combine(torn, "upload"), "MARTIN");

        await using var app = Start();

        Assert.False(Directory.Exists(torn));
    }

    [Fact]
    public async Task Given_a_format_that_fails_by_a_fault_of_ours_When_a_file_is_posted_Then_it_is_refused_and_the_next_goes_on()
    {
        await using var app = ConnectorApp.Start(_data.FullPath, Communes, services => services.AddSingleton<IFormat>(new FaultyFormat()));

        var failed = await app.ImportAsync("/files/faulty", SampleEvents.Json("1"));
        var next = await app.ImportAsync("/files/cloudevents-jsonl", SampleEvents.Json("1"));

        Assert.Equal("refused", failed.GetProperty("status").GetString());
        Assert.DoesNotContain("MARTIN", failed.GetProperty("error").GetString(), StringComparison.Ordinal);
        AssertCounts(next, linesRead: 1, accepted: 1);
    }

    [Fact]
    public async Task Given_a_large_file_of_two_communes_When_it_is_read_Then_each_journal_keeps_its_order()
    {
        await using var app = Start();
        var lines = string.Concat(Enumerable.Range(1, 3_001).Select(i => $"{SampleEvents.Json(SampleEvents.Birth($"{i}", i % 3 == 0 ? "35238" : "35085"))}\n"));

        AssertCounts(await app.ImportAsync("/files/cloudevents-jsonl", lines), linesRead: 3_001, accepted: 3_001);

        Assert.Equal(Enumerable.Range(1, 3_001).Where(i => i % 3 == 0).Select(i => $"{i}"), app.Events("35238").Select(json => json.GetProperty("id").GetString()));
        Assert.Equal(Enumerable.Range(1, 3_001).Where(i => i % 3 != 0).Select(i => $"{i}"), app.Events("35085").Select(json => json.GetProperty("id").GetString()));
    }

    // The last line repeats the first.
    private static string Lines(int count) => string.Concat(Enumerable.Range(1, count).Append(1).Select(i => $"{SampleEvents.Json($"{i}")}\n"));

    private static async Task<string> PostAsync(ConnectorApp app, string lines)
    {
        using var body = new ByteArrayContent(Encoding.UTF8.GetBytes(lines));
        using var response = await app.Http.PostAsync(new Uri("/files/gated", UriKind.Relative), body);
        return response.Headers.Location!.ToString();
    }

    private static void AssertCounts(JsonElement state, long linesRead, long accepted, long duplicates = 0)
    {
        Assert.Equal("completed", state.GetProperty("status").GetString());
        Assert.Equal(
            (linesRead, accepted, duplicates),
            (state.GetProperty("linesRead").GetInt64(), state.GetProperty("accepted").GetInt64(), state.GetProperty("duplicates").GetInt64()));
    }

    private ConnectorApp Start(int? gateAt = null) =>
        ConnectorApp.Start(_data.FullPath, Communes, services => services.AddSingleton<IFormat>(new GatedFormat(gateAt)));

    private string UploadOf(string path) => _data.Combine("imports", path.Split('/')[^1], "upload");

    /// <summary>Events as lines; stops at a line, for ever, where it is told to.</summary>
    private sealed class GatedFormat(int? gateAt) : IFormat
    {
        public string Name => "gated";

        public string CommuneField => "source";

        public bool LooksLike(string start) => false;

        public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
        {
            var read = 0;
            await foreach (var record in new CloudEventsJsonl().ReadAsync(file, context, cancellation))
            {
                if (read++ == gateAt) await Task.Delay(Timeout.Infinite, cancellation);
                yield return record;
            }
        }
    }

    private sealed class FaultyFormat : IFormat
    {
        public string Name => "faulty";

        public string CommuneField => "source";

        public bool LooksLike(string start) => false;

        public IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, CancellationToken cancellation) => throw new FormatException("'MARTIN' is not a code.");
    }
}
