using Intercommunalite.Connector.Intake;
using Intercommunalite.Connector.Journal;
using Intercommunalite.Contracts;
using Microsoft.AspNetCore.Http.HttpResults;

namespace Intercommunalite.Connector.Formats;

/// <summary>Shows how far an import is, and which lines were rejected.</summary>
internal static class ShowImport
{
    /// <summary><c>GET /communes/{code}/imports/{id}</c>: an import of that commune.</summary>
    public static IResult OfCommune(string code, Guid id, Journals journals, Imports imports) =>
        Find(code, id, journals, imports, out var problem) is { } import ? TypedResults.Ok(import.State) : problem!;

    /// <summary><c>GET /imports/{id}</c>: any import.</summary>
    public static IResult OfAny(Guid id, Imports imports) => imports.Find(id) is { } import ? TypedResults.Ok(import.State) : NotFound();

    /// <summary><c>GET /communes/{code}/imports/held</c>: those of a commune that wait for a decision, the oldest first.</summary>
    public static IResult HeldOfCommune(string code, Journals journals, Imports imports) =>
        journals.Find(code, out var problem) is { } journal ? Held(imports.Held.Where(import => import.Request.Commune == journal.Commune)) : problem!;

    /// <summary><c>GET /imports/held</c>: all of them.</summary>
    public static IResult HeldOfAny(Imports imports) => Held(imports.Held);

    /// <summary><c>GET /communes/{code}/imports/{id}/rejects</c>: see <see cref="Rejects"/>.</summary>
    public static IResult RejectsOfCommune(string code, Guid id, Journals journals, Imports imports) =>
        Find(code, id, journals, imports, out var problem) is { } import ? RejectsOf(import) : problem!;

    /// <summary><c>GET /imports/{id}/rejects</c>: see <see cref="Rejects"/>.</summary>
    public static IResult RejectsOfAny(Guid id, Imports imports) => imports.Find(id) is { } import ? RejectsOf(import) : NotFound();

    /// <summary>The import of that id of a commune, or the problem that there is none.</summary>
    public static Import? Find(string code, Guid id, Journals journals, Imports imports, out IResult? problem)
    {
        var journal = journals.Find(code, out var notServed);
        var import = journal is null ? null : imports.Find(id);
        if (import?.Request.Commune != journal?.Commune) import = null;
        problem = import is not null ? null : notServed is not null ? notServed : NotFound();
        return import;
    }

    private static Ok<HeldImports> Held(IEnumerable<Import> held) => TypedResults.Ok(new HeldImports([.. held.Select(import => new HeldImport(
        import.Id, import.Request.Format, import.Request.Commune, import.Request.Settings, import.TakenAt, import.State.Error, import.State.Erreur))]));

    private static IResult RejectsOf(Import import) => File.Exists(import.RejectsPath)
        ? TypedResults.PhysicalFile(import.RejectsPath, "text/csv; charset=utf-8", $"rejects-{import.Id}.csv")
        : TypedResults.Problem(title: "Not read", detail: "No line of the file was read yet. Ask again later.", statusCode: StatusCodes.Status409Conflict);

    /// <summary>No import has that id.</summary>
    public static ProblemHttpResult NotFound() => TypedResults.Problem(
        title: "Import not known", detail: "No import has that id here.", statusCode: StatusCodes.Status404NotFound);
}

/// <summary>Imports that wait for a decision.</summary>
internal sealed record HeldImports(IReadOnlyList<HeldImport> Imports);

/// <summary>An import that waits for a decision: what it is, and why it waits.</summary>
internal sealed record HeldImport(
    Guid ImportId, string Format, CommuneCode? Commune, IReadOnlyDictionary<string, string> Settings, DateTimeOffset TakenAt, string? Error, string? Erreur);
