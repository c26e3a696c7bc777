using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.Agreements;

namespace Intercommunalite.Hub.Tests.Agreements;

/// <summary>Agreements as tests need them.</summary>
internal static class SampleAgreements
{
    public const string Births = "fr.intercommunalite.civil-records.birth-registered.v1";
    public const string Deaths = "fr.intercommunalite.civil-records.death-registered.v1";
    public const string Enrolments = "fr.intercommunalite.schools.pupil-enrolled.v1";

    public static readonly Epci Territory = Epci.Find("243500733")!;
    public static readonly DateOnly Today = new(2026, 11, 24);
    public static readonly DateTimeOffset Now = new(2026, 11, 24, 9, 30, 0, TimeSpan.Zero);

    /// <summary>Signed terms that allow all facts of births of the whole territory, and no personal data.</summary>
    public static AgreementTerms Terms(params SharedEvents[] events) => new(
        "Restauration scolaire", new("Cantines & Cie", ["canteen"], "contact@cantines.example"), "Préparer les repas", "RGPD, art. 6(1)(e)", ["*"],
        events.Length > 0 ? events : [new(Births)], new(2026, 1, 1), new(2027, 8, 31), "2026-11-03",
        [new(Side.Territory, "A. Durand", new(2026, 11, 10), "présidente"), new(Side.Partner, "B. Petit", new(2026, 11, 12))]);

    public static Act Act(DateOnly? today = null) => new("administrator", Now, today ?? Today, "because");

    /// <summary>An agreement after decisions, each of which must be taken.</summary>
    public static Agreement After(params Func<Agreement?, Decision>[] decisions)
    {
        Agreement? agreement = null;
        foreach (var decide in decisions)
        {
            var decision = decide(agreement);
            if (decision.Event is not { } happens) throw new InvalidOperationException(decision.Refused);
            agreement = Agreement.Of("canteen", [.. agreement?.Events ?? [], happens]);
        }

        return agreement!;
    }

    public static AgreementInForce InForce(AgreementTerms terms)
    {
        var agreement = After(_ => Decide.Draft(null, terms, Act()), agreement => Decide.Activate(agreement!, null, Act()));
        return new(agreement, agreement.Newest!);
    }
}
