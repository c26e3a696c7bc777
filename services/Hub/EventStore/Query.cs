using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;
using NpgsqlTypes;

namespace Intercommunalite.Hub.EventStore;

/// <summary>What the rooms' queries have in common: months, communes, and what is said when they are wrong.</summary>
internal static class Query
{
    /// <summary>Whether a range of months and a commune are right; else the answer that says what is wrong.</summary>
    public static bool Check(string? from, string? to, string? commune, Epci territory, out ProblemHttpResult? problem)
    {
        problem =
            !IsMonth(from) ? Problem("from", "a month YYYY-MM expected")
            : !IsMonth(to) ? Problem("to", "a month YYYY-MM expected")
            : !IsMember(commune, territory) ? Problem("commune", $"the INSEE code of a commune of {territory.Name} expected")
            : null;
        return problem is null;
    }

    /// <summary>400, naming the parameter.</summary>
    public static ProblemHttpResult Problem(string parameter, string reason) => TypedResults.Problem(
        title: "Query not understood",
        detail: $"{parameter}: {reason}.",
        statusCode: StatusCodes.Status400BadRequest);

    /// <summary>The commune asked for, or all of the territory.</summary>
    public static string[] Communes(string? commune, Epci territory) =>
        commune is null ? [.. territory.Communes.Select(member => member.Code.ToString())] : [commune];

    /// <summary>A text or null.</summary>
    public static NpgsqlParameter Text(string? value) => new() { Value = (object?)value ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text };

    /// <summary>Whether PostgreSQL takes it as text, which cannot hold the character 0.</summary>
    public static bool IsText(string? text) => text?.Contains('\0', StringComparison.Ordinal) != true;

    private static bool IsMonth(string? text) => text is null || (PartialDate.TryParse(text, out var month) && month is { Month: not null, Day: null });

    private static bool IsMember(string? commune, Epci territory) =>
        commune is null || (CommuneCode.TryParse(commune, out var code) && territory.Member(code) is not null);
}
