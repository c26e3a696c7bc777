using System.Diagnostics;
using System.Text;
using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.InseeDeaths;
using Intercommunalite.Testing;
using Xunit.Abstractions;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

/// <summary>The deaths of 1970, as INSEE published them; where the shared folder is absent these tests say so and end.</summary>
public sealed class RealFilesTests(ITestOutputHelper output)
{
    private const string Communes = "69123,75056,13055,33063,35238,59350,2A004,49007";

    [SharedDataFact]
    public async Task Given_the_year_in_both_layouts_When_it_is_read_Then_every_death_has_the_same_ids_in_both()
    {
        if (File("deaths-1970.csv") is not { } csv || File("deaths-1970.txt") is not { } fixedWidth) return;

        var one = await Death.ReadAsync(await System.IO.File.ReadAllBytesAsync(csv));
        var other = await Death.ReadAsync(await System.IO.File.ReadAllBytesAsync(fixedWidth));

        Assert.Equal(13_544, one.Count);
        Assert.Equal(Keys(one), Keys(other));
        var events = one.OfType<EventRecord>().ToList();
        Assert.Equal(events.Count, events.Select(record => record.Event.EventId).Distinct().Count());
        Assert.Equal(events.Count, events.Select(record => (record.Commune, record.Event.Subject)).Distinct().Count());
        Assert.DoesNotContain(one, record => record is RejectedRecord);
        var ids = Ids(csv, new CsvLayout()).Skip(1).ToList();
        Assert.Equal(ids, Ids(fixedWidth, new FixedWidthLayout()));
        Assert.Equal(13_544, ids.Distinct().Count());
        output.WriteLine($"{one.Count} deaths: {events.Count} events with as many ids and subjects, {one.Count - events.Count} of no commune of today.");
    }

    [SharedDataFact]
    public async Task Given_the_year_When_it_is_read_Then_each_field_of_each_row_is_in_its_event()
    {
        if (File("deaths-1970.csv") is not { } csv || Current() is not { } current) return;

        var records = await Death.ReadAsync(await System.IO.File.ReadAllBytesAsync(csv));

        var rows = System.IO.File.ReadLines(csv, Encoding.UTF8).Skip(1).Select(line => line[1..^1].Split("\";\"")).ToList();
        foreach (var (row, record) in rows.Zip(records.Where(record => record is not RemarkRecord)))
        {
            if (current(row[7]) is not { } commune)
            {
                Assert.Equal(row[7], Assert.IsType<PlacelessRecord>(record).Why.Value);
                continue;
            }

            var read = Assert.IsType<EventRecord>(record).Event;
            var (facts, personal) = (read.Data, read.Data.GetProperty("personal").GetProperty("deceased"));
            Assert.Equal($"urn:insee:commune:{commune}:insee-deaths", read.Source.ToString());
            Assert.Equal(Written(row[6]), facts.GetProperty("date").GetString());
            Assert.Equal(Null(row[8]), Text(facts, "actNumber"));
            Assert.Equal(current(row[3]), Text(facts, "birthCommune"));
            var names = row[0].TrimEnd('/').Split('*');
            Assert.Equal((names[0].Trim(), Null(names[1].Trim())), (Text(personal, "lastName"), Text(personal, "firstNames")));
            Assert.Equal(row[1] == "1" ? "male" : "female", Text(personal, "sex"));
            Assert.Equal(Written(row[2]), Text(personal, "birthDate"));
            Assert.Equal((Null(row[4]) ?? row[3], Null(row[5])), (Text(personal, "birthPlace"), Text(personal, "birthCountry")));
        }

        static string? Null(string text) => text.Length > 0 ? text : null;
        static string? Text(JsonElement json, string name) => json.TryGetProperty(name, out var value) ? value.GetString() : null;
        static string? Written(string date) => date.StartsWith("0000", StringComparison.Ordinal) ? null
            : date[4..6] == "00" ? date[..4] : date[6..8] == "00" ? $"{date[..4]}-{date[4..6]}" : $"{date[..4]}-{date[4..6]}-{date[6..8]}";
    }

    [SharedDataTheory]
    [InlineData("deaths-1970.csv")]
    [InlineData("deaths-1970.txt")]
    public async Task Given_a_connector_of_some_communes_When_the_year_is_posted_Then_each_has_its_deaths_by_month(string name)
    {
        if (File(name) is not { } path || Expected() is not { } expected) return;
        using var data = new TemporaryFolder();
        await using var app = ConnectorApp.Start(data.FullPath, Communes);

        var clock = Stopwatch.StartNew();
        var state = await app.ImportAsync("/files/insee-deaths", await System.IO.File.ReadAllBytesAsync(path));

        output.WriteLine($"{name}: {state.GetRawText()} in {clock.ElapsedMilliseconds} ms.");
        Assert.Equal("completed", state.GetProperty("status").GetString());
        Assert.Equal(13_544, state.GetProperty("linesRead").GetInt64());
        Assert.Equal(expected.Values.Sum(), state.GetProperty("accepted").GetInt64());
        Assert.Equal(13_544 - expected.Values.Sum(), state.GetProperty("elsewhere").GetInt64());
        Assert.Equal(0, state.GetProperty("rejected").GetInt64() + state.GetProperty("duplicates").GetInt64());
        Assert.Equal(expected, Communes.Split(',').SelectMany(commune => app.Events(commune).Select(json => (commune, Period(json)))).CountBy(key => key).ToDictionary());
    }

    [SharedDataFact]
    public async Task Given_the_year_in_one_layout_When_it_is_posted_in_the_other_Then_all_are_duplicates()
    {
        if (File("deaths-1970.csv") is not { } csv || File("deaths-1970.txt") is not { } fixedWidth) return;
        using var data = new TemporaryFolder();
        await using var app = ConnectorApp.Start(data.FullPath, Communes);

        var first = await app.ImportAsync("/files/insee-deaths", await System.IO.File.ReadAllBytesAsync(csv));
        var second = await app.ImportAsync("/files/insee-deaths", await System.IO.File.ReadAllBytesAsync(fixedWidth));

        Assert.Equal(0, second.GetProperty("accepted").GetInt64());
        Assert.Equal(first.GetProperty("accepted").GetInt64(), second.GetProperty("duplicates").GetInt64());
    }

    // Of all rows, those that belong to no commune as well.
    private static IEnumerable<string> Ids(string path, IDeathLayout layout) => System.IO.File.ReadLines(path, Encoding.Latin1)
        .Select(line => layout.TryRead(line, out var row, out _) ? DeathKey.Id(row) : throw new FormatException("A line is faulty."));

    private static string Period(JsonElement json) => json.GetProperty("data").GetProperty("date").GetString()! is { Length: >= 7 } date ? date[..7] : "1970";

    private static IEnumerable<(string, string, string)> Keys(List<FormatRecord> records) =>
        records.Select(record => record is EventRecord { Event: var read } ? (read.EventId.ToString(), read.Subject, read.Id) : ($"{record.Line - records[0].Line}", "", ""));

    // Counted from the files by splitting their lines, without any of the project's own reading.
    private Dictionary<(string Commune, string Period), int>? Expected()
    {
        if (File("deaths-1970.csv") is not { } csv || SharedData.File("territories", "former-communes.csv") is not { } former) return null;
        var served = Communes.Split(',').ToHashSet();
        var current = System.IO.File.ReadLines(former).Skip(1).Select(line => line.Split(';')).ToLookup(row => row[0], row => row[3]);
        return System.IO.File.ReadLines(csv, Encoding.UTF8).Skip(1)
            .Select(line => line[1..^1].Split("\";\""))
            // Ajaccio, before Corsica was two départements.
            .Select(row => row[7] == "20004" ? [.. row[..7], "2A004"] : row)
            .Select(row => (Commune: served.Contains(row[7]) ? row[7] : current[row[7]].FirstOrDefault(""), Month: row[6][4..6]))
            .Where(death => served.Contains(death.Commune))
            .CountBy(death => (death.Commune, death.Month == "00" ? "1970" : $"1970-{death.Month}"))
            .ToDictionary();
    }

    // The commune of today of a code, from the public tables by their lines; of none for countries and unknown communes.
    private static Func<string, string?>? Current()
    {
        if (SharedData.File("territories", "former-communes.csv") is not { } former || SharedData.File("territories", "epci-communes.csv") is not { } members) return null;
        var current = System.IO.File.ReadLines(former).Skip(1).Select(line => line.Split(';')).ToLookup(row => row[0], row => row[3]);
        var today = System.IO.File.ReadLines(members).Skip(1).Select(line => line.Split(';')[3]).ToHashSet();
        string? Of(string code) => today.Contains(code) ? code : current[code].FirstOrDefault();
        return code => Of(code) ?? (code.StartsWith("20", StringComparison.Ordinal) ? Of($"2A{code[2..]}") ?? Of($"2B{code[2..]}") : null);
    }

    private string? File(string name)
    {
        var path = SharedData.File("deaths", name);
        if (path is null) output.WriteLine($"Not tried: {name} is not on this machine.");
        return path;
    }
}
