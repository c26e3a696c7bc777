using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Runtime.InteropServices;
using System.Text.Json;
using Intercommunalite.Connector.Access;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.ServiceDefaults;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Data.Sqlite;

namespace Intercommunalite.Connector.Intake;

/// <summary>How much may come at a time; section <c>Intake</c>.</summary>
internal sealed class IntakeOptions
{
    /// <summary>Longest body of a request with events, in bytes.</summary>
    public long MaxRequestBytes { get; init; } = 32L << 20;

    /// <summary>Requests that a commune may send each second, over time.</summary>
    public int RequestsPerSecond { get; init; } = 200;

    /// <summary>Requests that a commune may send at once, after a rest.</summary>
    public int RequestBurst { get; init; } = 1_000;
}

/// <summary>The door: a commune's software posts its events here.</summary>
internal static partial class Intake
{
    private const int MaxBatch = 10_000;

    // An event must fit into a message, and a batch of messages into the hub's memory.
    private const int MaxEventBytes = JournalSegment.MaxBytes;

    private static readonly Counter<long> s_accepted = Telemetry.Meter.CreateCounter<long>(
        "hub.events.accepted", "{event}", "Events accepted, duplicates not counted, by commune");

    /// <exception cref="InvalidOperationException">A setting is not positive.</exception>
    public static WebApplicationBuilder AddIntake(this WebApplicationBuilder builder)
    {
        var options = builder.Configuration.GetSection("Intake").Get<IntakeOptions>() ?? new IntakeOptions();
        if (options is not { MaxRequestBytes: > 0, RequestsPerSecond: > 0, RequestBurst: > 0 })
            throw new InvalidOperationException("Intake:MaxRequestBytes, Intake:RequestsPerSecond and Intake:RequestBurst must be 1 or more.");
        builder.Services.AddSingleton(options);
        RequestRate.Add(builder.Services, options);
        return builder;
    }

    public static void MapIntake(this IEndpointRouteBuilder app)
    {
        app.MapGet("/communes", (Journals journals) => new { communes = journals.All.Select(journal => journal.Commune.ToString()) }).RequireAuthorization(Rules.Known);
        app.MapPost("/communes/{code}/events", PostAsync)
            .RequireAuthorization(Rules.Serve)
            .RequireRateLimiting(RequestRate.Policy)
            .WithMetadata(new RequestSizeLimitAttribute(app.ServiceProvider.GetRequiredService<IntakeOptions>().MaxRequestBytes));
        app.MapGet("/communes/{code}/journal", Status).RequireAuthorization(Rules.Watch);
    }

    /// <summary>The journal of a commune in a path, or a 404 that says which communes are served.</summary>
    public static CommuneJournal? Find(this Journals journals, string code, out ProblemHttpResult? problem)
    {
        var journal = CommuneCode.TryParse(code, out var commune) ? journals.Find(commune) : null;
        problem = journal is not null ? null : TypedResults.Problem(
            title: "Commune not served here",
            detail: $"This connector serves {string.Join(", ", journals.All.Select(served => served.Commune))}.",
            statusCode: StatusCodes.Status404NotFound);
        return journal;
    }

    /// <summary>
    /// Checks events of one commune. The trace of the request goes with each that brings none.
    /// </summary>
    /// <param name="json">One event.</param>
    /// <param name="commune">The commune that they must be of.</param>
    /// <param name="errors">Every fault found.</param>
    /// <returns>The event, or null when it is not acceptable.</returns>
    public static CloudEvent? Check(JsonElement json, CommuneCode commune, out IReadOnlyList<FieldError> errors)
    {
        if (JsonMarshal.GetRawUtf8Value(json).Length > MaxEventBytes)
        {
            errors = [new("", $"longer than {MaxEventBytes / 1024} KiB")];
            return null;
        }

        if (!EventReader.TryRead(json, commune, out var read, out errors)) return null;
        if (read.Envelope.Journal is not null) errors = [new("journal", "set by the connector, not by the sender")];
        if (read.Envelope.Position is not null) errors = [.. errors, new("position", "set by the connector, not by the sender")];
        return errors.Count > 0 ? null : read.Envelope with { TraceParent = read.Envelope.TraceParent ?? Activity.Current?.Id };
    }

    /// <summary>Counts newly accepted events.</summary>
    public static void Count(CommuneCode commune, IEnumerable<Posted> posted) =>
        s_accepted.Add(posted.Count(place => !place.Duplicate), new KeyValuePair<string, object?>("commune", commune.ToString()));

    private static async Task<IResult> PostAsync(
        string code, HttpRequest request, Journals journals, JournalLimits limits, IntakeOptions options, ILogger<CommuneJournal> logger, CancellationToken cancellation)
    {
        if (journals.Find(code, out var problem) is not { } journal) return problem!;
        var media = request.ContentType?.Split(';')[0].Trim().ToLowerInvariant();
        if (media is not (CloudEvent.MediaType or CloudEvent.BatchMediaType))
        {
            return TypedResults.Problem(
                title: "Content type not supported",
                detail: $"Send one event as {CloudEvent.MediaType}, or a JSON array of events as {CloudEvent.BatchMediaType}.",
                statusCode: StatusCodes.Status415UnsupportedMediaType);
        }

        try
        {
            if (limits.Of(journal).Reason is { } reason) return Refusals.NoRoom(request.HttpContext.Response, journal.Commune, reason);
            using var body = await ReadAsync(request, cancellation);
            return await TakeAsync(body?.RootElement, isBatch: media == CloudEvent.BatchMediaType, journal, cancellation);
        }
        catch (BadHttpRequestException tooLarge) when (tooLarge.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return Refusals.TooLarge(journal.Commune, options.MaxRequestBytes, "Send fewer events at a time, or a file.");
        }
        catch (SqliteException refused)
        {
            LogDisk(logger, journal.Commune, refused.Message);
            return Refusals.NoRoom(request.HttpContext.Response, journal.Commune, "The connector's disk is full or does not work; its log says which. It goes on by itself once that is over.");
        }
    }

    private static async Task<IResult> TakeAsync(JsonElement? body, bool isBatch, CommuneJournal journal, CancellationToken cancellation)
    {
        if (body is not { } root) return Unreadable(journal, "The body is not JSON in UTF-8.");
        if (isBatch && root.ValueKind != JsonValueKind.Array) return Unreadable(journal, "A batch is a JSON array of events.");
        List<JsonElement> sent = isBatch ? [.. root.EnumerateArray()] : [root];
        if (sent.Count > MaxBatch) return Unreadable(journal, $"A batch holds {MaxBatch} events at most.");

        var events = new List<CloudEvent>(sent.Count);
        var faults = new List<object>();
        foreach (var (index, json) in sent.Index())
        {
            if (Check(json, journal.Commune, out var errors) is { } accepted) events.Add(accepted);
            else faults.AddRange(errors.Select(error => (object)new { index, field = error.Field, reason = error.Reason }));
        }

        if (faults.Count > 0)
        {
            Refusals.Count(journal.Commune, Cause.Invalid);
            return TypedResults.Problem(
                title: "Events refused",
                detail: "Nothing was accepted. Correct the fields named in errors and send the whole again.",
                statusCode: StatusCodes.Status422UnprocessableEntity,
                extensions: new Dictionary<string, object?> { ["errors"] = faults });
        }

        var posted = await journal.AppendAsync(events, cancellation);
        Count(journal.Commune, posted);
        return TypedResults.Accepted((string?)null, new { events = posted });
    }

    private static IResult Status(string code, Journals journals, JournalLimits limits)
    {
        if (journals.Find(code, out var problem) is not { } journal) return problem!;
        var measure = limits.Of(journal);
        return TypedResults.Ok(new
        {
            journal = journal.Id,
            lastPosition = journal.Last,
            publishedThrough = journal.PublishedThrough,
            receivedThrough = journal.ReceivedThrough,
            oldestUnreceivedAt = journal.OldestUnreceivedAt(),
            sizeBytes = measure.SizeBytes,
            accepting = measure.Reason is null,
            reason = measure.Reason,
        });
    }

    private static async Task<JsonDocument?> ReadAsync(HttpRequest request, CancellationToken cancellation)
    {
        try
        {
            return await JsonDocument.ParseAsync(request.Body, new JsonDocumentOptions { MaxDepth = 32 }, cancellation);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static ProblemHttpResult Unreadable(CommuneJournal journal, string detail)
    {
        Refusals.Count(journal.Commune, Cause.Invalid);
        return TypedResults.Problem(title: "Body not readable", detail: detail, statusCode: StatusCodes.Status400BadRequest);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: the disk refused events, of which none was accepted. {Reason}")]
    private static partial void LogDisk(ILogger logger, CommuneCode commune, string reason);
}
