using System.Text.Json;
using Intercommunalite.Contracts.Feed.V1;

namespace Intercommunalite.Hub.Feeds;

/// <summary>
/// An event as it leaves the hub in JSON: CloudEvents 1.0, structured, with the extensions <c>recordedtime</c> (when the hub stored it),
/// <c>cursor</c> and <c>traceparent</c>. Personal data that the reader may have stands in <c>data.personal</c>, as when the event came.
/// </summary>
internal static class EventJson
{
    /// <summary>Media type of one event.</summary>
    public const string MediaType = "application/cloudevents+json";

    /// <summary>Writes the event as an object.</summary>
    /// <param name="json">Gets it.</param>
    /// <param name="e">The event.</param>
    /// <param name="extensions">Writes further attributes; null for none.</param>
    public static void Write(Utf8JsonWriter json, Event e, Action<Utf8JsonWriter>? extensions = null)
    {
        json.WriteStartObject();
        json.WriteString("specversion", "1.0");
        json.WriteString("id", e.Id);
        json.WriteString("source", e.Source);
        json.WriteString("type", e.Type);
        json.WriteString("subject", e.Subject);
        json.WriteString("time", e.Time);
        json.WriteString("recordedtime", e.Recorded.ToDateTimeOffset());
        json.WriteString("cursor", e.Cursor);
        if (e.Traceparent.Length > 0) json.WriteString("traceparent", e.Traceparent);
        extensions?.Invoke(json);
        json.WritePropertyName("data");
        // Both are JSON objects as this hub has checked and written them, and "{}" is the empty one.
        json.WriteRawValue(e.Personal.Length == 0 ? e.Data : $"{e.Data[..^1]}{(e.Data == "{}" ? "" : ",")}\"personal\":{e.Personal}}}", skipInputValidation: true);
        json.WriteEndObject();
    }
}
