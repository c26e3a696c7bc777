using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Intercommunalite.Testing;

/// <summary>
/// An issuer of tokens on a loopback port, with its discovery document and keys, for services that are tested without a hub. It signs
/// whatever a test wants, right or wrong.
/// </summary>
public static class TestIssuer
{
    /// <summary>What its tokens are meant for by default.</summary>
    public const string Audience = "intercommunalite";

    private static readonly ECDsa s_key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private static readonly Lazy<Uri> s_url = new(Listen);

    /// <summary>The issuer, as tokens name it.</summary>
    public static Uri Url => s_url.Value;

    /// <summary>A token.</summary>
    /// <param name="roles">Roles of the caller.</param>
    /// <param name="communes">Its communes.</param>
    /// <param name="client">Who it is.</param>
    /// <param name="change">Changes header and payload before they are signed.</param>
    public static string Token(IEnumerable<string> roles, IEnumerable<string>? communes = null, string client = "test", Action<JsonObject, JsonObject>? change = null)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var header = new JsonObject { ["alg"] = "ES256", ["typ"] = "at+jwt", ["kid"] = "test" };
        var payload = new JsonObject
        {
            ["iss"] = Url.ToString().TrimEnd('/'),
            ["aud"] = Audience,
            ["sub"] = client,
            ["iat"] = now,
            ["exp"] = now + 86_400,
            ["roles"] = new JsonArray([.. roles.Select(role => JsonValue.Create(role))]),
            ["communes"] = new JsonArray([.. (communes ?? []).Select(code => JsonValue.Create(code))]),
        };
        change?.Invoke(header, payload);
        return Sign(header, payload, s_key);
    }

    /// <summary>A client with a token for all that a connector, an agent and an administrator may do.</summary>
    /// <param name="address">The service.</param>
    /// <param name="communes">For these communes.</param>
    public static HttpClient Client(Uri address, IEnumerable<string> communes) => Client(address, communes, "connector", "epci-agent", "administrator");

    /// <summary>A client with a token for these roles.</summary>
    public static HttpClient Client(Uri address, IEnumerable<string> communes, params string[] roles) => new()
    {
        BaseAddress = address,
        DefaultRequestHeaders = { Authorization = new("Bearer", Token(roles, communes)) },
    };

    /// <summary>Its public key (SubjectPublicKeyInfo), which everybody may have.</summary>
    public static byte[] PublicKey => s_key.ExportSubjectPublicKeyInfo();

    /// <summary>The same signed with another key; none when that is null.</summary>
    public static string Sign(JsonObject header, JsonObject payload, ECDsa? key)
    {
        var signed = $"{Encoded(header.ToJsonString())}.{Encoded(payload.ToJsonString())}";
        return $"{signed}.{(key is null ? "" : Base64Url.EncodeToString(key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256)))}";
    }

    private static string Encoded(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));

    private static Uri Listen()
    {
        var url = new Uri($"http://127.0.0.1:{FreePorts.Take()}/");
        var point = s_key.ExportParameters(false).Q;
        var keys = JsonSerializer.SerializeToUtf8Bytes(new
        {
            keys = new[] { new { kty = "EC", crv = "P-256", use = "sig", alg = "ES256", kid = "test", x = Base64Url.EncodeToString(point.X), y = Base64Url.EncodeToString(point.Y) } },
        });
        var discovery = JsonSerializer.SerializeToUtf8Bytes(new { issuer = url.ToString().TrimEnd('/'), jwks_uri = new Uri(url, "keys") });
        var listener = new HttpListener { Prefixes = { url.ToString() } };
        listener.Start();
        _ = Task.Run(async () =>
        {
            while (true)
            {
                var context = await listener.GetContextAsync();
                context.Response.ContentType = "application/json";
                context.Response.Close(context.Request.Url!.AbsolutePath == "/keys" ? keys : discovery, willBlock: false);
            }
        });
        return url;
    }
}
