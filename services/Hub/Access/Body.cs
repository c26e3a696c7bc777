using System.Text.Json;
using Intercommunalite.Contracts;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Mvc;

namespace Intercommunalite.Hub.Access;

/// <summary>
/// Reads the JSON body of an administrative call strictly: a member that the call does not know is refused, since somebody relies on
/// it, or tries to set what is not theirs to set.
/// </summary>
internal static class Body
{
    private const long MaxBytes = 256 * 1024;

    /// <summary>The limit, for routes: it holds for a body without a stated length too, however it is read, and answers 413.</summary>
    public static RequestSizeLimitAttribute Limit { get; } = new(MaxBytes);

    // As it came: what is given twice is found, and named, when it is read against the contract.
    private static readonly JsonSerializerOptions s_plain = new() { MaxDepth = 32 };

    /// <summary>The body, or the problem with it.</summary>
    public static async Task<(T? Value, ProblemHttpResult? Problem)> ReadAsync<T>(HttpRequest request)
        where T : class
    {
        if (request.ContentLength > MaxBytes) return (null, TooLong());
        if (!request.HasJsonContentType()) return (null, Wrong(StatusCodes.Status415UnsupportedMediaType, "Content type not supported", "Send application/json."));
        try
        {
            var json = await JsonSerializer.DeserializeAsync<JsonElement>(request.Body, s_plain, request.HttpContext.RequestAborted);
            return EventReader.TryRead<T>(json, out var value, out var errors) ? (value, null) : (null, Unprocessable(errors));
        }
        catch (BadHttpRequestException e) when (e.StatusCode == StatusCodes.Status413PayloadTooLarge)
        {
            return (null, TooLong());
        }
        catch (JsonException)
        {
            // The message may repeat a value.
            return (null, Unprocessable("$", "not JSON, or too deep"));
        }
    }

    /// <summary>422, naming a field.</summary>
    public static ProblemHttpResult Unprocessable(string field, string reason) => Unprocessable([new(field, reason)]);

    /// <summary>422, naming fields.</summary>
    public static ProblemHttpResult Unprocessable(IReadOnlyList<FieldError> errors) => TypedResults.Problem(
        title: "Not taken",
        detail: "Nothing was changed. Correct the fields named in errors and send the whole again.",
        statusCode: StatusCodes.Status422UnprocessableEntity,
        extensions: new Dictionary<string, object?> { ["errors"] = errors.Select(error => new { field = error.Field.Length == 0 ? "$" : error.Field, reason = error.Reason }) });

    private static ProblemHttpResult TooLong() => Wrong(StatusCodes.Status413PayloadTooLarge, "Body too long", $"{MaxBytes / 1024} KiB at most.");

    private static ProblemHttpResult Wrong(int status, string title, string detail) => TypedResults.Problem(title: title, detail: detail, statusCode: status);
}
