using System.Text;
using Intercommunalite.Connector.Formats;
using Reader = Intercommunalite.Connector.Formats.InseeDeaths.InseeDeaths;

namespace Intercommunalite.Connector.Tests.Formats.InseeDeaths;

/// <summary>A death as INSEE's file has it, of somebody who never was.</summary>
internal sealed record Death(
    string Name = "MARTIN*LEA MARIE/",
    string Sex = "2",
    string BirthDate = "19220109",
    string BirthPlace = "35085",
    string BirthCommune = "DINGE",
    string BirthCountry = "",
    string DeathDate = "19701210",
    string DeathPlace = "35238",
    string Act = "12")
{
    public const string Header = "\"nomprenom\";\"sexe\";\"datenaiss\";\"lieunaiss\";\"commnaiss\";\"paysnaiss\";\"datedeces\";\"lieudeces\";\"actedeces\"";

    public string Csv => string.Join(';', Fields.Select(value => $"\"{value.Replace("\"", "\"\"", StringComparison.Ordinal)}\""));

    public string FixedWidth => string.Concat(Fields.Zip([80, 1, 8, 5, 30, 30, 8, 5, 9], (value, width) => value.PadRight(width)[..width])).PadRight(198);

    private string[] Fields => [Name, Sex, BirthDate, BirthPlace, BirthCommune, BirthCountry, DeathDate, DeathPlace, Act];

    /// <summary>Reads the death, remarks left out, in one layout, after checking that the other says the same.</summary>
    public async Task<FormatRecord> ReadAsync()
    {
        var csv = Assert.Single(await ReadAsync($"{Header}\n{Csv}\n"), record => record is not RemarkRecord);
        var fixedWidth = Assert.Single(await ReadAsync(Encoding.Latin1.GetBytes($"{FixedWidth}\n")), record => record is not RemarkRecord);
        switch (csv)
        {
            case EventRecord { Event: var expected }:
                var read = Assert.IsType<EventRecord>(fixedWidth).Event;
                Assert.Equal((expected.Id, expected.Subject, expected.EventId, expected.Time), (read.Id, read.Subject, read.EventId, read.Time));
                break;
            case RejectedRecord { Faults: var faults }:
                Assert.Equal(faults, Assert.IsType<RejectedRecord>(fixedWidth).Faults);
                break;
            default:
                Assert.Equal(((PlacelessRecord)csv).Why, Assert.IsType<PlacelessRecord>(fixedWidth).Why);
                break;
        }

        return csv;
    }

    public static Task<List<FormatRecord>> ReadAsync(string text) => ReadAsync(Encoding.UTF8.GetBytes(text));

    public static async Task<List<FormatRecord>> ReadAsync(byte[] bytes)
    {
        using var file = new MemoryStream(bytes);
        return await new Reader().ReadAsync(file, SampleFiles.Context(), CancellationToken.None).ToListAsync();
    }
}
