using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Intercommunalite.Hub.Tests.OpenData;

/// <summary>
/// Holds CSV against a Table Schema (specs.frictionlessdata.io/table-schema): the header, and of each field what the schema of
/// first names uses: required, pattern, enum, minimum, maximum, and the types string, integer and year. A schema that asks
/// for more is not understood, rather than checked in part.
/// </summary>
internal sealed class TableSchema
{
    private readonly Field[] _fields;

    public TableSchema(string json)
    {
        using var schema = JsonDocument.Parse(json);
        _fields = [.. schema.RootElement.GetProperty("fields").EnumerateArray().Select(Field.Of)];
    }

    /// <summary>What is wrong, each as <c>line: FIELD: constraint</c>, the header being line 1.</summary>
    public IReadOnlyList<string> Faults(string csv)
    {
        var lines = csv.Split('\n').Select(line => line.TrimEnd('\r')).ToList();
        if (lines[^1].Length == 0) lines.RemoveAt(lines.Count - 1);
        if (lines[0] != string.Join(',', _fields.Select(field => field.Name))) return ["1: header"];
        return [.. lines.Index().Skip(1).SelectMany(line => RowFaults(line.Item).Select(fault => $"{line.Index + 1}: {fault}"))];
    }

    // None of the fields can hold a comma or a quote: one that does is found by its pattern, or by their number.
    private IEnumerable<string> RowFaults(string line)
    {
        var cells = line.Split(',');
        return cells.Length != _fields.Length ? ["number of fields"] : cells.Zip(_fields).Select(pair => pair.Second.Fault(pair.First)).OfType<string>();
    }

    private sealed record Field(string Name, string Type, bool Required, Regex? Pattern, string[]? Words, long? Minimum, long? Maximum)
    {
        public static Field Of(JsonElement field)
        {
            var constraints = field.GetProperty("constraints");
            foreach (var constraint in constraints.EnumerateObject())
            {
                if (constraint.Name is not ("required" or "pattern" or "enum" or "minimum" or "maximum"))
                    throw new NotSupportedException($"The constraint {constraint.Name} is not checked.");
            }

            var type = field.GetProperty("type").GetString()!;
            return new(
                field.GetProperty("name").GetString()!,
                type is "string" or "integer" or "year" ? type : throw new NotSupportedException($"The type {type} is not checked."),
                constraints.TryGetProperty("required", out var required) && required.GetBoolean(),
                constraints.TryGetProperty("pattern", out var pattern) ? new Regex($"^(?:{pattern.GetString()})\\z", RegexOptions.CultureInvariant) : null,
                constraints.TryGetProperty("enum", out var words) ? [.. words.EnumerateArray().Select(word => word.GetString()!)] : null,
                constraints.TryGetProperty("minimum", out var minimum) ? minimum.GetInt64() : null,
                constraints.TryGetProperty("maximum", out var maximum) ? maximum.GetInt64() : null);
        }

        public string? Fault(string cell)
        {
            if (cell.Length == 0) return Required ? $"{Name}: required" : null;
            if (Pattern?.IsMatch(cell) == false) return $"{Name}: pattern";
            if (Words?.Contains(cell) == false) return $"{Name}: enum";
            if (Type == "year" && !(cell.Length == 4 && cell.All(char.IsAsciiDigit))) return $"{Name}: year";
            if (Type != "integer") return null;
            if (!long.TryParse(cell, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)) return $"{Name}: integer";
            return number < Minimum ? $"{Name}: minimum" : number > Maximum ? $"{Name}: maximum" : null;
        }
    }
}
