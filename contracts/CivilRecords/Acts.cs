namespace Intercommunalite.Contracts.CivilRecords;

/// <summary>A birth was registered (acte de naissance) by the commune where it took place.</summary>
/// <param name="Date">Date of birth.</param>
/// <param name="ActNumber">Number of the act; unique within the commune, the year and the kind of act.</param>
/// <param name="ResidenceCommune">Commune of residence of the mother, by which INSEE counts births at the residence.</param>
public sealed record BirthRegistered(PartialDate Date, string ActNumber, CommuneCode? ResidenceCommune = null) : DomainEvent<BirthPersonal>;

/// <summary>Who was born, and to whom.</summary>
/// <param name="Child">The child.</param>
/// <param name="Parents">The parents named in the act.</param>
public sealed record BirthPersonal(Person Child, IReadOnlyList<Person>? Parents = null) : PersonalData;

/// <summary>A child was recognised (acte de reconnaissance), before or after its birth.</summary>
/// <param name="Date">Date of the act.</param>
/// <param name="ActNumber">Number of the act.</param>
/// <param name="ResidenceCommune">Commune of residence of the person who recognises.</param>
/// <param name="BirthCommune">Commune that holds the child's birth act, if born: the notice goes there.</param>
public sealed record RecognitionRegistered(PartialDate Date, string ActNumber, CommuneCode? ResidenceCommune = null, CommuneCode? BirthCommune = null)
    : DomainEvent<RecognitionPersonal>;

/// <summary>Who recognised whom.</summary>
/// <param name="Parent">Who recognises.</param>
/// <param name="Child">The child; absent before the birth.</param>
public sealed record RecognitionPersonal(Person Parent, Person? Child = null) : PersonalData;

/// <summary>A marriage was celebrated and registered.</summary>
/// <param name="Date">Date of the marriage.</param>
/// <param name="ActNumber">Number of the act.</param>
/// <param name="ResidenceCommune">Commune where the couple lives after the marriage, by which INSEE counts marriages at the residence.</param>
/// <param name="BirthCommunes">Communes that hold the birth acts of the two persons: a notice goes to each (Code civil, art. 49).</param>
public sealed record MarriageRegistered(
    PartialDate Date,
    string ActNumber,
    CommuneCode? ResidenceCommune = null,
    IReadOnlyList<CommuneCode>? BirthCommunes = null) : DomainEvent<CouplePersonal>;

/// <summary>A pacte civil de solidarité was registered by the commune (since 2017).</summary>
/// <param name="Date">Date of registration.</param>
/// <param name="ActNumber">Number of the registration.</param>
/// <param name="ResidenceCommune">Commune of the common residence.</param>
/// <param name="BirthCommunes">Communes that hold the birth acts of the two persons.</param>
public sealed record PacsRegistered(
    PartialDate Date,
    string ActNumber,
    CommuneCode? ResidenceCommune = null,
    IReadOnlyList<CommuneCode>? BirthCommunes = null) : DomainEvent<CouplePersonal>;

/// <summary>The two persons of a marriage or a PACS.</summary>
/// <param name="First">One.</param>
/// <param name="Second">The other.</param>
public sealed record CouplePersonal(Person First, Person Second) : PersonalData;

/// <summary>A death was registered (acte de décès) by the commune where it took place.</summary>
/// <param name="Date">Date of death.</param>
/// <param name="ActNumber">Number of the act; files met in the field leave it empty.</param>
/// <param name="ResidenceCommune">Commune of the last domicile, which transcribes the act (Code civil, art. 80).</param>
/// <param name="BirthCommune">Commune that holds the birth act, which notes the death (Code civil, art. 79).</param>
public sealed record DeathRegistered(PartialDate Date, string? ActNumber = null, CommuneCode? ResidenceCommune = null, CommuneCode? BirthCommune = null)
    : DomainEvent<DeathPersonal>;

/// <summary>Who died.</summary>
/// <param name="Deceased">The deceased.</param>
public sealed record DeathPersonal(Person Deceased) : PersonalData;

/// <summary>A change of first or last name was registered (Code civil, art. 60, 61 and 61-3-1).</summary>
/// <param name="Date">Date of the decision.</param>
/// <param name="ActNumber">Number of the act.</param>
/// <param name="Changes">Which name changed.</param>
/// <param name="ResidenceCommune">Commune of residence of the person.</param>
/// <param name="BirthCommune">Commune that holds the birth act.</param>
public sealed record NameChangeRegistered(
    PartialDate Date,
    string ActNumber,
    NameChange Changes,
    CommuneCode? ResidenceCommune = null,
    CommuneCode? BirthCommune = null) : DomainEvent<NameChangePersonal>;

/// <summary>Which name changed.</summary>
public enum NameChange
{
    /// <summary>Nom.</summary>
    LastName,

    /// <summary>Prénom.</summary>
    FirstNames,
}

/// <summary>Whose name changed, and to what.</summary>
/// <param name="Before">As named until then.</param>
/// <param name="After">As named from then on.</param>
public sealed record NameChangePersonal(Person Before, Person After) : PersonalData;
