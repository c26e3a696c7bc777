using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Intercommunalite.Contracts;

/// <summary>What is wrong with a field of an event.</summary>
/// <param name="Field">Path from the event's root: <c>data.personal.child.lastName</c>; empty for the event as a whole.</param>
/// <param name="Reason">What is wrong and what is expected; never repeats the value.</param>
public readonly record struct FieldError(string Field, string Reason);

/// <summary>An event that passed the check.</summary>
/// <param name="Envelope">The CloudEvent.</param>
/// <param name="Type">Its type.</param>
/// <param name="Data">Its facts, personal data included.</param>
public sealed record CheckedEvent(CloudEvent Envelope, EventType Type, DomainEvent Data)
{
    /// <summary>The event's identity, worked out once; see <see cref="CloudEvent.EventId"/>.</summary>
    public Guid EventId { get; } = Envelope.EventId;

    /// <summary>Says which event it is, never what it holds.</summary>
    public override string ToString() => Envelope.ToString();
}

/// <summary>
/// Reads a CloudEvent against the catalogue. The .NET records decide; only when they refuse is the JSON walked a second
/// time beside them, to name every field that is wrong.
/// </summary>
public static class EventReader
{
    private const int MaxSubjectLength = 200;
    private static readonly FieldError s_brokenName = new("", "a field's name is not well-formed Unicode text");

    /// <summary>Reads an event.</summary>
    /// <param name="json">The event.</param>
    /// <param name="commune">The commune that its source must name.</param>
    /// <param name="read">The event read, or null.</param>
    /// <param name="errors">Every fault found; empty when the event was read.</param>
    /// <returns>Whether the event is valid.</returns>
    public static bool TryRead(JsonElement json, CommuneCode commune, [NotNullWhen(true)] out CheckedEvent? read, out IReadOnlyList<FieldError> errors)
    {
        read = null;
        var found = new List<FieldError>();
        errors = found;
        if (!TryDeserialize<CloudEvent>(json, typeof(CloudEvent), out var envelope))
        {
            Explain(json, typeof(CloudEvent), "", found);
            if (!found.Contains(s_brokenName)) ExplainRest(json, commune, found);
            return false;
        }

        if (envelope.Source.Commune != commune) found.Add(OtherSource(commune));
        if (envelope.SpecVersion != "1.0") found.Add(new("specversion", "1.0 expected"));
        if (envelope.DataContentType is not (null or "application/json")) found.Add(new("datacontenttype", "application/json expected"));
        if (envelope.TraceParent is { } trace && !ActivityContext.TryParse(trace, null, out _)) found.Add(new("traceparent", "a W3C trace context expected"));
        if (envelope.DataSchema is { } schema && !Uri.TryCreate(schema, UriKind.Absolute, out _)) found.Add(new("dataschema", "an absolute URI expected"));
        if (envelope.Subject.Length > MaxSubjectLength) found.Add(new("subject", $"longer than {MaxSubjectLength} characters"));
        if (envelope.Id.Length > MaxSubjectLength) found.Add(new("id", $"longer than {MaxSubjectLength} characters"));
        if (Catalogue.Find(envelope.Type) is not { } type)
        {
            found.Add(new("type", "not a type of the catalogue"));
        }
        else if (!TryDeserialize<DomainEvent>(envelope.Data, type.Record, out var facts))
        {
            Explain(envelope.Data, type.Record, "data", found);
        }
        else if (found.Count == 0)
        {
            read = new CheckedEvent(envelope, type, facts);
        }

        return read is not null;
    }

    /// <summary>Reads another record that is written like contracts, such as what a caller posts; strict as events are.</summary>
    /// <param name="json">The record.</param>
    /// <param name="read">The record read, or null.</param>
    /// <param name="errors">Every fault found; empty when the record was read.</param>
    /// <returns>Whether the JSON has the record's form.</returns>
    public static bool TryRead<T>(JsonElement json, [NotNullWhen(true)] out T? read, out IReadOnlyList<FieldError> errors)
        where T : class
    {
        var found = new List<FieldError>();
        errors = found;
        if (!TryDeserialize(json, typeof(T), out read)) Explain(json, typeof(T), "", found);
        return read is not null;
    }

    private static bool TryDeserialize<T>(JsonElement json, Type type, [NotNullWhen(true)] out T? value)
        where T : class
    {
        try
        {
            value = (T?)json.Deserialize(type, ContractJson.Options);
            return value is not null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            value = null;
            return false;
        }
    }

    // The envelope is faulty, yet its source and data can be checked where they are there: one answer then names everything.
    private static void ExplainRest(JsonElement json, CommuneCode commune, List<FieldError> errors)
    {
        if (json.ValueKind != JsonValueKind.Object) return;
        if (json.TryGetProperty("source", out var source) && TryText(source, out var urn) && EventSource.TryParse(urn, out var named) && named.Commune != commune)
            errors.Add(OtherSource(commune));
        if (json.TryGetProperty("type", out var type) && TryText(type, out var name) && Catalogue.Find(name) is { } known
            && json.TryGetProperty("data", out var data) && !TryDeserialize<DomainEvent>(data, known.Record, out _))
        {
            Explain(data, known.Record, "data", errors);
        }
    }

    private static FieldError OtherSource(CommuneCode commune) => new("source", $"another commune's source: urn:insee:commune:{commune} expected");

    private static bool TryText(JsonElement json, [NotNullWhen(true)] out string? text)
    {
        try
        {
            text = json.ValueKind == JsonValueKind.String ? json.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            text = null;
        }

        return text is not null;
    }

    private static void Explain(JsonElement json, Type type, string path, List<FieldError> errors)
    {
        var before = errors.Count;
        var info = ContractJson.Options.GetTypeInfo(type);
        switch (info.Kind)
        {
            case JsonTypeInfoKind.Object when json.ValueKind != JsonValueKind.Object:
                errors.Add(new(path, "an object expected"));
                break;
            case JsonTypeInfoKind.Object:
                try
                {
                    ExplainObject(json, info, path, errors);
                }
                catch (InvalidOperationException)
                {
                    errors.Add(s_brokenName with { Field = path });
                }

                break;
            case JsonTypeInfoKind.Enumerable when json.ValueKind != JsonValueKind.Array:
                errors.Add(new(path, "a list expected"));
                break;
            case JsonTypeInfoKind.Enumerable:
                foreach (var (index, item) in json.EnumerateArray().Index()) Explain(item, info.ElementType!, $"{path}[{index}]", errors);
                break;
            default:
                ExplainValue(json, type, path, errors);
                break;
        }

        // The records refused the whole, so there is a fault; were the walk to find none, it would still be said.
        if (errors.Count == before && path is "" or "data") ExplainValue(json, type, path, errors);
    }

    private static void ExplainObject(JsonElement json, JsonTypeInfo info, string path, List<FieldError> errors)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var property in json.EnumerateObject())
        {
            var field = path.Length == 0 ? property.Name : $"{path}.{property.Name}";
            var known = info.Properties.FirstOrDefault(p => p.Name == property.Name);
            if (!seen.Add(property.Name))
            {
                errors.Add(new(field, "given twice"));
            }
            else if (known is null)
            {
                errors.Add(new(field, path == "data"
                    ? "unknown field; whatever names or locates a person belongs in data.personal"
                    : "unknown field"));
            }
            else if (property.Value.ValueKind == JsonValueKind.Null)
            {
                if (known.IsRequired) errors.Add(new(field, "must not be null"));
            }
            else
            {
                Explain(property.Value, known.PropertyType, field, errors);
            }
        }

        foreach (var missing in info.Properties.Where(p => p.IsRequired && !seen.Contains(p.Name)))
        {
            errors.Add(new(path.Length == 0 ? missing.Name : $"{path}.{missing.Name}", "missing"));
        }
    }

    private static void ExplainValue(JsonElement json, Type type, string path, List<FieldError> errors)
    {
        try
        {
            json.Deserialize(type, ContractJson.Options);
        }
        catch (JsonException e)
        {
            errors.Add(new(path, Expected(Nullable.GetUnderlyingType(type) ?? type) ?? e.Message));
        }
        catch (InvalidOperationException)
        {
            errors.Add(new(path, "not readable"));
        }
    }

    // The types that keep the framework's own converter, whose messages name .NET types.
    private static string? Expected(Type type) =>
        type == typeof(DateOnly) ? "a date (2026-11-24) expected"
        : type == typeof(Guid) ? "a UUID expected"
        : type == typeof(long) || type == typeof(int) ? "a whole number expected"
        : type == typeof(ushort) ? $"a whole number from 0 to {ushort.MaxValue} expected"
        : null;
}
