using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Intercommunalite.Contracts;

/// <summary>
/// How contracts are written and read as JSON: camelCase, enumerations as kebab-case words, absent rather than null.
/// Reading is strict: unknown, missing, repeated or wrongly typed fields are errors (<see cref="JsonException"/>).
/// </summary>
public static class ContractJson
{
    /// <summary>The options that every reader and writer of events uses. Read-only.</summary>
    public static JsonSerializerOptions Options { get; } = Create();

    /// <summary>Makes <paramref name="options"/> write and read contracts as <see cref="Options"/> does.</summary>
    public static void Apply(JsonSerializerOptions options)
    {
        options.PropertyNamingPolicy = JsonNamingPolicy.CamelCase;
        options.DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull;
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.RespectNullableAnnotations = true;
        options.RespectRequiredConstructorParameters = true;
        options.AllowDuplicateProperties = false;
        options.NumberHandling = JsonNumberHandling.Strict;
        options.MaxDepth = 32;
        options.Converters.Add(new StrictEnumConverterFactory());
        options.Converters.Add(new TextConverter());
        options.Converters.Add(new TimeConverter());
    }

    private static JsonSerializerOptions Create()
    {
        var options = new JsonSerializerOptions { TypeInfoResolver = new DefaultJsonTypeInfoResolver() };
        Apply(options);
        options.MakeReadOnly();
        return options;
    }
}
