using System.ComponentModel;
using System.Globalization;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace Intercommunalite.Hub.EventStore;

/// <summary>In which form figures are asked for: JSON for programs, CSV for spreadsheets; and as of when.</summary>
/// <param name="Format"><c>json</c> or <c>csv</c>.</param>
/// <param name="Separator"><c>semicolon</c> or <c>comma</c>.</param>
/// <param name="AsOf">See <see cref="PastFigures"/>; null for now.</param>
/// <param name="ComparedWith">Another such time, or <c>now</c>; null to compare with nothing.</param>
internal sealed record AnswerForm(
    [property: FromQuery(Name = "format"), Description("json (default), or csv: a file for spreadsheets, UTF-8 with a byte order mark, French titles, amounts in euros")]
    string Format = AnswerForm.Json,
    [property: FromQuery(Name = "separator"), Description("Of csv: semicolon (default; decimals after a comma) or comma (decimals after a point)")]
    string Separator = AnswerForm.Semicolon,
    [property: FromQuery(Name = "asOf"), Description("As they were then: YYYY-MM-DD, the end of that day in the territory, or a time as in RFC 3339. From the events that the hub had stored then; X-Hub-Position is the position of then. 503 with Retry-After while such figures are being built")]
    string? AsOf = null,
    [property: FromQuery(Name = "comparedWith"), Description("With asOf: another such day or time, or now. Items then are {…, asOf, comparedWith, difference}: what tells the item from others, its figures at both times (null where there were none), and of each number the second less the first")]
    string? ComparedWith = null)
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

/// <summary>A column of a <see cref="FigureFile"/>: words, or a number that can be compared.</summary>
/// <param name="Title">Title, in French.</param>
/// <param name="Words">The words of an item of the JSON answer; null for a column of numbers.</param>
/// <param name="Value">Its number, or null.</param>
/// <param name="IsEuros">Whether the number is euro cents, shown as euros.</param>
internal sealed record Column(string Title, Func<JsonElement, string?>? Words, Func<JsonElement, long?>? Value = null, bool IsEuros = false)
{
    /// <summary>A text, or null.</summary>
    public static Column Text(string title, string field) => new(title, item => item.GetProperty(field).GetString());

    /// <summary>A whole number, or null.</summary>
    public static Column Number(string title, string field) => new(title, null, item => Long(item.GetProperty(field)));

    /// <summary>Euro cents, shown as euros.</summary>
    public static Column Euros(string title, string field) => new($"{title} (€)", null, item => Long(item.GetProperty(field)), IsEuros: true);

    /// <summary>The commune's code and its name.</summary>
    public static Column[] Commune(Epci territory, string title = Titles.Commune) =>
    [
        Text(Titles.CommuneCode, "commune"),
        new(title, item => territory.Member(CommuneCode.Parse(item.GetProperty("commune").GetString()!))?.Name),
    ];

    /// <summary>Adds the field of an item.</summary>
    public void Write(SpreadsheetCsv csv, JsonElement item)
    {
        if (Words is not null) csv.Text(Words(item));
        else WriteValue(csv, Value!(item));
    }

    /// <summary>Adds a number as those of the column are.</summary>
    public void WriteValue(SpreadsheetCsv csv, long? value)
    {
        if (IsEuros) csv.Euros(value);
        else csv.Number(value);
    }

    private static long? Long(JsonElement number) => number.ValueKind == JsonValueKind.Null ? null : number.GetInt64();
}

/// <summary>As of when figures are, in French, by the clocks of the territory.</summary>
/// <param name="Title">Behind the title of a number: <c>au 01/11/2026</c>, <c>au 01/11/2026 à 13:00</c>.</param>
/// <param name="Name">In the name of a file, where some systems take neither a slash nor a colon: <c>au-2026-11-01</c>, <c>au-2026-11-01-13h00</c>.</param>
internal sealed record AsOf(string Title, string Name)
{
    /// <summary>Today, as far as it has come.</summary>
    public static AsOf Now { get; } = new(Titles.Today, Titles.Today);

    /// <summary>A day or a time that was given.</summary>
    /// <param name="given">As it was given.</param>
    /// <param name="time">What was meant.</param>
    /// <param name="clock">Tells what the clocks showed then.</param>
    public static AsOf Of(string given, DateTimeOffset time, TerritoryClock clock)
    {
        var there = clock.There(time);
        string Form(string form) => there.ToString(form, CultureInfo.InvariantCulture);
        var day = (Title: Form("'au 'dd'/'MM'/'yyyy"), Name: Form("'au-'yyyy-MM-dd"));
        // A day is given without hours, whatever moment of it is meant.
        if (!given.Contains('T', StringComparison.Ordinal)) return new(day.Title, day.Name);
        return there.Second == 0 ? new(day.Title + Form("' à 'HH:mm"), day.Name + Form("'-'HH'h'mm")) : new(day.Title + Form("' à 'HH:mm:ss"), day.Name + Form("'-'HH'h'mm'm'ss"));
    }
}

/// <summary>Figures as a file: a row for each item of the JSON answer. The columns are the same whatever is asked for.</summary>
/// <param name="Name">Name of the file, without its ending.</param>
/// <param name="Key">Members that tell an item of the JSON answer from the others.</param>
/// <param name="Columns">Its columns.</param>
internal sealed record FigureFile(string Name, IReadOnlyList<string> Key, params IReadOnlyList<Column> Columns)
{
    /// <summary>A name for a file: what it holds, of which commune or territory, from when to when, as far as that was asked for.</summary>
    public static string NameOf(string what, Epci territory, string? commune, params ReadOnlySpan<string?> period)
    {
        var name = $"{what}-{commune ?? territory.Siren}";
        foreach (var part in period) name += part is null ? "" : $"-{part}";
        return name;
    }

    /// <summary>The items as a file to be saved.</summary>
    /// <param name="items">Items of the JSON answer.</param>
    /// <param name="separator">Between fields.</param>
    /// <param name="asOf">As of when, to be said in the file's name and in the titles of numbers; null where only now can be meant.</param>
    /// <param name="cancellation">Gives up.</param>
    public Task<IResult> WriteAsync(IEnumerable<JsonElement> items, char separator, AsOf? asOf, CancellationToken cancellation) => WriteAsync(
        asOf is null ? Name : $"{Name}-{asOf.Name}",
        separator,
        Columns.Select(column => asOf is null || column.Words is not null ? column.Title : $"{column.Title} {asOf.Title}"),
        items.Select(item => (Action<SpreadsheetCsv>)(csv =>
        {
            foreach (var column in Columns) column.Write(csv, item);
        })),
        cancellation);

    /// <summary>Items at two times as a file to be saved: of each number three columns, at the one, at the other, and the difference.</summary>
    /// <param name="pairs">The same item at the first and at the second time; null where there was none.</param>
    /// <param name="separator">Between fields.</param>
    /// <param name="asOf">The first time.</param>
    /// <param name="comparedWith">The second time.</param>
    /// <param name="cancellation">Gives up.</param>
    public Task<IResult> WriteAsync(IEnumerable<(JsonElement? Before, JsonElement? After)> pairs, char separator, AsOf asOf, AsOf comparedWith, CancellationToken cancellation) => WriteAsync(
        $"{Name}-{asOf.Name}-et-{comparedWith.Name}",
        separator,
        Columns.SelectMany(column => column.Words is not null ? [column.Title] : (string[])[$"{column.Title} {asOf.Title}", $"{column.Title} {comparedWith.Title}", $"{column.Title}, {Titles.Difference}"]),
        pairs.Select(pair => (Action<SpreadsheetCsv>)(csv =>
        {
            foreach (var column in Columns)
            {
                if (column.Value is not { } value)
                {
                    column.Write(csv, (pair.After ?? pair.Before)!.Value);
                    continue;
                }

                var (before, after) = (pair.Before is { } first ? value(first) : 0, pair.After is { } second ? value(second) : 0);
                column.WriteValue(csv, pair.Before is null ? null : before);
                column.WriteValue(csv, pair.After is null ? null : after);
                column.WriteValue(csv, after - before);
            }
        })),
        cancellation);

    private static async Task<IResult> WriteAsync(string name, char separator, IEnumerable<string> titles, IEnumerable<Action<SpreadsheetCsv>> rows, CancellationToken cancellation)
    {
        using var file = new MemoryStream();
        await using (var csv = new SpreadsheetCsv(file, separator))
        {
            await csv.RowAsync(titles, cancellation);
            foreach (var row in rows)
            {
                row(csv);
                await csv.EndRowAsync(cancellation);
            }
        }

        return TypedResults.File(file.ToArray(), SpreadsheetCsv.MediaType, $"{name}.csv");
    }
}
