using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Unicode;

namespace Intercommunalite.Hub.Privacy;

/// <summary>A person's file as a page to be read and printed, in French; it needs nothing from elsewhere, and everything in it is escaped.</summary>
internal static class PersonPage
{
    private static readonly CultureInfo s_french = CultureInfo.GetCultureInfo("fr-FR");
    private static readonly HtmlEncoder s_html = HtmlEncoder.Create(UnicodeRanges.All);
    private static readonly TimeZoneInfo s_zone = TimeZoneInfo.FindSystemTimeZoneById("Europe/Paris");

    private static readonly Dictionary<string, string> s_types = new()
    {
        ["birth-registered"] = "Naissance enregistrée",
        ["recognition-registered"] = "Reconnaissance enregistrée",
        ["marriage-registered"] = "Mariage enregistré",
        ["pacs-registered"] = "Pacs enregistré",
        ["death-registered"] = "Décès enregistré",
        ["name-change-registered"] = "Changement de nom ou de prénom enregistré",
        ["act-corrected"] = "Acte d’état civil rectifié",
        ["act-annulled"] = "Acte d’état civil annulé",
        ["pupil-enrolled"] = "Inscription scolaire",
        ["pupil-changed-class"] = "Changement de classe",
        ["pupil-withdrawn"] = "Radiation scolaire",
        ["invoice-issued"] = "Facture émise",
        ["invoice-reduced"] = "Facture réduite",
        ["invoice-cancelled"] = "Facture annulée",
        ["online-payment-answered"] = "Paiement en ligne",
        ["payment-collected"] = "Encaissement",
        ["payment-refunded"] = "Remboursement",
        ["request-submitted"] = "Demande déposée",
        ["request-completed"] = "Demande traitée",
        ["request-refused"] = "Demande refusée",
    };

    private static readonly Dictionary<string, string> s_grounds = new()
    {
        ["civil-records"] = "Transmission des actes entre les communes qui les détiennent (Code civil, art. 49, 79 et 80)",
        ["schools"] = "Liste des enfants d’âge scolaire et partage des frais de scolarité (Code de l’éducation, art. L131-6 et L212-8)",
        ["payments"] = "Recouvrement des créances de la commune (CGCT, art. L1617-5)",
        ["requests"] = "Suivi de la demande jusqu’à la réponse et aux délais de recours (RGPD, art. 6(1)(e))",
    };

    private static readonly Dictionary<string, string> s_fields = new()
    {
        ["lastName"] = "Nom de naissance",
        ["firstNames"] = "Prénoms",
        ["usualName"] = "Nom d’usage",
        ["sex"] = "Sexe",
        ["birthDate"] = "Date de naissance",
        ["birthPlace"] = "Lieu de naissance",
        ["birthCountry"] = "Pays de naissance",
        ["address"] = "Adresse",
        ["email"] = "Adresse électronique",
        ["phone"] = "Téléphone",
        ["ine"] = "Identifiant national élève",
        ["className"] = "Classe",
        ["date"] = "Date",
        ["actNumber"] = "Numéro d’acte",
        ["residenceCommune"] = "Commune de résidence (code INSEE)",
        ["birthCommune"] = "Commune de naissance (code INSEE)",
        ["birthCommunes"] = "Communes de naissance (codes INSEE)",
        ["kind"] = "Nature de l’acte",
        ["correctedOn"] = "Rectifié le",
        ["annulledOn"] = "Annulé le",
        ["changes"] = "Objet du changement",
        ["school"] = "École (UAI)",
        ["schoolYear"] = "Année scolaire",
        ["level"] = "Niveau",
        ["enrolledOn"] = "Inscrit le",
        ["changedOn"] = "Changement le",
        ["withdrawnOn"] = "Radié le",
        ["derogation"] = "Dérogation",
        ["service"] = "Service",
        ["amount"] = "Montant (centimes d’euro)",
        ["issuedOn"] = "Émis le",
        ["dueOn"] = "Échéance",
        ["reducedOn"] = "Réduit le",
        ["cancelledOn"] = "Annulé le",
        ["collectedOn"] = "Encaissé le",
        ["refundedOn"] = "Remboursé le",
        ["answeredAt"] = "Répondu le",
        ["outcome"] = "Résultat",
        ["invoice"] = "Facture",
        ["procedure"] = "Démarche",
        ["submittedAt"] = "Déposée le",
        ["completedAt"] = "Traitée le",
        ["refusedAt"] = "Refusée le",
        ["reason"] = "Motif",
    };

    private static readonly Dictionary<string, string> s_roles = new()
    {
        ["child"] = "Enfant",
        ["parents"] = "Parent",
        ["parent"] = "Auteur de la reconnaissance",
        ["first"] = "Conjoint ou partenaire",
        ["second"] = "Conjoint ou partenaire",
        ["deceased"] = "Défunt",
        ["before"] = "Identité avant le changement",
        ["after"] = "Identité après le changement",
        ["persons"] = "Personne citée dans l’acte",
        ["pupil"] = "Élève",
        ["responsibles"] = "Responsable de l’élève",
        ["debtor"] = "Redevable",
        ["applicant"] = "Demandeur",
        [""] = "Autres données",
    };

    /// <summary>The page.</summary>
    public static string Of(PersonFile file)
    {
        var page = new StringBuilder($$"""
            <!DOCTYPE html>
            <html lang="fr">
            <head>
            <meta charset="utf-8">
            <meta name="robots" content="noindex">
            <title>Données personnelles détenues</title>
            <style>
            body { font: 11pt/1.45 sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #111; }
            h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #888; } h3 { font-size: 1em; margin-bottom: .2em; }
            table { border-collapse: collapse; width: 100%; margin: .3em 0 1em; } th, td { text-align: left; vertical-align: top; padding: .2em .6em .2em 0; border-bottom: 1px solid #ddd; }
            th { width: 40%; font-weight: normal; color: #444; } section { break-inside: avoid; }
            @media print { body { margin: 0; max-width: none; } }
            </style>
            </head>
            <body>
            <h1>Données personnelles détenues</h1>
            <p>Responsable : {{Escaped(file.Controller)}}. Document établi le {{Time(file.At)}} en réponse à une demande d’accès (RGPD, article 15).
            Référence de la personne : {{file.Person}}.</p>

            """);
        foreach (var held in file.Events) Event(page, held);
        foreach (var kept in file.Quarantined)
        {
            page.Append(s_french, $"<section>\n<h2>En attente de vérification</h2>\n<p>Reçu le {Time(kept.ReceivedAt)} de la commune {Escaped(kept.Commune ?? "—")}, non accepté.</p>\n");
            foreach (var data in kept.Data ?? []) Fields(page, "Personne citée", data);
            page.Append("</section>\n");
        }

        page.Append("<h2>Destinataires</h2>\n");
        if (file.Disclosures.Count == 0) page.Append("<p>Ces données n’ont été transmises à personne.</p>\n");
        else
        {
            page.Append("<table>\n<tr><th>Destinataire</th><td>Convention</td><td>Le</td></tr>\n");
            foreach (var disclosure in file.Disclosures)
                page.Append(s_french, $"<tr><th>{Escaped(disclosure.Recipient)}</th><td>{Escaped(disclosure.Agreement)}</td><td>{Time(disclosure.At)}</td></tr>\n");
            page.Append("</table>\n");
        }

        foreach (var hold in file.Holds) page.Append(s_french, $"<p>Conservation imposée depuis le {Time(hold.At)} : {Escaped(hold.Reason)}</p>\n");
        foreach (var refusal in file.Refusals) page.Append(s_french, $"<p>Effacement refusé le {Time(refusal.At)} : {Escaped(refusal.Ground)}</p>\n");
        page.Append("""
            <h2>Vos droits</h2>
            <p>Vous pouvez demander la rectification ou l’effacement de ces données, la limitation de leur traitement, ou vous y opposer, auprès du
            délégué à la protection des données de l’intercommunalité. Les registres tenus par les communes relèvent de chacune d’elles.
            Vous pouvez introduire une réclamation auprès de la CNIL (www.cnil.fr).</p>
            </body>
            </html>

            """);
        return page.ToString();
    }

    private static void Event(StringBuilder page, HeldEvent held)
    {
        var parts = held.Type.Split('.');
        page.Append(s_french, $"""
            <section>
            <h2>{Escaped(parts.Length > 3 ? s_types.GetValueOrDefault(parts[3], held.Type) : held.Type)}</h2>
            <table>
            <tr><th>Source</th><td>Commune {Escaped(held.Commune)}{(held.Source is null ? "" : $" ({Escaped(held.Source)})")}, dossier {Escaped(held.Subject ?? "—")}</td></tr>
            <tr><th>Enregistré par la commune le</th><td>{Time(held.Time)}</td></tr>
            <tr><th>Reçu le</th><td>{Time(held.ReceivedAt)}</td></tr>
            <tr><th>Finalité et base légale</th><td>{Escaped(parts.Length > 2 ? s_grounds.GetValueOrDefault(parts[2], held.Ground ?? "—") : held.Ground ?? "—")}</td></tr>
            <tr><th>Conservé jusqu’au</th><td>{Time(held.KeepUntil)}</td></tr>
            </table>

            """);
        foreach (var (path, data) in held.Data ?? []) Fields(page, s_roles.GetValueOrDefault(path.Split('.')[0], path), data);
        if (held.Facts is JsonObject { Count: > 0 } facts) Fields(page, "Faits enregistrés", facts);
        page.Append("</section>\n");
    }

    private static void Fields(StringBuilder page, string title, JsonNode? data)
    {
        page.Append(s_french, $"<h3>{Escaped(title)}</h3>\n<table>\n");
        foreach (var (name, value) in data as JsonObject ?? []) page.Append(s_french, $"<tr><th>{Escaped(s_fields.GetValueOrDefault(name, name))}</th><td>{Escaped(Text(value))}</td></tr>\n");
        page.Append("</table>\n");
    }

    private static string Text(JsonNode? value) => value switch
    {
        null => "—",
        JsonArray list => string.Join(", ", list.Select(Text)),
        JsonValue when value.GetValueKind() == JsonValueKind.String => (string)value! switch { "male" => "masculin", "female" => "féminin", var text => text },
        _ => value.ToJsonString(),
    };

    private static string Time(DateTimeOffset? time) => time is { } known ? TimeZoneInfo.ConvertTime(known, s_zone).ToString("d MMMM yyyy 'à' HH'h'mm", s_french) : "—";

    private static string Escaped(string text) => s_html.Encode(text);
}
