using System.Collections.Frozen;
using System.Globalization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Hub.Agreements;

/// <summary>
/// The register of processing (registre des activités de traitement, RGPD art. 30), made from the catalogue of events and the agreements;
/// its words are French, as it is shown to the CNIL.
/// </summary>
/// <param name="Territory">The communauté.</param>
/// <param name="Siren">Its SIREN number.</param>
/// <param name="Contact">How to reach it; null when not set.</param>
/// <param name="DataProtectionOfficer">How to reach the data-protection officer; null when not set.</param>
/// <param name="On">The day of which it is.</param>
/// <param name="Activities">What is done with personal data.</param>
/// <param name="Recipients">Who gets data, by which agreement: those in force, suspended or ended; drafts give nobody anything.</param>
public sealed record Register(
    string Territory, string Siren, string? Contact, string? DataProtectionOfficer, DateOnly On, IReadOnlyList<Activity> Activities, IReadOnlyList<Recipient> Recipients)
{
    private const string Prefix = "fr.intercommunalite.";

    /// <summary>Who answers for what.</summary>
    public string Roles =>
        $"Chaque commune est responsable du traitement de ses propres données ; {Territory} est son sous-traitant (art. 28), et responsable pour les chiffres consolidés et les conventions passées en son nom.";

    /// <summary>How it is kept safe (art. 30(1)(g) and 32).</summary>
    public static IReadOnlyList<string> Measures { get; } =
    [
        "Les données personnelles sont conservées à part des événements, chiffrées avec une clé par personne ; effacer la clé rend illisibles aussi les sauvegardes.",
        "Chacun accède selon son rôle ; ce qui ne dit pas sa règle est refusé. Les partenaires ne reçoivent que ce que permet une convention en vigueur, vérifiée à chaque page.",
        "Tout accès à des données personnelles et tout acte d’administration est inscrit dans un journal chaîné, dont toute modification se voit.",
        "À la fin de la durée de conservation, les données personnelles sont effacées chaque nuit.",
    ];

    /// <summary>What is said of transfers to third countries (art. 30(1)(e)).</summary>
    public const string Transfers = "Le hub ne transfère rien hors de l’Union européenne ; le lieu de traitement de chaque destinataire relève de sa convention.";

    /// <summary>Makes the register of a day.</summary>
    internal static Register Of(Epci territory, string? contact, string? officer, DateOnly on, IReadOnlyCollection<Agreement> agreements)
    {
        var shown = agreements.Where(agreement => agreement.Newest is not null).ToList();
        return new(
            territory.Name, territory.Siren, contact, officer, on,
            [.. Catalogue.All.GroupBy(type => type.Domain).Select(domain => Activity.Of(domain.Key, [.. domain], shown, on)), Activity.Access],
            [.. shown.Select(agreement => Recipient.Of(agreement, territory, on)).OrderBy(recipient => recipient.State).ThenBy(recipient => recipient.Id, StringComparer.Ordinal)]);
    }

    /// <summary>A type's French name.</summary>
    public static string Name(EventType type) => RegisterFrench.Types[type.Name[Prefix.Length..]];

    /// <summary>Paths of personal data as categories of persons, each with its categories of data.</summary>
    public static IReadOnlyList<PersonsAndData> Categories(IEnumerable<string> paths) =>
    [
        .. paths.Select(path => path.Split('.')).GroupBy(path => RegisterFrench.Persons[path[0]])
            .Select(person => new PersonsAndData(person.Key, [.. person.Select(path => RegisterFrench.Fields[path[^1]]).Distinct()])),
    ];

    /// <summary>A day as it is written in French.</summary>
    public static string Day(DateOnly day) => day.ToString("d MMMM yyyy", s_french);

    private static readonly CultureInfo s_french = CultureInfo.GetCultureInfo("fr-FR");
}

/// <summary>A category of persons, and the categories of their data.</summary>
public sealed record PersonsAndData(string Persons, IReadOnlyList<string> Data)
{
    /// <summary>In a line.</summary>
    public override string ToString() => $"{Persons} : {string.Join(", ", Data)}";
}

/// <summary>An activity with personal data.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Purpose">What for.</param>
/// <param name="LegalGround">On what ground.</param>
/// <param name="Records">What is kept.</param>
/// <param name="Recipients">Ids of the agreements in force that give some of it to partners.</param>
public sealed record Activity(string Name, string Purpose, string LegalGround, IReadOnlyList<RecordKept> Records, IReadOnlyList<string> Recipients)
{
    /// <summary>The hub's own: who came in, and what they did.</summary>
    public static Activity Access { get; } = new(
        "Accès et traçabilité",
        "Ouvrir le hub à ceux qui y ont droit, et pouvoir montrer qui a fait quoi, quand et pourquoi.",
        "RGPD, art. 5(2), 6(1)(c) et 32.",
        [
            new("Comptes des agents et clients logiciels", "Administrateur du hub", [new("agents et administrateurs", ["nom", "identifiant", "adresse électronique", "rôles"])], "tant que le compte existe"),
            new("Conventions", "Administrateur du hub", [new("signataires et interlocuteurs des partenaires", ["nom", "qualité", "coordonnées professionnelles"])], "la durée de la convention, puis comme preuve"),
            new("Journal d’audit", "Le hub", [new("agents, administrateurs et logiciels", ["identifiant", "acte", "heure", "motif"])], "comme preuve ; jamais modifié ni effacé"),
        ],
        []);

    internal static Activity Of(string domain, IReadOnlyList<EventType> types, IReadOnlyList<Agreement> agreements, DateOnly on)
    {
        var (name, purpose, ground) = RegisterFrench.Domains[domain];
        var names = types.Select(type => type.Name).ToFrozenSet(StringComparer.Ordinal);
        return new(
            name, purpose, ground,
            [
                .. types.Select(type => new RecordKept(
                    Register.Name(type), RegisterFrench.Issuers[type.Issuer], Register.Categories(ContractFields.Personal(type)),
                    type.Personal is { } retention ? $"{retention.Months} mois à compter de l’événement" : "pas de données personnelles")),
            ],
            [
                .. agreements.Where(agreement => agreement.IsInForceOn(on) && agreement.On(on)!.Terms.Events.SelectMany(shared => shared.EventTypes()).Any(type => names.Contains(type.Name)))
                    .Select(agreement => agreement.Id),
            ]);
    }
}

/// <summary>Something kept.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Source">Where it comes from.</param>
/// <param name="Persons">Whose data, and which.</param>
/// <param name="Retention">How long.</param>
public sealed record RecordKept(string Name, string Source, IReadOnlyList<PersonsAndData> Persons, string Retention);

/// <summary>Who gets data by an agreement.</summary>
/// <param name="Id">The agreement.</param>
/// <param name="Title">What it is called.</param>
/// <param name="State">Where it is in its life, on the register's day.</param>
/// <param name="Partner">Who.</param>
/// <param name="Contact">How to reach them.</param>
/// <param name="Purpose">What for.</param>
/// <param name="LegalGround">On what ground.</param>
/// <param name="From">First day.</param>
/// <param name="To">Last day.</param>
/// <param name="Deliberation">Reference of the deliberation.</param>
/// <param name="Communes">Communes whose data it is.</param>
/// <param name="Shared">What is given.</param>
public sealed record Recipient(
    string Id, string Title, AgreementState State, string Partner, string? Contact, string Purpose, string LegalGround, DateOnly From, DateOnly? To, string? Deliberation,
    IReadOnlyList<string> Communes, IReadOnlyList<SharedWith> Shared)
{
    /// <summary>Its state in French.</summary>
    public string StateName => RegisterFrench.States[State];

    /// <summary>From when to when.</summary>
    public string Period => To is { } last ? $"du {Register.Day(From)} au {Register.Day(last)}" : $"à partir du {Register.Day(From)}";

    internal static Recipient Of(Agreement agreement, Epci territory, DateOnly on)
    {
        var terms = agreement.On(on)!.Terms;
        return new(
            agreement.Id, terms.Title, agreement.StateOn(on), terms.Partner.Name, terms.Partner.Contact, terms.Purpose, terms.LegalGround, terms.From, terms.To, terms.Deliberation,
            terms.Communes.Contains(AgreementTerms.AllCommunes)
                ? ["toutes les communes"]
                : [.. terms.Communes.Select(code => territory.Member(CommuneCode.Parse(code)) is { } commune ? $"{commune.Name} ({code})" : code)],
            [
                .. terms.Events.SelectMany(shared => shared.EventTypes().Select(type => new SharedWith(
                    Register.Name(type),
                    shared.Data is null ? ["tous"] : [.. shared.Data.Intersect(ContractFields.Data(type))],
                    Register.Categories((shared.Personal ?? []).Intersect(ContractFields.Personal(type)))))),
            ]);
    }
}

/// <summary>What is given to a recipient.</summary>
/// <param name="Name">The type of event.</param>
/// <param name="Facts">Fields of facts.</param>
/// <param name="Persons">Whose data, and which.</param>
public sealed record SharedWith(string Name, IReadOnlyList<string> Facts, IReadOnlyList<PersonsAndData> Persons);
