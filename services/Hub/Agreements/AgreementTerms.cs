using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Agreements;

/// <summary>What the territory and a partner agree upon (convention): who gets what, of whom, why, and from when to when.</summary>
/// <param name="Title">What it is called.</param>
/// <param name="Partner">Who gets it.</param>
/// <param name="Purpose">What for (RGPD art. 5(1)(b)).</param>
/// <param name="LegalGround">On what legal ground (RGPD art. 6, and the law that applies).</param>
/// <param name="Communes">INSEE codes of communes of the territory, or <c>*</c> alone for all of them.</param>
/// <param name="Events">The types of events, each under one entry.</param>
/// <param name="From">First day, by the clock of the territory.</param>
/// <param name="To">Last day; null when it holds until somebody ends it.</param>
/// <param name="Deliberation">Reference of the deliberation (délibération) that approved it.</param>
/// <param name="Signatures">Who signed; both sides must have, before it can be activated.</param>
internal sealed record AgreementTerms(
    string Title,
    Partner Partner,
    string Purpose,
    string LegalGround,
    IReadOnlyList<string> Communes,
    IReadOnlyList<SharedEvents> Events,
    DateOnly From,
    DateOnly? To = null,
    string? Deliberation = null,
    IReadOnlyList<Signature>? Signatures = null)
{
    /// <summary>Stands for all communes of the territory.</summary>
    public const string AllCommunes = "*";

    private const int MostItems = 100;

    /// <summary>What is wrong with the terms as such, given the territory and the catalogue of events; empty when nothing is.</summary>
    public IReadOnlyList<FieldError> Check(Epci territory)
    {
        var errors = new List<FieldError>();
        CheckList("partner.clients", Partner.Clients, errors);
        CheckList("communes", Communes, errors);
        CheckList("events", [.. Events.Select(shared => shared.Type)], errors);
        if (Signatures?.Count > MostItems) errors.Add(new("signatures", $"more than {MostItems}"));
        if (To < From) errors.Add(new("to", "a day that is not before from expected"));
        foreach (var (index, commune) in Communes.Index())
        {
            if (commune == AllCommunes ? Communes.Count > 1 : !CommuneCode.TryParse(commune, out var code) || territory.Member(code) is null)
                errors.Add(new($"communes[{index}]", $"INSEE codes of communes of {territory.Name}, or \"{AllCommunes}\" alone, expected"));
        }

        var named = new HashSet<EventType>();
        foreach (var (index, shared) in Events.Index()) errors.AddRange(shared.Check($"events[{index}]", named));
        return errors;
    }

    /// <summary>Why they cannot be put into force on a day; null when they can.</summary>
    public string? WhyNotYet(DateOnly today) =>
        !IsSigned(Side.Territory) ? "the territory has not signed (signatures, side territory)"
        : !IsSigned(Side.Partner) ? "the partner has not signed (signatures, side partner)"
        : Signatures!.Any(signature => signature.On > today) ? "a signature is dated in the future"
        : To < today ? "its last day (to) has passed"
        : null;

    private bool IsSigned(Side side) => Signatures?.Any(signature => signature.Side == side) == true;

    internal static void CheckList(string field, IReadOnlyList<string> items, List<FieldError> errors)
    {
        if (items.Count is 0 or > MostItems) errors.Add(new(field, $"1 to {MostItems} expected"));
        if (items.Distinct(StringComparer.Ordinal).Count() < items.Count) errors.Add(new(field, "one is named twice"));
    }
}

/// <summary>Who receives.</summary>
/// <param name="Name">The organisation.</param>
/// <param name="Clients">Identifiers of its software, as its tokens name it.</param>
/// <param name="Contact">How to reach the organisation about this.</param>
internal sealed record Partner(string Name, IReadOnlyList<string> Clients, string? Contact = null);

/// <summary>Types of events that are shared, and what of them.</summary>
/// <param name="Type">Name of a type, or the beginning of several with <c>*</c> behind: types that are added later are then shared, too.</param>
/// <param name="Data">Fields of <c>data</c>: null for all, an empty list for none (that it happened, and to which record, is told).</param>
/// <param name="Personal">
/// Fields of <c>personal</c> by their paths (<c>child.lastName</c>; of lists, of each item): null for no personal data.
/// </param>
internal sealed record SharedEvents(string Type, IReadOnlyList<string>? Data = null, IReadOnlyList<string>? Personal = null)
{
    /// <summary>The types of the catalogue that are meant.</summary>
    public IEnumerable<EventType> EventTypes() => TypePattern.Types(Type);

    internal IEnumerable<FieldError> Check(string field, HashSet<EventType> named)
    {
        var errors = new List<FieldError>();
        var types = EventTypes().ToList();
        if (!TypePattern.TryParse(Type, out _)) errors.Add(new($"{field}.type", TypePattern.Form));
        else if (types.Count == 0) errors.Add(new($"{field}.type", "no type of the catalogue is called so"));
        foreach (var twice in types.Where(type => !named.Add(type))) errors.Add(new($"{field}.type", $"{twice.Name} is under another entry already"));
        if (types.Count == 0) return errors;
        if (Data is { Count: > 0 }) CheckFields($"{field}.data", Data, [.. types.SelectMany(ContractFields.Data)], errors);
        if (Personal is null) return errors;
        if (types.All(type => type.Personal is null)) errors.Add(new($"{field}.personal", "events of this type have no personal data: leave it out"));
        else CheckFields($"{field}.personal", Personal, [.. types.SelectMany(ContractFields.Personal)], errors);
        return errors;
    }

    private static void CheckFields(string field, IReadOnlyList<string> given, HashSet<string> known, List<FieldError> errors)
    {
        AgreementTerms.CheckList(field, given, errors);
        foreach (var (index, name) in given.Index())
        {
            if (!known.Contains(name)) errors.Add(new($"{field}[{index}]", $"one of {string.Join(", ", known)} expected"));
        }
    }
}

/// <summary>A signature.</summary>
/// <param name="Side">For whom.</param>
/// <param name="Name">Who signed.</param>
/// <param name="On">When.</param>
/// <param name="Capacity">In which capacity: présidente, directeur, …</param>
internal sealed record Signature(Side Side, string Name, DateOnly On, string? Capacity = null);

/// <summary>The two sides of an agreement.</summary>
internal enum Side
{
    /// <summary>The communauté, for itself and its communes.</summary>
    Territory,

    /// <summary>The partner.</summary>
    Partner,
}
