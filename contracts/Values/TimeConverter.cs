using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>Instants as RFC 3339: date, time and offset, all three required.</summary>
internal sealed class TimeConverter : JsonConverter<DateTimeOffset>
{
    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && reader.TryGetDateTimeOffset(out var time) && HasOffset(reader.GetString()!)
            ? time
            : throw new JsonException("a date and time with its offset (2026-11-24T09:30:00+01:00) expected");

    public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString(value.Offset == TimeSpan.Zero ? "yyyy-MM-dd'T'HH:mm:ss.FFFFFFF'Z'" : "yyyy-MM-dd'T'HH:mm:ss.FFFFFFFzzz", CultureInfo.InvariantCulture));

    private static bool HasOffset(string text) => text.Contains('T') && (text[^1] == 'Z' || text[^6] is '+' or '-');
}
