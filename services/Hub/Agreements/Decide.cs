namespace Intercommunalite.Hub.Agreements;

/// <summary>Who wants something done, when, and why.</summary>
/// <param name="By">The caller's id.</param>
/// <param name="At">When.</param>
/// <param name="Today">The day in the territory then.</param>
/// <param name="Why">The reason given.</param>
internal sealed record Act(string By, DateTimeOffset At, DateOnly Today, string? Why);

/// <summary>What came of a decision: either what happens, or why it does not.</summary>
/// <param name="Event">What happens.</param>
/// <param name="Refused">Why nothing happens, and what to do instead.</param>
internal readonly record struct Decision(AgreementEvent? Event, string? Refused)
{
    public static implicit operator Decision(AgreementEvent happens) => new(happens, null);

    public static implicit operator Decision(string refused) => new(null, refused);
}

/// <summary>The life of an agreement: draft, active, suspended and active again, ended. Pure; terms have been checked before.</summary>
internal static class Decide
{
    private const string Over = "It has ended. Draft a new agreement instead.";

    /// <summary>New terms: the first ones, or a version that replaces the one in force once it is activated.</summary>
    public static Decision Draft(Agreement? agreement, AgreementTerms terms, Act act) =>
        agreement?.StateOn(act.Today) == AgreementState.Ended ? Over
        : new AgreementDrafted((agreement?.Versions.Count ?? 0) + 1, terms, act.By, act.At, act.Why);

    /// <summary>The version drafted last comes into force.</summary>
    /// <param name="agreement">The agreement.</param>
    /// <param name="version">The version that is meant; null for whichever was drafted last.</param>
    /// <param name="act">Who does it.</param>
    public static Decision Activate(Agreement agreement, int? version, Act act) =>
        agreement.StateOn(act.Today) == AgreementState.Ended ? Over
        : agreement.Pending is not { } pending ? $"Version {agreement.Current} was put into force already, and no other has been drafted since."
        : version is { } meant && meant != pending.Number ? $"Version {pending.Number} was drafted last, not version {meant}. Read it, then activate it."
        : pending.Terms.WhyNotYet(act.Today) is { } reason ? $"Version {pending.Number} cannot be put into force: {reason}. Draft it anew."
        : new AgreementActivated(pending.Number, act.By, act.At, act.Why);

    /// <summary>It allows nothing for now.</summary>
    public static Decision Suspend(Agreement agreement, Act act) => agreement.StateOn(act.Today) switch
    {
        AgreementState.Active => new AgreementSuspended(act.By, act.At, act.Why),
        AgreementState.Ended => Over,
        AgreementState.Suspended => "It is suspended already.",
        _ => "It is a draft, which allows nothing anyway.",
    };

    /// <summary>It allows again what it did.</summary>
    public static Decision Resume(Agreement agreement, Act act) => agreement.StateOn(act.Today) switch
    {
        AgreementState.Suspended => new AgreementResumed(act.By, act.At, act.Why),
        AgreementState.Ended => Over,
        _ => "It is not suspended.",
    };

    /// <summary>It is over for good; a draft is given up.</summary>
    public static Decision End(Agreement agreement, Act act) =>
        agreement.StateOn(act.Today) == AgreementState.Ended ? "It has ended already." : new AgreementEnded(act.By, act.At, act.Why);
}
