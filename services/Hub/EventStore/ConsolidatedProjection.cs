using System.Diagnostics;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using JasperFx.Events;
using JasperFx.Events.Projections;
using Marten;
using Marten.Events.Projections;

namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// A projection that takes a page of events at once: it loads the records that they touch, decides in memory, and writes few
/// rows. It never asks the clock, other services or other projections, so that a rebuild gives the same figures.
/// </summary>
internal abstract class ConsolidatedProjection : ProjectionBase, IProjection
{
    /// <param name="name">Its name everywhere: the daemon, the API, <c>interco projections</c>.</param>
    /// <param name="types">Events that it looks at.</param>
    /// <param name="tables">Tables that it writes, emptied before a rebuild.</param>
    protected ConsolidatedProjection(string name, IEnumerable<EventType> types, params string[] tables)
    {
        Name = name;
        Options.BatchSize = 2000;
        Options.MaximumHopperSize = 10_000;
        foreach (var type in types) IncludeType(type.Record);
        foreach (var table in tables) Options.DeleteDataInTableOnTeardown(table);
    }

    public async Task ApplyAsync(IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation)
    {
        using var span = Telemetry.StartForEvents(
            $"project {Name}", ActivityKind.Consumer, events.Select(stored => stored.GetHeader(EventHeaders.TraceParent)?.ToString()));
        span?.SetTag("events", events.Count);
        await ProjectAsync(operations, events, cancellation);
    }

    /// <summary>Applies a page of events, in order.</summary>
    protected abstract Task ProjectAsync(IDocumentOperations operations, IReadOnlyList<IEvent> events, CancellationToken cancellation);
}

/// <summary>What of the CloudEvent is kept in the stored event's headers.</summary>
internal static class EventHeaders
{
    public const string Id = "id";
    public const string Source = "source";
    public const string Time = "time";
    public const string Journal = "journal";
    public const string Position = "position";
    public const string TraceParent = "traceparent";
}
