namespace Intercommunalite.Contracts.Schools;

/// <summary>A school of the commune, as it is for a school year: declared at its start and whenever it changes.</summary>
/// <param name="School">UAI.</param>
/// <param name="Name">Name of the school.</param>
/// <param name="SchoolYear">School year that it holds for.</param>
/// <param name="Levels">Levels taught.</param>
/// <param name="Places">Pupils that it can take.</param>
public sealed record SchoolDeclared(Uai School, string Name, SchoolYear SchoolYear, IReadOnlyList<SchoolLevel> Levels, ushort Places) : DomainEvent;

/// <summary>A pupil was enrolled (inscription scolaire). The subject is the enrolment's own key in the commune of the school.</summary>
/// <param name="School">UAI of the school.</param>
/// <param name="SchoolYear">School year of the enrolment.</param>
/// <param name="Level">Level at which the pupil enters.</param>
/// <param name="ResidenceCommune">Commune of residence; when it is not the school's, it bears a part of the cost (Code de l'éducation, art. L212-8).</param>
/// <param name="EnrolledOn">Date of the enrolment.</param>
/// <param name="Derogation">Why the pupil is schooled outside the commune of residence; only then.</param>
public sealed record PupilEnrolled(
    Uai School,
    SchoolYear SchoolYear,
    SchoolLevel Level,
    CommuneCode ResidenceCommune,
    DateOnly EnrolledOn,
    DerogationReason? Derogation = null) : DomainEvent<PupilPersonal>;

/// <summary>An enrolled pupil changed class, and with it perhaps level or residence. Facts are given whole, as they stand now.</summary>
/// <param name="School">UAI of the school.</param>
/// <param name="SchoolYear">School year of the enrolment.</param>
/// <param name="Level">Level from now on.</param>
/// <param name="ResidenceCommune">Commune of residence from now on.</param>
/// <param name="ChangedOn">Date of the change.</param>
/// <param name="Derogation">As in <see cref="PupilEnrolled"/>.</param>
public sealed record PupilChangedClass(
    Uai School,
    SchoolYear SchoolYear,
    SchoolLevel Level,
    CommuneCode ResidenceCommune,
    DateOnly ChangedOn,
    DerogationReason? Derogation = null) : DomainEvent<PupilPersonal>;

/// <summary>A pupil left the school (radiation).</summary>
/// <param name="School">UAI of the school.</param>
/// <param name="SchoolYear">School year of the enrolment.</param>
/// <param name="Level">Level that the pupil leaves.</param>
/// <param name="ResidenceCommune">Commune of residence.</param>
/// <param name="WithdrawnOn">Last day at the school.</param>
/// <param name="Derogation">As in <see cref="PupilEnrolled"/>.</param>
public sealed record PupilWithdrawn(
    Uai School,
    SchoolYear SchoolYear,
    SchoolLevel Level,
    CommuneCode ResidenceCommune,
    DateOnly WithdrawnOn,
    DerogationReason? Derogation = null) : DomainEvent<PupilPersonal>;

/// <summary>The pupil and who answers for them.</summary>
/// <param name="Pupil">The pupil.</param>
/// <param name="Ine">Identifiant national élève.</param>
/// <param name="ClassName">Name of the class, which often is its teacher's.</param>
/// <param name="Responsibles">Responsible adults.</param>
public sealed record PupilPersonal(Person Pupil, string? Ine = null, string? ClassName = null, IReadOnlyList<Person>? Responsibles = null) : PersonalData;

/// <summary>Levels of the first degree (pré-élémentaire, élémentaire).</summary>
public enum SchoolLevel
{
    /// <summary>Petite section.</summary>
    PS,

    /// <summary>Moyenne section.</summary>
    MS,

    /// <summary>Grande section.</summary>
    GS,

    /// <summary>Cours préparatoire.</summary>
    CP,

    /// <summary>Cours élémentaire, first year.</summary>
    CE1,

    /// <summary>Cours élémentaire, second year.</summary>
    CE2,

    /// <summary>Cours moyen, first year.</summary>
    CM1,

    /// <summary>Cours moyen, second year.</summary>
    CM2,

    /// <summary>Unité localisée pour l'inclusion scolaire.</summary>
    ULIS,
}

/// <summary>Why a pupil is schooled outside the commune of residence (Code de l'éducation, art. L212-8 and R212-21).</summary>
public enum DerogationReason
{
    /// <summary>The mayor of the residence agreed.</summary>
    ResidenceAgreement,

    /// <summary>No place, or no school, in the commune of residence.</summary>
    NoPlace,

    /// <summary>Both parents work, and the commune of residence has no canteen or childcare.</summary>
    ParentsWork,

    /// <summary>Health of the pupil.</summary>
    Health,

    /// <summary>A sibling is already schooled there.</summary>
    Sibling,

    /// <summary>Another reason; the commune of residence need not pay.</summary>
    Other,
}
