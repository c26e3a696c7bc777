using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace Intercommunalite.Cli.Tests;

public sealed class ExportTests : IDisposable
{
    private const string Csv = "\uFEFFCode INSEE;École\r\n35085;\"des\r\n\"\"Lilas\"\"\"\r\n35337;Élémentaire\r\n";
    private const string Events = "{\"id\":\"1\",\"data\":{\"a\":\"\\\"\"}}\n{\"id\":\"2\"}\n{\"id\":\"3\"}\n";

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("interco");

    public void Dispose() => _directory.Delete(recursive: true);

    private string Out(string name) => Path.Combine(_directory.FullName, name);

    private static Task<FakeServer> HubAsync() => FakeServer.StartAsync(app =>
    {
        foreach (var path in (string[])["civil-records/indicators", "schools/rolls", "payments/summary"]) app.MapGet($"/api/v1/{path}", context => AnswerAsync(context, Csv));
        app.MapGet("/api/v1/open-data/first-names", context => AnswerAsync(
            context, "COMMUNE_NOM\nCombourg\n", ("X-Left-Out-Below-Threshold", "1200"), ("X-Left-Out-Simulated", "0"), ("X-Min-Occurrences", "3")));
        app.MapGet("/api/v1/admin/events", context => AnswerAsync(context, Events));
    });

    private static async Task AnswerAsync(HttpContext context, string text, params (string Name, StringValues Value)[] headers)
    {
        context.Response.Headers["X-Hub-Position"] = "1234";
        foreach (var (name, value) in headers) context.Response.Headers[name] = value;
        await context.Response.Body.WriteAsync(Encoding.UTF8.GetBytes(text));
    }

    [Theory]
    [InlineData("indicators --from 2026-01 --to 2026-11 --commune 35085 --by year --basis residence --separator comma --min-position 7",
        "civil-records/indicators?format=csv&from=2026-01&to=2026-11&commune=35085&by=year&basis=residence&separator=comma&minPosition=7")]
    [InlineData("indicators", "civil-records/indicators?format=csv")]
    [InlineData("indicators --as-of 2026-06-30 --compared-with now", "civil-records/indicators?format=csv&asOf=2026-06-30&comparedWith=now")]
    [InlineData("rolls --as-of 2026-06-30T12:00:00+02:00", "schools/rolls?format=csv&asOf=2026-06-30T12%3A00%3A00%2B02%3A00")]
    [InlineData("payments --as-of 2026-06-30", "payments/summary?format=csv&asOf=2026-06-30")]
    [InlineData("rolls --school-year 2026 --commune 35085 --separator semicolon", "schools/rolls?format=csv&schoolYear=2026&commune=35085&separator=semicolon")]
    [InlineData("payments --from 2026-01 --to 2026-11 --by service", "payments/summary?format=csv&from=2026-01&to=2026-11&by=service")]
    [InlineData("first-names --year 2026 --commune 35085 --threshold 5 --simulated", "open-data/first-names?year=2026&commune=35085&threshold=5&simulated=true")]
    [InlineData("first-names --year 2026", "open-data/first-names?year=2026")]
    [InlineData("events --from 2026-01-01 --to 2026-01-31 --commune 35085 --type fr.*", "admin/events?from=2026-01-01&to=2026-01-31&commune=35085&type=fr.%2A")]
    [InlineData("events", "admin/events")]
    public async Task Given_a_command_line_When_exported_Then_the_hub_is_asked_for_exactly_that(string arguments, string path)
    {
        await using var hub = await HubAsync();
        var run = await Command.RunAsync(["export", .. arguments.Split(' '), "--out", Out("file"), "--hub", hub.Address]);
        Assert.Equal((0, ""), (run.ExitCode, run.Error));
        Assert.Equal([$"GET /api/v1/{path}"], hub.Requests);
    }

    [Fact]
    public async Task Given_a_file_name_When_exported_Then_the_file_is_what_the_hub_sent_and_nothing_else_is_there()
    {
        await using var hub = await HubAsync();
        await File.WriteAllTextAsync(Out("rolls.csv"), "the export from before, which was longer than the one of today will be: it is replaced as a whole");

        var run = await Command.RunAsync("export", "rolls", "--out", Out("rolls.csv"), "--hub", hub.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(Encoding.UTF8.GetBytes(Csv), await File.ReadAllBytesAsync(Out("rolls.csv")));
        Assert.Equal($"{Out("rolls.csv")}: 2 rows, {Encoding.UTF8.GetByteCount(Csv)} bytes, up to position 1234.", run.Out.TrimEnd());
        Assert.Single(_directory.GetFiles());
    }

    [Fact]
    public async Task Given_figures_that_the_hub_builds_first_When_exported_Then_it_is_followed_as_long_as_it_takes_and_said_how_far_it_is()
    {
        var (asked, time) = (0, new SwiftTime());
        await using var hub = await FakeServer.StartAsync(app => app.MapGet("/api/v1/schools/rolls", async context =>
        {
            if (++asked > 60)
            {
                await AnswerAsync(context, Csv);
                return;
            }

            context.Response.Headers.RetryAfter = "5";
            await Results.Problem(title: "Being built", statusCode: 503, extensions: new Dictionary<string, object?> { ["percent"] = asked }).ExecuteAsync(context);
        }));

        var run = await Command.RunAsync(time, "export", "rolls", "--as-of", "2026-06-30", "--hub", hub.Address);

        Assert.Equal((0, Csv), (run.ExitCode, run.Out));
        Assert.Equal((60, TimeSpan.FromSeconds(5)), (time.Waits.Count(wait => wait == TimeSpan.FromSeconds(5)), time.Waits.Max()));
        Assert.Contains("Exporting rolls: the hub builds the figures of then (41 %)", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_figures_that_the_hub_builds_first_When_interrupted_Then_it_ends()
    {
        using var interrupt = new CancellationTokenSource();
        await using var hub = await FakeServer.StartAsync(app => app.MapGet("/api/v1/schools/rolls", async context =>
        {
            context.Response.Headers.RetryAfter = "5";
            await Results.Problem(title: "Being built", statusCode: 503, extensions: new Dictionary<string, object?> { ["percent"] = 7 }).ExecuteAsync(context);
            await interrupt.CancelAsync();
        }));

        Assert.Equal(130, (await Command.RunAsync(TimeProvider.System, interrupt.Token, "export", "rolls", "--as-of", "2026-06-30", "--hub", hub.Address)).ExitCode);
    }

    [Fact]
    public async Task Given_json_When_exported_Then_the_summary_is_one_document()
    {
        await using var hub = await HubAsync();

        var events = await Command.RunAsync("export", "events", "--out", Out("events.jsonl"), "--json", "--hub", hub.Address);
        var names = await Command.RunAsync("export", "first-names", "--year", "2026", "--out", Out("names.csv"), "--json", "--hub", hub.Address);

        Assert.Equal(
            (Out("events.jsonl"), Encoding.UTF8.GetByteCount(Events), 3, 1234),
            (events.Json.GetProperty("file").GetString(), events.Json.GetProperty("bytes").GetInt32(), events.Json.GetProperty("rows").GetInt32(), events.Json.GetProperty("position").GetInt32()));
        Assert.Equal(Events, await File.ReadAllTextAsync(Out("events.jsonl")));
        Assert.Equal((1, 1200), (names.Json.GetProperty("rows").GetInt32(), names.Json.GetProperty("leftOut").GetProperty("below-threshold").GetInt32()));
    }

    [Fact]
    public async Task Given_no_file_name_When_exported_Then_standard_output_is_the_file_and_what_is_said_of_it_is_elsewhere()
    {
        await using var hub = await HubAsync();

        var rolls = await Command.RunAsync("export", "rolls", "--hub", hub.Address);
        var names = await Command.RunAsync("export", "first-names", "--year", "2026", "--hub", hub.Address);

        Assert.Equal((Csv, ""), (rolls.Out, rolls.Error));
        Assert.Equal("COMMUNE_NOM\nCombourg\n", names.Out);
        Assert.Equal("Births left out: 1,200 below threshold, 0 simulated.", names.Error.TrimEnd());
    }

    [Fact]
    public async Task Given_characters_cut_in_two_by_the_transfer_When_exported_to_standard_output_Then_they_are_whole()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapGet("/api/v1/schools/rolls", async context =>
        {
            context.Response.Headers["X-Hub-Position"] = "1";
            foreach (var b in Encoding.UTF8.GetBytes("Code\r\nÉ😀\r\n"))
            {
                await context.Response.Body.WriteAsync(new[] { b });
                await context.Response.Body.FlushAsync();
            }
        }));

        Assert.Equal("Code\r\nÉ😀\r\n", (await Command.RunAsync("export", "rolls", "--hub", hub.Address)).Out);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Given_an_export_that_breaks_off_When_saved_Then_no_half_file_remains_and_the_exit_code_tells(bool isThere)
    {
        // Closed after a chunk, without the one that ends the answer.
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var answered = Task.Run(async () =>
        {
            using var connection = await listener.AcceptSocketAsync();
            await connection.ReceiveAsync(new byte[4096]);
            await connection.SendAsync("HTTP/1.1 200 OK\r\nX-Hub-Position: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n"u8.ToArray());
            connection.Shutdown(SocketShutdown.Send);
            await connection.ReceiveAsync(new byte[1]);
        });
        if (isThere) await File.WriteAllTextAsync(Out("events.jsonl"), "before");

        var run = await Command.RunAsync("export", "events", "--out", Out("events.jsonl"), "--hub", $"http://{listener.LocalEndpoint}");
        await answered;

        Assert.Equal((1, ""), (run.ExitCode, run.Out));
        Assert.Contains("broke off after 3 bytes", run.Error, StringComparison.Ordinal);
        Assert.Equal(isThere ? [Out("events.jsonl")] : [], _directory.GetFiles().Select(file => file.FullName));
        if (isThere) Assert.Equal("before", await File.ReadAllTextAsync(Out("events.jsonl")));
    }

    [Fact]
    public async Task Given_an_export_under_way_When_interrupted_Then_no_half_file_remains()
    {
        using var interrupt = new CancellationTokenSource();
        await using var hub = await FakeServer.StartAsync(app => app.MapGet("/api/v1/admin/events", async context =>
        {
            context.Response.Headers["X-Hub-Position"] = "1";
            await context.Response.WriteAsync(Events);
            await context.Response.Body.FlushAsync();
            await interrupt.CancelAsync();
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
        }));

        var run = await Command.RunAsync(TimeProvider.System, interrupt.Token, "export", "events", "--out", Out("events.jsonl"), "--hub", hub.Address);

        Assert.Equal(130, run.ExitCode);
        Assert.Empty(_directory.GetFiles());
    }

    [Fact]
    public async Task Given_a_hub_that_refuses_When_exported_Then_its_problem_is_told_and_no_file_is_there()
    {
        await using var hub = await FakeServer.StartAsync(app => app.MapFallback(() =>
            Results.Problem(title: "Query not understood", detail: "threshold: 3 or more expected.", statusCode: 400)));

        var run = await Command.RunAsync("export", "first-names", "--year", "2026", "--threshold", "1", "--out", Out("names.csv"), "--hub", hub.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("answered 400: Query not understood. threshold: 3 or more expected.", run.Error, StringComparison.Ordinal);
        Assert.Empty(_directory.GetFiles());
    }

    [Fact]
    public async Task Given_something_else_at_the_address_When_exported_Then_it_is_not_saved()
    {
        await using var other = await FakeServer.StartAsync(app => app.MapFallback(() => "hello"));
        var run = await Command.RunAsync("export", "rolls", "--out", Out("rolls.csv"), "--hub", other.Address);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("Is it the right address?", run.Error, StringComparison.Ordinal);
        Assert.Empty(_directory.GetFiles());
    }

    [Fact]
    public async Task Given_a_folder_that_is_not_there_When_exported_Then_it_says_so()
    {
        await using var hub = await HubAsync();
        var run = await Command.RunAsync("export", "rolls", "--out", Path.Combine(Out("nowhere"), "rolls.csv"), "--hub", hub.Address);
        Assert.Equal(1, run.ExitCode);
        Assert.Contains("nowhere", run.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("report it", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("export")]
    [InlineData("export", "everything")]
    [InlineData("export", "first-names")]
    [InlineData("export", "indicators", "--by", "week")]
    [InlineData("export", "payments", "--separator", "tab")]
    [InlineData("export", "rolls", "--json")]
    public async Task Given_a_command_without_sense_When_it_is_run_Then_nothing_is_asked_of_the_hub(params string[] arguments)
    {
        var run = await Command.RunAsync([.. arguments, "--hub", "http://127.0.0.1:9"]);
        Assert.Equal(2, run.ExitCode);
    }
}
