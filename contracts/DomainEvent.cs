using System.Text.Json.Serialization;

namespace Intercommunalite.Contracts;

/// <summary>
/// The <c>data</c> of a CloudEvent: facts without identities. Whatever names or locates a person stands in
/// <c>data.personal</c> (<see cref="DomainEvent{TPersonal}"/>) and nowhere else.
/// </summary>
public abstract record DomainEvent
{
    /// <summary>The same facts without <c>personal</c>: what may be stored with the events.</summary>
    public virtual DomainEvent WithoutPersonal() => this;

    /// <summary>Its personal data; null when it has none.</summary>
    public virtual PersonalData? GetPersonal() => null;
}

/// <summary>Facts that come, or may come, with personal data.</summary>
/// <typeparam name="TPersonal">The shape of <c>data.personal</c>.</typeparam>
public abstract record DomainEvent<TPersonal> : DomainEvent
    where TPersonal : PersonalData
{
    /// <summary>Who it is about; stored apart from the events, for as long as the catalogue says. May be left out.</summary>
    [JsonPropertyOrder(100)]
    public TPersonal? Personal { get; init; }

    /// <inheritdoc/>
    public sealed override DomainEvent WithoutPersonal() => this with { Personal = null };

    /// <inheritdoc/>
    public sealed override PersonalData? GetPersonal() => Personal;
}

/// <summary>Data that names or locates a person. Its text form says nothing, so that no log can hold it by accident.</summary>
public abstract record PersonalData
{
    /// <summary>A fixed word.</summary>
    public sealed override string ToString() => "[personal]";
}

/// <summary>Someone as the commune's software knows them.</summary>
/// <param name="LastName">Birth name (nom de naissance).</param>
/// <param name="FirstNames">All first names, separated by spaces, in the order of the act.</param>
/// <param name="UsualName">Nom d'usage.</param>
/// <param name="Sex">As registered.</param>
/// <param name="BirthDate">May be partial.</param>
/// <param name="BirthPlace">Name or code of the place of birth, as the source gives it.</param>
/// <param name="BirthCountry">Country or overseas territory of birth as the source gives it; absent for France.</param>
/// <param name="Address">Postal address on one line.</param>
/// <param name="Email">E-mail address.</param>
/// <param name="Phone">Telephone number.</param>
public sealed record Person(
    string LastName,
    string? FirstNames = null,
    string? UsualName = null,
    Sex? Sex = null,
    PartialDate? BirthDate = null,
    string? BirthPlace = null,
    string? BirthCountry = null,
    string? Address = null,
    string? Email = null,
    string? Phone = null) : PersonalData;

/// <summary>Sex as registered in the civil registry.</summary>
public enum Sex
{
    /// <summary>Masculin.</summary>
    Male,

    /// <summary>Féminin.</summary>
    Female,
}
