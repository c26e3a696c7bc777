using System.Net;
using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Tests.Formats.InseeDeaths;

namespace Intercommunalite.Connector.Tests.Formats;

public sealed class PostFileTests : IAsyncLifetime, IDisposable
{
    private readonly TemporaryFolder _data = new();
    private ConnectorApp _app;

    public PostFileTests() => _app = Start();

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync() => await _app.DisposeAsync();

    public void Dispose()
    {
        _app.Dispose();
        _data.Dispose();
    }

    [Fact]
    public async Task Given_a_file_When_it_is_posted_Then_the_answer_says_where_its_import_is()
    {
        using var body = new StringContent(File(new Death()));
        using var response = await _app.Http.PostAsync(new Uri("/communes/35238/files/insee-deaths", UriKind.Relative), body);

        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
        var state = JsonElement.Parse(await response.Content.ReadAsStringAsync());
        var id = state.GetProperty("importId").GetGuid();
        Assert.Equal(7, id.Version);
        Assert.Equal($"/communes/35238/imports/{id}", response.Headers.Location!.ToString());
        var size = (await body.ReadAsByteArrayAsync()).Length;
        var end = await _app.EndOfAsync($"/communes/35238/imports/{id}");
        Assert.Equal(
            $$"""{"importId":"{{id}}","status":"completed","linesRead":1,"accepted":1,"duplicates":0,"rejected":0,"elsewhere":0,"withdrawn":0,"remarks":0,"bytesRead":{{size}},"bytes":{{size}},"error":null,"erreur":null}""", end.GetRawText());
        Assert.Equal(end.GetRawText(), (await _app.GetAsync($"/imports/{id}")).GetRawText());
        Assert.Equal(id.ToString(), Directory.GetDirectories(_data.Combine("imports")).Select(Path.GetFileName).Single());
        Assert.False(System.IO.File.Exists(_data.Combine("imports", id.ToString(), "upload")));
    }

    [Fact]
    public async Task Given_deaths_of_many_places_When_they_are_posted_for_one_commune_Then_the_others_are_rejected()
    {
        var state = await _app.ImportAsync("/communes/35238/files/insee-deaths", File(
            new Death(), new Death(DeathPlace: "35085"), new Death(DeathPlace: "69383"), new Death(DeathPlace: "99109"), new Death(DeathDate: "19701399")));

        AssertCounts(state, linesRead: 5, accepted: 1, rejected: 4);
        Assert.Equal(
            [
                "3;lieudeces;;of another commune, 35085: 35238 expected",
                "4;lieudeces;;of another commune, 69123: 35238 expected",
                "5;lieudeces;99109;not the code of a commune of today or of one that was merged into it",
                "6;datedeces;19701399;no such date; AAAAMMJJ, 00 for an unknown month or day, expected",
            ],
            await RejectsAsync($"/communes/35238/imports/{state.GetProperty("importId")}/rejects"));
        Assert.Equal(1, _app.Journal("35238").Last);
        Assert.Equal(0, _app.Journal("35085").Last);
    }

    [Fact]
    public async Task Given_deaths_of_many_places_When_they_are_posted_for_all_Then_each_goes_to_its_commune_and_the_rest_is_elsewhere()
    {
        var state = await _app.ImportAsync("/files/insee-deaths", File(
            new Death(), new Death(DeathPlace: "35085"), new Death(DeathPlace: "69383"), new Death(DeathPlace: "99109"),
            new Death(DeathDate: "19701399"), new Death(DeathPlace: "69383", DeathDate: "19701399")));

        AssertCounts(state, linesRead: 6, accepted: 2, rejected: 1, elsewhere: 3);
        Assert.Equal((1, 1), (_app.Journal("35238").Last, _app.Journal("35085").Last));
    }

    [Fact]
    public async Task Given_a_file_with_a_row_twice_When_it_is_posted_twice_Then_nothing_is_doubled()
    {
        var file = File(new Death(), new Death(Name: "MARTIN*LEO/"), new Death());

        AssertCounts(await _app.ImportAsync("/files/insee-deaths", file), linesRead: 3, accepted: 2, duplicates: 1);
        AssertCounts(await _app.ImportAsync("/communes/35238/files/insee-deaths", file), linesRead: 3, duplicates: 3);
        Assert.Equal(["MARTIN LEA MARIE", "MARTIN LEO"], _app.Events("35238").Select(json =>
        {
            var deceased = json.GetProperty("data").GetProperty("personal").GetProperty("deceased");
            return $"{deceased.GetProperty("lastName")} {deceased.GetProperty("firstNames")}";
        }));
    }

    [Fact]
    public async Task Given_a_wrong_header_When_the_file_is_posted_Then_it_is_refused_whole_and_says_why()
    {
        var state = await _app.ImportAsync("/communes/35238/files/insee-deaths", "nom;prenom\nMARTIN;LEA\n");

        Assert.Equal("refused", state.GetProperty("status").GetString());
        Assert.Contains("nomprenom;sexe;datenaiss", state.GetProperty("error").GetString(), StringComparison.Ordinal);
        AssertNowhere("MARTIN");
        Assert.Single(await RejectsAsync($"/imports/{state.GetProperty("importId")}/rejects"));
    }

    [Fact]
    public async Task Given_a_value_that_a_spreadsheet_would_run_When_the_rejects_are_fetched_Then_it_is_text()
    {
        var state = await _app.ImportAsync("/files/insee-deaths", File(new Death(DeathDate: "=1+1"), new Death(DeathPlace: "@A1")));

        var rows = await RejectsAsync($"/imports/{state.GetProperty("importId")}/rejects");

        Assert.StartsWith("2;datedeces;'=1+1;", rows[0], StringComparison.Ordinal);
        Assert.StartsWith("3;lieudeces;'@A1;", rows[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_names_everywhere_in_a_bad_file_When_it_is_imported_Then_they_are_in_no_file_but_the_journal()
    {
        var state = await _app.ImportAsync("/files/insee-deaths", File(
            new Death(DeathDate: "MARTIN", DeathPlace: "MARTI"), new Death(Act: string.Concat(Enumerable.Repeat("MARTIN ", 9)))) + "\"MARTIN\n");

        AssertCounts(state, linesRead: 3, rejected: 3);
        AssertNowhere("MARTI");
    }

    [Fact]
    public async Task Given_events_of_many_communes_When_they_are_posted_Then_they_are_checked_as_one_by_one()
    {
        var lines = $"{SampleEvents.Json("1")}\n\n{SampleEvents.Json(SampleEvents.Birth("2", "33063"))}\n{SampleEvents.Json("3", json => json["position"] = 3)}\n{SampleEvents.Json("1")}\nno\n";

        AssertCounts(await _app.ImportAsync("/files/cloudevents-jsonl", lines), linesRead: 5, accepted: 1, duplicates: 1, rejected: 2, elsewhere: 1);
        var state = await _app.ImportAsync("/communes/35085/files/cloudevents-jsonl", lines);
        AssertCounts(state, linesRead: 5, duplicates: 2, rejected: 3);
        Assert.Equal(
            ["3;source;;of another commune, 33063: 35085 expected", "4;position;;set by the connector, not by the sender", "6;;;not JSON"],
            await RejectsAsync($"/communes/35085/imports/{state.GetProperty("importId")}/rejects"));
    }

    [Theory]
    [InlineData("/files/..%2F..%2Fetc%2Fpasswd")]
    [InlineData("/files/%2e%2e")]
    [InlineData("/files/insee-deaths%00")]
    [InlineData("/communes/..%2F35238/files/insee-deaths")]
    [InlineData("/imports/..%2F..%2Fjournal.db")]
    public async Task Given_a_path_in_the_place_of_a_name_When_it_is_asked_for_Then_there_is_no_such_thing(string path)
    {
        using var body = new StringContent(File(new Death()));
        using var response = await _app.Http.PostAsync(new Uri(path, UriKind.Relative), body);

        Assert.InRange((int)response.StatusCode, 400, 405);
        Assert.Empty(Directory.GetFileSystemEntries(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_an_import_When_the_connector_starts_again_Then_it_still_knows_it()
    {
        var before = await _app.ImportAsync("/communes/35238/files/insee-deaths", File(new Death(), new Death(DeathDate: "")));
        var path = $"/communes/35238/imports/{before.GetProperty("importId")}";
        var rejects = await RejectsAsync($"{path}/rejects");

        await _app.DisposeAsync();
        _app = Start();

        Assert.Equal(before.GetRawText(), (await _app.GetAsync(path)).GetRawText());
        Assert.Equal(rejects, await RejectsAsync($"{path}/rejects"));
    }

    [Fact]
    public async Task Given_a_body_beyond_the_servers_usual_limit_When_it_is_posted_Then_it_is_taken()
    {
        // Blank lines, since only the size matters here.
        var lines = $"{SampleEvents.Json("1")}\n{string.Concat(Enumerable.Repeat($"{new string(' ', 99_999)}\n", 400))}";

        AssertCounts(await _app.ImportAsync("/files/cloudevents-jsonl", lines), linesRead: 1, accepted: 1);
    }

    [Theory]
    [InlineData("POST", "/files/excel", "cloudevents-jsonl, concerto-enrolments, insee-deaths, onde-pupils")]
    [InlineData("POST", "/communes/35238/files/excel", "cloudevents-jsonl, concerto-enrolments, insee-deaths, onde-pupils")]
    [InlineData("POST", "/communes/33063/files/insee-deaths", "35085, 35238")]
    [InlineData("GET", "/imports/01890a5d-ac96-774b-bcce-b302099a8057", "No import")]
    [InlineData("GET", "/imports/01890a5d-ac96-774b-bcce-b302099a8057/rejects", "No import")]
    [InlineData("GET", "/communes/35238/imports/01890a5d-ac96-774b-bcce-b302099a8057", "No import")]
    [InlineData("GET", "/communes/33063/imports/01890a5d-ac96-774b-bcce-b302099a8057", "35085, 35238")]
    public async Task Given_something_unknown_When_it_is_asked_for_Then_404_says_what_there_is(string method, string path, string detail)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), new Uri(path, UriKind.Relative));
        using var response = await _app.Http.SendAsync(request);

        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Equal("application/problem+json", response.Content.Headers.ContentType?.MediaType);
        Assert.Contains(detail, JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("detail").GetString(), StringComparison.Ordinal);
        Assert.Empty(Directory.GetDirectories(_data.Combine("imports")));
    }

    [Fact]
    public async Task Given_an_import_of_one_commune_When_another_asks_for_it_Then_it_is_not_shown()
    {
        var state = await _app.ImportAsync("/communes/35238/files/insee-deaths", File(new Death()));

        using var response = await _app.Http.GetAsync(new Uri($"/communes/35085/imports/{state.GetProperty("importId")}", UriKind.Relative));

        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
    }

    private static string File(params IEnumerable<Death> deaths) => $"{Death.Header}\n{string.Concat(deaths.Select(death => $"{death.Csv}\n"))}";

    private static void AssertCounts(JsonElement state, long linesRead = 0, long accepted = 0, long duplicates = 0, long rejected = 0, long elsewhere = 0)
    {
        Assert.Equal("completed", state.GetProperty("status").GetString());
        Assert.Equal(
            (linesRead, accepted, duplicates, rejected, elsewhere),
            (Count("linesRead"), Count("accepted"), Count("duplicates"), Count("rejected"), Count("elsewhere")));
        long Count(string name) => state.GetProperty(name).GetInt64();
    }

    private ConnectorApp Start() => ConnectorApp.Start(_data.FullPath, "35085,35238");

    // Line, field, value and the English reason of each.
    private async Task<List<string>> RejectsAsync(string path)
    {
        using var response = await _app.Http.GetAsync(new Uri(path, UriKind.Relative));
        Assert.Equal("text/csv; charset=utf-8", response.Content.Headers.ContentType!.ToString());
        var bytes = await response.Content.ReadAsByteArrayAsync();
        Assert.Equal([0xEF, 0xBB, 0xBF], bytes[..3]);
        var rows = System.Text.Encoding.UTF8.GetString(bytes[3..]).Split("\r\n", StringSplitOptions.RemoveEmptyEntries).Select(row => CsvRow.Split(row)!).ToList();
        Assert.Equal("type;line;field;value;raison;reason;que faire;what to do", string.Join(';', rows[0]));
        Assert.All(rows.Skip(1), row => Assert.All([row[4], row[6], row[7]], cell => Assert.NotEmpty(cell)));
        return [.. rows.Skip(1).Select(row => string.Join(';', row[1], row[2], row[3], row[5]))];
    }

    private void AssertNowhere(string name)
    {
        foreach (var path in Directory.EnumerateFiles(_data.Combine("imports"), "*", SearchOption.AllDirectories))
            Assert.DoesNotContain(name, System.IO.File.ReadAllText(path), StringComparison.Ordinal);
    }
}
