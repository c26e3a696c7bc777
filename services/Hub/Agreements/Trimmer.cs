using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// Leaves of a JSON object what is allowed by name, and nothing else. A value is text, number, true, false, null, or a list of these;
/// an object where a value was expected is left out, since nobody allowed what is in it.
/// </summary>
internal sealed class Trimmer
{
    private readonly Field[] _fields;

    private Trimmer(Field[] fields) => _fields = fields;

    /// <summary>Allows values by their paths: <c>school</c>, <c>child.lastName</c>. Lists on the way are gone through item by item.</summary>
    public static Trimmer Of(IEnumerable<string> paths) => new(Fields(paths.Select(path => path.Split('.'))));

    /// <summary>What is allowed of a JSON object; <c>{}</c> when that is nothing.</summary>
    public string Trim(string json)
    {
        var bytes = ArrayPool<byte>.Shared.Rent(Encoding.UTF8.GetMaxByteCount(json.Length));
        try
        {
            var length = Encoding.UTF8.GetBytes(json, bytes);
            // What is left is no longer than the whole.
            var trimmed = new ArrayBufferWriter<byte>(length + 2);
            using (var writer = new Utf8JsonWriter(trimmed))
            {
                var reader = new Utf8JsonReader(bytes.AsSpan(0, length));
                reader.Read();
                if (!TryWrite(ref reader, bytes, _fields, writer))
                {
                    writer.WriteStartObject();
                    writer.WriteEndObject();
                }
            }

            return Encoding.UTF8.GetString(trimmed.WrittenSpan);
        }
        finally
        {
            // It may hold personal data.
            ArrayPool<byte>.Shared.Return(bytes, clearArray: true);
        }
    }

    private static Field[] Fields(IEnumerable<string[]> paths) =>
        [.. paths.GroupBy(path => path[0]).Select(same => new Field(JsonEncodedText.Encode(same.Key), same.Any(path => path.Length == 1) ? null : Fields(same.Select(path => path[1..]))))];

    // The reader is on the first token of what is to be an object, and is left on its last. False when it is none.
    private static bool TryWrite(ref Utf8JsonReader reader, byte[] json, Field[] fields, Utf8JsonWriter writer)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return false;
        }

        writer.WriteStartObject();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var field = Find(ref reader, fields);
            reader.Read();
            if (field is null) reader.Skip();
            else Write(ref reader, json, field.Value, writer);
        }

        writer.WriteEndObject();
        return true;
    }

    private static Field? Find(ref Utf8JsonReader reader, Field[] fields)
    {
        foreach (var field in fields)
        {
            if (reader.ValueTextEquals(field.Name.EncodedUtf8Bytes)) return field;
        }

        return null;
    }

    private static void Write(ref Utf8JsonReader reader, byte[] json, Field field, Utf8JsonWriter writer)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartArray:
                writer.WriteStartArray(field.Name);
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    if (field.Inner is { } inner) TryWrite(ref reader, json, inner, writer);
                    else if (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.StartArray) reader.Skip();
                    else WriteValue(ref reader, json, writer);
                }

                writer.WriteEndArray();
                break;
            case JsonTokenType.StartObject when field.Inner is { } inner:
                writer.WritePropertyName(field.Name);
                TryWrite(ref reader, json, inner, writer);
                break;
            case JsonTokenType.StartObject:
                reader.Skip();
                break;
            default:
                if (field.Inner is not null) break;
                writer.WritePropertyName(field.Name);
                WriteValue(ref reader, json, writer);
                break;
        }
    }

    // As it was written: nothing is escaped or rounded anew.
    private static void WriteValue(ref Utf8JsonReader reader, byte[] json, Utf8JsonWriter writer) =>
        writer.WriteRawValue(json.AsSpan((int)reader.TokenStartIndex, (int)(reader.BytesConsumed - reader.TokenStartIndex)), skipInputValidation: true);

    /// <summary>A field that is allowed.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Inner">What is allowed of its object or objects; null when it is a value.</param>
    private readonly record struct Field(JsonEncodedText Name, Field[]? Inner);
}
