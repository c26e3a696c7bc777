using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Intercommunalite.Cli.Tests;

public sealed class ImportTests : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("interco");
    private readonly string _file;

    public ImportTests()
    {
        _file = Path.Combine(_directory.FullName, "deaths.csv");
        File.WriteAllText(_file, "the file");
    }

    public void Dispose() => _directory.Delete(recursive: true);

    private static object State(string status, int rejected = 0) => new
    {
        importId = "42",
        status,
        linesRead = 10,
        accepted = 10 - rejected,
        duplicates = 0,
        rejected,
        elsewhere = 3,
        error = status is "refused" or "held" ? "no such header." : null,
    };

    private static Task<FakeServer> ConnectorAsync(StringBuilder received, string prefix, string end, int rejected = 0)
    {
        var polls = 0;
        return FakeServer.StartAsync(app =>
        {
            app.MapGet("/communes", () => new { communes = new[] { "35085" } });
            app.MapPost(prefix + "/files/insee-deaths", async (HttpRequest request) =>
            {
                received.Append(await new StreamReader(request.Body).ReadToEndAsync());
                return Results.Accepted(value: State("running"));
            });
            app.MapGet(prefix + "/imports/42", () => State(++polls < 3 ? "running" : end, rejected));
            app.MapGet(prefix + "/imports/42/rejects", () => "line;field;reason\n7;date;no such day\n");
        });
    }

    [Fact]
    public async Task Given_a_commune_When_a_file_is_imported_Then_its_connector_gets_it_and_is_followed_to_the_end()
    {
        var (received, time) = (new StringBuilder(), new SwiftTime());
        await using var other = await FakeServer.StartAsync(app => app.MapGet("/communes", () => new { communes = new[] { "35317" } }));
        await using var connector = await ConnectorAsync(received, "/communes/35085", "completed");

        var run = await Command.RunAsync(
            time, "import", "insee-deaths", _file, "--commune", "35085", "--set", "uai=0350122T", "--json", "--connectors", $"{other.Address},{connector.Address}");

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("the file", received.ToString());
        Assert.Contains("POST /communes/35085/files/insee-deaths?uai=0350122T", connector.Requests);
        Assert.Equal(3, time.Waits.Count);
        var import = Assert.Single(run.Json.GetProperty("imports").EnumerateArray());
        Assert.Equal(("completed", 10), (import.GetProperty("status").GetString(), import.GetProperty("accepted").GetInt32()));
    }

    [Fact]
    public async Task Given_no_commune_When_a_file_is_imported_Then_every_connector_gets_it()
    {
        StringBuilder first = new(), second = new();
        await using var one = await ConnectorAsync(first, "", "completed");
        await using var two = await ConnectorAsync(second, "", "completed", rejected: 1);
        var rejects = Path.Combine(_directory.FullName, "rejects.csv");

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--rejects", rejects, "--connectors", $"{one.Address},{two.Address}");

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(("the file", "the file"), (first.ToString(), second.ToString()));
        Assert.Contains("9 events accepted, 0 duplicates, 1 lines rejected, 3 of communes not served here", run.Out, StringComparison.Ordinal);
        Assert.Contains($"{two.Address}/imports/42/rejects", run.Out, StringComparison.Ordinal);
        Assert.Contains("no such day", await File.ReadAllTextAsync(rejects), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("refused", "refused deaths.csv: no such header")]
    [InlineData("held", "holds deaths.csv: no such header")]
    public async Task Given_a_file_that_is_not_taken_When_imported_Then_the_command_fails(string end, string reason)
    {
        await using var connector = await ConnectorAsync(new(), "", end);

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--connectors", connector.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_folder_When_it_is_imported_Then_its_files_go_in_the_order_of_their_names_and_are_summed_up()
    {
        var received = new StringBuilder();
        await using var connector = await ConnectorAsync(received, "", "completed", rejected: 1);
        foreach (var name in new[] { "b.csv", "a.csv", ".hidden.csv", "c.csv.part" }) await File.WriteAllTextAsync(Path.Combine(_directory.FullName, name), $"{name};");
        Directory.CreateDirectory(Path.Combine(_directory.FullName, "done"));

        var run = await Command.RunAsync("import", "insee-deaths", _directory.FullName, "--connectors", $"{connector.Address}");

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("a.csv;b.csv;the file", received.ToString());
        Assert.Contains("3 imports (3 completed): 30 lines read, 27 events accepted, 0 duplicates, 3 lines rejected.", run.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_folder_of_which_one_file_is_not_taken_When_it_is_imported_Then_the_others_are_and_the_command_fails()
    {
        var calls = 0;
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapPost("/files/insee-deaths", () => ++calls == 1 ? Results.Problem(title: "Too large", statusCode: 413) : Results.Accepted(value: State("completed")));
            app.MapGet("/imports/42", () => State("completed"));
        });
        await File.WriteAllTextAsync(Path.Combine(_directory.FullName, "a.csv"), "a");

        var run = await Command.RunAsync("import", "insee-deaths", _directory.FullName, "--connectors", $"{connector.Address}");

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("2 imports (1 failed, 1 completed)", run.Out, StringComparison.Ordinal);
        Assert.Contains("a.csv: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_file_of_which_every_line_is_rejected_When_it_is_imported_Then_the_command_fails()
    {
        await using var connector = await FakeServer.StartAsync(app => app.MapPost("/files/insee-deaths", () => Results.Accepted(value: new { importId = "42", status = "completed", linesRead = 3, rejected = 3 })));

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--connectors", $"{connector.Address}");

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("rejected every line of deaths.csv", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_empty_folder_When_it_is_imported_Then_the_command_fails()
    {
        var empty = _directory.CreateSubdirectory("empty").FullName;
        await using var connector = await ConnectorAsync(new(), "", "completed");

        var run = await Command.RunAsync("import", "insee-deaths", empty, "--connectors", $"{connector.Address}");

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("There is no file in", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_file_that_is_held_When_it_is_imported_with_confirm_Then_the_connector_is_told_and_without_how_is_said()
    {
        var received = new StringBuilder();
        await using var connector = await ConnectorAsync(received, "", "held");

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--connectors", $"{connector.Address}");
        await Command.RunAsync("import", "insee-deaths", _file, "--confirm", "--connectors", $"{connector.Address}");

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("holds deaths.csv", run.Error, StringComparison.Ordinal);
        Assert.Contains("--confirm", run.Error, StringComparison.Ordinal);
        Assert.Contains("POST /files/insee-deaths?confirm=true", connector.Requests);
    }

    [Fact]
    public async Task Given_no_wait_When_a_file_is_imported_Then_the_command_ends_with_the_import_running()
    {
        await using var connector = await ConnectorAsync(new(), "", "completed");

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--no-wait", "--json", "--connectors", connector.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("running", run.Json.GetProperty("imports")[0].GetProperty("status").GetString());
        Assert.DoesNotContain("GET /imports/42", connector.Requests);
    }

    [Fact]
    public async Task Given_a_connector_that_starts_again_When_a_file_is_imported_Then_the_whole_file_is_sent_again()
    {
        var (received, time, calls) = (new List<string>(), new SwiftTime(), 0);
        await using var connector = await FakeServer.StartAsync(app => app.MapPost("/files/insee-deaths", async (HttpRequest request, HttpResponse response) =>
        {
            received.Add(await new StreamReader(request.Body).ReadToEndAsync());
            response.Headers.RetryAfter = "3";
            return ++calls == 1 ? Results.StatusCode(503) : Results.Accepted(value: State("completed"));
        }));

        var run = await Command.RunAsync(time, "import", "insee-deaths", _file, "--connectors", connector.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Equal(["the file", "the file"], received);
        Assert.Equal([TimeSpan.FromSeconds(3)], time.Waits);
    }

    [Fact]
    public async Task Given_a_file_that_is_too_large_for_the_connector_When_imported_Then_its_answer_is_quoted_and_the_file_is_sent_once_at_most()
    {
        await using (var large = new FileStream(_file, FileMode.Create)) large.SetLength(512L << 20);
        var calls = 0;
        await using var connector = await FakeServer.StartAsync(app => app.MapPost("/files/insee-deaths", async (HttpRequest request) =>
        {
            calls++;
            try
            {
                await request.Body.CopyToAsync(Stream.Null);
                return Results.Ok();
            }
            catch (BadHttpRequestException e)
            {
                return Results.Problem(title: "Body too large", detail: "Send the file in parts.", statusCode: e.StatusCode);
            }
        }));

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--connectors", connector.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("answered 413: Body too large. Send the file in parts.", run.Error, StringComparison.Ordinal);
        Assert.Equal(1, calls);
    }

    [Fact]
    public async Task Given_an_import_that_waits_for_room_When_it_is_followed_Then_it_is_said_why()
    {
        var polls = 0;
        await using var connector = await FakeServer.StartAsync(app =>
        {
            app.MapPost("/files/insee-deaths", () => Results.Accepted(value: State("running")));
            app.MapGet("/imports/42", () => ++polls < 60
                ? Results.Ok(new { importId = "42", status = "running", linesRead = 5, accepted = 5, duplicates = 0, rejected = 0, elsewhere = 0, waiting = "The disk is full." })
                : Results.Ok(State("completed")));
        });

        var run = await Command.RunAsync(new SwiftTime(), "import", "insee-deaths", _file, "--connectors", connector.Address);

        Assert.Equal(0, run.ExitCode);
        Assert.Contains("5 lines read, 5 accepted, 0 rejected; waiting: The disk is full.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_an_unknown_format_When_imported_Then_the_connector_is_quoted()
    {
        await using var connector = await FakeServer.StartAsync(app =>
            app.MapPost("/files/{format}", () => Results.Problem(title: "Unknown format", detail: "It is one of insee-deaths, onde-pupils.", statusCode: 404)));

        var run = await Command.RunAsync("import", "letters", _file, "--connectors", connector.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("It is one of insee-deaths, onde-pupils.", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_a_commune_served_by_none_When_imported_Then_it_says_whom_they_serve()
    {
        await using var connector = await ConnectorAsync(new(), "", "completed");

        var run = await Command.RunAsync("import", "insee-deaths", _file, "--commune", "33063", "--connectors", connector.Address);

        Assert.Equal(1, run.ExitCode);
        Assert.Contains("No connector given serves commune 33063; they serve 35085.", run.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("import", "insee-deaths", "/no/such/file")]
    [InlineData("import", "insee-deaths")]
    [InlineData("imprt")]
    public async Task Given_a_command_line_without_sense_When_run_Then_it_is_refused(params string[] args)
    {
        var run = await Command.RunAsync(args);

        Assert.Equal(2, run.ExitCode);
        Assert.NotEmpty(run.Error);
    }
}
