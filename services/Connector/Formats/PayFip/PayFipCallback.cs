using System.Diagnostics;
using Intercommunalite.Connector.Access;
using Intercommunalite.Connector.Intake;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Data.Sqlite;

namespace Intercommunalite.Connector.Formats.PayFip;

/// <summary>
/// Where the payment page, or the front office behind it, answers: <c>POST /communes/{code}/payfip</c> with form fields or JSON, and
/// <c>GET</c> with a query string, as older TIPI does; with a token, or with the commune's key (<c>Formats:PayFipKeys</c>) behind the path. 200 once the answer is on disk; PayFiP sends it again until then.
/// </summary>
/// <remarks>
/// The query string may hold the payer's e-mail address. Neither this nor what is around it writes addresses of requests: see
/// <c>Defaults.AddServiceDefaults</c>.
/// </remarks>
internal static partial class PayFipCallback
{
    private const int MaxBytes = PayFipAnswers.MaxLength;
    private const string Form = "application/x-www-form-urlencoded";
    private const string Json = "application/json";

    public static void Map(IEndpointRouteBuilder app)
    {
        // The payment page has no token: it is given an address that only it and the commune know.
        foreach (var (path, rule) in (ReadOnlySpan<(string, string)>)[("/communes/{code}/payfip", Rules.Serve), ("/communes/{code}/payfip/{key}", Rules.Notify)])
        {
            app.MapPost(path, PostAsync).RequireAuthorization(rule).RequireRateLimiting(RequestRate.Policy).WithMetadata(new RequestSizeLimitAttribute(MaxBytes));
            app.MapGet(path, GetAsync).RequireAuthorization(rule).RequireRateLimiting(RequestRate.Policy);
        }
    }

    private static async Task<IResult> PostAsync(
        string code, HttpRequest request, Journals journals, JournalLimits limits, TimeProvider clock, ILogger<PayFip> logger, CancellationToken cancellation)
    {
        if (journals.Find(code, out var problem) is not { } journal) return problem!;
        if (request.ContentType?.Split(';')[0].Trim().ToLowerInvariant() is not (Form or Json))
        {
            return TypedResults.Problem(
                title: "Content type not supported", detail: $"Send the answer as {Form} or {Json}.", statusCode: StatusCodes.Status415UnsupportedMediaType);
        }

        try
        {
            using var body = new MemoryStream();
            await request.Body.CopyToAsync(body, cancellation);
            var text = new Line(1, body.GetBuffer().AsMemory(0, (int)body.Length), false).Text.TrimStart('\uFEFF');
            return await TakeAsync(text, request, journal, limits, clock, logger, cancellation);
        }
        catch (BadHttpRequestException tooLarge) when (tooLarge.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return Refusals.TooLarge(journal.Commune, MaxBytes, "Send one answer at a time, or a file.");
        }
    }

    private static async Task<IResult> GetAsync(
        string code, HttpRequest request, Journals journals, JournalLimits limits, TimeProvider clock, ILogger<PayFip> logger, CancellationToken cancellation) =>
        journals.Find(code, out var problem) is { } journal
            ? await TakeAsync(request.QueryString.Value ?? "", request, journal, limits, clock, logger, cancellation)
            : problem!;

    private static async Task<IResult> TakeAsync(
        string text, HttpRequest request, CommuneJournal journal, JournalLimits limits, TimeProvider clock, ILogger logger, CancellationToken cancellation)
    {
        request.HttpContext.Response.Headers.CacheControl = "no-store";
        if (PayFipAnswer.Read(text).Event(journal.Commune, clock.GetUtcNow(), out var faults) is not { } answered)
        {
            Refusals.Count(journal.Commune, Cause.Invalid);
            return TypedResults.Problem(
                title: "Answer refused",
                detail: "Nothing was accepted. Correct the fields named in errors and send the answer again.",
                statusCode: StatusCodes.Status400BadRequest,
                extensions: new Dictionary<string, object?>
                {
                    ["errors"] = faults.Select(fault => new { field = fault.Field, reason = fault.Reason.English, raison = fault.Reason.French }),
                });
        }

        if (limits.Of(journal).Reason is { } reason) return Refusals.NoRoom(request.HttpContext.Response, journal.Commune, reason);
        try
        {
            var posted = await journal.AppendAsync([answered with { TraceParent = Activity.Current?.Id }], cancellation);
            Intake.Intake.Count(journal.Commune, posted);
            return TypedResults.Text("OK");
        }
        catch (SqliteException refused)
        {
            LogDisk(logger, journal.Commune, refused.Message);
            return Refusals.NoRoom(request.HttpContext.Response, journal.Commune, "The connector's disk is full or does not work; its log says which. It goes on by itself once that is over.");
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "{Commune}: the disk refused an answer of PayFiP, which was not accepted. {Reason}")]
    private static partial void LogDisk(ILogger logger, CommuneCode commune, string reason);
}
