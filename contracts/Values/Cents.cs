using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>An amount of money in whole euro cents, 0 to 99,999,999,999; the event says which way it flows.</summary>
/// <param name="Value">Euro cents.</param>
[JsonConverter(typeof(CentsConverter))]
public readonly record struct Cents(long Value)
{
    /// <summary>The largest amount that an event may carry.</summary>
    public const long Max = 99_999_999_999;
}

internal sealed class CentsConverter : JsonConverter<Cents>
{
    public override Cents Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var value) && value is >= 0 and <= Cents.Max
            ? new Cents(value)
            : throw new JsonException($"whole euro cents from 0 to {Cents.Max} expected");

    public override void Write(Utf8JsonWriter writer, Cents value, JsonSerializerOptions options) => writer.WriteNumberValue(value.Value);
}
