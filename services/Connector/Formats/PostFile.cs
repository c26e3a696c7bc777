using System.Diagnostics.CodeAnalysis;
using Intercommunalite.Connector.Intake;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats;

/// <summary>Takes a file as the raw body of a request: 202 once it is on disk, then it is read.</summary>
internal static class PostFile
{
    /// <summary><c>POST /communes/{code}/files/{format}</c>: records of another commune are rejected.</summary>
    public static async Task<IResult> OfCommuneAsync(
        string code, string format, HttpRequest request, Journals journals, IEnumerable<IFormat> formats, Imports imports, FormatsOptions options, CancellationToken cancellation) =>
        journals.Find(code, out var problem) is { } journal
            ? await TakeAsync($"/communes/{code}", journal.Commune, format, request, formats, imports, options, cancellation)
            : problem!;

    /// <summary><c>POST /files/{format}</c>: each record goes to the journal of its commune.</summary>
    public static Task<IResult> OfAnyCommuneAsync(
        string format, HttpRequest request, IEnumerable<IFormat> formats, Imports imports, FormatsOptions options, CancellationToken cancellation) =>
        TakeAsync("", null, format, request, formats, imports, options, cancellation);

    private static async Task<IResult> TakeAsync(
        string path, CommuneCode? commune, string format, HttpRequest request, IEnumerable<IFormat> formats, Imports imports, FormatsOptions options, CancellationToken cancellation)
    {
        if (formats.All(known => known.Name != format))
        {
            return TypedResults.Problem(
                title: "Format not known",
                detail: $"The formats are {string.Join(", ", formats.Select(known => known.Name).Order(StringComparer.Ordinal))}.",
                statusCode: StatusCodes.Status404NotFound);
        }

        var chosen = formats.Single(known => known.Name == format);
        if (!TrySettings(request.Query, chosen, out var settings, out var problem)) return problem;
        var wanted = new ImportRequest(format, commune, settings, Confirmed: request.Query["confirm"] == "true");
        if (chosen.Refuses(new ImportContext(commune, default, settings)) is { } refusal)
        {
            return TypedResults.Problem(
                title: "File refused", detail: $"{Reason.Sentence(refusal.English)} {refusal.ToDo.English}", statusCode: StatusCodes.Status400BadRequest,
                extensions: new Dictionary<string, object?> { ["detailFr"] = $"{Reason.Sentence(refusal.French)} {refusal.ToDo.French}" });
        }

        if (imports.NoRoomFor(request.ContentLength ?? 0) is { } reason) return Refusals.NoRoom(request.HttpContext.Response, commune, reason);
        try
        {
            var import = await imports.TakeAsync(Guid.CreateVersion7(), wanted, request.Body, cancellation);
            return TypedResults.Accepted($"{request.PathBase}{path}/imports/{import.Id}", import.State);
        }
        catch (BadHttpRequestException tooLarge) when (tooLarge.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return Refusals.TooLarge(
                commune, options.MaxFileBytes, "Send the file in parts, put it into the drop folder, or raise Formats:MaxFileBytes.");
        }
        catch (NoRoomException noRoom)
        {
            return Refusals.NoRoom(request.HttpContext.Response, commune, noRoom.Message);
        }
    }

    // A setting that nobody reads would be one that somebody relies on.
    private static bool TrySettings(
        IQueryCollection query, IFormat format, out IReadOnlyDictionary<string, string> settings, [NotNullWhen(false)] out IResult? problem)
    {
        settings = query.Where(pair => format.Settings.Contains(pair.Key)).ToDictionary(pair => pair.Key, pair => pair.Value.ToString());
        var unknown = query.Where(pair => !(pair is { Key: "confirm", Value: [null or "" or "true" or "false"] } || format.Settings.Contains(pair.Key))).Select(pair => pair.Key).ToList();
        problem = unknown.Count == 0 ? null : TypedResults.Problem(
            title: "Setting not known",
            detail: $"{format.Name} takes {(format.Settings.Count == 0 ? "no settings" : string.Join(", ", format.Settings))} besides confirm=true; {string.Join(", ", unknown)} is not one.",
            statusCode: StatusCodes.Status400BadRequest);
        return problem is null;
    }
}
