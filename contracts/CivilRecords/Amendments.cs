namespace Intercommunalite.Contracts.CivilRecords;

/// <summary>
/// An act already registered was corrected. The subject is that act's; the facts are given whole, as they stand after the
/// correction, so that the figures need nothing else.
/// </summary>
/// <param name="Kind">Kind of the act.</param>
/// <param name="CorrectedOn">Date of the correction.</param>
/// <param name="Date">The act's date as it stands now.</param>
/// <param name="ActNumber">The act's number as it stands now.</param>
/// <param name="ResidenceCommune">The commune of residence as it stands now.</param>
/// <param name="BirthCommune">Commune that holds the birth act, where there is one.</param>
public sealed record ActCorrected(
    ActKind Kind,
    PartialDate CorrectedOn,
    PartialDate Date,
    string? ActNumber = null,
    CommuneCode? ResidenceCommune = null,
    CommuneCode? BirthCommune = null) : DomainEvent<AmendmentPersonal>;

/// <summary>An act already registered was annulled, by a court as a rule. The subject is that act's; it counts no longer.</summary>
/// <param name="Kind">Kind of the act.</param>
/// <param name="AnnulledOn">Date of the annulment.</param>
public sealed record ActAnnulled(ActKind Kind, PartialDate AnnulledOn) : DomainEvent<AmendmentPersonal>;

/// <summary>The persons that a corrected or annulled act names, as they stand now.</summary>
/// <param name="Persons">In the order of the act.</param>
public sealed record AmendmentPersonal(IReadOnlyList<Person> Persons) : PersonalData;

/// <summary>Kinds of act (acte d'état civil) that the events know.</summary>
public enum ActKind
{
    /// <summary>Naissance.</summary>
    Birth,

    /// <summary>Reconnaissance.</summary>
    Recognition,

    /// <summary>Mariage.</summary>
    Marriage,

    /// <summary>PACS.</summary>
    Pacs,

    /// <summary>Décès.</summary>
    Death,

    /// <summary>Changement de nom ou de prénom.</summary>
    NameChange,
}
