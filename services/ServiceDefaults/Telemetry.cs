using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Intercommunalite.ServiceDefaults;

/// <summary>The source of the spans and meters of this system. Neither ever holds personal data.</summary>
public static class Telemetry
{
    /// <summary>Name of the activity source and of the meter.</summary>
    public const string Name = "Intercommunalite.Hub";

    private const int MaxLinks = 32;

    /// <summary>Spans.</summary>
    public static ActivitySource Activities { get; } = new(Name);

    /// <summary>Instruments; each room makes its own on it.</summary>
    public static Meter Meter { get; } = new(Name);

    /// <summary>
    /// Starts a span of work on many events at once: a child of the first event's trace, linked to the others' (32 at most).
    /// </summary>
    /// <param name="name">Name of the span.</param>
    /// <param name="kind">Its kind.</param>
    /// <param name="traceParents">W3C trace contexts of the events; those absent or unreadable are passed over.</param>
    /// <returns>The span, or null when nobody listens.</returns>
    public static Activity? StartForEvents(string name, ActivityKind kind, IEnumerable<string?> traceParents)
    {
        if (!Activities.HasListeners()) return null;
        var contexts = traceParents.Distinct()
            .Select(text => ActivityContext.TryParse(text, null, isRemote: true, out var context) ? context : default)
            .Where(context => context != default)
            .Take(MaxLinks)
            .ToList();
        return contexts.Count == 0
            ? Activities.StartActivity(name, kind)
            : Activities.StartActivity(name, kind, contexts[0], links: contexts.Skip(1).Select(context => new ActivityLink(context)));
    }
}
