using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Territory;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Figures as they were: from the events that the store had at a time (<c>?asOf=</c>), so as they were shown then, before whatever was
/// corrected or annulled later; and what changed from then to another time (<c>?comparedWith=</c>).
/// </summary>
internal static class PastFigures
{
    private const string Now = "now";
    private const int RetryAfterSeconds = 5;

    /// <summary>Answers <c>{"position":N,"asOf":"…","items":[…]}</c>, with <c>comparedWith</c> items of both times and their difference, or the same as CSV.</summary>
    public static async Task<IResult> AnswerAsync(
        HttpContext context, string projection, AnswerForm form, FigureFile file, Func<FiguresVersion, string> items, IReadOnlyList<NpgsqlParameter> parameters)
    {
        if (form.AsOf is null) return Query.Problem("comparedWith", "goes with asOf");
        // Said and noted as it was meant.
        var (given, second) = (TerritoryClock.AsMeant(form.AsOf), form.ComparedWith is { } compare ? TerritoryClock.AsMeant(compare) : null);
        var clock = context.RequestServices.GetRequiredService<TerritoryClock>();
        if (Check(context, "asOf", given, clock, out var time) is { } wrong) return wrong;
        var other = DateTimeOffset.MaxValue;
        if (second is not (null or Now) && Check(context, "comparedWith", second, clock, out other) is { } otherWrong) return otherWrong;

        var (past, problem) = await ReadAsync(context, projection, time, items, parameters);
        if (problem is not null) return problem;
        var (position, rows) = past;
        if (second is null)
        {
            await NoteAsync(context, given, null);
            HubPosition.Say(context, position);
            if (!form.IsCsv) return TypedResults.Text($"{{\"position\":{position},\"asOf\":{JsonSerializer.Serialize(given)},\"items\":{rows}}}", "application/json");
            using var json = JsonDocument.Parse(rows);
            return await file.WriteAsync(json.RootElement.EnumerateArray(), form.SeparatorCharacter, AsOf.Of(given, time, clock), context.RequestAborted);
        }

        var (compared, unfinished) = second == Now ? (await HubPosition.ReadAsync(context, projection, items, parameters), null) : await ReadAsync(context, projection, other, items, parameters);
        if (unfinished is not null) return unfinished;
        await NoteAsync(context, given, second);
        HubPosition.Say(context, position);
        using var before = JsonDocument.Parse(rows);
        using var after = JsonDocument.Parse(compared.Items);
        var pairs = Pairs(file.Key, before.RootElement, after.RootElement);
        if (form.IsCsv) return await file.WriteAsync(pairs, form.SeparatorCharacter, AsOf.Of(given, time, clock), second == Now ? AsOf.Now : AsOf.Of(second, other, clock), context.RequestAborted);
        var answer = new JsonObject
        {
            ["position"] = position,
            ["asOf"] = given,
            ["comparedWith"] = new JsonObject { ["asOf"] = second, ["position"] = compared.Position },
            ["items"] = new JsonArray([.. pairs.Select(pair => Item(file.Key, pair.Before, pair.After))]),
        };
        return TypedResults.Text(answer.ToJsonString(JsonSerializerOptions.Web), "application/json");
    }

    // Who looks back. Asked again while the figures are being built it is one look, and so is what a page asks for again and again.
    private static async Task NoteAsync(HttpContext context, string asOf, string? comparedWith)
    {
        var (looks, look) = (context.RequestServices.GetRequiredService<LooksBack>(), new LookBack(Caller.Of(context.User).Id, context.Request.Path.Value, asOf, comparedWith));
        if (!looks.Begin(look)) return;
        try
        {
            await context.RequestServices.GetRequiredService<AuditLog>().AppendAsync(
                new(look.Who, "figures.looked-back", look.Path, Details: new() { ["asOf"] = asOf, ["comparedWith"] = comparedWith }), context.RequestAborted);
        }
        catch
        {
            looks.Forget(look);
            throw;
        }
    }

    // The answer that says what is wrong with a time; null when nothing is. What was stored by a time is certain only after a while: an
    // event of before may still be on its way into the store.
    private static ProblemHttpResult? Check(HttpContext context, string parameter, string given, TerritoryClock clock, out DateTimeOffset time)
    {
        time = default;
        if (clock.Moment(given, isEnd: true) is not { } moment) return Query.Problem(parameter, TerritoryClock.MomentForm);
        time = moment;
        var age = clock.Now - time;
        if (age < TimeSpan.Zero) return Query.Problem(parameter, "a day that has ended, or a time that has passed, expected; leave it out for the figures of now");
        if (age >= Positions.Disorder) return null;
        var seconds = Math.Ceiling((Positions.Disorder - age).TotalSeconds).ToString(CultureInfo.InvariantCulture);
        context.Response.Headers.RetryAfter = seconds;
        return TypedResults.Problem(
            title: "Not settled yet", detail: $"{parameter}: events of before this time may still be on their way into the store. Ask again in {seconds} s.", statusCode: StatusCodes.Status409Conflict);
    }

    private static async Task<((long Position, string Items) Past, IResult? Problem)> ReadAsync(
        HttpContext context, string projection, DateTimeOffset time, Func<FiguresVersion, string> items, IReadOnlyList<NpgsqlParameter> parameters)
    {
        var (services, cancellation) = (context.RequestServices, context.RequestAborted);
        var position = await services.GetRequiredService<Positions>().AtAsync(time, cancellation);
        if (position == 0) return ((0, "[]"), null);
        var versions = services.GetRequiredService<PastVersions>();
        for (var again = false; ; again = true)
        {
            if (await versions.ReadyAsync(projection, position, cancellation) is { } progress) return (default, Unfinished(context, progress));
            try
            {
                await using var command = services.GetRequiredService<NpgsqlDataSource>().CreateCommand(
                    $"SELECT coalesce(json_agg(item), '[]')::text FROM ({items(FiguresVersion.At(position))}) AS rows (item)");
                foreach (var parameter in parameters) command.Parameters.Add(parameter.Clone());
                return ((position, (string)(await command.ExecuteScalarAsync(cancellation))!), null);
            }
            catch (PostgresException e) when (!again && e.SqlState is PostgresErrorCodes.UndefinedTable or PostgresErrorCodes.InvalidSchemaName)
            {
                // Dropped in this moment for another one: made again.
            }
        }
    }

    private static ProblemHttpResult Unfinished(HttpContext context, PastProgress progress)
    {
        if (progress.Error is { } error)
        {
            return TypedResults.Problem(
                title: "Not to be built", detail: $"The events up to position {progress.Position} cannot be applied: {error}", statusCode: StatusCodes.Status500InternalServerError);
        }

        context.Response.Headers.RetryAfter = RetryAfterSeconds.ToString(CultureInfo.InvariantCulture);
        var percent = Math.Round(100.0 * progress.Through / progress.Position, 1);
        return TypedResults.Problem(
            title: "Being built",
            detail: string.Create(CultureInfo.InvariantCulture, $"The figures of then are being built from {progress.Position} events, {percent} % are done. {(progress.Reason is { } reason ? $"The last try failed, and there will be another: {reason} " : "")}Ask again in {RetryAfterSeconds} s."),
            statusCode: StatusCodes.Status503ServiceUnavailable,
            extensions: new Dictionary<string, object?> { ["position"] = progress.Through, ["target"] = progress.Position, ["percent"] = percent });
    }

    // The items of both times, by their keys and in the order of these.
    private static List<(JsonElement? Before, JsonElement? After)> Pairs(IReadOnlyList<string> key, JsonElement before, JsonElement after)
    {
        var (first, second) = (ByKey(before), ByKey(after));
        return [.. first.Keys.Union(second.Keys).Order(StringComparer.Ordinal).Select(item =>
            (first.TryGetValue(item, out var was) ? was : (JsonElement?)null, second.TryGetValue(item, out var now) ? now : (JsonElement?)null))];
        Dictionary<string, JsonElement> ByKey(JsonElement items) => items.EnumerateArray().ToDictionary(item => string.Join('\0', key.Select(member => item.GetProperty(member).ToString())));
    }

    private static JsonObject Item(IReadOnlyList<string> key, JsonElement? before, JsonElement? after)
    {
        var item = new JsonObject();
        foreach (var member in key) item[member] = JsonNode.Parse((before ?? after)!.Value.GetProperty(member).GetRawText());
        item["asOf"] = Rest(before);
        item["comparedWith"] = Rest(after);
        var difference = new JsonObject();
        foreach (var member in (after ?? before)!.Value.EnumerateObject().Where(member => !key.Contains(member.Name)))
        {
            var (was, now) = (Number(before, member.Name), Number(after, member.Name));
            if (was is not null && now is not null) difference[member.Name] = now - was;
        }

        item["difference"] = difference;
        return item;

        JsonObject? Rest(JsonElement? whole) => whole is not { } element ? null : new JsonObject(
            element.EnumerateObject().Where(member => !key.Contains(member.Name)).Select(member => KeyValuePair.Create(member.Name, JsonNode.Parse(member.Value.GetRawText()))));

        // What was not there counts 0; what is no number has no difference.
        long? Number(JsonElement? side, string member)
        {
            if (side is { } there) return there.GetProperty(member) is { ValueKind: JsonValueKind.Number } number ? number.GetInt64() : null;
            return (before ?? after)!.Value.GetProperty(member).ValueKind == JsonValueKind.Number ? 0 : null;
        }
    }
}

/// <summary>Who looked back at what.</summary>
internal sealed record LookBack(string Who, string? Path, string AsOf, string? ComparedWith);

/// <summary>
/// The looks back that this node has put on record in the last hour: each is noted once an hour, so that a page which refreshes itself
/// does not fill the audit.
/// </summary>
internal sealed class LooksBack(TimeProvider clock)
{
    // Then all are forgotten: rather noted twice than without bounds.
    private const int MostKept = 10_000;
    private static readonly TimeSpan s_one = TimeSpan.FromHours(1);

    private readonly Dictionary<LookBack, DateTimeOffset> _noted = [];

    /// <summary>Whether this look is to be put on record now; the same is not again for an hour.</summary>
    public bool Begin(LookBack look)
    {
        var now = clock.GetUtcNow();
        lock (_noted)
        {
            if (_noted.TryGetValue(look, out var at) && now - at < s_one) return false;
            if (_noted.Count >= MostKept) _noted.Clear();
            _noted[look] = now;
            return true;
        }
    }

    /// <summary>It could not be put on record: the next time it is tried again.</summary>
    public void Forget(LookBack look)
    {
        lock (_noted) _noted.Remove(look);
    }
}
