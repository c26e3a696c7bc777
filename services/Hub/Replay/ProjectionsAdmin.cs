using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.EventStore;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Replay;

/// <summary>The projections as an administrator sees them, and their rebuild from all events.</summary>
internal static class ProjectionsAdmin
{
    public static RouteGroupBuilder MapReplay(this RouteGroupBuilder api)
    {
        api.MapGet("admin/projections", async (ProjectionStates states, CancellationToken cancellation) =>
                new { items = await DescribeAsync(states, cancellation) })
            .RequireAuthorization(Rules.Administer).WithName("Projections").WithSummary("Every projection: its position, lag and state");
        api.MapGet("admin/projections/{name}", OneAsync).RequireAuthorization(Rules.Administer).WithName("Projection").WithSummary("One projection, with the progress of its last rebuild");
        api.MapPost("admin/projections/{name}/rebuild", RebuildAsync).RequireAuthorization(Rules.Administer).Audit("projection.rebuild").WithName("RebuildProjection").WithSummary("Builds a projection anew from all events");
        EventsExport.Map(api);
        return api;
    }

    private static async Task<IResult> OneAsync(
        string name, Positions positions, ProjectionStates states, CancellationToken cancellation) =>
        positions.Projections.Contains(name)
            ? TypedResults.Ok((await DescribeAsync(states, cancellation)).Single(projection => projection.Name == name))
            : Unknown(positions);

    private static async Task<IResult> RebuildAsync(
        string name, Positions positions, ProjectionStates states, NpgsqlDataSource database, CancellationToken cancellation)
    {
        if (!positions.Projections.Contains(name)) return Unknown(positions);
        if (!await RebuildRequests.AskAsync(database, name, cancellation))
        {
            return TypedResults.Problem(
                title: "Already being rebuilt", detail: $"A rebuild of {name} was asked for before and has not ended.", statusCode: StatusCodes.Status409Conflict);
        }

        var described = (await DescribeAsync(states, cancellation)).Single(projection => projection.Name == name);
        return TypedResults.Accepted($"/api/v1/admin/projections/{name}", described);
    }

    private static async Task<IReadOnlyList<ProjectionStatus>> DescribeAsync(ProjectionStates states, CancellationToken cancellation) =>
        [.. (await states.AllAsync(cancellation)).Select(state =>
        {
            var (running, rebuild) = (state.IsRebuilding, state.Rebuild);
            return new ProjectionStatus(
                state.Name, state.Position, state.HighWater, state.Lag, Math.Round(state.Behind.TotalSeconds, 3),
                state.Pause is not null ? "paused" : running ? "rebuilding" : "running",
                state.Pause?.Since, state.Pause?.Reason,
                rebuild is null ? null : new RebuildStatus(
                    running ? "running" : rebuild.State, running ? Math.Min(state.Position, rebuild.Target) : rebuild.Target, rebuild.Target, rebuild.Error));
        })];

    private static ProblemHttpResult Unknown(Positions positions) => TypedResults.Problem(
        title: "No such projection", detail: $"The projections are {string.Join(", ", positions.Projections)}.", statusCode: StatusCodes.Status404NotFound);

    private sealed record ProjectionStatus(string Name, long Position, long HighWater, long Lag, double LagSeconds, string State, DateTimeOffset? PausedSince, string? Error, RebuildStatus? Rebuild);

    private sealed record RebuildStatus(string State, long Position, long Target, string? Error);
}
