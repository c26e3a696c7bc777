using System.Collections.Frozen;

namespace Intercommunalite.Hub.Agreements;

/// <summary>What the register calls domains, types, persons and fields in French. A test holds it against the catalogue.</summary>
internal static class RegisterFrench
{
    /// <summary>Domains: name, purpose, legal ground.</summary>
    public static FrozenDictionary<string, (string Name, string Purpose, string Ground)> Domains { get; } = new Dictionary<string, (string, string, string)>
    {
        ["civil-records"] = (
            "État civil",
            "Transmettre aux communes concernées les avis nécessaires aux mentions et aux transcriptions, relancer celles qui n’ont pas répondu ; établir des chiffres sans personnes.",
            "RGPD, art. 6(1)(c) ; Code civil, art. 49, 79 et 80."),
        ["schools"] = (
            "Scolarité",
            "Tenir la liste des enfants soumis à l’obligation scolaire, suivre les inscriptions, répartir les charges des écoles entre communes.",
            "RGPD, art. 6(1)(c) et 6(1)(e) ; Code de l’éducation, art. L131-6 et L212-8."),
        ["payments"] = (
            "Recettes et paiements",
            "Suivre les titres de recettes, leur recouvrement et les paiements en ligne.",
            "RGPD, art. 6(1)(c) et 6(1)(e) ; CGCT, art. L1617-5."),
        ["requests"] = (
            "Demandes des usagers",
            "Suivre une demande jusqu’à sa réponse et pendant le délai de recours.",
            "RGPD, art. 6(1)(e)."),
    }.ToFrozenDictionary();

    /// <summary>Types of events by their names without <c>fr.intercommunalite.</c> before.</summary>
    public static FrozenDictionary<string, string> Types { get; } = new Dictionary<string, string>
    {
        ["civil-records.birth-registered.v1"] = "Naissance enregistrée",
        ["civil-records.recognition-registered.v1"] = "Reconnaissance enregistrée",
        ["civil-records.marriage-registered.v1"] = "Mariage enregistré",
        ["civil-records.pacs-registered.v1"] = "PACS enregistré",
        ["civil-records.death-registered.v1"] = "Décès enregistré",
        ["civil-records.name-change-registered.v1"] = "Changement de nom ou de prénom enregistré",
        ["civil-records.act-corrected.v1"] = "Acte rectifié",
        ["civil-records.act-annulled.v1"] = "Acte annulé",
        ["schools.school-declared.v1"] = "École déclarée",
        ["schools.pupil-enrolled.v1"] = "Élève inscrit",
        ["schools.pupil-changed-class.v1"] = "Élève changé de classe",
        ["schools.pupil-withdrawn.v1"] = "Élève radié",
        ["payments.invoice-issued.v1"] = "Titre émis",
        ["payments.invoice-reduced.v1"] = "Titre réduit",
        ["payments.invoice-cancelled.v1"] = "Titre annulé",
        ["payments.online-payment-answered.v1"] = "Réponse de la page de paiement",
        ["payments.payment-collected.v1"] = "Encaissement",
        ["payments.payment-refunded.v1"] = "Remboursement",
        ["requests.request-submitted.v1"] = "Demande déposée",
        ["requests.request-completed.v1"] = "Demande traitée",
        ["requests.request-refused.v1"] = "Demande refusée",
    }.ToFrozenDictionary();

    /// <summary>Sources, by the catalogue's issuer.</summary>
    public static FrozenDictionary<string, string> Issuers { get; } = new Dictionary<string, string>
    {
        ["civil registry of the commune of birth"] = "État civil de la commune de naissance",
        ["civil registry that drew up the act"] = "État civil qui a dressé l’acte",
        ["civil registry of the commune of the marriage"] = "État civil de la commune du mariage",
        ["civil registry of the commune of registration"] = "État civil de la commune d’enregistrement",
        ["civil registry of the commune of death"] = "État civil de la commune du décès",
        ["civil registry that took the decision"] = "État civil qui a pris la décision",
        ["civil registry that keeps the act"] = "État civil dépositaire de l’acte",
        ["school software of the commune of the school"] = "Logiciel scolaire de la commune de l’école",
        ["finance software of the commune"] = "Logiciel financier de la commune",
        ["PayFiP, by the commune's portal"] = "PayFiP, par le portail de la commune",
        ["the Trésor (PES Retour), or the commune's cash office"] = "Trésor public (PES Retour) ou régie de la commune",
        ["teleforms of the commune"] = "Téléformulaires de la commune",
    }.ToFrozenDictionary();

    /// <summary>Categories of persons, by the first part of a path.</summary>
    public static FrozenDictionary<string, string> Persons { get; } = new Dictionary<string, string>
    {
        ["child"] = "enfant",
        ["parents"] = "parents",
        ["parent"] = "parent qui reconnaît",
        ["first"] = "époux ou partenaires",
        ["second"] = "époux ou partenaires",
        ["deceased"] = "personne décédée",
        ["before"] = "personne dont le nom ou le prénom change",
        ["after"] = "personne dont le nom ou le prénom change",
        ["persons"] = "personnes nommées dans l’acte",
        ["pupil"] = "élève",
        ["ine"] = "élève",
        ["className"] = "élève",
        ["responsibles"] = "responsables de l’élève",
        ["debtor"] = "débiteur",
        ["email"] = "payeur",
        ["applicant"] = "demandeur",
    }.ToFrozenDictionary();

    /// <summary>Categories of data, by the last part of a path.</summary>
    public static FrozenDictionary<string, string> Fields { get; } = new Dictionary<string, string>
    {
        ["lastName"] = "nom de naissance",
        ["firstNames"] = "prénoms",
        ["usualName"] = "nom d’usage",
        ["sex"] = "sexe",
        ["birthDate"] = "date de naissance",
        ["birthPlace"] = "lieu de naissance",
        ["birthCountry"] = "pays de naissance",
        ["address"] = "adresse",
        ["email"] = "adresse électronique",
        ["phone"] = "téléphone",
        ["ine"] = "identifiant national (INE)",
        ["className"] = "nom de la classe",
    }.ToFrozenDictionary();

    /// <summary>States of agreements.</summary>
    public static FrozenDictionary<AgreementState, string> States { get; } = new Dictionary<AgreementState, string>
    {
        [AgreementState.Draft] = "projet",
        [AgreementState.Active] = "en vigueur",
        [AgreementState.Suspended] = "suspendue",
        [AgreementState.Ended] = "terminée",
    }.ToFrozenDictionary();
}
