using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>
/// Text in events: 1 to 1,000 characters, well-formed Unicode, no control characters (PostgreSQL cannot store U+0000, and
/// the others only come from broken exports).
/// </summary>
internal sealed class TextConverter : JsonConverter<string>
{
    internal const int MaxLength = 1000;

    // Looked for in every text of every event.
    private static readonly SearchValues<char> s_control = SearchValues.Create([.. Enumerable.Range(0, char.MaxValue).Select(code => (char)code).Where(char.IsControl)]);

    public override string Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.String) throw new JsonException("text expected");
        string text;
        try
        {
            text = reader.GetString()!;
        }
        catch (InvalidOperationException)
        {
            throw new JsonException("not well-formed Unicode text");
        }

        if (string.IsNullOrWhiteSpace(text)) throw new JsonException("empty text: leave the field out instead");
        if (text.Length > MaxLength) throw new JsonException($"longer than {MaxLength} characters");
        if (text.AsSpan().ContainsAny(s_control)) throw new JsonException("control characters are not allowed");
        return text;
    }

    public override void Write(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WriteStringValue(value);

    // Names of fields are no texts of the contract: they are read and written as they are.
    public override string ReadAsPropertyName(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.GetString()!;

    public override void WriteAsPropertyName(Utf8JsonWriter writer, string value, JsonSerializerOptions options) => writer.WritePropertyName(value);
}
