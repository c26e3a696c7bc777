using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Intercommunalite.ServiceDefaults.Access;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Replay;

/// <summary>The projections as an administrator sees them, and their rebuild from all events.</summary>
internal static class ProjectionsAdmin
{
    private const int LongestReason = 500;

    public static RouteGroupBuilder MapReplay(this RouteGroupBuilder api)
    {
        api.MapGet("admin/projections", async (ProjectionStates states, CancellationToken cancellation) =>
                new { items = await DescribeAsync(states, cancellation) })
            .RequireAuthorization(Rules.Administer).WithName("Projections").WithSummary("Every projection: its position, lag and state");
        api.MapGet("admin/projections/{name}", OneAsync).RequireAuthorization(Rules.Administer).WithName("Projection").WithSummary("One projection, with the progress of its last rebuild");
        api.MapPost("admin/projections/{name}/rebuild", RebuildAsync)
            .RequireAuthorization(Rules.Administer).Audit("projection.rebuild", why: arguments => arguments.OfType<Asked>().FirstOrDefault()?.Reason, details: arguments => Details(arguments.OfType<Asked>().FirstOrDefault()))
            .WithName("RebuildProjection").WithSummary("Builds a projection anew from all events, beside the figures in service, compares the two and puts the new one into service")
            .WithDescription("""
                Takes {"reason": "…", "dryRun": false, "communes": ["35085"]}; only the reason must be given. The figures in service stay, and go
                on, until the new ones take their place in one transaction. A dry run builds and compares, and leaves what is in service. With
                communes, only their rows are built and replaced: 422 for a projection whose rows count events of several communes. 409 while a
                rebuild of the projection runs.
                """);
        api.MapDelete("admin/projections/{name}/rebuild", CancelAsync)
            .RequireAuthorization(Rules.Administer).Audit("projection.rebuild-cancelled")
            .WithName("CancelRebuild").WithSummary("Gives a rebuild up: what is in service stays, what was built goes");
        api.MapGet("admin/projections/{name}/diff", DifferencesAsync)
            .RequireAuthorization(Rules.Administer)
            .WithName("RebuildDifferences").WithSummary("How the version that was last rebuilt differed from the one in service: numbers of rows, and the first 100 rows");
        EventsExport.Map(api);
        return api;
    }

    // What is no commune may be anything, a name too; the call tells what is wrong with it.
    private static JsonObject? Details(Asked? asked) => asked is null ? null : new JsonObject
    {
        ["dryRun"] = asked.DryRun,
        ["communes"] = asked.Communes is null ? "all" : new JsonArray([.. asked.Communes.Take(100).Select(code => (JsonNode)(CommuneCode.TryParse(code, out _) ? code : "no commune"))]),
    };

    private static async Task<IResult> OneAsync(
        string name, Positions positions, ProjectionStates states, CancellationToken cancellation) =>
        positions.Projections.Contains(name) ? TypedResults.Ok(await DescribeAsync(states, name, cancellation)) : Unknown(positions);

    private static async Task<IResult> RebuildAsync(
        string name, Asked? asked, HttpContext context, Positions positions, IEnumerable<ConsolidatedProjection> projections, ProjectionStates states, Epci territory, NpgsqlDataSource database)
    {
        if (projections.FirstOrDefault(one => one.Name == name) is not { } projection) return Unknown(positions);
        if (string.IsNullOrWhiteSpace(asked?.Reason) || asked.Reason.Length > LongestReason || !Query.IsText(asked.Reason))
        {
            return TypedResults.Problem(
                title: "No reason given",
                detail: $"""Say why it is rebuilt: {"{"}"reason": "…"{"}"}, {LongestReason} characters at most. Name nobody there: it stays in the audit.""",
                statusCode: StatusCodes.Status400BadRequest);
        }

        if (asked.Communes is { } communes)
        {
            if (communes.Count == 0 || communes.Any(commune => !CommuneCode.TryParse(commune, out var code) || territory.Member(code) is null))
                return Query.Problem("communes", $"INSEE codes of communes of {territory.Name} expected; none of them to rebuild all");
            if (projection.AcrossCommunes is { } reason)
            {
                return TypedResults.Problem(
                    title: "Not by commune", detail: $"{name} can only be rebuilt whole: {reason}.", statusCode: StatusCodes.Status422UnprocessableEntity);
            }
        }

        var request = new RebuildRequest(Caller.Of(context.User).Id, asked.Reason, asked.DryRun, asked.Communes?.Distinct().ToList());
        if (!await Rebuilds.AskAsync(database, name, request, context.RequestAborted))
        {
            return TypedResults.Problem(
                title: "Already being rebuilt", detail: $"A rebuild of {name} was asked for before and has not ended.", statusCode: StatusCodes.Status409Conflict);
        }

        return TypedResults.Accepted($"/api/v1/admin/projections/{name}", await DescribeAsync(states, name, context.RequestAborted));
    }

    private static async Task<IResult> CancelAsync(string name, Positions positions, ProjectionStates states, NpgsqlDataSource database, CancellationToken cancellation)
    {
        if (!positions.Projections.Contains(name)) return Unknown(positions);
        if (!await Rebuilds.CancelAsync(database, name, cancellation))
            return TypedResults.Problem(title: "Not being rebuilt", detail: $"No rebuild of {name} runs: it has ended, or none was asked for.", statusCode: StatusCodes.Status409Conflict);
        return TypedResults.Ok(await DescribeAsync(states, name, cancellation));
    }

    private static async Task<IResult> DifferencesAsync(string name, Positions positions, NpgsqlDataSource database, CancellationToken cancellation)
    {
        if (!positions.Projections.Contains(name)) return Unknown(positions);
        return await Rebuilds.DifferencesAsync(database, name, cancellation) is { } differences
            ? TypedResults.Ok(differences)
            : TypedResults.Problem(
                title: "Not compared", detail: $"The last rebuild of {name} has not come so far that it could be compared with what is in service, or there was none. What an earlier one found is kept only until the next is asked for.", statusCode: StatusCodes.Status404NotFound);
    }

    private static async Task<ProjectionStatus> DescribeAsync(ProjectionStates states, string name, CancellationToken cancellation) =>
        (await DescribeAsync(states, cancellation)).Single(projection => projection.Name == name);

    private static async Task<IReadOnlyList<ProjectionStatus>> DescribeAsync(ProjectionStates states, CancellationToken cancellation) =>
        [.. (await states.AllAsync(cancellation)).Select(state => new ProjectionStatus(
            state.Name, state.Position, state.HighWater, state.Lag, Math.Round(state.Behind.TotalSeconds, 3),
            state.Pause is not null ? "paused" : "running", state.Pause?.Since, state.Pause?.Reason, state.Rebuild is { } rebuild ? Describe(rebuild, state) : null))];

    private static RebuildStatus Describe(Rebuild rebuild, ProjectionState state)
    {
        // What arrives meanwhile is to be built, too.
        var target = rebuild.IsActive ? Math.Max(rebuild.Position, state.Pause is null ? state.Position : state.HighWater) : rebuild.Target;
        return new(
            rebuild.State, rebuild.Position, target, target == 0 ? 100 : Math.Round(100.0 * rebuild.Position / target, 1), rebuild.IsActive ? Math.Round(rebuild.Rate) : null,
            rebuild is { IsActive: true, Rate: > 0 } ? Math.Round((target - rebuild.Position) / rebuild.Rate, 1) : null,
            rebuild.Request.Reason, rebuild.Request.DryRun, rebuild.Request.Communes, rebuild.AskedAt, rebuild.StartedAt, rebuild.EndedAt,
            rebuild.ComparedAt, rebuild.ComparedAt is null ? null : rebuild.Differences, rebuild.WaitsFor, rebuild.Error);
    }

    private static ProblemHttpResult Unknown(Positions positions) => TypedResults.Problem(
        title: "No such projection", detail: $"The projections are {string.Join(", ", positions.Projections)}.", statusCode: StatusCodes.Status404NotFound);

    // A member that is not known is refused: whoever misspells dryRun does not want what is in service replaced.
    [JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
    private sealed record Asked(string? Reason, bool DryRun = false, IReadOnlyList<string>? Communes = null);

    private sealed record ProjectionStatus(string Name, long Position, long HighWater, long Lag, double LagSeconds, string State, DateTimeOffset? PausedSince, string? Error, RebuildStatus? Rebuild);

    /// <summary>A rebuild; positions are events of the store gone through, of this projection's types or not.</summary>
    private sealed record RebuildStatus(
        string State, long Position, long Target, double Percent, double? EventsPerSecond, double? SecondsLeft, string Reason, bool DryRun, IReadOnlyList<string>? Communes,
        DateTimeOffset AskedAt, DateTimeOffset? StartedAt, DateTimeOffset? EndedAt, long? ComparedAt, long? Differences, string? WaitsFor, string? Error);
}
