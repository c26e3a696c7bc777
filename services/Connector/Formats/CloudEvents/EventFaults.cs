using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.CloudEvents;

/// <summary>Tells the faults that the check of an event finds in French too.</summary>
internal static class EventFaults
{
    private const int MaxFieldLength = 100;

    private static readonly Dictionary<string, string> s_french = new()
    {
        ["missing"] = "le champ manque",
        ["must not be null"] = "le champ ne peut pas être nul",
        ["given twice"] = "le champ est donné deux fois",
        ["unknown field"] = "champ inconnu",
        ["unknown field; whatever names or locates a person belongs in data.personal"] = "champ inconnu ; ce qui nomme ou situe une personne va dans data.personal",
        ["not a type of the catalogue"] = "ce type d'événement n'est pas au catalogue",
        ["an object expected"] = "un objet est attendu",
        ["a list expected"] = "une liste est attendue",
        ["text expected"] = "un texte est attendu",
        ["a date (2026-11-24) expected"] = "une date (2026-11-24) est attendue",
        ["a date and time with its offset (2026-11-24T09:30:00+01:00) expected"] = "une date et une heure avec son décalage (2026-11-24T09:30:00+01:00) sont attendues",
        ["set by the connector, not by the sender"] = "donné par le connecteur, non par l'expéditeur",
    };

    /// <summary>The fault of a field. Its name is as the sender wrote it, so a long one is cut.</summary>
    public static Fault Of(FieldError error) => Fault.Of(
        error.Field.Length <= MaxFieldLength ? error.Field : $"{error.Field[..MaxFieldLength]}…",
        new(s_french.GetValueOrDefault(error.Reason) ?? $"la valeur ne suit pas le schéma de l'événement ({error.Reason})", error.Reason, Advice.Correct));
}
