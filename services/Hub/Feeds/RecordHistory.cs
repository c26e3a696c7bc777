using System.ComponentModel;
using System.Text.Json;
using System.Text.Json.Nodes;
using Grpc.Core;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// What became of one record: its events in their order, which software of which commune said each, when, and what it changed. An
/// administrator sees all facts, an agent of a commune those of its own communes' records, both without persons; a partner what its
/// agreement allows, as it would by the feed.
/// </summary>
internal static class RecordHistory
{
    private const int DefaultLimit = 100;
    private const int MostEvents = 10_000;

    /// <summary>What the store knows of an event besides what every reader gets.</summary>
    /// <param name="Journal">The journal by which it came.</param>
    /// <param name="Number">Its position there.</param>
    /// <param name="Personal"><c>held</c>, or <c>gone</c> when it came with personal data that is no longer held; null when it came with none.</param>
    private sealed record Known(string Journal, long Number, string? Personal);

    public static void Map(RouteGroupBuilder api)
    {
        api.MapGet("records", OfEventAsync)
            .RequireAuthorization(Rules.ReadRecords)
            .WithName("RecordOfEvent").WithSummary("The same of the record that an event is about, by the event's source and id");
        api.MapGet("records/{commune}/{domain}/{**subject}", GetAsync)
            .RequireAuthorization(Rules.ReadRecords).Audit("records.read", ["agreement", "after"])
            .WithName("RecordHistory").WithSummary("A record's events in their order: who said what, when, and what it changed")
            .WithDescription("""
                Each item is {"event": a CloudEvent, "changes": [{"field","before","after"}], "journal", "number", "personal": "held" | "gone" | null}: what
                differs from what was last said of the record, of the fields that the reader may see; by which journal it came and its number there; personal is told to those who may have personal data.
                The source of the event says whose software it was. next is the after of the next page, null at the end.
                """);
    }

    // By one of its events. Of one that the caller may not see, not even its record is told.
    private static async Task<IResult> OfEventAsync(
        HttpContext context,
        FeedPages pages,
        FeedStreams feed,
        AgreementsInForce agreements,
        NpgsqlDataSource database,
        AuditLog audit,
        [Description("Source of an event of the record")] string source,
        [Description("Id of that event")] string id,
        string? agreement = null,
        string? after = null,
        int limit = DefaultLimit)
    {
        if (!EventSource.TryParse(source, out _)) return Query.Problem("source", "urn:insee:commune:CODE, perhaps with a system behind, expected");
        await using var command = database.CreateCommand("SELECT stream_id FROM hub.mt_events WHERE id = $1");
        command.Parameters.Add(new() { Value = CloudEvent.EventIdOf(JsonSerializer.SerializeToElement(new { source, id }))! });
        if (await command.ExecuteScalarAsync(context.RequestAborted) is string stream)
        {
            var how = new JsonObject { ["source"] = source, ["id"] = id, ["agreement"] = agreement is null ? null : Audited.Text(agreement), ["after"] = after is null ? null : Audited.Text(after) };
            await audit.AppendAsync(new(Caller.Of(context.User).Id, "records.read", stream, Details: how), context.RequestAborted);
            var record = stream.Split('/', 3);
            var result = await GetAsync(context, pages, feed, agreements, database, record[0], record[1], record[2], agreement, after, limit);
            if (result is not ProblemHttpResult { StatusCode: StatusCodes.Status404NotFound }) return result;
        }

        return TypedResults.Problem(title: "No such event", detail: "There is no event of this source and id that you may see.", statusCode: StatusCodes.Status404NotFound);
    }

    private static async Task<IResult> GetAsync(
        HttpContext context,
        FeedPages pages,
        FeedStreams feed,
        AgreementsInForce agreements,
        NpgsqlDataSource database,
        [Description("INSEE code of the record's commune")] string commune,
        [Description("civil-records, schools, payments or requests")] string domain,
        [Description("The record's own key in that commune, as the subject of its events")] string subject,
        [Description("Of a partner: the agreement; needed when several are in force")] string? agreement = null,
        [Description("Cursor of the last event that the caller has; none for the beginning")] string? after = null,
        [Description("Most events: 1 to 1000")] int limit = DefaultLimit)
    {
        if (limit is < 1 or > FeedStreams.MaxLimit) return Query.Problem("limit", $"1 to {FeedStreams.MaxLimit} expected");
        if (!CommuneCode.TryParse(commune, out _)) return Query.Problem("commune", "an INSEE code expected");
        if (!Query.IsText(domain) || !Query.IsText(subject)) return Query.Problem("domain, subject", "text without NUL expected");
        var caller = Caller.Of(context.User);
        var isPartner = !caller.Is(Roles.Administrator, Roles.CommuneAgent);
        if (!isPartner && !caller.Is(Roles.Administrator) && !caller.Communes.Contains(commune))
            return TypedResults.Problem(title: "Not yours", detail: $"commune: one of {string.Join(", ", caller.Communes.Order(StringComparer.Ordinal))} expected.", statusCode: StatusCodes.Status403Forbidden);
        try
        {
            var access = isPartner
                ? feed.Access(context, agreement ?? "", FeedFilter.All)
                : new FeedAccess(new Reader(caller.Id, true, _ => ValueTask.FromResult(true)), "", FeedFilter.All, agreements);
            await access.NowAsync(context.RequestAborted);
            var known = await KnownAsync(database, $"{commune}/{domain}/{subject}", context.RequestAborted);
            var from = await pages.PlaceAsync(after ?? "", context.RequestAborted);
            if (known.Count > MostEvents)
                return TypedResults.Problem(
                    title: "Too many events", detail: $"This record has more than {MostEvents} events, which no record of a commune has: its subject stands for many. Read them by the feed.",
                    statusCode: StatusCodes.Status422UnprocessableEntity);
            // From the beginning, since what an event changed is known from those before it; of persons, what is in this answer alone.
            var all = await pages.AtAsync([.. known.Keys], access, context.RequestAborted, withPersonal: false);
            var items = Changes(all.Events).Where(item => item.Read.Place.Position > from.Position).Take(limit + 1).ToList();
            if (items.Count == 0 && from.Position == 0)
                return TypedResults.Problem(title: "No such record", detail: $"There is no record {domain}/{subject} of commune {commune} that you may see.", statusCode: StatusCodes.Status404NotFound);
            FeedPage page;
            do page = await pages.AtAsync([.. items.Take(limit).Select(item => item.Read.Place.Position)], access, context.RequestAborted);
            while (page.IsStale(access));
            var sent = page.Events.ToDictionary(read => read.Place.Position, read => read.Message);
            var agreed = (await access.NowAsync(context.RequestAborted)).Agreement;
            return TypedResults.Text(FeedApi.Json(json =>
            {
                json.WriteStartObject();
                json.WriteString("commune", commune);
                json.WriteString("domain", domain);
                json.WriteString("subject", subject);
                json.WriteStartArray("items");
                foreach (var (read, changes) in items.Take(limit))
                {
                    if (!sent.TryGetValue(read.Place.Position, out var message)) continue;
                    // Whether somebody's data is still held is told to those who may have it, and to whoever runs the hub.
                    var tells = agreed is null ? caller.Is(Roles.Administrator) : agreed.AllowsPersonalData(message.Type);
                    Write(json, message, changes, known[read.Place.Position], tells);
                }

                json.WriteEndArray();
                json.WriteString("next", items.Count > limit ? items[limit - 1].Read.Message.Cursor : null);
                json.WriteEndObject();
            }), "application/json");
        }
        catch (RpcException e)
        {
            return FeedApi.Problem(e);
        }
    }

    // By position.
    private static async Task<SortedDictionary<long, Known>> KnownAsync(NpgsqlDataSource database, string stream, CancellationToken cancellation)
    {
        var known = new SortedDictionary<long, Known>();
        await using var command = database.CreateCommand($"""
            SELECT e.seq_id, e.headers ->> '{EventHeaders.Journal}', (e.headers ->> '{EventHeaders.Position}')::bigint,
                CASE WHEN (e.headers ->> '{EventHeaders.Personal}')::boolean THEN CASE WHEN EXISTS (SELECT FROM privacy.personal_data p WHERE p.event_id = e.id) THEN 'held' ELSE 'gone' END END
            FROM hub.mt_events e WHERE e.stream_id = $1 LIMIT {MostEvents + 1}
            """);
        command.Parameters.Add(new() { Value = stream });
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
            known[reader.GetInt64(0)] = new(reader.GetString(1), reader.GetInt64(2), await reader.IsDBNullAsync(3, cancellation) ? null : reader.GetString(3));
        return known;
    }

    // What each event says otherwise than those before it, field by field. What one says nothing of stays as it was.
    private static IEnumerable<(FeedEvent Read, List<(string Field, string? Before, string After)> Changes)> Changes(IEnumerable<FeedEvent> events)
    {
        var said = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var read in events)
        {
            var (changes, isFirst) = (new List<(string, string?, string)>(), said.Count == 0);
            using var data = JsonDocument.Parse(read.Message.Data);
            foreach (var field in data.RootElement.EnumerateObject())
            {
                var (before, now) = (said.GetValueOrDefault(field.Name), field.Value.GetRawText());
                said[field.Name] = now;
                if (!isFirst && before != now) changes.Add((field.Name, before, now));
            }

            yield return (read, changes);
        }
    }

    private static void Write(Utf8JsonWriter json, Event message, List<(string Field, string? Before, string After)> changes, Known known, bool tellsOfPersonal)
    {
        json.WriteStartObject();
        json.WritePropertyName("event");
        EventJson.Write(json, message);
        json.WriteStartArray("changes");
        foreach (var (field, before, after) in changes)
        {
            json.WriteStartObject();
            json.WriteString("field", field);
            json.WritePropertyName("before");
            json.WriteRawValue(before ?? "null");
            json.WritePropertyName("after");
            json.WriteRawValue(after);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteString("journal", known.Journal);
        json.WriteNumber("number", known.Number);
        json.WriteString("personal", tellsOfPersonal ? known.Personal : null);
        json.WriteEndObject();
    }
}
