using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace Intercommunalite.Cli;

/// <summary>Where a command writes: results on <see cref="Out"/>, talk on <see cref="Error"/>.</summary>
internal sealed class Terminal
{
    private const int WidthOfFiles = 160;

    // What a column takes beside what is in it, and what one of words is left at the least.
    private const int Around = 3;
    private const int LeastOfText = 12;

    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        // JSON on a terminal is read by people too: accents stay accents.
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
    };

    private readonly IAnsiConsole _out;
    private readonly Lock _talking = new();

    public Terminal(TextWriter @out, TextWriter error)
    {
        (Out, Error) = (@out, error);
        _out = Console(@out);
        Talk = Console(error);
    }

    public TextWriter Out { get; }

    public TextWriter Error { get; }

    /// <summary>The error side as a console that can draw, for progress.</summary>
    public IAnsiConsole Talk { get; }

    /// <summary>Whether somebody watches the error side.</summary>
    public bool IsWatched => Talk.Profile.Out.IsTerminal && Talk.Profile.Capabilities.Interactive;

    public static Terminal OfProcess() => new(System.Console.Out, System.Console.Error);

    /// <summary>A line of talk, on the error side.</summary>
    public void Say(string line)
    {
        lock (_talking)
        {
            if (IsWatched) Talk.WriteLine(line);
            else Error.WriteLine(line);
        }
    }

    /// <summary>A line of the result.</summary>
    public void Write(string line) => Out.WriteLine(line);

    /// <summary>A result as one line of JSON.</summary>
    public void WriteJson<T>(T result) => Out.WriteLine(JsonSerializer.Serialize(result, s_json));

    /// <summary>A time as every table shows it, in UTC.</summary>
    public static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    /// <summary>
    /// A table of the result. Columns of numbers are those whose name ends with <c>#</c>; what is copied from, such as cursors and ids, those with
    /// <c>!</c>. Neither are broken or cut; where they leave the others too little room, the table is wider than the terminal.
    /// </summary>
    public void WriteTable(string title, string[] columns, IEnumerable<string[]> rows)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (var name in columns)
        {
            var column = new TableColumn(Markup.Escape(name.TrimEnd('#', '!')));
            table.AddColumn(name.EndsWith('#') ? column.RightAligned().NoWrap() : name.EndsWith('!') ? column.NoWrap() : column);
        }

        string[][] all = [columns, .. rows];
        foreach (var row in all[1..]) table.AddRow([.. row.Select(Markup.Escape)]);
        var least = 0;
        for (var column = 0; column < columns.Length; column++)
        {
            var longest = all.Max(row => row[column].Length);
            least += Around + (columns[column].EndsWith('#') || columns[column].EndsWith('!') ? longest : Math.Min(longest, LeastOfText));
        }

        var width = _out.Profile.Width;
        _out.WriteLine();
        _out.WriteLine(title);
        _out.Profile.Width = Math.Max(width, least);
        _out.Write(table);
        _out.Profile.Width = width;
    }

    private static IAnsiConsole Console(TextWriter writer)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(writer) });
        if (!console.Profile.Out.IsTerminal) console.Profile.Width = WidthOfFiles;
        return console;
    }
}
