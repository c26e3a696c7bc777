using System.CommandLine;

namespace Intercommunalite.Cli;

/// <summary>A projection as the hub shows it.</summary>
internal sealed record Projection(string Name, long Position, long HighWater, long Lag, double LagSeconds, string State, DateTimeOffset? PausedSince, string? Error, Rebuild? Rebuild);

/// <summary>The last rebuild of a projection.</summary>
internal sealed record Rebuild(string State, long Position, long Target, string? Error);

/// <summary><c>interco projections</c>: lists them, builds one again from all events.</summary>
internal static class Projections
{
    private static readonly TimeSpan s_betweenPolls = TimeSpan.FromMilliseconds(500);

    private sealed record All(IReadOnlyList<Projection> Items);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new("projections", "The hub's projections.")
    {
        List(common, terminal),
        RebuildOne(common, terminal, time),
    };

    private static Command List(CommonOptions common, Terminal terminal)
    {
        var command = new Command("list", "Where each projection is.");
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Impatient(common.Credentials(parsed));
            var all = await web.GetAsync<All>(parsed.GetRequiredValue(common.Hub), "/api/v1/admin/projections", cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(all);
            else Write(all.Items, terminal);
            return Interco.Succeeded;
        });
        return command;
    }

    private static Command RebuildOne(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var name = new Argument<string>("NAME") { Description = "Name of the projection, as 'projections list' shows it." };
        var noWait = new Option<bool>("--no-wait") { Description = "Ask for the rebuild and end." };
        var command = new Command("rebuild", "Builds a projection again from all events.") { name, noWait };
        command.SetAction(async (parsed, cancellation) =>
        {
            using var web = Web.Patient(common.Credentials(parsed), terminal, time);
            var hub = parsed.GetRequiredValue(common.Hub);
            var projection = Uri.EscapeDataString(parsed.GetRequiredValue(name));
            await web.PostAsync<object>(hub, $"/api/v1/admin/projections/{projection}/rebuild", () => null, cancellation);
            var now = parsed.GetValue(noWait)
                ? await web.GetAsync<Projection>(hub, $"/api/v1/admin/projections/{projection}", cancellation)
                : await FollowAsync(web, hub, projection, terminal, time, cancellation);
            if (parsed.GetValue(common.Json)) terminal.WriteJson(now);
            else terminal.Write($"{now.Name}: {Describe(now.Rebuild)}");
            return now.Rebuild is { State: "failed" } failed
                ? throw new Failure($"The rebuild of {now.Name} failed: {failed.Error} Correct the cause, then rebuild it again.")
                : Interco.Succeeded;
        });
        return command;
    }

    private static Task<Projection> FollowAsync(
        Web web, Uri hub, string projection, Terminal terminal, TimeProvider time, CancellationToken cancellation) =>
        new Progress(terminal, time).ShowAsync($"Rebuilding {projection}", async report =>
        {
            while (true)
            {
                var now = await web.GetAsync<Projection>(hub, $"/api/v1/admin/projections/{projection}", cancellation);
                if (now.Rebuild is { State: "completed" or "failed" }) return now;
                if (now.Rebuild is { } rebuild) report(new(rebuild.Position, rebuild.Target, Describe(rebuild)));
                await Task.Delay(s_betweenPolls, time, cancellation);
            }
        });

    private static string Describe(Rebuild? rebuild) =>
        rebuild is null ? "rebuild asked for" : $"rebuild {rebuild.State} at {rebuild.Position:N0} of {rebuild.Target:N0} events";

    private static void Write(IReadOnlyList<Projection> all, Terminal terminal) => terminal.WriteTable(
        "Projections",
        ["Projection", "State", "Position#", "High water#", "Behind#", "Rebuild", "Error"],
        all.Select(one => new[]
        {
            one.Name, one.State, $"{one.Position:N0}", $"{one.HighWater:N0}", $"{one.Lag:N0}",
            one.Rebuild is { } rebuild ? $"{rebuild.State} {rebuild.Position:N0}/{rebuild.Target:N0}" : "", one.Error ?? one.Rebuild?.Error ?? "",
        }));
}
