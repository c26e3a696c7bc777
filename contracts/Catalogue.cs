using System.Collections.Frozen;
using System.Globalization;
using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Contracts;

/// <summary>
/// Every type of event, once. The JSON Schemas, the AsyncAPI document, the check at the connector's door and the hub's
/// event store all come from here. A breaking change is a new entry with the next major version.
/// </summary>
public static class Catalogue
{
    private static readonly Retention s_civilNotice = new(12,
        "Code civil, art. 49, 79 and 80: notices between the communes that hold the acts; kept for their reminders, then no longer needed");

    private static readonly Retention s_schoolFile = new(24,
        "Code de l'éducation, art. L131-6 and L212-8: list of children of school age, sharing of school costs; the year after the school year");

    private static readonly Retention s_claim = new(60,
        "CGCT, art. L1617-5: the accountant's action to recover a claim lapses after four years; one more for the accounts");

    private static readonly Retention s_request = new(12,
        "RGPD, art. 6(1)(e): following a request up to its answer and the time for appeal");

    private static readonly FrozenDictionary<string, EventType> s_byName;
    private static readonly FrozenDictionary<Type, EventType> s_byRecord;

    static Catalogue()
    {
        All =
        [
            Of<BirthRegistered>("civil-records.birth-registered.v1", "A birth was registered", "civil registry of the commune of birth", s_civilNotice),
            Of<RecognitionRegistered>("civil-records.recognition-registered.v1", "A child was recognised", "civil registry that drew up the act", s_civilNotice),
            Of<MarriageRegistered>("civil-records.marriage-registered.v1", "A marriage was registered", "civil registry of the commune of the marriage", s_civilNotice),
            Of<PacsRegistered>("civil-records.pacs-registered.v1", "A PACS was registered", "civil registry of the commune of registration", s_civilNotice),
            Of<DeathRegistered>("civil-records.death-registered.v1", "A death was registered", "civil registry of the commune of death", s_civilNotice),
            Of<NameChangeRegistered>("civil-records.name-change-registered.v1", "A change of name was registered", "civil registry that took the decision", s_civilNotice),
            Of<ActCorrected>("civil-records.act-corrected.v1", "An act was corrected: its facts as they stand now", "civil registry that keeps the act", s_civilNotice),
            Of<ActAnnulled>("civil-records.act-annulled.v1", "An act was annulled", "civil registry that keeps the act", s_civilNotice),
            Of<SchoolDeclared>("schools.school-declared.v1", "A school as it is for a school year", "school software of the commune of the school"),
            Of<PupilEnrolled>("schools.pupil-enrolled.v1", "A pupil was enrolled", "school software of the commune of the school", s_schoolFile),
            Of<PupilChangedClass>("schools.pupil-changed-class.v1", "An enrolled pupil changed class", "school software of the commune of the school", s_schoolFile),
            Of<PupilWithdrawn>("schools.pupil-withdrawn.v1", "A pupil left the school", "school software of the commune of the school", s_schoolFile),
            Of<InvoiceIssued>("payments.invoice-issued.v1", "A claim was issued", "finance software of the commune", s_claim),
            Of<InvoiceReduced>("payments.invoice-reduced.v1", "An invoice was reduced", "finance software of the commune", s_claim),
            Of<InvoiceCancelled>("payments.invoice-cancelled.v1", "An invoice was cancelled", "finance software of the commune", s_claim),
            Of<OnlinePaymentAnswered>("payments.online-payment-answered.v1", "The online payment page answered", "PayFiP, by the commune's portal", s_claim),
            Of<PaymentCollected>("payments.payment-collected.v1", "Money was collected", "the Trésor (PES Retour), or the commune's cash office", s_claim),
            Of<PaymentRefunded>("payments.payment-refunded.v1", "Money was refunded", "finance software of the commune", s_claim),
            Of<RequestSubmitted>("requests.request-submitted.v1", "A resident filed a request", "teleforms of the commune", s_request),
            Of<RequestCompleted>("requests.request-completed.v1", "A request was dealt with", "teleforms of the commune", s_request),
            Of<RequestRefused>("requests.request-refused.v1", "A request was refused", "teleforms of the commune", s_request),
        ];
        s_byName = All.ToFrozenDictionary(type => type.Name, StringComparer.Ordinal);
        s_byRecord = All.ToFrozenDictionary(type => type.Record);
    }

    /// <summary>All types, in the order of the domains.</summary>
    public static IReadOnlyList<EventType> All { get; }

    /// <summary>The type of that wire name, or null when the catalogue has none.</summary>
    public static EventType? Find(string name) => s_byName.GetValueOrDefault(name);

    /// <summary>The type that a record is the data of.</summary>
    /// <exception cref="KeyNotFoundException">The record is not in the catalogue.</exception>
    public static EventType Of(DomainEvent data) => s_byRecord[data.GetType()];

    private static EventType Of<TRecord>(string name, string meaning, string issuer, Retention? personal = null)
        where TRecord : DomainEvent => new($"fr.intercommunalite.{name}", typeof(TRecord), meaning, issuer, personal);
}

/// <summary>A type of event.</summary>
/// <param name="Name">Wire name: <c>fr.intercommunalite.{domain}.{fact in the past tense}.v{major version}</c>.</param>
/// <param name="Record">.NET record of its <c>data</c>.</param>
/// <param name="Meaning">What it says, in a sentence.</param>
/// <param name="Issuer">Who issues it.</param>
/// <param name="Personal">How long its personal data may be kept, and why; null when it carries none.</param>
public sealed record EventType(string Name, Type Record, string Meaning, string Issuer, Retention? Personal)
{
    /// <summary>Domain, the first part of the stream key: <c>civil-records</c>, <c>schools</c>, <c>payments</c>, <c>requests</c>.</summary>
    public string Domain { get; } = Name.Split('.')[2];

    /// <summary>Major version.</summary>
    public int Version { get; } = int.Parse(Name[(Name.LastIndexOf(".v", StringComparison.Ordinal) + 2)..], CultureInfo.InvariantCulture);
}

/// <summary>How long personal data may be kept.</summary>
/// <param name="Months">Months from the event's time.</param>
/// <param name="Ground">Purpose and legal ground.</param>
public sealed record Retention(int Months, string Ground);
