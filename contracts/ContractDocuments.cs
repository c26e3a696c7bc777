using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;

namespace Intercommunalite.Contracts;

/// <summary>
/// The documents that partners read, generated from the <see cref="Catalogue"/>: a JSON Schema (2020-12) for the data of each
/// type, and one AsyncAPI 3 document. They are committed under <c>contracts/schemas</c>; a test regenerates them.
/// </summary>
public static class ContractDocuments
{
    /// <summary>Base address of the schemas' identifiers.</summary>
    public const string SchemaBase = "https://schemas.intercommunalite.fr/";

    private static readonly JsonSerializerOptions s_written = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Every document, by its path below <c>contracts/schemas</c>.</summary>
    public static IReadOnlyDictionary<string, string> Generate()
    {
        var documents = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["cloudevent.schema.json"] = Write(Schema(typeof(CloudEvent), "cloudevent.schema.json", "The envelope: CloudEvents 1.0 in structured JSON")),
            ["asyncapi.json"] = Write(AsyncApi()),
        };
        foreach (var type in Catalogue.All) documents[SchemaFile(type)] = Write(Schema(type.Record, SchemaFile(type), type.Meaning));
        return documents;
    }

    private static string SchemaFile(EventType type) => $"{type.Name}.schema.json";

    private static string Write(JsonNode node) => node.ToJsonString(s_written).ReplaceLineEndings("\n") + "\n";

    private static JsonObject Schema(Type record, string file, string meaning)
    {
        var exported = ContractJson.Options.GetJsonSchemaAsNode(record, new JsonSchemaExporterOptions
        {
            TreatNullObliviousAsNonNullable = true,
            TransformSchemaNode = Describe,
        }).AsObject();
        var schema = new JsonObject
        {
            ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
            ["$id"] = SchemaBase + file,
            ["title"] = meaning,
        };
        foreach (var (key, value) in exported.ToList())
        {
            exported.Remove(key);
            schema[key] = value;
        }

        return schema;
    }

    // The exporter knows the shapes; what the converters add (forms, ranges) is told here.
    private static JsonNode Describe(JsonSchemaExporterContext context, JsonNode schema)
    {
        if (Value(context.TypeInfo.Type) is { } value) return value;
        if (schema is not JsonObject shape) return schema;

        // What is optional is left out, never null; the exporter gives it a default and loses its form on the way.
        if (shape["type"] is JsonArray types) shape["type"] = types[0]!.GetValue<string>();
        shape.Remove("default");
        foreach (var property in context.TypeInfo.Properties)
        {
            if (shape["properties"]?[property.Name] is not null && Value(property.PropertyType) is { } described) shape["properties"]![property.Name] = described;
        }

        return schema;
    }

    private static JsonObject? Value(Type declared)
    {
        var type = Nullable.GetUnderlyingType(declared) ?? declared;
        if (TextForm(type) is { } form) return new JsonObject { ["type"] = "string", ["pattern"] = form.Pattern, ["description"] = form.Description };
        if (type.IsEnum) return new JsonObject { ["type"] = "string", ["enum"] = Words(type) };
        if (type == typeof(string)) return new JsonObject { ["type"] = "string", ["minLength"] = 1, ["maxLength"] = TextConverter.MaxLength };
        if (type == typeof(DateOnly)) return new JsonObject { ["type"] = "string", ["format"] = "date" };
        if (type == typeof(DateTimeOffset)) return new JsonObject { ["type"] = "string", ["format"] = "date-time" };
        if (type == typeof(Guid)) return new JsonObject { ["type"] = "string", ["format"] = "uuid" };
        if (type == typeof(ushort)) return new JsonObject { ["type"] = "integer", ["minimum"] = 0, ["maximum"] = ushort.MaxValue };
        if (type == typeof(long)) return new JsonObject { ["type"] = "integer", ["minimum"] = 1 };
        if (type == typeof(JsonElement)) return new JsonObject { ["type"] = "object", ["description"] = "in the shape of the type's own schema" };
        if (type == typeof(Cents))
            return new JsonObject { ["type"] = "integer", ["minimum"] = 0, ["maximum"] = Cents.Max, ["description"] = "euro cents" };
        if (type == typeof(SchoolYear))
            return new JsonObject { ["type"] = "integer", ["minimum"] = SchoolYear.First, ["maximum"] = SchoolYear.Last, ["description"] = "year in which the school year starts" };
        return null;
    }

    private static (string Pattern, string Description)? TextForm(Type type) =>
        type == typeof(CommuneCode) ? Form<CommuneCode>()
        : type == typeof(PartialDate) ? Form<PartialDate>()
        : type == typeof(Uai) ? Form<Uai>()
        : type == typeof(Slug) ? Form<Slug>()
        : type == typeof(EventSource) ? Form<EventSource>()
        : null;

    private static (string Pattern, string Description) Form<T>()
        where T : struct, ITextValue<T> => (T.Pattern, T.Form);

    private static JsonArray Words(Type type) =>
        [.. Enum.GetValues(type).Cast<object>().Select(value => JsonSerializer.SerializeToNode(value, type, ContractJson.Options))];

    private static JsonObject AsyncApi()
    {
        var messages = new JsonObject();
        var channelMessages = new JsonObject();
        foreach (var type in Catalogue.All)
        {
            messages[type.Name] = new JsonObject
            {
                ["name"] = type.Name,
                ["title"] = type.Meaning,
                ["description"] = type.Personal is { } retention
                    ? $"Issued by: {type.Issuer}. Personal data in `data.personal`, kept {retention.Months} months. {retention.Ground}."
                    : $"Issued by: {type.Issuer}. No personal data.",
                ["contentType"] = CloudEvent.MediaType,
                ["payload"] = new JsonObject
                {
                    ["allOf"] = new JsonArray(
                        new JsonObject { ["$ref"] = "./cloudevent.schema.json" },
                        new JsonObject
                        {
                            ["properties"] = new JsonObject
                            {
                                ["type"] = new JsonObject { ["const"] = type.Name },
                                ["data"] = new JsonObject { ["$ref"] = $"./{SchemaFile(type)}" },
                            },
                        }),
                },
            };
            channelMessages[type.Name] = new JsonObject { ["$ref"] = $"#/components/messages/{type.Name}" };
        }

        return new JsonObject
        {
            ["asyncapi"] = "3.0.0",
            ["info"] = new JsonObject
            {
                ["title"] = "Intercommunalite.Hub",
                ["version"] = "1.0.0",
                ["description"] = "Events that the communes of a territory hand to its hub.",
                ["license"] = new JsonObject { ["name"] = "EUPL-1.2" },
            },
            ["defaultContentType"] = CloudEvent.MediaType,
            ["channels"] = new JsonObject
            {
                ["communeEvents"] = new JsonObject
                {
                    ["address"] = "/communes/{code}/events",
                    ["title"] = "Intake of a commune's connector",
                    ["description"] = $"One event ({CloudEvent.MediaType}) or a batch ({CloudEvent.BatchMediaType}) by HTTP POST.",
                    ["parameters"] = new JsonObject { ["code"] = new JsonObject { ["description"] = "INSEE code of the commune" } },
                    ["messages"] = channelMessages,
                },
            },
            ["operations"] = new JsonObject
            {
                ["receiveCommuneEvents"] = new JsonObject
                {
                    ["action"] = "receive",
                    ["title"] = "The connector accepts events that the commune's software posts",
                    ["channel"] = new JsonObject { ["$ref"] = "#/channels/communeEvents" },
                },
            },
            ["components"] = new JsonObject { ["messages"] = messages },
        };
    }
}
