using Intercommunalite.Hub.EventStore;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.Replay;

/// <summary>The projections as an administrator sees them, and their rebuild from all events.</summary>
internal static class ProjectionsAdmin
{
    public static RouteGroupBuilder MapReplay(this RouteGroupBuilder api)
    {
        api.MapGet("admin/projections", async (Positions positions, NpgsqlDataSource database, CancellationToken cancellation) =>
                new { items = await DescribeAsync(positions, database, cancellation) })
            .WithName("Projections").WithSummary("Every projection: its position, lag and state");
        api.MapGet("admin/projections/{name}", OneAsync).WithName("Projection").WithSummary("One projection, with the progress of its last rebuild");
        api.MapPost("admin/projections/{name}/rebuild", RebuildAsync).WithName("RebuildProjection").WithSummary("Builds a projection anew from all events");
        return api;
    }

    private static async Task<IResult> OneAsync(
        string name, Positions positions, NpgsqlDataSource database, CancellationToken cancellation) =>
        positions.Projections.Contains(name)
            ? TypedResults.Ok((await DescribeAsync(positions, database, cancellation)).Single(projection => projection.Name == name))
            : Unknown(positions);

    private static async Task<IResult> RebuildAsync(
        string name, Positions positions, NpgsqlDataSource database, CancellationToken cancellation)
    {
        if (!positions.Projections.Contains(name)) return Unknown(positions);
        if (!await RebuildRequests.AskAsync(database, name, cancellation))
        {
            return TypedResults.Problem(
                title: "Already being rebuilt", detail: $"A rebuild of {name} was asked for before and has not ended.", statusCode: StatusCodes.Status409Conflict);
        }

        var described = (await DescribeAsync(positions, database, cancellation)).Single(projection => projection.Name == name);
        return TypedResults.Accepted($"/api/v1/admin/projections/{name}", described);
    }

    private static async Task<IReadOnlyList<ProjectionStatus>> DescribeAsync(Positions positions, NpgsqlDataSource database, CancellationToken cancellation)
    {
        var (rebuilds, pauses) = (await RebuildRequests.AllAsync(database, cancellation), await Pauses.AllAsync(database, cancellation));
        return [.. positions.Projections.Select(name =>
        {
            var (position, pause, rebuild) = (positions.Of(name), pauses.GetValueOrDefault(name), rebuilds.GetValueOrDefault(name));
            var running = rebuild is { State: "requested" or "running" };
            return new ProjectionStatus(
                name, position, positions.HighWater, Math.Max(0, positions.HighWater - position),
                pause is not null ? "paused" : running ? "rebuilding" : "running",
                pause?.Reason,
                rebuild is null ? null : new RebuildStatus(running ? "running" : rebuild.State, running ? Math.Min(position, rebuild.Target) : rebuild.Target, rebuild.Target, rebuild.Error));
        })];
    }

    private static ProblemHttpResult Unknown(Positions positions) => TypedResults.Problem(
        title: "No such projection", detail: $"The projections are {string.Join(", ", positions.Projections)}.", statusCode: StatusCodes.Status404NotFound);

    private sealed record ProjectionStatus(string Name, long Position, long HighWater, long Lag, string State, string? Error, RebuildStatus? Rebuild);

    private sealed record RebuildStatus(string State, long Position, long Target, string? Error);
}
