using System.Collections;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts.Bus;

/// <summary>
/// The events of a segment: a JSON array of CloudEvents. Written from the bytes that the journal holds, and read as one
/// document: taking each event apart on its way through the bus would cost more than all that is done with it.
/// </summary>
[JsonConverter(typeof(Converter))]
[CollectionBuilder(typeof(JournalEvents), nameof(Create))]
public sealed class JournalEvents : IReadOnlyList<JsonElement>
{
    private readonly JsonElement[]? _read;
    private readonly IReadOnlyList<byte[]> _written;

    private JournalEvents(JsonElement[]? read, IReadOnlyList<byte[]> written) => (_read, _written) = (read, written);

    /// <inheritdoc/>
    public int Count => _read?.Length ?? _written.Count;

    /// <inheritdoc/>
    public JsonElement this[int index] => _read?[index] ?? JsonElement.Parse(_written[index]);

    /// <summary>Events that were read.</summary>
    public static JournalEvents Create(ReadOnlySpan<JsonElement> events) => new(events.ToArray(), []);

    /// <summary>Events to be written.</summary>
    /// <param name="events">Each a well-formed CloudEvent in UTF-8.</param>
    public static JournalEvents OfUtf8(IReadOnlyList<byte[]> events) => new(null, events);

    /// <inheritdoc/>
    public IEnumerator<JsonElement> GetEnumerator() => Enumerable.Range(0, Count).Select(index => this[index]).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private sealed class Converter : JsonConverter<JournalEvents>
    {
        public override JournalEvents Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            var array = JsonElement.ParseValue(ref reader);
            return array.ValueKind == JsonValueKind.Array ? new([.. array.EnumerateArray()], []) : throw new JsonException("an array of events expected");
        }

        public override void Write(Utf8JsonWriter writer, JournalEvents value, JsonSerializerOptions options)
        {
            writer.WriteStartArray();
            foreach (var json in value._written) writer.WriteRawValue(json, skipInputValidation: true);
            foreach (var json in value._read ?? []) json.WriteTo(writer);
            writer.WriteEndArray();
        }
    }
}
