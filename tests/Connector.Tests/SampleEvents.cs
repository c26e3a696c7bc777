using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.CivilRecords;

namespace Intercommunalite.Connector.Tests;

/// <summary>Events as a commune's software would send them.</summary>
internal static class SampleEvents
{
    public const string Commune = "35085";

    public static CloudEvent Birth(string id, string commune = Commune) => CloudEvent.Create(
        new BirthRegistered(PartialDate.Parse("2026-03-14"), id) { Personal = new BirthPersonal(new Person("MARTIN", "LEA")) },
        id, EventSource.Parse($"urn:insee:commune:{commune}"), $"birth/2026/{id}", new DateTimeOffset(2026, 3, 14, 9, 0, 0, TimeSpan.Zero));

    public static string Json(CloudEvent sent) => JsonSerializer.Serialize(sent, ContractJson.Options);

    /// <summary>A birth as JSON, after a change.</summary>
    public static string Json(string id, Action<JsonObject>? change = null)
    {
        var json = JsonNode.Parse(Json(Birth(id)))!.AsObject();
        change?.Invoke(json);
        return json.ToJsonString();
    }
}
