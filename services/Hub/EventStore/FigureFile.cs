using System.ComponentModel;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace Intercommunalite.Hub.EventStore;

/// <summary>In which form figures are asked for: JSON for programs, CSV for spreadsheets.</summary>
/// <param name="Format"><c>json</c> or <c>csv</c>.</param>
/// <param name="Separator"><c>semicolon</c> or <c>comma</c>.</param>
internal sealed record AnswerForm(
    [property: FromQuery(Name = "format"), Description("json (default), or csv: a file for spreadsheets, UTF-8 with a byte order mark, French titles, amounts in euros")]
    string Format = AnswerForm.Json,
    [property: FromQuery(Name = "separator"), Description("Of csv: semicolon (default; decimals after a comma) or comma (decimals after a point)")]
    string Separator = AnswerForm.Semicolon)
{
    private const string Json = "json";
    private const string Csv = "csv";
    private const string Semicolon = "semicolon";
    private const string Comma = "comma";

    /// <summary>Whether CSV is asked for.</summary>
    public bool IsCsv => Format == Csv;

    /// <summary>The character between fields.</summary>
    public char SeparatorCharacter => Separator == Comma ? ',' : ';';

    /// <summary>The answer that says what is wrong; null when nothing is.</summary>
    public ProblemHttpResult? Problem =>
        Format is not (Json or Csv) ? Query.Problem("format", "json or csv expected")
        : Separator is not (Semicolon or Comma) ? Query.Problem("separator", "semicolon or comma expected")
        : null;
}

/// <summary>A column of a <see cref="FigureFile"/>.</summary>
/// <param name="Title">Title, in French.</param>
/// <param name="Write">Adds the field of an item of the JSON answer.</param>
internal sealed record Column(string Title, Action<SpreadsheetCsv, JsonElement> Write)
{
    /// <summary>A text, or null.</summary>
    public static Column Text(string title, string field) => new(title, (csv, item) => csv.Text(item.GetProperty(field).GetString()));

    /// <summary>A whole number, or null.</summary>
    public static Column Number(string title, string field) => new(title, (csv, item) => csv.Number(Long(item.GetProperty(field))));

    /// <summary>Euro cents, shown as euros.</summary>
    public static Column Euros(string title, string field) => new($"{title} (€)", (csv, item) => csv.Euros(Long(item.GetProperty(field))));

    /// <summary>The commune's code and its name.</summary>
    public static Column[] Commune(Epci territory, string title = Titles.Commune) =>
    [
        Text(Titles.CommuneCode, "commune"),
        new(title, (csv, item) => csv.Text(territory.Member(CommuneCode.Parse(item.GetProperty("commune").GetString()!))?.Name)),
    ];

    private static long? Long(JsonElement number) => number.ValueKind == JsonValueKind.Null ? null : number.GetInt64();
}

/// <summary>Figures as a file: a row for each item of the JSON answer. The columns are the same whatever is asked for.</summary>
/// <param name="Name">Name of the file, without its ending.</param>
/// <param name="Columns">Its columns.</param>
internal sealed record FigureFile(string Name, params IReadOnlyList<Column> Columns)
{
    /// <summary>A name for a file: what it holds, of which commune or territory, from when to when, as far as that was asked for.</summary>
    public static string NameOf(string what, Epci territory, string? commune, params ReadOnlySpan<string?> period)
    {
        var name = $"{what}-{commune ?? territory.Siren}";
        foreach (var part in period) name += part is null ? "" : $"-{part}";
        return name;
    }

    /// <summary>The items, a JSON array, as a file to be saved.</summary>
    public async Task<IResult> WriteAsync(string items, char separator, CancellationToken cancellation)
    {
        using var file = new MemoryStream();
        await using (var csv = new SpreadsheetCsv(file, separator))
        {
            await csv.RowAsync(Columns.Select(column => column.Title), cancellation);
            using var json = JsonDocument.Parse(items);
            foreach (var item in json.RootElement.EnumerateArray())
            {
                foreach (var column in Columns) column.Write(csv, item);
                await csv.EndRowAsync(cancellation);
            }
        }

        return TypedResults.File(file.ToArray(), SpreadsheetCsv.MediaType, $"{Name}.csv");
    }
}
