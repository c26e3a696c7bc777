using System.CommandLine;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Cli;

/// <summary><c>interco feed</c>: prints the territory's events, once or for as long as they come.</summary>
internal static class FeedReading
{
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(30);

    /// <summary>What to read.</summary>
    /// <param name="Server">Address of the feed.</param>
    /// <param name="Credentials">With what it is called.</param>
    /// <param name="Filter">Which events.</param>
    /// <param name="Agreement">Under which agreement; empty when there is only one.</param>
    /// <param name="Follow">Whether to go on once everything there is was read.</param>
    /// <param name="Limit">Most events to print; null for all.</param>
    /// <param name="Json">Whether as JSON.</param>
    private sealed record Reading(Uri Server, Credentials Credentials, Filter Filter, string Agreement, bool Follow, long? Limit, bool Json);

    private sealed record Line(
        string Cursor, string Id, string Source, string Type, string Subject, string Time, string Commune, JsonElement Data, JsonElement? Personal);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time)
    {
        var after = new Option<string?>("--after") { Description = "Cursor to begin after. Without it: the beginning.", HelpName = "CURSOR" };
        var types = new Option<string[]>("--type")
        {
            Description = "Only these types; a prefix may end with '*'.",
            HelpName = "TYPE",
            AllowMultipleArgumentsPerToken = true,
        };
        var communes = new Option<string[]>("--commune")
        {
            Description = "Only events of these communes.",
            HelpName = "CODE",
            AllowMultipleArgumentsPerToken = true,
        };
        var follow = new Option<bool>("--follow") { Description = "Go on with new events as they come, until Ctrl-C." };
        var limit = new Option<long?>("--limit") { Description = "Most events to print.", HelpName = "N" };
        var cursorFile = new Option<FileInfo?>("--cursor-file")
        {
            Description = "Keep the cursor here, and go on from it the next time; until it exists, --after holds.",
            HelpName = "FILE",
        };
        var agreement = new Option<string>("--agreement")
        {
            Description = "Of a partner: the agreement under which to read. Needed when several are in force.",
            HelpName = "ID",
            DefaultValueFactory = _ => "",
        };
        var command = new Command("feed", "Prints the territory's events in the order of the hub: all without personal data, or what an agreement allows.")
        {
            after, types, communes, follow, limit, cursorFile, agreement,
        };
        limit.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<long?>() < 1) result.AddError("--limit must be 1 or more.");
        });
        command.SetAction(async (parsed, cancellation) =>
        {
            var server = parsed.GetValue(common.Grpc)
                ?? throw new Failure("Where is the hub's feed? Name its gRPC address with --grpc URL or in INTERCO_GRPC.");
            var filter = new Filter();
            filter.Types_.AddRange(parsed.GetValue(types));
            filter.Communes.AddRange(parsed.GetValue(communes));
            var reading = new Reading(server, common.Credentials(parsed), filter, parsed.GetRequiredValue(agreement), parsed.GetValue(follow), parsed.GetValue(limit), parsed.GetValue(common.Json));
            var cursor = CursorFile.Open(parsed.GetValue(cursorFile), parsed.GetValue(after));
            try
            {
                await ReadAsync(reading, cursor, terminal, time, cancellation);
            }
            catch (Exception e) when (reading.Follow && cancellation.IsCancellationRequested && e is OperationCanceledException or RpcException)
            {
                // Ctrl-C is how following ends.
            }

            return Interco.Succeeded;
        });
        return command;
    }

    private static async Task<Metadata> HeadersAsync(Reading reading, CancellationToken cancellation) =>
        await reading.Credentials.HeaderAsync(reading.Server, cancellation) is { } token ? new() { { "authorization", token.ToString() } } : [];

    private static async Task ReadAsync(Reading reading, CursorFile cursor, Terminal terminal, TimeProvider time, CancellationToken cancellation)
    {
        using var channel = GrpcChannel.ForAddress(reading.Server);
        var client = new Feed.FeedClient(channel);
        var printed = 0L;
        var pause = TimeSpan.FromSeconds(1);
        while (true)
        {
            try
            {
                using var call = client.Subscribe(new() { Cursor = cursor.Value, Filter = reading.Filter, Agreement = reading.Agreement }, await HeadersAsync(reading, cancellation), cancellationToken: cancellation);
                await foreach (var message in call.ResponseStream.ReadAllAsync(cancellation))
                {
                    pause = TimeSpan.FromSeconds(1);
                    switch (message.MessageCase)
                    {
                        case SubscribeResponse.MessageOneofCase.Event:
                            Print(message.Event, reading.Json, terminal);
                            cursor.Keep(message.Event.Cursor);
                            if (++printed == reading.Limit) return;
                            break;
                        case SubscribeResponse.MessageOneofCase.Checkpoint:
                            cursor.Keep(message.Checkpoint.Cursor);
                            break;
                        case SubscribeResponse.MessageOneofCase.CaughtUp:
                            cursor.Keep(message.CaughtUp.Cursor);
                            if (!reading.Follow) return;
                            break;
                    }
                }

                if (!reading.Follow)
                    throw new Failure($"The feed at {reading.Server} broke off. Read on with --after {cursor.Value}");
            }
            catch (RpcException e) when (reading.Follow && MayComeBack(e.StatusCode) && !cancellation.IsCancellationRequested)
            {
                terminal.Say($"The feed at {reading.Server} is away; asking again in {pause.TotalSeconds:F0} s.");
            }
            catch (RpcException e) when (!cancellation.IsCancellationRequested)
            {
                throw new Failure(Explain(e.Status, reading.Server), e);
            }

            await Task.Delay(pause, time, cancellation);
            pause = pause * 2 < s_longestPause ? pause * 2 : s_longestPause;
        }
    }

    private static void Print(Event e, bool json, Terminal terminal)
    {
        if (json)
        {
            using var data = JsonDocument.Parse(e.Data);
            terminal.WriteJson(new Line(
                e.Cursor, e.Id, e.Source, e.Type, e.Subject, e.Time, e.Commune, data.RootElement, e.Personal.Length > 0 ? JsonElement.Parse(e.Personal) : null));
        }
        else
        {
            terminal.Write($"{e.Cursor}  {e.Time}  {e.Commune}  {e.Type}  {e.Subject}");
        }
    }

    // A hub that stops breaks its calls off in one of these ways.
    private static bool MayComeBack(StatusCode status) =>
        status is StatusCode.Unavailable or StatusCode.Internal or StatusCode.Cancelled or StatusCode.Unknown or StatusCode.DeadlineExceeded;

    private static string Explain(Grpc.Core.Status status, Uri server) => status.StatusCode switch
    {
        StatusCode.Unavailable => $"No feed answers at {server}. Check --grpc, and that the hub runs.",
        StatusCode.InvalidArgument => $"The feed at {server} does not accept the request: {status.Detail}",
        StatusCode.Unauthenticated or StatusCode.PermissionDenied => $"The feed at {server} does not let you in: {status.Detail}",
        _ => $"The feed at {server} failed ({status.StatusCode}): {status.Detail}",
    };
}
