using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Grpc.Core;
using Intercommunalite.Contracts.Client;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Cli;

/// <summary><c>interco feed</c>: prints the territory's events, once or for as long as they come.</summary>
internal static class FeedReading
{
    private sealed record Line(
        string Cursor, string Id, string Source, string Type, string Subject, string Time, string Commune, JsonElement Data, JsonElement? Personal);

    public static Command Command(CommonOptions common, Terminal terminal, TimeProvider time) => new(
        "feed", "The territory's events in the order of the hub: all without personal data, or what an agreement allows.")
    {
        new Reading(common, terminal, time, follow: false).Command,
        new Reading(common, terminal, time, follow: true).Command,
    };

    /// <summary>One of the two commands: <c>read</c> ends once everything there is was read, <c>tail</c> goes on.</summary>
    private sealed class Reading
    {
        private readonly CommonOptions _common;
        private readonly Terminal _terminal;
        private readonly TimeProvider _time;
        private readonly bool _follow;

        private readonly Option<string?> _after = new("--after") { Description = "Begin after this cursor.", HelpName = "CURSOR" };
        private readonly Option<string?> _since = new("--since")
        {
            Description = "Begin with what the hub stored at this time or later: 2026-11-24, by the clock of the territory, or 2026-11-24T09:30:00+01:00.",
            HelpName = "DAY|TIME",
        };

        private readonly Option<bool> _fromBeginning = new("--from-beginning") { Description = "Begin with the first event." };
        private readonly Option<long?> _limit = new("--limit") { Description = "Most events to print.", HelpName = "N" };
        private readonly Option<FileInfo?> _cursorFile = new("--cursor-file")
        {
            Description = "Keep the cursor here, and go on from it the next time; until it exists, the other options say where to begin. It is of one filter and agreement, and used by one command at a time.",
            HelpName = "FILE",
        };

        private readonly EventFilter _filter;
        private readonly Option<string> _agreement = new("--agreement")
        {
            Description = "Of a partner: the agreement under which to read. Needed when several are in force.",
            HelpName = "ID",
            DefaultValueFactory = _ => "",
        };

        public Reading(CommonOptions common, Terminal terminal, TimeProvider time, bool follow)
        {
            (_common, _terminal, _time, _follow) = (common, terminal, time, follow);
            Command = follow
                ? new("tail", "Prints events as they come, from now on or from where the options say, until Ctrl-C; goes on when the hub was away.") { _fromBeginning }
                : new("read", "Prints the events there are, from the beginning or from where the options say, and ends.");
            foreach (var option in new Option[] { _after, _since, _limit, _cursorFile, _agreement }) Command.Add(option);
            _filter = new(Command);
            _limit.Validators.Add(result =>
            {
                if (result.GetValueOrDefault<long?>() < 1) result.AddError("--limit must be 1 or more.");
            });
            Command.Validators.Add(result =>
            {
                if (new Option[] { _after, _since, _fromBeginning }.Count(option => result.GetResult(option) is not null) > 1) result.AddError("Only one of --after, --since and --from-beginning can be given.");
            });
            Command.SetAction(RunAsync);
        }

        public Command Command { get; }

        private async Task<int> RunAsync(ParseResult parsed, CancellationToken cancellation)
        {
            var server = parsed.GetValue(_common.Grpc)
                ?? throw new Failure("Where is the hub's feed? Name its gRPC address with --grpc URL or in INTERCO_GRPC.");
            using var kept = parsed.GetValue(_cursorFile) is { } file ? CursorFile.Open(file.FullName) : null;
            var request = Request(parsed, kept?.Value ?? "");
            if (kept is not null) request = kept.GoOn(request);
            var (credentials, last) = (_common.Credentials(parsed), request.Cursor);
            var feed = new FeedClient(server, credentials.TokenAsync) { Time = _time, Interrupted = (why, pause) => Interrupted(server, last, why, pause) };
            var (printed, limit, json) = (0L, parsed.GetValue(_limit), parsed.GetValue(_common.Json));
            try
            {
                await foreach (var message in feed.SubscribeAsync(request, cancellation))
                {
                    if (message.Event is { } came) Print(came, json);
                    if (message.Cursor.Length > 0) last = message.Cursor;
                    kept?.Keep(message.Cursor);
                    if (message.Event is not null && ++printed == limit) break;
                    if (message.CaughtUp is not null && !_follow) break;
                }
            }
            catch (HubRefusedException e)
            {
                throw new Failure(e.Message, e);
            }
            catch (OperationCanceledException) when (_follow && cancellation.IsCancellationRequested)
            {
                // Ctrl-C is how following ends.
            }

            return Interco.Succeeded;
        }

        private SubscribeRequest Request(ParseResult parsed, string kept)
        {
            var after = kept.Length > 0 ? kept : parsed.GetValue(_after) ?? "";
            var since = after.Length > 0 ? null : parsed.GetValue(_since);
            return new()
            {
                Cursor = after,
                SinceText = since ?? "",
                // An empty --after is the beginning too.
                FromNow = _follow && kept.Length == 0 && parsed.GetResult(_after) is null && since is null && !parsed.GetValue(_fromBeginning),
                Agreement = parsed.GetRequiredValue(_agreement),
                Filter = _filter.Of(parsed),
            };
        }

        private void Interrupted(Uri server, string last, Exception why, TimeSpan pause)
        {
            var detail = why is RpcException error ? error.Status.Detail : why.Message;
            // Whoever reads to the end waits for it: better to be told at once.
            if (!_follow && last.Length == 0) throw new Failure($"No feed answers at {server}: {detail} Check --grpc, and that the hub runs.", why);
            if (!_follow) throw new Failure($"The feed at {server} broke off: {detail} Read on with --after {last}", why);
            _terminal.Say(string.Create(CultureInfo.InvariantCulture, $"The feed at {server} is away ({detail}); asking again in {pause.TotalSeconds:F1} s."));
        }

        private void Print(Event came, bool json)
        {
            if (json)
            {
                using var data = JsonDocument.Parse(came.Data);
                _terminal.WriteJson(new Line(
                    came.Cursor, came.Id, came.Source, came.Type, came.Subject, came.Time, came.Commune, data.RootElement, came.Personal.Length > 0 ? JsonElement.Parse(came.Personal) : null));
            }
            else
            {
                _terminal.Write($"{came.Cursor}  {came.Time}  {came.Commune}  {came.Type}  {came.Subject}");
            }
        }
    }
}
