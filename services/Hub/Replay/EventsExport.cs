using System.Buffers;
using System.ComponentModel;
using System.Globalization;
using System.IO.Pipelines;
using System.Text.Json;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Npgsql;

namespace Intercommunalite.Hub.Replay;

/// <summary>
/// The events of a period as a file of CloudEvents, a line each, as a connector's <c>cloudevents-jsonl</c> reads it: without
/// personal data, which is not in the events, and without the journal and the position that they had.
/// </summary>
internal static partial class EventsExport
{
    private const string MediaType = "application/jsonl";

    // Positions are looked through a stretch at a time: no statement grows with the store, whatever the filter leaves of it.
    private const long Stretch = 10_000;
    private const int FlushedBytes = 64 * 1024;

    // A day is that of Paris: files of neighbouring days hold each event once.
    private const string Sql = """
        SELECT stream_id, type, headers::text, data::text FROM hub.mt_events
        WHERE seq_id > $1 AND seq_id <= $2
            AND ($3::date IS NULL OR (headers ->> 'time')::timestamptz >= $3::date::timestamp AT TIME ZONE 'Europe/Paris')
            AND ($4::date IS NULL OR (headers ->> 'time')::timestamptz < ($4::date + 1)::timestamp AT TIME ZONE 'Europe/Paris')
            AND ($5::text IS NULL OR split_part(stream_id, '/', 1) = $5) AND ($6::text IS NULL OR type LIKE $6)
        ORDER BY seq_id
        """;

    public static void Map(IEndpointRouteBuilder api) => api.MapGet("admin/events", ExportAsync)
        .RequireAuthorization(Rules.Administer).Audit("events.export", ["from", "to", "commune", "type"])
        .WithName("EventsExport")
        .WithSummary("The events of a period as cloudevents-jsonl: one CloudEvent a line, in the order of the store, without personal data")
        .WithDescription("""
            Holds every event up to X-Hub-Position, whose time lies in the days given, by the clock of Paris. A connector takes the
            file as cloudevents-jsonl; what a hub has already, it does not take twice. When the export cannot be brought to its end,
            the connection is broken off: a file is whole when its transfer ended as HTTP says (chunked, or a closed stream).
            """);

    private static async Task<IResult> ExportAsync(
        HttpContext context,
        Epci territory,
        NpgsqlDataSource database,
        ILoggerFactory loggers,
        [Description("First day, YYYY-MM-DD, of the events' time in Paris")] string? from = null,
        [Description("Last day, YYYY-MM-DD")] string? to = null,
        [Description("INSEE code of a commune")] string? commune = null,
        [Description("A type's name, or its beginning with '*' behind")] string? type = null)
    {
        if (!TryDay(from, out var first)) return Query.Problem("from", "a day YYYY-MM-DD expected");
        if (!TryDay(to, out var last)) return Query.Problem("to", "a day YYYY-MM-DD expected");
        if (last < first) return Query.Problem("to", "a day that is not before from expected");
        if (Query.Check(null, null, commune, territory, out var problem) is false) return problem!;
        string? pattern = null;
        if (type is not null && !TypePattern.TryParse(type, out pattern)) return Query.Problem("type", TypePattern.Form);
        if (type is not null && !TypePattern.Types(type).Any()) return Query.Problem("type", TypePattern.Unknown(type));

        await using var end = database.CreateCommand($"SELECT {Positions.End}");
        var through = (long)(await end.ExecuteScalarAsync(context.RequestAborted))!;
        HubPosition.Say(context, through);
        var export = new Export(database, through, first, last, commune, pattern);
        return TypedResults.Stream(
            _ => WriteAsync(context, export, loggers.CreateLogger(typeof(EventsExport).FullName!)), MediaType, FileName(territory, commune, from, to));
    }

    // An answer that has begun can only be broken off, so that whoever reads it does not take a part for the whole.
    private static async Task WriteAsync(HttpContext context, Export export, ILogger logger)
    {
        try
        {
            await export.WriteAsync(context.Response, context.RequestAborted);
        }
        catch (Exception e) when (context.Response.HasStarted || context.Response.BodyWriter.UnflushedBytes > 0)
        {
            if (!context.RequestAborted.IsCancellationRequested) LogBrokenOff(logger, e.Message);
            context.Abort();
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "An export of events was broken off. {Reason}")]
    private static partial void LogBrokenOff(ILogger logger, string reason);

    private static bool TryDay(string? text, out DateOnly? day)
    {
        day = DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var read) ? read : null;
        return text is null || day is not null;
    }

    private static string FileName(Epci territory, string? commune, string? from, string? to) =>
        $"{FigureFile.NameOf("evenements", territory, commune, from, to)}.jsonl";

    /// <summary>What is exported.</summary>
    private sealed record Export(NpgsqlDataSource Database, long Through, DateOnly? First, DateOnly? Last, string? Commune, string? Type)
    {
        /// <summary>Writes the events; waits for whoever reads slowly, and ends with whoever goes away.</summary>
        public async Task WriteAsync(HttpResponse response, CancellationToken cancellation)
        {
            for (var after = 0L; after < Through; after += Stretch)
            {
                await WriteStretchAsync(response.BodyWriter, after, cancellation);
                // The headers go out with the first stretch, even one without events of the period.
                await response.BodyWriter.FlushAsync(cancellation);
            }
        }

        private async Task WriteStretchAsync(PipeWriter body, long after, CancellationToken cancellation)
        {
            var line = new ArrayBufferWriter<byte>();
            await using var json = new Utf8JsonWriter(line);
            await using var command = Database.CreateCommand(Sql);
            command.Parameters.Add(new() { Value = after });
            command.Parameters.Add(new() { Value = Math.Min(after + Stretch, Through) });
            command.Parameters.Add(Day(First));
            command.Parameters.Add(Day(Last));
            command.Parameters.Add(Query.Text(Commune));
            command.Parameters.Add(Query.Text(Type));
            await using var reader = await command.ExecuteReaderAsync(cancellation);
            while (await reader.ReadAsync(cancellation))
            {
                line.ResetWrittenCount();
                Write(json, reader);
                json.Flush();
                json.Reset();
                body.Write(line.WrittenSpan);
                body.Write("\n"u8);
                if (body.UnflushedBytes >= FlushedBytes) await body.FlushAsync(cancellation);
            }
        }

        private static void Write(Utf8JsonWriter json, NpgsqlDataReader reader)
        {
            using var headers = JsonDocument.Parse(reader.GetString(2));
            using var data = JsonDocument.Parse(reader.GetString(3));
            json.WriteStartObject();
            json.WriteString("specversion", "1.0");
            json.WriteString(EventHeaders.Id, headers.RootElement.GetProperty(EventHeaders.Id).GetString());
            json.WriteString(EventHeaders.Source, headers.RootElement.GetProperty(EventHeaders.Source).GetString());
            json.WriteString("type", reader.GetString(1));
            json.WriteString("subject", reader.GetString(0).Split('/', 3)[2]);
            json.WriteString(EventHeaders.Time, headers.RootElement.GetProperty(EventHeaders.Time).GetString());
            if (headers.RootElement.TryGetProperty(EventHeaders.TraceParent, out var trace)) json.WriteString(EventHeaders.TraceParent, trace.GetString());
            json.WritePropertyName("data");
            data.RootElement.WriteTo(json);
            json.WriteEndObject();
        }

        private static NpgsqlParameter Day(DateOnly? day) => new() { Value = (object?)day ?? DBNull.Value, NpgsqlDbType = NpgsqlTypes.NpgsqlDbType.Date };
    }
}
