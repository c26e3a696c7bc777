namespace Intercommunalite.Hub.Agreements;

/// <summary>Something that happened to an agreement: who did it, when, and why.</summary>
/// <param name="By">The caller's id.</param>
/// <param name="At">When.</param>
/// <param name="Why">The reason given.</param>
internal abstract record AgreementEvent(string By, DateTimeOffset At, string? Why);

/// <summary>Terms were drafted: the first ones, or others that are to replace those before.</summary>
internal sealed record AgreementDrafted(int Version, AgreementTerms Terms, string By, DateTimeOffset At, string? Why = null) : AgreementEvent(By, At, Why);

/// <summary>A version was put into force: from its first day on it stands in place of those before. What was suspended is so no longer.</summary>
internal sealed record AgreementActivated(int Version, string By, DateTimeOffset At, string? Why = null) : AgreementEvent(By, At, Why);

/// <summary>It allows nothing until it is resumed.</summary>
internal sealed record AgreementSuspended(string By, DateTimeOffset At, string? Why = null) : AgreementEvent(By, At, Why);

/// <summary>It allows again what its version in force says.</summary>
internal sealed record AgreementResumed(string By, DateTimeOffset At, string? Why = null) : AgreementEvent(By, At, Why);

/// <summary>It is over for good.</summary>
internal sealed record AgreementEnded(string By, DateTimeOffset At, string? Why = null) : AgreementEvent(By, At, Why);

/// <summary>Where an agreement is in its life.</summary>
public enum AgreementState
{
    /// <summary>Never put into force yet.</summary>
    Draft,

    /// <summary>Put into force: it allows something from its first day on.</summary>
    Active,

    /// <summary>Allows nothing for now.</summary>
    Suspended,

    /// <summary>Over: ended by somebody, or its last day has passed.</summary>
    Ended,
}

/// <summary>Terms as they were drafted once.</summary>
/// <param name="Number">1, 2, 3, …</param>
/// <param name="Terms">The terms.</param>
/// <param name="DraftedAt">When.</param>
/// <param name="ActivatedAt">When they were put into force; null while they were not.</param>
internal sealed record AgreementVersion(int Number, AgreementTerms Terms, DateTimeOffset DraftedAt, DateTimeOffset? ActivatedAt = null);

/// <summary>An agreement, as its events say.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Revision">Number of its events.</param>
/// <param name="Versions">Its terms, every version.</param>
/// <param name="Current">Number of the version last put into force; null when none was. Until its first day, one before goes on: see <see cref="On"/>.</param>
/// <param name="Oldest">Number of the first version that may still hold: what was suspended when the next one was put into force does so no more.</param>
/// <param name="Said">Its state, but for the last day: see <see cref="StateOn"/>.</param>
/// <param name="Events">What happened to it.</param>
internal sealed record Agreement(
    string Id, long Revision, IReadOnlyList<AgreementVersion> Versions, int? Current, int Oldest, AgreementState Said, IReadOnlyList<AgreementEvent> Events)
{
    /// <summary>The version last put into force; null when none was.</summary>
    public AgreementVersion? Newest => Current is { } number ? Versions[number - 1] : null;

    /// <summary>The version drafted last.</summary>
    public AgreementVersion Latest => Versions[^1];

    /// <summary>A version that was drafted and waits to be put into force, or null.</summary>
    public AgreementVersion? Pending => Said != AgreementState.Ended && Latest.Number != Current ? Latest : null;

    /// <summary>
    /// The version that holds on a day: of those put into force, the last one whose first day has come; before the first day of all,
    /// the newest. Null when none was put into force.
    /// </summary>
    public AgreementVersion? On(DateOnly day) =>
        Versions.LastOrDefault(version => version.ActivatedAt is not null && version.Number >= Oldest && version.Terms.From <= day) ?? Newest;

    /// <summary>The version that is the next one to take the place of that of a day, on its first day; null when none is.</summary>
    public AgreementVersion? NextAfter(DateOnly day) => StateOn(day) != AgreementState.Active ? null : Versions
        .Where(version => version.ActivatedAt is not null && version.Number >= Oldest && version.Terms.From > day).OrderBy(version => version.Terms.From)
        .Select(version => On(version.Terms.From)).FirstOrDefault(version => version != On(day));

    /// <summary>Its state on a day: once the last day of its newest version has passed, it has ended by itself.</summary>
    public AgreementState StateOn(DateOnly day) => Newest?.Terms.To < day ? AgreementState.Ended : Said;

    /// <summary>Whether it allows something on a day: what the terms of that day say.</summary>
    public bool IsInForceOn(DateOnly day) => StateOn(day) == AgreementState.Active && On(day)!.Terms is var terms && terms.From <= day && !(terms.To < day);

    /// <summary>The agreement that its events tell of, in their order; null when there are none.</summary>
    public static Agreement? Of(string id, IEnumerable<AgreementEvent> events)
    {
        Agreement? agreement = null;
        foreach (var happened in events) agreement = (agreement ?? new(id, 0, [], null, 1, AgreementState.Draft, [])).After(happened);
        return agreement;
    }

    /// <summary>The agreement as it was at a time; null when it was not there yet.</summary>
    public Agreement? AsOf(DateTimeOffset time) => Of(Id, Events.TakeWhile(happened => happened.At <= time));

    private Agreement After(AgreementEvent happened)
    {
        var next = this with { Revision = Revision + 1, Events = [.. Events, happened] };
        return happened switch
        {
            AgreementDrafted drafted => next with { Versions = [.. Versions, new(drafted.Version, drafted.Terms, drafted.At)] },
            AgreementActivated activated => next with
            {
                Current = activated.Version,
                Oldest = Said == AgreementState.Suspended ? activated.Version : Oldest,
                Said = AgreementState.Active,
                Versions = [.. Versions.Select(version => version.Number == activated.Version ? version with { ActivatedAt = activated.At } : version)],
            },
            AgreementSuspended => next with { Said = AgreementState.Suspended },
            AgreementResumed => next with { Said = AgreementState.Active },
            AgreementEnded => next with { Said = AgreementState.Ended },
            _ => throw new InvalidOperationException($"{happened.GetType().Name} is not known."),
        };
    }
}
