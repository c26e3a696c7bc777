using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>Enumerations as words: exactly those of the contract, case included, never numbers.</summary>
internal sealed class StrictEnumConverterFactory : JsonConverterFactory
{
    public override bool CanConvert(Type typeToConvert) => typeToConvert.IsEnum;

    public override JsonConverter CreateConverter(Type typeToConvert, JsonSerializerOptions options) =>
        (JsonConverter)Activator.CreateInstance(typeof(StrictEnumConverter<>).MakeGenericType(typeToConvert))!;
}

internal sealed class StrictEnumConverter<T> : JsonConverter<T>
    where T : struct, Enum
{
    // School levels are acronyms (PS, CE1, ULIS) and keep their capitals.
    private static readonly Dictionary<string, T> s_values = Enum.GetValues<T>().ToDictionary(Word);
    private static readonly Dictionary<T, string> s_words = s_values.ToDictionary(pair => pair.Value, pair => pair.Key);

    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && s_values.TryGetValue(reader.GetString()!, out var value)
            ? value
            : throw new JsonException($"one of {string.Join(", ", s_values.Keys)} expected");

    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WriteStringValue(s_words[value]);

    public override T ReadAsPropertyName(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => s_values[reader.GetString()!];

    public override void WriteAsPropertyName(Utf8JsonWriter writer, T value, JsonSerializerOptions options) => writer.WritePropertyName(s_words[value]);

    private static string Word(T value)
    {
        var name = value.ToString();
        return name.Skip(1).All(c => char.IsUpper(c) || char.IsDigit(c)) ? name : JsonNamingPolicy.KebabCaseLower.ConvertName(name);
    }
}
