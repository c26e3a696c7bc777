using System.Text.Json;
using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>A school year, named by the year in which it starts: 2026 is 2026-2027 (rentrée 2026).</summary>
/// <param name="Start">1900 to 2200.</param>
[JsonConverter(typeof(SchoolYearConverter))]
public readonly record struct SchoolYear(int Start)
{
    internal const int First = 1900;
    internal const int Last = 2200;

    /// <summary>The school year that <paramref name="date"/> is in; one begins on 1 September.</summary>
    public static SchoolYear At(DateOnly date) => new(date.Month >= 9 ? date.Year : date.Year - 1);
}

internal sealed class SchoolYearConverter : JsonConverter<SchoolYear>
{
    public override SchoolYear Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var year) && year is >= SchoolYear.First and <= SchoolYear.Last
            ? new SchoolYear(year)
            : throw new JsonException($"the year in which the school year starts ({SchoolYear.First} to {SchoolYear.Last}) expected");

    public override void Write(Utf8JsonWriter writer, SchoolYear value, JsonSerializerOptions options) => writer.WriteNumberValue(value.Start);
}
