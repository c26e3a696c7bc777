using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Grpc.Core;
using Grpc.Net.Client;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Testing;
using Xunit;

namespace Intercommunalite.EndToEnd.Tests;

/// <summary>What a stranger, a forger and a caller who reaches too far get: a refusal, and nothing of what is there.</summary>
public sealed class AbuseTests(AbuseTests.Territory territory) : IClassFixture<AbuseTests.Territory>
{
    private static readonly string[] s_hubPaths =
    [
        "/api/v1/territory", "/api/v1/civil-records/indicators", "/api/v1/schools/rolls", "/api/v1/payments/summary", "/api/v1/ingestion", "/api/v1/open-data/first-names?year=2026",
        "/api/v1/admin/events", "/api/v1/admin/projections", "/api/v1/admin/quarantine", "/api/v1/access/accounts", "/api/v1/audit", "/api/v1/audit/verification",
    ];

    private static readonly string[] s_connectorPaths = ["/communes", "/communes/35085/journal", "/communes/35085/imports/held", "/imports/held"];

    private readonly Deployment _deployment = territory.Deployment;

    /// <summary>Tokens that are none.</summary>
    public static TheoryData<string> Forgeries =>
        ["none", "garbage", "expired", "not yet", "no end", "another issuer", "another audience", "alg none", "alg HS256", "another key", "changed", "no subject"];

    [Theory]
    [MemberData(nameof(Forgeries))]
    public async Task Given_a_token_that_is_none_When_anything_is_asked_Then_401_and_nothing_of_what_is_there(string forgery)
    {
        var token = Forged(forgery);

        foreach (var (service, path) in s_hubPaths.Select(path => (_deployment.Hub, path)).Concat(s_connectorPaths.Select(path => (_deployment.Connectors[0], path))))
        {
            using var client = new HttpClient { BaseAddress = service.Address };
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            if (token is not null) request.Headers.Authorization = new("Bearer", token);
            await AssertRefusedAsync(await client.SendAsync(request), HttpStatusCode.Unauthorized);
        }

        using var post = new HttpRequestMessage(HttpMethod.Post, new Uri(_deployment.Connectors[0].Address, "/communes/35085/events"))
        {
            Content = new StringContent("[]", Encoding.UTF8, new MediaTypeHeaderValue("application/cloudevents-batch+json")),
        };
        if (token is not null) post.Headers.Authorization = new("Bearer", token);
        using var poster = new HttpClient();
        await AssertRefusedAsync(await poster.SendAsync(post), HttpStatusCode.Unauthorized);

        using var channel = GrpcChannel.ForAddress($"http://127.0.0.1:{_deployment.GrpcPort}");
        var headers = new Metadata();
        if (token is not null) headers.Add("authorization", $"Bearer {token}");
        var error = await Assert.ThrowsAsync<RpcException>(async () => await new Feed.FeedClient(channel).ReadAsync(new ReadRequest(), headers));
        Assert.Equal(StatusCode.Unauthenticated, error.StatusCode);
    }

    [Theory]
    [InlineData("connector", "/api/v1/civil-records/indicators /api/v1/admin/events /api/v1/admin/quarantine /api/v1/access/accounts /api/v1/access/bus-users /api/v1/audit /api/v1/open-data/first-names?year=2026")]
    [InlineData("commune-agent", "/api/v1/ingestion /api/v1/admin/events /api/v1/admin/projections /api/v1/access/accounts /api/v1/access/bus-users /api/v1/audit /api/v1/open-data/first-names?year=2026 /api/v1/open-data/first-names?year=2026&commune=35337")]
    [InlineData("epci-agent", "/api/v1/admin/events /api/v1/admin/quarantine /api/v1/access/accounts /api/v1/access/bus-users /api/v1/audit /api/v1/audit/verification")]
    [InlineData("administrator", "/api/v1/audit /api/v1/privacy/retention")]
    [InlineData("dpo", "/api/v1/admin/events /api/v1/admin/quarantine /api/v1/access/accounts /api/v1/access/bus-users /api/v1/ingestion")]
    [InlineData("partner", "/api/v1/civil-records/indicators /api/v1/ingestion /api/v1/admin/events /api/v1/access/accounts /api/v1/access/bus-users /api/v1/audit /api/v1/audit/verification")]
    [InlineData("king", "/api/v1/civil-records/indicators /api/v1/ingestion /api/v1/admin/events /api/v1/access/accounts /api/v1/access/bus-users /api/v1/audit /api/v1/audit/verification")]
    public async Task Given_a_role_When_it_asks_for_what_is_anothers_Then_403_and_nothing_of_what_is_there(string role, string paths)
    {
        using var client = As(_deployment.Hub, role, Some.Combourg);
        foreach (var path in paths.Split(' ')) await AssertRefusedAsync(await client.GetAsync(new Uri(path, UriKind.Relative)), HttpStatusCode.Forbidden);
    }

    [Theory]
    [InlineData("connector", "35085", "GET", "/communes/35337/journal")]
    [InlineData("connector", "35085", "POST", "/communes/35337/events")]
    [InlineData("connector", "35085", "POST", "/communes/35337/files/insee-deaths")]
    [InlineData("connector", "35085", "POST", "/files/insee-deaths")]
    [InlineData("connector", "35085", "POST", "/communes/35337/payfip")]
    [InlineData("connector", "35085", "GET", "/communes/35337/imports/held")]
    [InlineData("connector", "35085", "GET", "/imports/held")]
    [InlineData("connector", "", "POST", "/communes/35085/events")]
    [InlineData("commune-agent", "35085", "POST", "/communes/35085/events")]
    [InlineData("administrator", "", "POST", "/communes/35085/events")]
    [InlineData("epci-agent", "", "GET", "/communes/35085/journal")]
    [InlineData("partner", "35085", "GET", "/communes/35085/journal")]
    public async Task Given_the_token_of_another_When_a_commune_is_asked_for_Then_403_and_its_journal_is_as_it_was(string role, string commune, string method, string path)
    {
        var before = await LastAsync();
        using var client = As(_deployment.Connectors[0], role, commune);
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (method == "POST") request.Content = new StringContent("[]", Encoding.UTF8, new MediaTypeHeaderValue("application/cloudevents-batch+json"));

        await AssertRefusedAsync(await client.SendAsync(request), HttpStatusCode.Forbidden);

        Assert.Equal(before, await LastAsync());
    }

    [Fact]
    public async Task Given_a_connector_of_one_commune_When_it_asks_how_far_the_hub_is_Then_it_sees_that_one()
    {
        using var client = As(_deployment.Hub, "connector", Some.Combourg);
        var seen = JsonNode.Parse(await client.GetStringAsync(new Uri("/api/v1/ingestion", UriKind.Relative)))!;

        Assert.Equal([Some.Combourg], seen["items"]!.AsArray().Select(item => (string)item!["commune"]!));
        Assert.Empty(seen["neverSent"]!.AsArray());
    }

    [Theory]
    [InlineData("/..%2f..%2f..%2fetc%2fpasswd")]
    [InlineData("/%2e%2e/%2e%2e/etc/passwd")]
    [InlineData("/_content/..%2f..%2fappsettings.json")]
    [InlineData("/_framework/..%2f..%2fIntercommunalite.Hub.dll")]
    [InlineData("/api/v1/admin/projections/..%2f..%2fevents")]
    [InlineData("/api/v1/access/accounts/..%2f..%2f..%2fetc%2fpasswd")]
    [InlineData("/api/v1/admin/quarantine/..%2f1")]
    [InlineData("/openapi/..%2f..%2fappsettings.json")]
    public async Task Given_a_path_that_leads_out_When_the_hub_is_asked_Then_4xx(string path) => await AssertLeadsNowhereAsync(_deployment.Hub, path);

    [Theory]
    [InlineData("/communes/..%2f..%2fetc/journal")]
    [InlineData("/communes/%2e%2e%2f35337/journal")]
    [InlineData("/communes/35085/imports/..%2f..%2f35337/rejects")]
    [InlineData("/imports/..%2f..%2f..%2fetc%2fpasswd/rejects")]
    [InlineData("/communes/35085/files/..%2f..%2f..%2ftmp%2fx")]
    [InlineData("/communes/35085/payfip/..%2f..%2f")]
    public async Task Given_a_path_that_leads_out_When_a_connector_is_asked_Then_4xx(string path) => await AssertLeadsNowhereAsync(_deployment.Connectors[0], path);

    [Theory]
    [InlineData("' OR '1'='1")]
    [InlineData("'; DROP SCHEMA hub CASCADE; --")]
    [InlineData("%' UNION SELECT 1, current_user --")]
    [InlineData("\0")]
    [InlineData("{\"$gt\":\"\"}")]
    [InlineData("../../../../etc/passwd")]
    [InlineData("=cmd|' /C calc'!A0")]
    [InlineData("<script>alert(1)</script>")]
    [InlineData("9999999999999999999999")]
    [InlineData("é\u202Eǅ￿")]
    public async Task Given_an_injection_in_every_parameter_of_every_call_When_it_is_asked_Then_nothing_more_is_seen_and_nothing_breaks(string injection)
    {
        using var client = TestIssuer.Client(_deployment.Hub.Address, [], "epci-agent", "administrator", "dpo");
        var document = JsonNode.Parse(await client.GetStringAsync(new Uri("/openapi/v1.json", UriKind.Relative)))!;
        var asked = 0;
        foreach (var (path, calls) in document["paths"]!.AsObject())
        {
            if (calls!["get"] is not { } get) continue;
            foreach (var parameter in get["parameters"]?.AsArray() ?? [])
            {
                var (name, place) = ((string)parameter!["name"]!, (string)parameter["in"]!);
                var address = place == "path" ? path.Replace($"{{{name}}}", Uri.EscapeDataString(injection), StringComparison.Ordinal)
                    : place == "query" ? $"{path}?{name}={Uri.EscapeDataString(injection)}" : path;
                using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(address, UriKind.Relative));
                if (place == "header")
                {
                    // Of a stream, which goes on from what the header says.
                    request.Headers.Add(name, Uri.EscapeDataString(injection));
                    request.Headers.Accept.ParseAdd("text/event-stream");
                }

                using var answer = await client.SendAsync(request);
                var body = await answer.Content.ReadAsStringAsync();
                asked++;

                Assert.True((int)answer.StatusCode is 200 or 400 or 403 or 404 or 409 or 412 or 422, $"{address}: {(int)answer.StatusCode} {body}");
                Assert.DoesNotContain("hub_admin", body, StringComparison.Ordinal);
                Assert.DoesNotContain("Npgsql", body, StringComparison.Ordinal);
                // A filter that is taken as text leaves nothing.
                if (answer.Content.Headers.ContentType?.MediaType == "application/json" && JsonNode.Parse(body) is JsonObject answered && answered["items"] is JsonArray items) Assert.Empty(items);
            }
        }

        Assert.True(asked > 30, $"{asked} parameters only");
        Assert.Equal(Territory.Births, await _deployment.CountAsync("SELECT count(*) FROM hub.mt_events"));
    }

    private static string? Forged(string forgery) => forgery switch
    {
        "none" => null,
        "garbage" => "not.a.token",
        "expired" => Token((_, payload) => payload["exp"] = Now(-3600)),
        "not yet" => Token((_, payload) => payload["nbf"] = Now(3600)),
        "no end" => Token((_, payload) => payload.Remove("exp")),
        "another issuer" => Token((_, payload) => payload["iss"] = "https://issuer.example.org"),
        "another audience" => Token((_, payload) => payload["aud"] = "another-service"),
        "no subject" => Token((_, payload) => payload.Remove("sub")),
        "alg none" => Signed("none", _ => null),
        "alg HS256" => Signed("HS256", signed => System.Security.Cryptography.HMACSHA256.HashData(TestIssuer.PublicKey, signed)),
        "another key" => Signed("ES256", signed =>
        {
            using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
            return key.SignData(signed, System.Security.Cryptography.HashAlgorithmName.SHA256);
        }),
        "changed" => Changed(Token((_, _) => { })),
        _ => throw new ArgumentOutOfRangeException(nameof(forgery)),
    };

    private static string Token(Action<JsonObject, JsonObject> change) => TestIssuer.Token(["connector", "epci-agent", "administrator", "dpo"], [Some.Combourg, Some.Tinteniac], change: change);

    private static string Signed(string algorithm, Func<byte[], byte[]?> sign)
    {
        var right = Token((header, _) => header["alg"] = algorithm);
        var signed = right[..right.LastIndexOf('.')];
        return $"{signed}.{(sign(Encoding.ASCII.GetBytes(signed)) is { } signature ? System.Buffers.Text.Base64Url.EncodeToString(signature) : "")}";
    }

    // The right signature over what it was not made for.
    private static string Changed(string token)
    {
        var parts = token.Split('.');
        var payload = JsonNode.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[1]))!;
        payload["sub"] = "somebody-else";
        return $"{parts[0]}.{System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(payload.ToJsonString()))}.{parts[2]}";
    }

    private static long Now(int seconds) => DateTimeOffset.UtcNow.ToUnixTimeSeconds() + seconds;

    private static HttpClient As(ServiceProcess service, string role, string commune) => TestIssuer.Client(service.Address, commune.Length == 0 ? [] : [commune], role);

    private async Task<string> LastAsync()
    {
        using var client = _deployment.ClientOf(_deployment.Connectors[0]);
        var last = new List<string>();
        foreach (var commune in (string[])[Some.Combourg, Some.Tinteniac])
            last.Add(JsonNode.Parse(await client.GetStringAsync(new Uri($"/communes/{commune}/journal", UriKind.Relative)))!["lastPosition"]!.ToString());
        return string.Join(' ', last);
    }

    private static async Task AssertLeadsNowhereAsync(ServiceProcess service, string path)
    {
        using var client = TestIssuer.Client(service.Address, [Some.Combourg], "connector", "epci-agent", "administrator", "dpo");
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(service.Address.ToString().TrimEnd('/') + path, new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
        using var answer = await client.SendAsync(request);
        var body = await answer.Content.ReadAsStringAsync();

        Assert.InRange((int)answer.StatusCode, 400, 499);
        Assert.DoesNotContain("root:", body, StringComparison.Ordinal);
        Assert.DoesNotContain("Logging", body, StringComparison.Ordinal);
    }

    private static async Task AssertRefusedAsync(HttpResponseMessage answer, HttpStatusCode status)
    {
        using (answer)
        {
            var body = await answer.Content.ReadAsStringAsync();
            Assert.True(status == answer.StatusCode, $"{answer.RequestMessage!.RequestUri}: {(int)answer.StatusCode} {body}");
            Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
            Assert.False(answer.Headers.Contains("X-Hub-Position"));
            foreach (var hint in (string[])["items", "Combourg", "NOM-DE-PERSONNE", "birth"]) Assert.DoesNotContain(hint, body, StringComparison.OrdinalIgnoreCase);
        }
    }

    /// <summary>Two communes with a birth or two each.</summary>
    public sealed class Territory : IAsyncLifetime
    {
        internal const int Births = 4;

        internal Deployment Deployment { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            Deployment = await (await Deployment.CreateAsync(Some.BretagneRomantique, [Some.Combourg, Some.Tinteniac])).StartAsync();
            using var first = await Deployment.PostAsync(0, Some.Combourg, Some.Births(Some.Combourg, 1, Births / 2));
            using var second = await Deployment.PostAsync(0, Some.Tinteniac, Some.Births(Some.Tinteniac, 1, Births / 2));
            await Deployment.HasEventsAsync(Births);
        }

        public async Task DisposeAsync() => await Deployment.DisposeAsync();
    }
}
