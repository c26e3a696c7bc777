using Intercommunalite.Contracts.CivilRecords;
using Intercommunalite.Contracts.Payments;
using Intercommunalite.Contracts.Requests;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Contracts.Tests;

/// <summary>One event of every type, of nobody.</summary>
internal static class Samples
{
    public static readonly CommuneCode Combourg = CommuneCode.Parse("35085");
    private static readonly CommuneCode s_tinteniac = CommuneCode.Parse("35337");
    private static readonly Uai s_school = Uai.Parse("0350122T");
    private static readonly Slug s_canteen = Slug.Parse("canteen");
    private static readonly Person s_nobody = new("NOM", "Prénom", Sex: Sex.Female, BirthDate: PartialDate.Parse("1980-02"));
    private static readonly DateOnly s_day = new(2026, 11, 24);
    private static readonly DateTimeOffset s_instant = new(2026, 11, 24, 9, 30, 0, TimeSpan.FromHours(1));

    public static IReadOnlyList<DomainEvent> All { get; } =
    [
        new BirthRegistered(PartialDate.Of(s_day), "12", s_tinteniac) { Personal = new BirthPersonal(s_nobody, [s_nobody]) },
        new RecognitionRegistered(PartialDate.Of(s_day), "13", s_tinteniac, Combourg) { Personal = new RecognitionPersonal(s_nobody, s_nobody) },
        new MarriageRegistered(PartialDate.Of(s_day), "14", Combourg, [s_tinteniac, Combourg]) { Personal = new CouplePersonal(s_nobody, s_nobody) },
        new PacsRegistered(PartialDate.Of(s_day), "15", Combourg, [s_tinteniac]) { Personal = new CouplePersonal(s_nobody, s_nobody) },
        new DeathRegistered(PartialDate.Parse("2026-11"), null, s_tinteniac, Combourg) { Personal = new DeathPersonal(s_nobody) },
        new NameChangeRegistered(PartialDate.Of(s_day), "17", NameChange.FirstNames, Combourg, s_tinteniac) { Personal = new NameChangePersonal(s_nobody, s_nobody) },
        new ActCorrected(ActKind.NameChange, PartialDate.Of(s_day), PartialDate.Of(s_day), "17", Combourg) { Personal = new AmendmentPersonal([s_nobody]) },
        new ActAnnulled(ActKind.Marriage, PartialDate.Of(s_day)) { Personal = new AmendmentPersonal([s_nobody]) },
        new SchoolDeclared(s_school, "École publique", new SchoolYear(2026), [SchoolLevel.PS, SchoolLevel.CE1, SchoolLevel.ULIS], 120),
        new PupilEnrolled(s_school, new SchoolYear(2026), SchoolLevel.CP, s_tinteniac, s_day, DerogationReason.ParentsWork) { Personal = new PupilPersonal(s_nobody, "1111111111A") },
        new PupilChangedClass(s_school, new SchoolYear(2026), SchoolLevel.CE1, s_tinteniac, s_day) { Personal = new PupilPersonal(s_nobody, ClassName: "Classe") },
        new PupilWithdrawn(s_school, new SchoolYear(2026), SchoolLevel.CE1, s_tinteniac, s_day) { Personal = new PupilPersonal(s_nobody, Responsibles: [s_nobody]) },
        new InvoiceIssued(s_canteen, new Cents(4250), s_day, s_day) { Personal = new DebtorPersonal(s_nobody) },
        new InvoiceReduced(new Cents(250), s_day) { Personal = new DebtorPersonal(s_nobody) },
        new InvoiceCancelled(s_day) { Personal = new DebtorPersonal(s_nobody) },
        new OnlinePaymentAnswered("2026/17", new Cents(4000), s_instant, OnlinePaymentOutcome.DirectDebitPaid) { Personal = new PayerPersonal("personne@exemple.fr") },
        new PaymentCollected(new Cents(4000), s_day, "2026/17") { Personal = new DebtorPersonal(s_nobody) },
        new PaymentRefunded(new Cents(10), s_day, null, s_canteen) { Personal = new DebtorPersonal(s_nobody) },
        new RequestSubmitted(Slug.Parse("birth-certificate"), s_instant) { Personal = new ApplicantPersonal(s_nobody) },
        new RequestCompleted(Slug.Parse("birth-certificate"), s_instant) { Personal = new ApplicantPersonal(s_nobody) },
        new RequestRefused(Slug.Parse("birth-certificate"), s_instant, RefusalReason.NotEntitled) { Personal = new ApplicantPersonal(s_nobody) },
    ];

    public static CloudEvent Envelope(DomainEvent data) => CloudEvent.Create(data, "id-1", new EventSource(Combourg), "subject/1", s_instant);
}
