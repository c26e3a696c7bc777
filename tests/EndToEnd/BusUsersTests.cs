using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.EndToEnd.Tests.Faults;
using Intercommunalite.Testing;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>Connectors that have a broker user each, on a real broker whose users the hub makes.</summary>
[Collection(FaultServers.First)]
public sealed class BusUsersTests(FaultServers servers)
{
    private const string Neighbour = "neighbour";

    [Fact]
    public async Task Given_a_broker_user_of_another_commune_When_it_publishes_and_tries_all_else_Then_the_broker_refuses_or_it_is_in_quarantine_and_the_commune_goes_on()
    {
        await using var installation = await Installation.StartAsync(servers.Servers);
        var deployment = installation.Deployment;
        await using var connector = await installation.ConnectorAsync("combourg", Some.Combourg);
        await PostAsync(connector, 1, 3);
        await HasAsync(deployment, 3);
        var journal = (Guid)(await deployment.Database.ScalarAsync("SELECT journal FROM ingestion.journal"))!;

        var settings = await installation.SetAsync(Neighbour, Some.Tinteniac);
        await using var connection = await new ConnectionFactory { Uri = new((string)settings["ConnectionStrings__Bus"]!), AutomaticRecoveryEnabled = false }.CreateConnectionAsync();

        // In the rightful commune's name, as the next events of its journal; under the rightful user's name; under none; rubbish, and much of it.
        var theirs = Segment(Some.Combourg, journal, 4, Some.Births(Some.Combourg, 900, 2));
        await PublishAsync(connection, theirs, Neighbour);
        Assert.Equal(406, await RefusedAsync(connection, channel => PublishAsync(channel, BusNames.ExchangeOf(Neighbour), theirs, "combourg")));
        await PublishAsync(connection, theirs, null);
        // The refused ones of its own commune are the neighbour's own affair, those of another inside its segment too.
        await PublishAsync(connection, Segment(Some.Tinteniac, Guid.NewGuid(), 1, Some.Births(Some.Combourg, 910, 1)), Neighbour);
        var before = await Eventually.Is(() => RowsAsync(deployment, "SELECT concat_ws(' ', commune, reason) FROM ingestion.quarantine ORDER BY reason COLLATE \"C\""), rows => rows.Length == 3);
        Assert.Equal(
            [$"{Some.Combourg} message: sent without the name of a broker user", $"{Some.Combourg} message: the broker user {Neighbour} may not speak for this commune"],
            before.Where(row => row.StartsWith(Some.Combourg, StringComparison.Ordinal)));
        Assert.Equal(["3"], await RowsAsync(deployment, $"SELECT received_through::text FROM ingestion.journal WHERE commune = '{Some.Combourg}'"));
        for (var i = 0; i < 130; i++) await PublishAsync(connection, i % 2 == 0 ? theirs : Encoding.UTF8.GetBytes($"rubbish {i}"), Neighbour);

        await WalkAsync(connection);
        await PostAsync(connector, 4, 4);
        await HasAsync(deployment, 7);
        Assert.Equal(
            Enumerable.Range(1, 7).Select(number => $"birth-{number} {number}"),
            await RowsAsync(deployment, "SELECT (headers->>'id') || ' ' || (headers->>'position') FROM hub.mt_events ORDER BY seq_id"));
        await Eventually.Equal("7", async () => (await JournalAsync(connector))["receivedThrough"]!.ToString());
        await Eventually.Equal(131, async () => (int)(await installation.ListAsync())["items"]!.AsArray().Single(user => (string)user!["name"]! == Neighbour)!["refused"]!);
        Assert.Equal(100, await deployment.CountAsync($"SELECT count(*) FROM ingestion.quarantine WHERE sender = '{Neighbour}'"));

        // Other communes: at once, and those who are connected must come again.
        await installation.SetAsync(Neighbour, "35308");
        await Eventually.Is(() => connection.IsOpen, open => !open, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task Given_a_connector_with_a_broker_user_When_the_broker_loses_its_disk_Then_all_is_made_again_And_when_the_user_is_removed_Then_it_is_out()
    {
        await using var installation = await Installation.StartAsync(servers.Servers);
        var deployment = installation.Deployment;
        await using var connector = await installation.ConnectorAsync("combourg", Some.Combourg);
        await PostAsync(connector, 1, 1);
        await HasAsync(deployment, 1);

        await servers.Servers.LoseRabbitMqDataAsync();
        await PostAsync(connector, 2, 3);
        await HasAsync(deployment, 4);
        await Eventually.Equal("4", async () => (await JournalAsync(connector))["receivedThrough"]!.ToString());

        // The exchange is the user's own to delete; that harms nobody else, and not for long.
        var settings = await installation.SetAsync(Neighbour, Some.Tinteniac);
        await using (var own = await new ConnectionFactory { Uri = new((string)settings["ConnectionStrings__Bus"]!) }.CreateConnectionAsync())
        await using (var channel = await own.CreateChannelAsync())
            await channel.ExchangeDeleteAsync(BusNames.ExchangeOf(Neighbour));
        await Eventually.Is(() => installation.ManagementAsync(HttpMethod.Get, $"api/exchanges/%2F/{BusNames.ExchangeOf(Neighbour)}"), status => status == HttpStatusCode.OK);

        // One of another kind in its place leads nowhere: that keeps nobody else from being made, or removed.
        await using (var own = await new ConnectionFactory { Uri = new((string)settings["ConnectionStrings__Bus"]!) }.CreateConnectionAsync())
        await using (var channel = await own.CreateChannelAsync())
        {
            await channel.ExchangeDeleteAsync(BusNames.ExchangeOf(Neighbour));
            await channel.ExchangeDeclareAsync(BusNames.ExchangeOf(Neighbour), ExchangeType.Direct, durable: true);
        }

        await installation.SetAsync("other", "35308");
        await Eventually.Is(() => deployment.Hub.LastLines, lines => lines.Any(line => line.Contains($"could not be brought up to date ({Neighbour})", StringComparison.Ordinal)));
        using var removed = await installation.Administrator.DeleteAsync(new Uri("/api/v1/access/bus-users/combourg", UriKind.Relative));
        Assert.Equal(HttpStatusCode.OK, removed.StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, await installation.ManagementAsync(HttpMethod.Get, "api/users/combourg"));
        await Eventually.Is(() => connector.LastLines, lines => lines.Any(line => line.Contains("ACCESS_REFUSED", StringComparison.Ordinal)), TimeSpan.FromSeconds(10));
        using var again = await installation.Administrator.DeleteAsync(new Uri("/api/v1/access/bus-users/combourg", UriKind.Relative));
        Assert.Equal(HttpStatusCode.NotFound, again.StatusCode);
    }

    [Fact]
    public async Task Given_users_that_cannot_be_When_they_are_asked_for_Then_it_is_said_why_and_nothing_is_made()
    {
        await using var installation = await Installation.StartAsync(servers.Servers);
        await installation.ManagementAsync(HttpMethod.Put, "api/users/somebody", new { password = "x", tags = "" });
        await installation.SetAsync(Neighbour, Some.Tinteniac);
        (string Body, int Status, string Said)[] refused =
        [
            ("""{"name":"ok","communes":[]}""", 422, "communes"),
            ("""{"name":"ok"}""", 422, "missing"),
            ("""{"name":".*","communes":["35085"]}""", 422, "name"),
            ("""{"name":"a/../b","communes":["35085"]}""", 422, "name"),
            ("""{"name":"ok","communes":["33063"]}""", 422, "communes[0]"),
            ("""{"name":"ok","communes":[".*"]}""", 422, "communes[0]"),
            ("""{"name":"ok","communes":["35085"],"tags":"administrator"}""", 422, "tags"),
            ("""{"name":"hub_admin","communes":["35085"]}""", 422, "name"),
            ("""{"name":"somebody","communes":["35085"]}""", 409, "did not make"),
            ("""{"name":"another","communes":["35337"]}""", 409, "35337"),
        ];

        foreach (var (body, status, said) in refused)
        {
            using var response = await installation.Administrator.PostAsync(
                new Uri("/api/v1/access/bus-users", UriKind.Relative), new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json")));

            Assert.Equal((body, status, "application/problem+json"), (body, (int)response.StatusCode, response.Content.Headers.ContentType?.MediaType));
            Assert.Contains(said, await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        Assert.Equal([Neighbour], (await installation.ListAsync())["items"]!.AsArray().Select(user => (string)user!["name"]!));
        await installation.ManagementAsync(HttpMethod.Delete, "api/users/somebody");
    }

    // All that a connector's user has no business with; each is a channel error of the broker's.
    private static async Task WalkAsync(IConnection connection)
    {
        var own = $"commune-{Some.Tinteniac}";
        var other = $"commune-{Some.Combourg}";
        (string What, Func<IChannel, Task> Try)[] walk =
        [
            ("read the ingestion queue", channel => channel.BasicGetAsync(BusNames.IngestionQueue, autoAck: true)),
            ("consume the ingestion queue", channel => channel.BasicConsumeAsync(BusNames.IngestionQueue, true, new AsyncDefaultBasicConsumerOf(channel))),
            ("read another's queue", channel => channel.BasicGetAsync(other, autoAck: true)),
            ("purge another's queue", channel => channel.QueuePurgeAsync(other)),
            ("delete another's queue", channel => channel.QueueDeleteAsync(other)),
            ("delete the ingestion queue", channel => channel.QueueDeleteAsync(BusNames.IngestionQueue)),
            ("delete the exchange of segments", channel => channel.ExchangeDeleteAsync(BusNames.SegmentExchange)),
            ("delete another's exchange", channel => channel.ExchangeDeleteAsync(BusNames.ExchangeOf("combourg"))),
            ("publish past its exchange", channel => PublishAsync(channel, "", "{}"u8.ToArray(), Neighbour, BusNames.IngestionQueue)),
            ("publish to the exchange of segments", channel => PublishAsync(channel, BusNames.SegmentExchange, "{}"u8.ToArray(), Neighbour)),
            ("publish to another's exchange", channel => PublishAsync(channel, BusNames.ExchangeOf("combourg"), "{}"u8.ToArray(), Neighbour)),
            ("forge another's receipt", channel => PublishAsync(channel, other, "{}"u8.ToArray(), Neighbour)),
            ("publish to a topic", channel => PublishAsync(channel, "amq.topic", "{}"u8.ToArray(), Neighbour)),
            ("declare a queue", channel => channel.QueueDeclareAsync("anything", true, false, false)),
            ("declare a queue of the broker's naming", channel => channel.QueueDeclareAsync("", false, true, true)),
            ("declare an exchange", channel => channel.ExchangeDeclareAsync("anything", ExchangeType.Fanout)),
            ("have its queue read the exchange of segments", async channel =>
            {
                await channel.QueueDeclareAsync(own, true, false, false, new Dictionary<string, object?> { ["x-queue-type"] = "quorum", ["x-delivery-limit"] = 20 });
                await channel.QueueBindAsync(own, BusNames.SegmentExchange, "");
            }),
            ("have its queue read its own segments' exchange", channel => channel.QueueBindAsync(own, BusNames.ExchangeOf(Neighbour), "")),
            ("bind its exchange to another's", channel => channel.ExchangeBindAsync(other, BusNames.ExchangeOf(Neighbour), "")),
            ("have another's exchange feed its own", channel => channel.ExchangeBindAsync(BusNames.ExchangeOf(Neighbour), BusNames.ExchangeOf("combourg"), "")),
            ("follow the broker's traces", channel => channel.QueueBindAsync(own, "amq.rabbitmq.trace", "#")),
            ("unbind another", channel => channel.ExchangeUnbindAsync(BusNames.SegmentExchange, BusNames.ExchangeOf("combourg"), "")),
            ("have its exchange pass on to the exchange of segments", async channel =>
            {
                await channel.ExchangeDeleteAsync(own);
                await channel.ExchangeDeclareAsync(own, ExchangeType.Fanout, true, false, new Dictionary<string, object?> { ["alternate-exchange"] = BusNames.SegmentExchange });
            }),
            ("have its queue pass on to the exchange of segments", async channel =>
            {
                await channel.QueueDeleteAsync(own);
                await channel.QueueDeclareAsync(own, true, false, false, new Dictionary<string, object?> { ["x-dead-letter-exchange"] = BusNames.SegmentExchange });
            }),
        ];
        foreach (var (what, tried) in walk) Assert.Equal((what, 403), (what, await RefusedAsync(connection, tried)));
    }

    // The code with which the broker closes the channel; 0 when it does not.
    private static async Task<int> RefusedAsync(IConnection connection, Func<IChannel, Task> tried)
    {
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true));
        try
        {
            await tried(channel);
            return 0;
        }
        catch (Exception e) when (e is OperationInterruptedException or PublishException or AlreadyClosedException)
        {
            return (await Eventually.Is(() => channel.CloseReason, reason => reason is not null))!.ReplyCode;
        }
    }

    private static async Task PublishAsync(IConnection connection, byte[] body, string? user)
    {
        await using var channel = await connection.CreateChannelAsync(new CreateChannelOptions(true, true));
        await PublishAsync(channel, BusNames.ExchangeOf(Neighbour), body, user);
    }

    private static async Task PublishAsync(IChannel channel, string exchange, byte[] body, string? user, string key = "")
    {
        var properties = new BasicProperties { ContentType = "application/vnd.masstransit+json" };
        if (user is not null) properties.UserId = user;
        await channel.BasicPublishAsync(exchange, key, mandatory: false, properties, body);
    }

    private static byte[] Segment(string commune, Guid journal, long first, CloudEvent[] events) => JsonSerializer.SerializeToUtf8Bytes(new
    {
        messageType = new[] { $"urn:message:{typeof(JournalSegment).Namespace}:{nameof(JournalSegment)}" },
        message = new
        {
            commune,
            journal,
            firstPosition = first,
            events = events.Select((one, index) => JsonSerializer.SerializeToElement(one with { Journal = journal, Position = first + index }, ContractJson.Options)),
        },
    });

    private static Task HasAsync(Deployment deployment, int events) =>
        Eventually.Equal(events, async () => (int)await deployment.CountAsync("SELECT count(*) FROM hub.mt_events"), TimeSpan.FromMinutes(1));

    // Rows of a query of one text column.
    private static async Task<string[]> RowsAsync(Deployment deployment, string sql) =>
        (string[])(await deployment.Database.ScalarAsync($"SELECT ARRAY({sql})"))!;

    private static async Task PostAsync(ServiceProcess connector, int first, int count)
    {
        using var client = Software(connector);
        var body = JsonContent.Create(Some.Births(Some.Combourg, first, count), new MediaTypeHeaderValue(CloudEvent.BatchMediaType), ContractJson.Options);
        using var response = await client.PostAsync(new Uri($"/communes/{Some.Combourg}/events", UriKind.Relative), body);
        Assert.Equal(HttpStatusCode.Accepted, response.StatusCode);
    }

    private static async Task<JsonNode> JournalAsync(ServiceProcess connector)
    {
        using var client = Software(connector);
        return (await client.GetFromJsonAsync<JsonNode>(new Uri($"/communes/{Some.Combourg}/journal", UriKind.Relative)))!;
    }

    private static HttpClient Software(ServiceProcess connector) => new()
    {
        BaseAddress = connector.Address,
        DefaultRequestHeaders = { Authorization = new("Bearer", TestIssuer.Token(["connector"], [Some.Combourg])) },
    };

    private sealed class AsyncDefaultBasicConsumerOf(IChannel channel) : AsyncDefaultBasicConsumer(channel);

    /// <summary>A hub that makes broker users, and its administrator.</summary>
    private sealed class Installation : IAsyncDisposable
    {
        private readonly PrivateServers _servers;
        private readonly string _data = Directory.CreateTempSubdirectory("bus-users-").FullName;

        private Installation(PrivateServers servers, Deployment deployment) => (_servers, Deployment) = (servers, deployment);

        public Deployment Deployment { get; }

        public HttpClient Administrator { get; } = new();

        public static async Task<Installation> StartAsync(PrivateServers servers)
        {
            var deployment = await Deployment.CreateAsync(
                servers,
                new Dictionary<string, string?>
                {
                    ["ConnectionStrings__BusManagement"] = new UriBuilder(servers.RabbitMqManagement) { UserName = User(servers)[0], Password = User(servers)[1] }.Uri.ToString(),
                },
                Some.BretagneRomantique);
            await deployment.Hub.StartAsync();
            var installation = new Installation(servers, deployment);
            installation.Administrator.BaseAddress = deployment.Hub.Address;
            installation.Administrator.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", TestIssuer.Token(["administrator"]));
            return installation;
        }

        /// <summary>Makes a broker user, or changes it.</summary>
        /// <returns>The settings of its connector.</returns>
        public async Task<JsonNode> SetAsync(string name, params string[] communes)
        {
            using var response = await Administrator.PostAsJsonAsync(new Uri("/api/v1/access/bus-users", UriKind.Relative), new { name, communes });
            var answer = (await response.EnsureSuccessStatusCode().Content.ReadFromJsonAsync<JsonNode>())!;
            Assert.True((bool)answer["onBroker"]!);
            Assert.Equal(response.StatusCode == HttpStatusCode.Created, answer["password"] is not null);
            return answer["settings"]!;
        }

        /// <summary>A connector that has its own broker user, started.</summary>
        public async Task<ServiceProcess> ConnectorAsync(string name, params string[] communes)
        {
            var settings = (await SetAsync(name, communes)).AsObject().ToDictionary(setting => setting.Key, setting => (string?)setting.Value);
            settings["Access__Issuer"] = TestIssuer.Url.ToString();
            settings["Connector__DataDirectory"] = Path.Combine(_data, name);
            var connector = new ServiceProcess(ServiceProcess.Built("Connector"), settings);
            await connector.StartAsync();
            return connector;
        }

        public async Task<JsonNode> ListAsync() => (await Administrator.GetFromJsonAsync<JsonNode>(new Uri("/api/v1/access/bus-users", UriKind.Relative)))!;

        /// <summary>Asks the broker's management API.</summary>
        public async Task<HttpStatusCode> ManagementAsync(HttpMethod method, string path, object? body = null)
        {
            using var client = new HttpClient { BaseAddress = _servers.RabbitMqManagement };
            using var request = new HttpRequestMessage(method, path) { Content = body is null ? null : JsonContent.Create(body) };
            request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(string.Join(':', User(_servers)))));
            using var response = await client.SendAsync(request);
            return response.StatusCode;
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var user in (await ListAsync())["items"]!.AsArray()) (await Administrator.DeleteAsync(new Uri($"/api/v1/access/bus-users/{user!["name"]}", UriKind.Relative))).Dispose();
            Administrator.Dispose();
            await Deployment.DisposeAsync();
            Directory.Delete(_data, recursive: true);
        }

        private static string[] User(PrivateServers servers) => [.. servers.RabbitMq.UserInfo.Split(':', 2).Select(Uri.UnescapeDataString)];
    }
}
