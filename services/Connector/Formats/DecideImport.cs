using Intercommunalite.Connector.Journal;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Connector.Formats;

/// <summary>What becomes of a file that is held: somebody says that it is right, or gives it up.</summary>
internal static class DecideImport
{
    /// <summary><c>POST /communes/{code}/imports/{id}/confirmation</c>: 202, and the file is read anew; 409 when it is not held.</summary>
    public static IResult ConfirmOfCommune(string code, Guid id, Journals journals, Imports imports) =>
        ShowImport.Find(code, id, journals, imports, out var problem) is { } import ? Confirm(import, imports) : problem!;

    /// <summary><c>POST /imports/{id}/confirmation</c>: the same for any import.</summary>
    public static IResult ConfirmOfAny(Guid id, Imports imports) => imports.Find(id) is { } import ? Confirm(import, imports) : ShowImport.NotFound();

    /// <summary><c>DELETE /communes/{code}/imports/{id}</c>: 200, nothing of the file is taken; 409 when it is not held.</summary>
    public static IResult DiscardOfCommune(string code, Guid id, Journals journals, Imports imports) =>
        ShowImport.Find(code, id, journals, imports, out var problem) is { } import ? Discard(import, imports) : problem!;

    /// <summary><c>DELETE /imports/{id}</c>: the same for any import.</summary>
    public static IResult DiscardOfAny(Guid id, Imports imports) => imports.Find(id) is { } import ? Discard(import, imports) : ShowImport.NotFound();

    private static IResult Confirm(Import import, Imports imports) =>
        imports.TryConfirm(import) ? TypedResults.Accepted((string?)null, import.State) : NotHeld(import);

    private static IResult Discard(Import import, Imports imports) => imports.TryDiscard(import) ? TypedResults.Ok(import.State) : NotHeld(import);

    private static ProblemHttpResult NotHeld(Import import) => TypedResults.Problem(
        title: "Nothing to decide",
        detail: import.State.Status == ImportStatus.Running ? "The file is not read to its end yet. Ask again later." : "The import is over.",
        statusCode: StatusCodes.Status409Conflict);
}
