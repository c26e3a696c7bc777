using System.Collections.Concurrent;
using System.Text.Json.Serialization.Metadata;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.Agreements;

/// <summary>The fields that events of a type can have, as their contract says.</summary>
internal static class ContractFields
{
    private const string PersonalField = "personal";

    private static readonly ConcurrentDictionary<EventType, (IReadOnlyList<string> Data, IReadOnlyList<string> Personal)> s_known = new();

    /// <summary>Names of the fields of <c>data</c>, without <c>personal</c>.</summary>
    public static IReadOnlyList<string> Data(EventType type) => Of(type).Data;

    /// <summary>Paths of the values in <c>personal</c>: <c>child.lastName</c>; fields of the items of a list like those of an object.</summary>
    public static IReadOnlyList<string> Personal(EventType type) => Of(type).Personal;

    private static (IReadOnlyList<string> Data, IReadOnlyList<string> Personal) Of(EventType type) => s_known.GetOrAdd(type, static type =>
    {
        var fields = ContractJson.Options.GetTypeInfo(type.Record).Properties;
        return ([.. fields.Select(field => field.Name).Where(name => name != PersonalField)],
            [.. fields.Where(field => field.Name == PersonalField).SelectMany(field => Paths(field.PropertyType, ""))]);
    });

    private static IEnumerable<string> Paths(Type type, string path)
    {
        var info = ContractJson.Options.GetTypeInfo(type);
        return info.Kind switch
        {
            JsonTypeInfoKind.Object => info.Properties.SelectMany(property => Paths(property.PropertyType, path.Length == 0 ? property.Name : $"{path}.{property.Name}")),
            JsonTypeInfoKind.Enumerable => Paths(info.ElementType!, path),
            _ => [path],
        };
    }
}
