using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Hub.Privacy;

/// <summary>
/// <c>privacy/…</c>: what the DPO does for people. Persons are named in bodies alone, never in a URL; behind the search they are random
/// ids. Each call writes an entry to the audit, those that only read too.
/// </summary>
internal static class RightsApi
{
    private const int LongestText = 500;

    // Names as they are; what is written into the page is escaped there.
    private static readonly JsonSerializerOptions s_file = new(ContractJson.Options) { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Map(IEndpointRouteBuilder api)
    {
        var privacy = api.MapGroup("privacy").RequireAuthorization(Rules.ProtectData).AddEndpointFilter(async (context, next) =>
        {
            context.HttpContext.Response.Headers.CacheControl = "no-store";
            return await next(context);
        });
        privacy.MapPost("persons/search", SearchAsync).WithName("SearchPersons")
            .WithSummary("Finds persons: with birth name, first names and whole birth date at once; else looks through what is held, 20,000 parts a call (next is the after of the next one)");
        privacy.MapGet("persons/{person:guid}", ShowAsync).WithName("Person").WithSummary("What is held of a person, event by event, without the data itself");
        privacy.MapGet("persons/{person:guid}/export", ExportAsync).WithName("ExportPerson")
            .WithSummary("All that is held of a person, with source, purpose, end and recipients (RGPD, art. 15): format=json, or html, a page to print");
        privacy.MapPost("persons/{person:guid}/rectifications", RectifyAsync).WithName("RectifyPerson")
            .WithSummary("Corrects what an event says of a person, in the hub's copy: fields not given stay, null ones go");
        privacy.MapPost("persons/{person:guid}/erasure", EraseAsync).WithName("ErasePerson")
            .WithSummary("Erases all that is held of a person ({\"reason\"}), or notes that this is refused ({\"legalGroundForRefusing\"}); 409 while a legal hold stands");
        privacy.MapPost("persons/{person:guid}/holds", HoldAsync).WithName("HoldPerson").WithSummary("Holds a person's data: neither erasure nor retention touches it");
        privacy.MapDelete("persons/{person:guid}/holds", ReleaseAsync).WithName("ReleasePerson").WithSummary("Ends the holds on a person's data");
        privacy.MapGet("retention", async (Expiry expiry, AuditLog audit, HttpContext context, CancellationToken cancellation) =>
            {
                var items = await expiry.DueAsync(cancellation);
                await audit.AppendAsync(new(Who(context), "privacy.retention-seen"), cancellation);
                return new { items };
            })
            .WithName("Retention").WithSummary("What the next run deletes since its time is over, by type and commune");
        privacy.MapPost("retention/run", (Expiry expiry, HttpContext context, CancellationToken cancellation) => expiry.RunAsync(Who(context), cancellation))
            .WithName("RunRetention").WithSummary("Deletes it now; every night this is done by itself");
        api.MapPost("privacy/master-key/rewrap", RewrapAsync).RequireAuthorization(Rules.Administer).WithName("RewrapKeys")
            .WithSummary("Wraps the keys with the newest master key, a part of them each call (next is the after of the next one); once next is null, older master keys are not needed any more");
    }

    private static async Task<IResult> SearchAsync(Sought? sought, PersonSearch search, AuditLog audit, HttpContext context, CancellationToken cancellation)
    {
        if (sought is null || !IsText(sought.Identifier ?? sought.LastName) || !(sought.FirstNames is null || IsText(sought.FirstNames)))
        {
            return Wrong(
                "Say whom to look for: {\"lastName\": \"…\", \"firstNames\": \"…\", \"birthDate\": \"YYYY-MM-DD\", \"commune\": \"INSEE code\"}; the last name is required. "
                + "Or {\"identifier\": \"…\"}: an e-mail address, a telephone number or an INE, and no name.");
        }

        if (sought.Identifier is not null && (sought.LastName ?? sought.FirstNames ?? sought.BirthDate) is not null) return Wrong("identifier: in place of a name and a birth date, not beside them.");
        if (sought.BirthDate is not null && !PartialDate.TryParse(sought.BirthDate, out _)) return Wrong("birthDate: a date (YYYY-MM-DD), a month or a year expected.");
        if (sought.Commune is not null && !CommuneCode.TryParse(sought.Commune, out _)) return Wrong("commune: an INSEE code expected.");
        if (sought.After is not null && (sought.After.Contains('\0', StringComparison.Ordinal) || PersonSearch.Cursor.Read(sought.After) is null)) return Wrong("after: the next of an earlier answer expected.");
        var born = sought.BirthDate is null ? null : (PartialDate?)PartialDate.Parse(sought.BirthDate);
        var (persons, next) = await search.FindAsync(sought, born, cancellation);
        // With the first page, since all of it is looked through.
        var quarantined = sought.After is null ? await search.FindQuarantinedAsync(sought, born, cancellation) : [];
        await audit.AppendAllAsync(
            [
                .. persons.Select(person => new AuditEntry(Who(context), "privacy.person-found", person.Person.ToString())),
                .. quarantined.Count == 0
                    ? Array.Empty<AuditEntry>()
                    : [new AuditEntry(Who(context), "privacy.person-found-in-quarantine", Details: new JsonObject { ["ids"] = new JsonArray([.. quarantined.Select(kept => (JsonNode)kept.Id)]) })],
                .. persons.Count + quarantined.Count == 0 ? [new AuditEntry(Who(context), "privacy.person-not-found")] : Array.Empty<AuditEntry>(),
            ],
            cancellation);
        return Json(new { persons, quarantined, next });
    }

    private static async Task<IResult> ShowAsync(Guid person, PersonFiles files, AuditLog audit, HttpContext context, CancellationToken cancellation)
    {
        if (await files.ReadAsync(person, withData: false, cancellation) is not { } file) return Unknown(person);
        await audit.AppendAsync(new(Who(context), "privacy.person-seen", person.ToString()), cancellation);
        return Json(file);
    }

    private static async Task<IResult> ExportAsync(Guid person, PersonFiles files, AuditLog audit, HttpContext context, CancellationToken cancellation, string format = "json")
    {
        if (format is not ("json" or "html")) return Query.Problem("format", "json or html expected");
        if (await files.ReadAsync(person, withData: true, cancellation) is not { } file) return Unknown(person);
        await audit.AppendAsync(new(Who(context), "privacy.person-exported", person.ToString(), Details: new JsonObject { ["format"] = format, ["events"] = file.Events.Count }), cancellation);
        return format == "json"
            ? TypedResults.File(JsonSerializer.SerializeToUtf8Bytes(file, s_file), "application/json", "donnees-personnelles.json")
            : TypedResults.File(Encoding.UTF8.GetBytes(PersonPage.Of(file)), "text/html; charset=utf-8", "donnees-personnelles.html");
    }

    private static async Task<IResult> RectifyAsync(Guid person, Rectification? rectification, Rights rights, PersonFiles files, PersonalDataStore personalData, HttpContext context, CancellationToken cancellation)
    {
        if (rectification is not { Event: { } eventId, Person: { Count: > 0 } fields } || !IsText(rectification.Reason) || !IsText(rectification.Path))
            return Wrong("Say what to correct: {\"event\": \"…\", \"path\": \"child\", \"person\": {\"lastName\": \"…\"}, \"reason\": \"…\"}.");
        try
        {
            if (await rights.RectifyAsync(person, eventId, rectification.Path!, fields, Who(context), rectification.Reason!, cancellation) is not var (now, recipients))
            {
                return TypedResults.Problem(
                    title: "Not in that event", detail: "The event holds nothing of this person at that path. GET privacy/persons/{id} tells events and paths.",
                    statusCode: StatusCodes.Status404NotFound);
            }

            return Json(new
            {
                person = now,
                @event = eventId,
                commune = (await personalData.RowsAsync("event_id = $1", cancellation, eventId)) is [var part, ..] ? part.Commune : null,
                subject = await files.SubjectAsync(eventId, cancellation),
                recipients,
                toDo = "Only the hub's copy is corrected. The record itself is the commune's: tell the commune to correct it, and those to whom the data went.",
            });
        }
        catch (LegalHoldException)
        {
            return Held();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // Not what the parser says: it may repeat a value.
            return TypedResults.Problem(
                title: "Not a person", detail: "person: fields of a person as in the contracts expected (lastName, firstNames, usualName, sex, birthDate, birthPlace, birthCountry, address, email, phone).",
                statusCode: StatusCodes.Status422UnprocessableEntity);
        }
    }

    private static async Task<IResult> EraseAsync(
        Guid person, ErasureAsked? asked, Rights rights, Disclosures disclosures, PersonalDataStore personalData, HttpContext context, CancellationToken cancellation)
    {
        if (asked is null || (asked.Reason is null) == (asked.LegalGroundForRefusing is null) || !IsText(asked.Reason ?? asked.LegalGroundForRefusing))
            return Wrong("Say why it is erased, {\"reason\": \"…\"}, or on which legal ground it is not, {\"legalGroundForRefusing\": \"…\"}. Name nobody there: it stays in the audit.");
        if (asked.LegalGroundForRefusing is { } ground)
            return await rights.RefuseAsync(person, Who(context), ground, cancellation) ? Json(new { person, erased = false }) : Unknown(person);
        var recipients = (await disclosures.OfAsync(person, cancellation)).Select(disclosure => disclosure.Recipient).Distinct();
        var communes = (await personalData.RowsAsync("person = $1", cancellation, person)).Select(row => row.Commune).Distinct().Order(StringComparer.Ordinal);
        var (outcome, parts, quarantined) = await rights.EraseAsync(person, Who(context), asked.Reason!, cancellation);
        return outcome switch
        {
            Erasure.Unknown => Unknown(person),
            Erasure.Held => Held(),
            Erasure.Begun => TypedResults.Accepted((string?)null, new
            {
                person,
                erased = true,
                keyDeleted = false,
                parts,
                recipients,
                communes,
                toDo = "The keys' database does not answer. What is here is erased; the key, which copies could be read with, and what quarantine holds go by themselves as soon as it does: ask again then. Tell the recipients (RGPD, art. 19).",
            }),
            _ => Json(new
            {
                person,
                erased = true,
                keyDeleted = true,
                parts,
                quarantined,
                recipients,
                communes,
                toDo = "Tell the recipients (RGPD, art. 19). The communes' own records are not touched.",
            }),
        };
    }

    private static async Task<IResult> HoldAsync(Guid person, HoldAsked? asked, Rights rights, HttpContext context, CancellationToken cancellation)
    {
        if (!IsText(asked?.Reason)) return Wrong("Say why it is held: {\"reason\": \"…\"}. Name nobody there: it stays in the audit.");
        return await rights.HoldAsync(person, Who(context), asked!.Reason!, cancellation) ? Json(new { person, held = true }) : Unknown(person);
    }

    private static async Task<IResult> ReleaseAsync(Guid person, Rights rights, HttpContext context, CancellationToken cancellation) =>
        await rights.ReleaseAsync(person, Who(context), cancellation)
            ? Json(new { person, held = false })
            : TypedResults.Problem(title: "Not held", detail: "No legal hold stands on this person's data.", statusCode: StatusCodes.Status404NotFound);

    private static async Task<IResult> RewrapAsync(KeyVault vault, AuditLog audit, HttpContext context, CancellationToken cancellation, Guid? after = null, int limit = 20_000)
    {
        if (limit is < 1 or > 100_000) return Query.Problem("limit", "1 to 100000 expected");
        try
        {
            var (rewrapped, last) = await vault.RewrapAsync(after ?? Guid.Empty, limit, cancellation);
            if (last is null)
            {
                foreach (var elsewhere in context.RequestServices.GetServices<WrappedElsewhere>()) rewrapped += await elsewhere.RewrapAsync(context.RequestServices, cancellation);
            }

            if (after is null || last is null) await audit.AppendAsync(new(Who(context), last is null ? "privacy.keys-rewrapped" : "privacy.keys-rewrapping-begun"), cancellation);
            return TypedResults.Ok(new { keys = await vault.CountAsync(cancellation), rewrapped, next = last });
        }
        catch (CryptographicException e)
        {
            // It names a master key by its id, and nothing that is wrapped.
            return TypedResults.Problem(title: "Not all can be wrapped anew", detail: e.Message, statusCode: StatusCodes.Status409Conflict);
        }
    }

    private static string Who(HttpContext context) => Caller.Of(context.User).Id;

    private static JsonHttpResult<T> Json<T>(T value) => TypedResults.Json(value, s_file);

    // PostgreSQL's text cannot hold the character 0.
    private static bool IsText(string? text) => !string.IsNullOrWhiteSpace(text) && text.Length <= LongestText && Query.IsText(text);

    private static ProblemHttpResult Wrong(string detail) => TypedResults.Problem(title: "Not understood", detail: detail, statusCode: StatusCodes.Status400BadRequest);

    private static ProblemHttpResult Held() => TypedResults.Problem(
        title: "Held", detail: "A legal hold stands on this person's data. End it first (DELETE privacy/persons/{id}/holds), or refuse what was asked, with the ground.",
        statusCode: StatusCodes.Status409Conflict);

    private static ProblemHttpResult Unknown(Guid person) => TypedResults.Problem(
        title: "Nothing held", detail: $"Nothing is held of {person}: it never was, was erased, or its time was over.", statusCode: StatusCodes.Status404NotFound);

    private sealed record Rectification(Guid? Event, string? Path, JsonObject? Person, string? Reason);

    private sealed record ErasureAsked(string? Reason, string? LegalGroundForRefusing);

    private sealed record HoldAsked(string? Reason);
}
