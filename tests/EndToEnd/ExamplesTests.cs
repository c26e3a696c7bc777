using System.ComponentModel;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Intercommunalite.Contracts.Client;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>What partners start from, <c>contracts/examples</c> and <c>contracts/Client</c>: each gets every event, in order, whatever is killed in the middle.</summary>
public sealed class ExamplesTests(ExamplesTests.Partner partner) : IClassFixture<ExamplesTests.Partner>
{
    private const int Events = 1000;

    private const int ReadBeforeKill = 100;

    [Theory]
    [InlineData("python/subscribe.py", 1)]
    [InlineData("python/pages.py", 500)]
    [InlineData("javascript/subscribe.js", 1)]
    [InlineData("javascript/events.js", 1)]
    public async Task Given_a_reader_with_a_cursor_file_When_it_is_killed_in_the_middle_Then_the_next_run_leaves_nothing_out(string example, int mostRepeated)
    {
        var cursor = Path.Combine(partner.Folder, $"{Guid.NewGuid():N}.cursor");
        List<string> first, second;
        using (var run = partner.Start(example, cursor, "fr.intercommunalite.civil-records.*"))
        {
            first = await run.LinesAsync(ReadBeforeKill);
            // Its output is full before it has printed all: it then waits in the middle of an event.
            await Eventually.Is(async () => await KeptAsync(cursor, TimeSpan.Zero) == await KeptAsync(cursor, TimeSpan.FromMilliseconds(300)), held => held);
            first.AddRange(await run.KillAsync());
        }

        Assert.InRange(first.Count, ReadBeforeKill, Events - 1);
        using (var run = partner.Start(example, cursor, "fr.intercommunalite.civil-records.*")) second = await run.LinesUntilAsync(partner.Ids[^1]);

        Assert.Equal(partner.Ids.Take(first.Count), first);
        Assert.Equal(partner.Ids.TakeLast(second.Count), second);
        Assert.InRange(first.Count + second.Count - Events, 0, mostRepeated);

        static async Task<string> KeptAsync(string file, TimeSpan later)
        {
            await Task.Delay(later);
            return File.Exists(file) ? await File.ReadAllTextAsync(file) : "";
        }
    }

    [Theory]
    [InlineData("python/consume.py")]
    [InlineData("javascript/consume.js")]
    public async Task Given_a_reader_of_a_durable_subscription_When_it_is_killed_in_the_middle_Then_the_next_one_gets_the_rest_in_order(string example)
    {
        var name = await partner.SubscribeAsync();
        var ids = new List<string>();
        using (var run = partner.Start(example, name)) ids = [.. await run.LinesAsync(ReadBeforeKill), .. await run.KillAsync()];
        Assert.InRange(ids.Count, ReadBeforeKill, Partner.Subscribed - 1);
        using (var run = partner.Start(example, name))
        {
            while (ids.Distinct().Count() < Partner.Subscribed) ids.AddRange(await run.LinesAsync(1));
            await partner.IsDoneAsync(name);
        }

        // Printed, but not acknowledged when it was killed.
        Assert.InRange(ids.Count, Partner.Subscribed, Partner.Subscribed + 1);
        InOrder(ids);
    }

    [Fact]
    public async Task Given_the_client_library_and_a_durable_subscription_When_handlers_fail_Then_what_failed_comes_again_and_each_record_stays_in_order()
    {
        var name = await partner.SubscribeAsync();
        using var end = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        var (ids, failed) = (new List<string>(), 0);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new FeedClient(partner.Grpc, partner.Credentials).ConsumeAsync(name, async (delivery, _) =>
        {
            // The first two of each record.
            if (delivery.Attempt == 1 && delivery.Event.Id.Length <= "birth-99".Length)
            {
                Interlocked.Increment(ref failed);
                throw new DeliveryRejectedException("not yet");
            }

            int count;
            lock (ids)
            {
                ids.Add(delivery.Event.Id);
                count = ids.Count;
            }

            if (count == Partner.Subscribed) await end.CancelAsync();
        }, atOnce: 10, end.Token));

        await partner.IsDoneAsync(name);
        Assert.Equal((22, Partner.Subscribed), (failed, ids.Count));
        InOrder(ids);
    }

    [Theory]
    [InlineData("python/subscribe.py")]
    [InlineData("javascript/subscribe.js")]
    public async Task Given_a_wrong_secret_Then_the_example_ends_and_says_so(string example)
    {
        using var run = partner.StartWith(new() { ["INTERCO_CLIENT_SECRET"] = "of-somebody-else" }, example, Path.Combine(partner.Folder, "unused.cursor"));

        Assert.NotEqual(0, await run.ExitAsync());
        Assert.Contains("no token: 401", await run.ErrorsAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("python/consume.py")]
    [InlineData("javascript/consume.js")]
    public async Task Given_a_subscription_that_there_is_not_Then_the_example_ends_and_says_what_the_hub_says_and_nothing_of_its_own_inside(string example)
    {
        using var run = partner.Start(example, "none");

        Assert.NotEqual(0, await run.ExitAsync());
        var errors = await run.ErrorsAsync();
        Assert.Contains("You have no subscription of this name", errors, StringComparison.Ordinal);
        Assert.Single(errors.Trim().Split('\n'));
    }

    [Theory]
    [InlineData("python/subscribe.py")]
    [InlineData("python/consume.py")]
    [InlineData("javascript/subscribe.js")]
    [InlineData("javascript/consume.js")]
    public async Task Given_a_hub_that_answers_pings_and_says_nothing_Then_the_example_gives_the_stream_up_and_asks_anew(string example)
    {
        var (port, calls) = (FreePorts.Take(), 0);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port, listen => listen.Protocols = HttpProtocols.Http2));
        await using var silent = builder.Build();
        silent.MapPost("{**any}", async context =>
        {
            context.Response.ContentType = "application/grpc";
            await context.Response.StartAsync();
            Interlocked.Increment(ref calls);
            await Task.Delay(Timeout.Infinite, context.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        });
        await silent.StartAsync();

        using var run = partner.StartWith(new() { ["INTERCO_GRPC"] = $"http://127.0.0.1:{port}", ["INTERCO_LONGEST_SILENCE"] = "1" }, example, $"{Guid.NewGuid():N}");

        await Eventually.Is(() => Volatile.Read(ref calls), count => count >= 2);
        await run.KillAsync();
        Assert.Contains("not even a sign of life", await run.ErrorsAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Given_the_client_library_When_the_hub_is_killed_in_the_middle_Then_it_goes_on_by_itself()
    {
        using var kept = CursorFile.Open(Path.Combine(partner.Folder, "library.cursor"));
        using var end = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        var interruptions = 0;
        var ids = new List<string>();
        var feed = new FeedClient(partner.Grpc, partner.Credentials) { Interrupted = (_, _) => interruptions++ };

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => feed.FollowAsync(new(), kept, async (came, _) =>
        {
            ids.Add(came.Id);
            if (ids.Count == ReadBeforeKill)
            {
                partner.Deployment.Hub.Kill();
                await partner.Deployment.Hub.StartAsync();
            }

            if (ids.Count == Events) await end.CancelAsync();
        }, end.Token));

        Assert.Equal(partner.Ids, ids);
        Assert.True(interruptions > 0);
    }

    [Fact]
    public async Task Given_the_webhook_receiver_When_it_is_killed_in_the_middle_Then_the_hub_brings_the_rest_once_it_is_back()
    {
        var (url, secret) = (new Uri($"http://127.0.0.1:{FreePorts.Take()}/"), $"whsec_{Convert.ToBase64String(RandomNumberGenerator.GetBytes(32))}");
        string name;
        List<string> ids;
        using (var run = await StartAsync())
        {
            name = await partner.SubscribeAsync(new { url, secret });
            ids = [.. await run.LinesAsync(ReadBeforeKill), .. await run.KillAsync()];
        }

        Assert.InRange(ids.Count, ReadBeforeKill, Partner.Subscribed - 1);
        using (var run = await StartAsync())
        {
            while (ids.Distinct().Count() < Partner.Subscribed) ids.AddRange(await run.LinesAsync(1));
            await partner.IsDoneAsync(name);
        }

        // Of each record one was perhaps printed, and not yet answered, when it was killed.
        Assert.InRange(ids.Count, Partner.Subscribed, Partner.Subscribed + ids.Select(Partner.Record).Distinct().Count());
        InOrder(ids);

        async Task<Example> StartAsync()
        {
            var run = partner.StartWith(new() { ["WEBHOOK_SECRET"] = secret }, "javascript/webhook.js", $"{url.Port}", Partner.Origin);
            using var http = new HttpClient { BaseAddress = url };
            await Eventually.Passes(async () => (await http.GetAsync(url)).Dispose());
            return run;
        }
    }

    [Fact]
    public async Task Given_the_webhook_receiver_When_the_hub_asks_and_delivers_Then_it_takes_what_is_signed_and_of_now()
    {
        var (port, key) = (FreePorts.Take(), RandomNumberGenerator.GetBytes(24));
        using var run = partner.StartWith(new() { ["WEBHOOK_SECRET"] = $"whsec_{Convert.ToBase64String(key)}" }, "javascript/webhook.js", $"{port}", Partner.Origin);
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        await Eventually.Passes(async () => (await AskAsync("hub.example.org")).Dispose());
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();

        using var allowed = await AskAsync("hub.example.org");
        using var other = await AskAsync("elsewhere.example.org");
        Assert.Equal((HttpStatusCode.OK, "hub.example.org"), (allowed.StatusCode, allowed.Headers.GetValues("WebHook-Allowed-Origin").Single()));
        Assert.Equal(HttpStatusCode.Forbidden, other.StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, await DeliverAsync(now, Sign));
        Assert.Equal(HttpStatusCode.NoContent, await DeliverAsync(now, (signed, secret) => $"v1,{Convert.ToBase64String(new byte[32])} {Sign(signed, secret)}"));
        Assert.Equal(HttpStatusCode.Unauthorized, await DeliverAsync(now, (signed, _) => Sign(signed, new byte[24])));
        Assert.Equal(HttpStatusCode.Unauthorized, await DeliverAsync(now, (signed, secret) => Sign(signed + " ", secret)));
        Assert.Equal(HttpStatusCode.Unauthorized, await DeliverAsync(now - 600, Sign));
        Assert.Equal(["birth-1", "birth-1"], await run.LinesAsync(2));

        static string Sign(string signed, byte[] secret) => $"v1,{Convert.ToBase64String(HMACSHA256.HashData(secret, Encoding.UTF8.GetBytes(signed)))}";

        Task<HttpResponseMessage> AskAsync(string origin) => http.SendAsync(new HttpRequestMessage(HttpMethod.Options, "/") { Headers = { { "WebHook-Request-Origin", origin } } });

        async Task<HttpStatusCode> DeliverAsync(long timestamp, Func<string, byte[], string> sign)
        {
            const string Body = """{"specversion":"1.0","id":"birth-1","source":"urn:insee:commune:35085","type":"t","cursor":"c1","data":{"actNumber":"1"}}""";
            using var request = new HttpRequestMessage(HttpMethod.Post, "/") { Content = new StringContent(Body, Encoding.UTF8, "application/cloudevents+json") };
            request.Headers.Add("webhook-id", "msg_1");
            request.Headers.Add("webhook-timestamp", $"{timestamp}");
            request.Headers.Add("webhook-signature", sign($"msg_1.{timestamp}.{Body}", key));
            using var response = await http.SendAsync(request);
            return response.StatusCode;
        }
    }

    // Of each record; of several it says nothing.
    private void InOrder(IEnumerable<string> ids)
    {
        var records = ids.Distinct().ToLookup(Partner.Record);
        Assert.All(partner.Ids.Where(Partner.IsSubscribed).GroupBy(Partner.Record), record => Assert.Equal(record, records[record.Key]));
    }

    /// <summary>A hub with events, a client that gets tokens for its secret, and a copy of the examples in which they can run.</summary>
    public sealed class Partner : IAsyncLifetime
    {
        /// <summary>The hub's name, for those to whom it brings events.</summary>
        internal const string Origin = "hub.example.org";

        private const string Secret = "not-a-secret-but-long-enough";

        private WebApplication _issuer = null!;

        internal Deployment Deployment { get; private set; } = null!;

        /// <summary>Ids of all events in the order of the store.</summary>
        internal string[] Ids { get; private set; } = [];

        /// <summary>The copy; gone after the tests.</summary>
        internal string Folder { get; } = Directory.CreateTempSubdirectory("feed-examples-").FullName;

        internal Uri Grpc => new($"http://127.0.0.1:{Deployment.GrpcPort}");

        internal ClientCredentials Credentials => new(new Uri(_issuer.Urls.Single()), "partner", Secret);

        public async Task InitializeAsync() => await Task.WhenAll(StartHubAsync(), StartIssuerAsync(), InstallAsync());

        public async Task DisposeAsync()
        {
            await _issuer.DisposeAsync();
            await Deployment.DisposeAsync();
            Directory.Delete(Folder, recursive: true);
        }

        /// <summary>The record that an event is of: one of fifty.</summary>
        internal static int Record(string id) => int.Parse(id["birth-".Length..], System.Globalization.CultureInfo.InvariantCulture) % 50;

        /// <summary>How many events those subscriptions have: of eleven records.</summary>
        internal const int Subscribed = 220;

        /// <summary>Whether they have this one.</summary>
        internal static bool IsSubscribed(string id) => $"{Record(id)}"[0] == '1';

        /// <summary>Makes a durable subscription of some records; with a webhook where one is given.</summary>
        /// <returns>Its name.</returns>
        internal async Task<string> SubscribeAsync(object? webhook = null)
        {
            var name = $"s-{Guid.NewGuid():N}";
            using var client = await ClientAsync();
            using var made = await client.PostAsJsonAsync("/api/v1/subscriptions", new { name, start = "beginning", filter = new { subjects = new[] { "birth/2026/1*" } }, webhook });
            Assert.True(made.IsSuccessStatusCode, await made.Content.ReadAsStringAsync());
            return name;
        }

        /// <summary>Waits until nothing of it is left.</summary>
        internal async Task IsDoneAsync(string name)
        {
            using var client = await ClientAsync();
            await Eventually.Is(
                async () => (await client.GetFromJsonAsync<JsonElement>($"/api/v1/subscriptions/{name}")) is var now ? (now.GetProperty("lag").GetInt64(), now.GetProperty("unacknowledged").GetInt64(), now.GetProperty("parked").GetInt64()) : default,
                left => left == (0, 0, 0));
        }

        internal Example Start(string example, params string[] arguments) => StartWith([], example, arguments);

        internal Example StartWith(Dictionary<string, string> settings, string example, params string[] arguments)
        {
            var (folder, file) = (Path.Combine(Folder, "examples", Path.GetDirectoryName(example)!), Path.GetFileName(example));
            return new(Run(file.EndsWith(".py", StringComparison.Ordinal) ? "/usr/bin/python3" : "node", folder, [file, .. arguments], new(settings.Concat(
                new Dictionary<string, string>
                {
                    ["INTERCO_HUB"] = Deployment.Hub.Address.ToString(),
                    ["INTERCO_GRPC"] = Grpc.ToString(),
                    ["INTERCO_ISSUER"] = _issuer.Urls.Single(),
                    ["INTERCO_CLIENT_ID"] = "partner",
                    ["INTERCO_CLIENT_SECRET"] = Secret,
                }.ExceptBy(settings.Keys, setting => setting.Key)))));
        }

        private async Task<HttpClient> ClientAsync() =>
            new() { BaseAddress = Deployment.Hub.Address, DefaultRequestHeaders = { Authorization = new("Bearer", await Credentials.TokenAsync(null, CancellationToken.None)) } };

        private async Task StartHubAsync()
        {
            var settings = new Dictionary<string, string?> { ["Webhooks__Origin"] = Origin, ["Webhooks__AllowedNetworks"] = "127.0.0.0/8" };
            Deployment = await (await Deployment.CreateAsync(settings, Some.BretagneRomantique, [Some.Combourg])).StartAsync();
            using var posted = await Deployment.PostAsync(0, Some.Combourg, [.. Some.Births(Some.Combourg, 1, Events).Select(birth => birth with { Subject = $"birth/2026/{Record(birth.Id)}" })]);
            await Deployment.HasEventsAsync(Events);
            Ids = ((string)(await Deployment.Database.ScalarAsync("SELECT string_agg(headers->>'id', ' ' ORDER BY seq_id) FROM hub.mt_events"))!).Split(' ');
        }

        private async Task StartIssuerAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            _issuer = builder.Build();
            _issuer.Urls.Add($"http://127.0.0.1:{FreePorts.Take()}");
            _issuer.MapGet("/.well-known/openid-configuration", () => new { token_endpoint = $"{_issuer.Urls.Single()}/connect/token" });
            _issuer.MapPost("/connect/token", (HttpContext context) =>
                context.Request.Headers.Authorization == $"Basic {Convert.ToBase64String(Encoding.ASCII.GetBytes($"partner:{Secret}"))}"
                    ? Results.Json(new { access_token = TestIssuer.Token(["administrator"], client: "partner"), expires_in = 600 })
                    : Results.Json(new { error = "invalid_client" }, statusCode: 401));
            await _issuer.StartAsync();
        }

        private async Task InstallAsync()
        {
            foreach (var part in new[] { "examples", "protos" }) Copy(new(RepositoryRoot.Combine("contracts", part)), Path.Combine(Folder, part));
            await EndAsync("protobuf-compiler", "protoc", Path.Combine(Folder, "examples", "python"), "--proto_path=../../protos", "--python_out=.", "feed.proto", "subscriptions.proto");
            await EndAsync("npm", "npm", Path.Combine(Folder, "examples", "javascript"), "ci", "--no-audit", "--no-fund", "--ignore-scripts");
        }

        private static void Copy(DirectoryInfo from, string to)
        {
            Directory.CreateDirectory(to);
            foreach (var file in from.EnumerateFiles()) file.CopyTo(Path.Combine(to, file.Name));
            foreach (var folder in from.EnumerateDirectories().Where(folder => folder.Name is not ("node_modules" or "__pycache__"))) Copy(folder, Path.Combine(to, folder.Name));
        }

        private static async Task EndAsync(string package, string program, string folder, params string[] arguments)
        {
            Process process;
            try
            {
                process = Run(program, folder, arguments, []);
            }
            catch (Win32Exception)
            {
                throw new InvalidOperationException($"{program} is not there, and the examples need it: apt-get install {package}. deploy/test does so by itself.");
            }

            using var example = new Example(process);
            if (await example.ExitAsync() != 0) throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: {await example.ErrorsAsync()}");
        }

        private static Process Run(string program, string folder, string[] arguments, Dictionary<string, string> settings)
        {
            var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var (name, value) in settings) start.Environment[name] = value;
            return Process.Start(start)!;
        }
    }

    /// <summary>A program that prints an event a line.</summary>
    internal sealed class Example(Process process) : IDisposable
    {
        private static readonly TimeSpan s_longest = TimeSpan.FromMinutes(1);

        private readonly Task<string> _errors = process.StandardError.ReadToEndAsync();

        /// <summary>Ids of the next events that it prints.</summary>
        public async Task<List<string>> LinesAsync(int count)
        {
            var ids = new List<string>();
            while (ids.Count < count) ids.Add(await NextAsync() ?? throw new InvalidOperationException($"It ended after {ids.Count} events: {await _errors}"));
            return ids;
        }

        /// <summary>Ids up to this one.</summary>
        public async Task<List<string>> LinesUntilAsync(string last)
        {
            var ids = new List<string>();
            while (ids is not [.., var id] || id != last)
            {
                Assert.True(ids.Count <= Events, "It goes on without end.");
                ids.AddRange(await LinesAsync(1));
            }

            return ids;
        }

        /// <summary>Kills it.</summary>
        /// <returns>Ids of the events that it had printed by then; of a line cut in two nothing.</returns>
        public async Task<List<string>> KillAsync()
        {
            process.Kill(entireProcessTree: true);
            var rest = await process.StandardOutput.ReadToEndAsync().WaitAsync(s_longest);
            return [.. rest[..(rest.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(Id)];
        }

        /// <summary>Its exit code.</summary>
        public async Task<int> ExitAsync()
        {
            var output = process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync().WaitAsync(s_longest);
            await output;
            return process.ExitCode;
        }

        public Task<string> ErrorsAsync() => _errors;

        public void Dispose()
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
            process.Dispose();
        }

        private async Task<string?> NextAsync() => await process.StandardOutput.ReadLineAsync().WaitAsync(s_longest) is { } line ? Id(line) : null;

        private static string Id(string line)
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.GetProperty("id").GetString()!;
        }
    }
}
