using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>
/// The envelope: CloudEvents 1.0 (structured JSON), with the attributes that the connector adds. Extension attributes other
/// than those named here are refused, since nobody would know what they hold.
/// </summary>
/// <param name="SpecVersion"><c>1.0</c>.</param>
/// <param name="Id">Unique in its source.</param>
/// <param name="Source">The commune, and perhaps the system in it, that the event comes from.</param>
/// <param name="Type">Wire name from the <see cref="Catalogue"/>.</param>
/// <param name="Subject">The record's own key in that commune: act, enrolment, invoice, request. Never a name.</param>
/// <param name="Time">When the fact was recorded by the commune's software.</param>
/// <param name="Data">The facts, in the shape that the catalogue gives for the type.</param>
/// <param name="DataContentType"><c>application/json</c>, or absent.</param>
/// <param name="DataSchema">Address of the JSON Schema of <paramref name="Data"/>; informative.</param>
/// <param name="Journal">Added by the connector: journal of the commune that the event is in.</param>
/// <param name="Position">Added by the connector: position in that journal: 1, 2, 3, …</param>
/// <param name="TraceParent">W3C trace context; the connector adds the one of the request.</param>
public sealed record CloudEvent(
    [property: JsonPropertyName("specversion")] string SpecVersion,
    string Id,
    EventSource Source,
    string Type,
    string Subject,
    DateTimeOffset Time,
    JsonElement Data,
    [property: JsonPropertyName("datacontenttype")] string? DataContentType = null,
    [property: JsonPropertyName("dataschema")] string? DataSchema = null,
    Guid? Journal = null,
    long? Position = null,
    [property: JsonPropertyName("traceparent")] string? TraceParent = null)
{
    /// <summary>Media type of one event.</summary>
    public const string MediaType = "application/cloudevents+json";

    /// <summary>Media type of a JSON array of events.</summary>
    public const string BatchMediaType = "application/cloudevents-batch+json";

    private static readonly Guid s_urlNamespace = new("6ba7b811-9dad-11d1-80b4-00c04fd430c8");

    /// <summary>
    /// The event's identity everywhere behind the connector: version 5 UUID (RFC 9562) of <c>{source}#{id}</c> in the URL
    /// namespace. The same event, sent again from whatever journal, has the same.
    /// </summary>
    [JsonIgnore]
    public Guid EventId => CreateVersion5(s_urlNamespace, $"{Source}#{Id}");

    /// <summary><see cref="EventId"/> of what may not be a valid event; null when it has no source or id to be read.</summary>
    public static Guid? EventIdOf(JsonElement json)
    {
        try
        {
            return json.ValueKind == JsonValueKind.Object && json.TryGetProperty("source", out var source) && json.TryGetProperty("id", out var id)
                && source.ValueKind == JsonValueKind.String && id.ValueKind == JsonValueKind.String
                ? CreateVersion5(s_urlNamespace, $"{source.GetString()}#{id.GetString()}")
                : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>Puts an event together from its facts.</summary>
    public static CloudEvent Create(DomainEvent data, string id, EventSource source, string subject, DateTimeOffset time) => new(
        "1.0", id, source, Catalogue.Of(data).Name, subject, time, JsonSerializer.SerializeToElement(data, data.GetType(), ContractJson.Options));

    /// <summary>Says which event it is, never what it holds.</summary>
    public override string ToString() => $"{Type} {EventId}";

    [SuppressMessage("Security", "CA5350", Justification = "RFC 9562 defines version 5 with SHA-1; nothing is kept secret by it.")]
    private static Guid CreateVersion5(Guid space, string name)
    {
        // A name from an event that was not checked may have any length.
        var longest = 16 + Encoding.UTF8.GetMaxByteCount(name.Length);
        var input = longest <= 2048 ? stackalloc byte[longest] : new byte[longest];
        space.TryWriteBytes(input, bigEndian: true, out _);
        var length = 16 + Encoding.UTF8.GetBytes(name, input[16..]);
        Span<byte> hash = stackalloc byte[SHA1.HashSizeInBytes];
        SHA1.HashData(input[..length], hash);
        hash[6] = (byte)((hash[6] & 0x0F) | 0x50);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Guid(hash[..16], bigEndian: true);
    }
}

/// <summary>Where an event comes from: <c>urn:insee:commune:35085</c>, with an optional <c>:system</c> behind.</summary>
[JsonConverter(typeof(TextValueConverter<EventSource>))]
public readonly record struct EventSource : ITextValue<EventSource>
{
    /// <summary>The system name of events made by <c>interco simulate</c>: they speak of nobody.</summary>
    public const string Simulated = "simulated";

    private const string Prefix = "urn:insee:commune:";

    /// <summary>Names a source.</summary>
    /// <param name="commune">The commune.</param>
    /// <param name="system">Its system: 1 to 60 letters, digits, <c>.</c>, <c>_</c>, <c>-</c> or <c>:</c>; or null.</param>
    /// <exception cref="ArgumentException">The system's name has another form.</exception>
    public EventSource(CommuneCode commune, string? system = null)
    {
        if (system is not null && !IsSystem(system)) throw new ArgumentException($"'{system}' is not a system name.", nameof(system));
        (Commune, System) = (commune, system);
    }

    /// <summary>The commune whose event it is.</summary>
    public CommuneCode Commune { get; }

    /// <summary>The system in that commune, or null.</summary>
    public string? System { get; }

    static string ITextValue<EventSource>.Form => "urn:insee:commune:{INSEE code}, with an optional :{system} of letters, digits, '.', '_', '-' and ':' behind,";

    static string ITextValue<EventSource>.Pattern => "^urn:insee:commune:([013-8][0-9]|2[1-9AB]|9[0-8])[0-9]{3}(:[A-Za-z0-9._:-]{1,60})?$";

    /// <summary>Reads it.</summary>
    /// <exception cref="FormatException">The text has another form.</exception>
    public static EventSource Parse(string s) =>
        TryParse(s, out var source) ? source : throw new FormatException($"'{s}' is not an event source.");

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(string? s, out EventSource result) => TryParse(s.AsSpan(), out result);

    /// <summary>Reads it; false when the text has another form.</summary>
    public static bool TryParse(ReadOnlySpan<char> s, out EventSource result)
    {
        result = default;
        if (!s.StartsWith(Prefix)) return false;
        s = s[Prefix.Length..];
        if (s.Length < 5 || !CommuneCode.TryParse(s[..5], out var commune)) return false;
        s = s[5..];
        if (s.IsEmpty)
        {
            result = new EventSource(commune);
            return true;
        }

        if (s[0] != ':' || !IsSystem(s[1..])) return false;
        result = new EventSource(commune, s[1..].ToString());
        return true;
    }

    /// <summary>The URN.</summary>
    public override string ToString() => System is null ? $"{Prefix}{Commune}" : $"{Prefix}{Commune}:{System}";

    private static bool IsSystem(ReadOnlySpan<char> system)
    {
        if (system.Length is < 1 or > 60) return false;
        foreach (var c in system)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-' or ':')) return false;
        }

        return true;
    }
}
