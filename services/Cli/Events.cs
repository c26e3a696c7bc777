using System.CommandLine;
using System.Text.Json;
using static System.FormattableString;

namespace Intercommunalite.Cli;

/// <summary><c>interco events</c>: what became of one record.</summary>
internal static class Events
{
    private const string Path = "/api/v1/records";

    private sealed record Shown(string Id, string Source, string Type, DateTimeOffset Time, DateTimeOffset Recordedtime, string Cursor, JsonElement Data);

    private sealed record Change(string Field, JsonElement Before, JsonElement After);

    private sealed record Item(Shown Event, IReadOnlyList<Change> Changes, Guid Journal, long Number, string? Personal);

    private sealed record Page(string Commune, string Domain, string Subject, IReadOnlyList<JsonElement> Items, string? Next);

    public static Command Command(CommonOptions common, Terminal terminal) => new("events", "The events of the territory.") { Show(common, terminal) };

    private static Command Show(CommonOptions common, Terminal terminal)
    {
        var record = new Argument<string?>("RECORD")
        {
            Description = "commune/domain/subject, as 35085/civil-records/birth/2026/1; or an event of it by --source and --id.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var source = new Option<string?>("--source") { Description = "Source of an event of the record.", HelpName = "URN" };
        var id = new Option<string?>("--id") { Description = "Id of that event.", HelpName = "ID" };
        var agreement = new Option<string?>("--agreement") { Description = "Of a partner: the agreement under which to read.", HelpName = "ID" };
        var command = new Command("show", "A record's events in their order: who said what, when, and what it changed. Without personal data, or what an agreement allows.") { record, source, id, agreement };
        command.Validators.Add(result =>
        {
            var named = result.GetValue(record);
            if (named is not null == result.GetValue(source) is not null || result.GetValue(source) is null != result.GetValue(id) is null) result.AddError("Give either a RECORD, or --source and --id.");
            if (named?.Split('/', 3).Length < 3) result.AddError("RECORD is commune/domain/subject.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var hub = parsed.GetRequiredValue(common.Hub);
            var at = parsed.GetValue(record) is { } named
                ? $"{Path}/{string.Join('/', named.Split('/').Select(Uri.EscapeDataString))}?limit=1000"
                : $"{Path}?limit=1000&source={Uri.EscapeDataString(parsed.GetValue(source)!)}&id={Uri.EscapeDataString(parsed.GetValue(id)!)}";
            if (parsed.GetValue(agreement) is { } under) at += $"&agreement={Uri.EscapeDataString(under)}";
            var page = await web.GetAsync<Page>(hub, at, cancellation);
            if (!parsed.GetValue(common.Json)) terminal.Write($"{page.Commune}/{page.Domain}/{page.Subject}");
            while (true)
            {
                foreach (var item in page.Items)
                {
                    if (parsed.GetValue(common.Json)) terminal.WriteJson(item);
                    else Write(item.Deserialize<Item>(JsonSerializerOptions.Web)!, terminal);
                }

                if (page.Next is null) return Interco.Succeeded;
                page = await web.GetAsync<Page>(hub, $"{at}&after={Uri.EscapeDataString(page.Next)}", cancellation);
            }
        });
        return command;
    }

    private static void Write(Item item, Terminal terminal)
    {
        terminal.Write("");
        terminal.Write($"{Terminal.Time(item.Event.Recordedtime)}  {item.Event.Type}  {item.Event.Id}");
        terminal.Write(Invariant($"  said by {item.Event.Source} at {Terminal.Time(item.Event.Time)}; number {item.Number} of journal {item.Journal}"));
        terminal.Write($"  {item.Event.Data.GetRawText()}");
        foreach (var change in item.Changes) terminal.Write($"  {change.Field}: {change.Before.GetRawText()} → {change.After.GetRawText()}");
        if (item.Personal is not null) terminal.Write($"  personal data: {item.Personal}");
    }
}
