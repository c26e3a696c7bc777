using System.Collections.Frozen;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.Agreements;

/// <summary>A version of an agreement that allows something, made ready to be asked for every event.</summary>
internal sealed class AgreementInForce
{
    private readonly Agreement _agreement;
    private readonly AgreementVersion _version;
    private readonly FrozenDictionary<string, Shared> _types;

    /// <summary>Makes it ready.</summary>
    /// <param name="agreement">The agreement.</param>
    /// <param name="version">A version of it that was put into force.</param>
    public AgreementInForce(Agreement agreement, AgreementVersion version)
    {
        (_agreement, _version) = (agreement, version);
        _types = Terms.Events.SelectMany(shared => shared.EventTypes().Select(type => (type, shared)))
            // The catalogue may have got a type since that falls under two entries: nobody has said which of them holds for it.
            .GroupBy(pair => pair.type, pair => pair.shared).Where(entries => entries.Count() == 1)
            .ToFrozenDictionary(entries => entries.Key.Name, entries => new Shared(entries.Key, entries.Single()), StringComparer.Ordinal);
        Communes = Terms.Communes.Contains(AgreementTerms.AllCommunes) ? null : Terms.Communes.ToFrozenSet(StringComparer.Ordinal);
        HasPersonalData = _types.Values.Any(shared => shared.Personal is not null);
    }

    /// <summary>Its id.</summary>
    public string Id => _agreement.Id;

    /// <summary>The version.</summary>
    public int Version => _version.Number;

    /// <summary>Its terms.</summary>
    public AgreementTerms Terms => _version.Terms;

    /// <summary>Names of the types of events that it allows.</summary>
    public IReadOnlyList<string> Types => _types.Keys;

    /// <summary>INSEE codes of the communes that it allows; null for all.</summary>
    public FrozenSet<string>? Communes { get; }

    /// <summary>Whether it allows any personal data.</summary>
    public bool HasPersonalData { get; }

    /// <summary>Whether it allows what it says on a day, and no other version does.</summary>
    public bool IsInForceOn(DateOnly day) => _agreement.IsInForceOn(day) && _agreement.On(day) == _version;

    /// <summary>What it allows of an event's data.</summary>
    /// <exception cref="KeyNotFoundException">It allows nothing of that type: the event must not have got here.</exception>
    public string TrimData(string type, string data) => _types[type].Data is { } trimmer ? trimmer.Trim(data) : data;

    /// <summary>Whether it allows a field of the data of events of a type that it allows; false for one that the type does not have.</summary>
    public bool AllowsField(string type, string field) => _types[type].Fields.Contains(field);

    /// <summary>Whether it allows personal data of events of that type.</summary>
    public bool AllowsPersonalData(string type) => _types[type].Personal is not null;

    /// <summary>Whether it allows anything of a part of an event's personal data.</summary>
    /// <param name="type">The event's type.</param>
    /// <param name="path">Where the part stands: <c>child</c>, <c>parents.0</c>; empty for what stands beside the persons.</param>
    public bool AllowsPart(string type, string path) => _types[type].Parts.Contains(path.Split('.')[0]);

    /// <summary>What it allows of an event's personal data; null for none.</summary>
    public string? TrimPersonal(string type, string personal) => _types[type].Personal?.Trim(personal) is { Length: > 2 } left ? left : null;

    /// <summary>What is allowed of a type; no trimmer for data when all of it is, none for personal data when none of it is.</summary>
    private sealed class Shared(EventType type, SharedEvents allowed)
    {
        public Trimmer? Data { get; } = allowed.Data is null ? null : Trimmer.Of(allowed.Data);

        /// <summary>Names of the fields that are allowed.</summary>
        public FrozenSet<string> Fields { get; } = ContractFields.Data(type).Where(field => allowed.Data?.Contains(field) != false).ToFrozenSet(StringComparer.Ordinal);

        /// <summary>First parts of the paths that are allowed; empty for what stands beside the persons.</summary>
        public FrozenSet<string> Parts { get; } = (allowed.Personal ?? []).Select(path => path.Contains('.', StringComparison.Ordinal) ? path.Split('.')[0] : "").ToFrozenSet(StringComparer.Ordinal);

        public Trimmer? Personal { get; } = allowed.Personal is null || type.Personal is null ? null : Trimmer.Of(allowed.Personal);
    }
}
