using System.Globalization;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Npgsql;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// Answers built from a projection say how far it was (<c>X-Hub-Position</c>), and can be asked to wait until it is far enough
/// (<c>?minPosition=</c>), so that a caller reads its own writes.
/// </summary>
internal static class HubPosition
{
    private const string Header = "X-Hub-Position";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    /// <summary>SQL of a projection's position, to be read in the same statement as its rows.</summary>
    public static string Sql(string projection) =>
        $"coalesce((SELECT last_seq_id FROM hub.mt_event_progression WHERE name = '{Positions.Shard(projection)}'), 0)";

    /// <summary>
    /// Runs a query of a projection's rows and answers <c>{"position":N,"items":[…]}</c>, or the same rows as CSV; as they are now, or as
    /// they were (<see cref="PastFigures"/>).
    /// </summary>
    /// <param name="context">The request and its answer.</param>
    /// <param name="projection">Name of the projection.</param>
    /// <param name="minPosition">Position that it must have seen, or null.</param>
    /// <param name="form">JSON or CSV, and as of when.</param>
    /// <param name="file">What the items look like as CSV.</param>
    /// <param name="items">SQL that gives one JSON object per row, of the version whose tables it is to read.</param>
    /// <param name="parameters">Its parameters.</param>
    public static async Task<IResult> AnswerAsync(
        HttpContext context, string projection, long? minPosition, AnswerForm form, FigureFile file, Func<FiguresVersion, string> items, params NpgsqlParameter[] parameters)
    {
        if (form.Problem is { } wrong) return wrong;
        if (form.AsOf is not null || form.ComparedWith is not null)
        {
            return minPosition is null
                ? await PastFigures.AnswerAsync(context, projection, form, file, items, parameters)
                : Query.Problem("minPosition", "goes with the figures of now, not with asOf");
        }

        if (await TooEarlyAsync(context, projection, minPosition) is { } early) return early;
        var (position, rows) = await ReadAsync(context, projection, items, parameters);
        Say(context, position);
        if (!form.IsCsv) return TypedResults.Text($"{{\"position\":{position},\"items\":{rows}}}", "application/json");
        using var json = JsonDocument.Parse(rows);
        return await file.WriteAsync(json.RootElement.EnumerateArray(), form.SeparatorCharacter, asOf: null, context.RequestAborted);
    }

    /// <summary>The rows of a projection in service as a JSON array, and their position.</summary>
    public static async Task<(long Position, string Items)> ReadAsync(HttpContext context, string projection, Func<FiguresVersion, string> items, IEnumerable<NpgsqlParameter> parameters)
    {
        await using var command = context.RequestServices.GetRequiredService<NpgsqlDataSource>().CreateCommand(
            $"SELECT {Sql(projection)}, coalesce(json_agg(item), '[]')::text FROM ({items(FiguresVersion.InService)}) AS rows (item)");
        foreach (var parameter in parameters) command.Parameters.Add(parameter.Clone());
        await using var reader = await command.ExecuteReaderAsync(context.RequestAborted);
        await reader.ReadAsync(context.RequestAborted);
        return (reader.GetInt64(0), reader.GetString(1));
    }

    /// <summary>Says in the answer's header up to which position every event is in it.</summary>
    public static void Say(HttpContext context, long position) =>
        context.Response.Headers[Header] = position.ToString(CultureInfo.InvariantCulture);

    /// <summary>Waits until a projection has seen the position wanted: null once it has, else a 412.</summary>
    public static async Task<ProblemHttpResult?> TooEarlyAsync(HttpContext context, string projection, long? minPosition)
    {
        if (minPosition is not { } wanted) return null;
        if (await ReachedAsync(context.RequestServices.GetRequiredService<Positions>(), projection, wanted, context.RequestAborted)) return null;
        return TypedResults.Problem(
            title: "Not there yet",
            detail: $"The figures have not seen position {wanted} within {s_patience.TotalSeconds:0} s. Ask again.",
            statusCode: StatusCodes.Status412PreconditionFailed);
    }

    private static async Task<bool> ReachedAsync(Positions positions, string projection, long wanted, CancellationToken cancellation)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(s_patience);
        try
        {
            while (true)
            {
                var moved = positions.Moved;
                if (positions.Of(projection) >= wanted) return true;
                await moved.WaitAsync(patience.Token);
            }
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return false;
        }
    }
}
