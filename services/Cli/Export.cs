using System.CommandLine;
using System.Text;

namespace Intercommunalite.Cli;

/// <summary><c>interco export</c>: saves the hub's figures, open data and events as files.</summary>
internal static class Export
{
    /// <summary>What was saved.</summary>
    /// <param name="File">Full path.</param>
    /// <param name="Bytes">Its length.</param>
    /// <param name="Rows">Rows without the header, or events.</param>
    /// <param name="Position">Every event up to here is in it.</param>
    /// <param name="LeftOut">Of first names: births that are not in it, by the reason; null for other files.</param>
    private sealed record Saved(string? File, long Bytes, long Rows, long Position, IReadOnlyDictionary<string, long>? LeftOut);

    /// <summary>A file that the hub makes.</summary>
    /// <param name="Path">Its call.</param>
    /// <param name="Fixed">What is always asked for.</param>
    /// <param name="Unit">What a row is called.</param>
    /// <param name="IsCsv">Whether it is CSV, with a header.</param>
    private sealed record Kind(string Path, string Fixed, string Unit, bool IsCsv);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        Option<string?> Months(string name, string which) => Text(name, $"{which} month.", "YYYY-MM");
        Option<string?> Commune() => Text("--commune", "Only of this commune.", "CODE");
        Option<string?> Separator() => Words("--separator", "Between fields: semicolon (the default) or comma.", "semicolon", "comma");
        Option<string?> year = Text("--year", "Year of birth.", "YYYY");
        year.Required = true;
        return new Command("export", "Saves the hub's figures, open data and events as files.")
        {
            One("indicators", "The civil-record indicators, as CSV.", new("civil-records/indicators", "format=csv", "rows", IsCsv: true),
                Months("--from", "First"), Months("--to", "Last"), Commune(), Words("--by", "month (the default), year or commune.", "month", "year", "commune"),
                Words("--basis", "registration (the default) or residence.", "registration", "residence"), Separator(), MinPosition(), AsOf(), ComparedWith()),
            One("rolls", "The school rolls, as CSV.", new("schools/rolls", "format=csv", "rows", IsCsv: true),
                Text("--school-year", "Year in which the school year starts.", "YYYY"), Commune(), Separator(), MinPosition(), AsOf(), ComparedWith()),
            One("payments", "The summary of payments, as CSV.", new("payments/summary", "format=csv", "rows", IsCsv: true),
                Months("--from", "First"), Months("--to", "Last"), Commune(), Words("--by", "month (the default), service or commune.", "month", "service", "commune"), Separator(), MinPosition(), AsOf(), ComparedWith()),
            One("first-names", "First names of new-borns, in the national schema of open data (SCDL).", new("open-data/first-names", "", "rows", IsCsv: true),
                year, Commune(), Text("--threshold", "Fewest occurrences of a name; the hub's setting or more.", "N"),
                new Option<bool>("--simulated") { Description = "A file of simulated births, to try it out." }, MinPosition()),
            One("events", "The events of a period, for connectors (cloudevents-jsonl).", new("admin/events", "", "events", IsCsv: false),
                Text("--from", "First day, in Paris.", "YYYY-MM-DD"), Text("--to", "Last day.", "YYYY-MM-DD"), Commune(), Text("--type", "Only this type, or those that begin so with '*' behind.", "TYPE")),
        };

        Option<string?> AsOf() => Text("--as-of", "As they were at the end of this day in the territory, or at this time (2026-11-24T09:30:00Z).", "DAY");
        Option<string?> ComparedWith() => Text("--compared-with", "With --as-of: also as they were on this day or at this time, or 'now', and the difference.", "DAY");
        Option<string?> MinPosition() => Text("--min-position", "Position of the store that the figures must have seen.", "N");
        Command One(string name, string description, Kind kind, params Option[] parameters) => Export.One(common, terminal, time, name, description, kind, parameters);
    }

    private static Command One(CommonOptions common, Terminal terminal, TimeProvider time, string name, string description, Kind kind, Option[] parameters)
    {
        var file = new Option<FileInfo?>("--out") { Description = "Where to save it. [default: standard output]", HelpName = "FILE" };
        var command = new Command(name, description) { file };
        foreach (var parameter in parameters) command.Options.Add(parameter);
        command.Validators.Add(result =>
        {
            if (result.GetValue(common.Json) && result.GetValue(file) is null) result.AddError("--json tells what was saved: name the file with --out.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var query = string.Join('&', parameters.Select(parameter => Query(parsed, parameter)).Prepend(kind.Fixed).Where(part => part.Length > 0));
            var path = $"/api/v1/{kind.Path}{(query.Length > 0 ? "?" : "")}{query}";
            var saved = await new Progress(terminal, time).ShowAsync($"Exporting {name}", report =>
                SaveAsync(web, parsed.GetRequiredValue(common.Hub), path, kind, parsed.GetValue(file), terminal, time, report, cancellation));
            if (parsed.GetValue(common.Json)) terminal.WriteJson(saved);
            else Tell(saved, kind, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    // Under another name until it is whole: no program takes a half file for an export, and the one from before stays until then.
    private static async Task<Saved> SaveAsync(
        Web web, Uri hub, string path, Kind kind, FileInfo? file, Terminal terminal, TimeProvider time, Action<Advance> report, CancellationToken cancellation)
    {
        var rows = new RowCount(kind.IsCsv);
        void Count(ReadOnlySpan<byte> read, long? length)
        {
            rows.Add(read);
            report(new(rows.Bytes, length ?? 0, $"{rows.Rows:N0} {kind.Unit}, {rows.Bytes / 1024:N0} KiB"));
        }

        if (file is null)
        {
            var text = new TextTarget(terminal.Out);
            var answer = await DownloadAsync((read, length) => { Count(read.Span, length); text.Write(read.Span); return default; });
            return Of(null, rows, answer);
        }

        var unfinished = $"{file.FullName}.new";
        try
        {
            Answer answer;
            await using (var target = File.Create(unfinished))
            {
                answer = await DownloadAsync(async (read, length) =>
                {
                    Count(read.Span, length);
                    await target.WriteAsync(read, cancellation);
                });
            }

            File.Move(unfinished, file.FullName, overwrite: true);
            return Of(file.FullName, rows, answer);
        }
        finally
        {
            File.Delete(unfinished);
        }

        // What the hub has to build first is asked for again, when it says, until it is there or the user ends it.
        async Task<Answer> DownloadAsync(Func<ReadOnlyMemory<byte>, long?, ValueTask> taken)
        {
            while (true)
            {
                try
                {
                    return await web.DownloadAsync(hub, path, taken, cancellation);
                }
                catch (Failure e) when (e.Building is { } building)
                {
                    report(new(building.Percent, 100, "the hub builds the figures of then"));
                    await Task.Delay(building.RetryAfter, time, cancellation);
                }
            }
        }
    }

    private static Saved Of(string? file, RowCount rows, Answer answer)
    {
        var leftOut = answer.Numbers("X-Left-Out-");
        return new(file, rows.Bytes, rows.Rows, answer.Numbers("X-Hub-")["position"], leftOut.Count > 0 ? leftOut : null);
    }

    // The file is the result when none was named: what is said of it then goes to the error side.
    private static void Tell(Saved saved, Kind kind, Terminal terminal)
    {
        Action<string> tell = saved.File is null ? terminal.Say : terminal.Write;
        if (saved.File is not null) tell($"{saved.File}: {saved.Rows:N0} {kind.Unit}, {saved.Bytes:N0} bytes, up to position {saved.Position}.");
        if (saved.LeftOut is { } leftOut)
            tell($"Births left out: {string.Join(", ", leftOut.Select(reason => $"{reason.Value:N0} {reason.Key.Replace('-', ' ')}"))}.");
    }

    private static Option<string?> Text(string name, string description, string form) => new(name) { Description = description, HelpName = form };

    private static Option<string?> Words(string name, string description, params string[] words)
    {
        var option = new Option<string?>(name) { Description = description };
        option.AcceptOnlyFromAmong(words);
        return option;
    }

    // --school-year 2026 is schoolYear=2026 to the hub, which says what is wrong with a value.
    private static string Query(ParseResult parsed, Option parameter)
    {
        if (parsed.GetResult(parameter) is not { Implicit: false } given) return "";
        var words = parameter.Name.TrimStart('-').Split('-');
        var name = words[0] + string.Concat(words[1..].Select(word => char.ToUpperInvariant(word[0]) + word[1..]));
        return $"{name}={Uri.EscapeDataString(given.Tokens is [var token] ? token.Value : "true")}";
    }

    /// <summary>Counts the rows of a file as it passes; a line break within quotes ends none.</summary>
    private sealed class RowCount(bool isCsv)
    {
        private long _lines;
        private bool _quoted;

        public long Bytes { get; private set; }

        public long Rows => isCsv ? Math.Max(0, _lines - 1) : _lines;

        public void Add(ReadOnlySpan<byte> read)
        {
            Bytes += read.Length;
            foreach (var b in read)
            {
                if (isCsv && b == '"') _quoted = !_quoted;
                else if (b == '\n' && !_quoted) _lines++;
            }
        }
    }

    /// <summary>Bytes of UTF-8 on their way to a writer of text, its byte order mark included.</summary>
    private sealed class TextTarget(TextWriter target)
    {
        private readonly Decoder _decoder = Encoding.UTF8.GetDecoder();

        public void Write(ReadOnlySpan<byte> read)
        {
            var text = new char[Encoding.UTF8.GetMaxCharCount(read.Length)];
            target.Write(text.AsSpan(0, _decoder.GetChars(read, text, flush: false)));
        }
    }
}
