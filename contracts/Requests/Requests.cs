namespace Intercommunalite.Contracts.Requests;

/// <summary>A resident filed a request online (téléformulaire). The subject is the request's own key.</summary>
/// <param name="Procedure">Which procedure: <c>birth-certificate</c>, <c>school-enrolment</c>, <c>change-of-address</c>, …</param>
/// <param name="SubmittedAt">When.</param>
public sealed record RequestSubmitted(Slug Procedure, DateTimeOffset SubmittedAt) : DomainEvent<ApplicantPersonal>;

/// <summary>A request was dealt with. The subject is the request's.</summary>
/// <param name="Procedure">Which procedure.</param>
/// <param name="CompletedAt">When.</param>
public sealed record RequestCompleted(Slug Procedure, DateTimeOffset CompletedAt) : DomainEvent<ApplicantPersonal>;

/// <summary>A request was refused. The subject is the request's.</summary>
/// <param name="Procedure">Which procedure.</param>
/// <param name="RefusedAt">When.</param>
/// <param name="Reason">Why.</param>
public sealed record RequestRefused(Slug Procedure, DateTimeOffset RefusedAt, RefusalReason Reason) : DomainEvent<ApplicantPersonal>;

/// <summary>Why a request was refused.</summary>
public enum RefusalReason
{
    /// <summary>Documents are missing.</summary>
    Incomplete,

    /// <summary>The applicant has no right to it.</summary>
    NotEntitled,

    /// <summary>Another administration is competent.</summary>
    NotCompetent,

    /// <summary>The same request was already filed.</summary>
    Duplicate,

    /// <summary>Another reason.</summary>
    Other,
}

/// <summary>Who asks.</summary>
/// <param name="Applicant">The applicant.</param>
public sealed record ApplicantPersonal(Person Applicant) : PersonalData;
