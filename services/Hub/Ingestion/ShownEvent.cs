using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>
/// A refused event as an administrator may see it. A value is shown only where the catalogue knows its field as a fact and can
/// read it as one. The values of <c>data.personal</c> are <c>[personal]</c>; all else is <c>[not shown]</c>, since a sender may
/// have put a name there: fields that the catalogue does not know, values of another form than it says, all data of an
/// unknown type.
/// </summary>
internal static class ShownEvent
{
    private const string Personal = "[personal]";
    private const string NotShown = "[not shown]";

    /// <summary>The event with its fields, and the values that may be seen.</summary>
    public static JsonNode? Of(JsonElement json) => Show(json, typeof(CloudEvent), DataOf(json), personal: false);

    private static Type? DataOf(JsonElement json)
    {
        try
        {
            return json.ValueKind == JsonValueKind.Object && json.TryGetProperty("type", out var type) && type.ValueKind == JsonValueKind.String
                ? Catalogue.Find(type.GetString()!)?.Record
                : null;
        }
        catch (InvalidOperationException)
        {
            // Not well-formed Unicode.
            return null;
        }
    }

    private static JsonNode? Show(JsonElement json, Type? type, Type? data, bool personal)
    {
        if (json.ValueKind == JsonValueKind.Null) return null;
        if (type == typeof(JsonElement)) type = data;
        if (type is null) return NotShown;
        personal |= type.IsAssignableTo(typeof(PersonalData));
        var info = ContractJson.Options.GetTypeInfo(type);
        return (info.Kind, json.ValueKind) switch
        {
            (JsonTypeInfoKind.Object, JsonValueKind.Object) => ShowObject(json, info, data, personal),
            (JsonTypeInfoKind.Enumerable, JsonValueKind.Array) =>
                new JsonArray([.. json.EnumerateArray().Select(item => Show(item, info.ElementType, data, personal))]),
            _ => personal ? Personal : ShowValue(json, type),
        };
    }

    private static JsonNode ShowObject(JsonElement json, JsonTypeInfo info, Type? data, bool personal)
    {
        var shown = new JsonObject();
        try
        {
            foreach (var field in json.EnumerateObject())
                shown[field.Name] = Show(field.Value, info.Properties.FirstOrDefault(property => property.Name == field.Name)?.PropertyType, data, personal);
            return shown;
        }
        catch (InvalidOperationException)
        {
            // A field's name is not well-formed Unicode.
            return NotShown;
        }
    }

    private static JsonNode? ShowValue(JsonElement json, Type type)
    {
        try
        {
            json.Deserialize(type, ContractJson.Options);
            return JsonNode.Parse(json.GetRawText());
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return NotShown;
        }
    }
}
