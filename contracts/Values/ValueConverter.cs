using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>A value that is written as a JSON string of a given form.</summary>
/// <typeparam name="TSelf">The value type.</typeparam>
internal interface ITextValue<TSelf>
    where TSelf : ITextValue<TSelf>
{
    /// <summary>What the text must look like, for error messages.</summary>
    static abstract string Form { get; }

    /// <summary>Reads the text; false when it has another form.</summary>
    static abstract bool TryParse(ReadOnlySpan<char> s, out TSelf result);

    /// <summary>The same as a regular expression, for JSON Schema.</summary>
    static abstract string Pattern { get; }
}

internal sealed class TextValueConverter<T> : JsonConverter<T>
    where T : struct, ITextValue<T>
{
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && TryParse(ref reader, out var value) ? value : throw new JsonException($"{T.Form} expected");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());

    private static bool TryParse(ref Utf8JsonReader reader, out T value)
    {
        // Every form is ASCII and short; longer or escaped texts cannot be one.
        Span<char> text = stackalloc char[128];
        value = default;
        if (reader.HasValueSequence || reader.ValueIsEscaped || reader.ValueSpan.Length > text.Length) return false;
        for (var i = 0; i < reader.ValueSpan.Length; i++) text[i] = (char)reader.ValueSpan[i];
        return T.TryParse(text[..reader.ValueSpan.Length], out value);
    }
}
