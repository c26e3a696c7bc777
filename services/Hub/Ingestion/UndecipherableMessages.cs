using System.Runtime.Serialization;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.Access;
using Intercommunalite.Hub.EventStore;
using MassTransit;
using MassTransit.Logging;
using MassTransit.Serialization;

namespace Intercommunalite.Hub.Ingestion;

/// <summary>What can be told of a message on the ingestion queue that is no well-formed <see cref="JournalSegment"/>.</summary>
/// <param name="Reason">Why it is none: one of few texts, so that they can be counted; names fields, never values.</param>
/// <param name="Commune">INSEE code, if it tells one.</param>
/// <param name="TraceId">Trace named by its headers, or null.</param>
internal sealed record UndecipherableMessage(string Reason, string? Commune, string? TraceId)
{
    private static readonly string s_segment = MessageUrn.ForTypeString<JournalSegment>();

    /// <summary>Why a message is no run of events; null when it is one.</summary>
    public static UndecipherableMessage? Read(byte[] body)
    {
        Envelope? envelope;
        try
        {
            envelope = JsonSerializer.Deserialize<Envelope>(body, SystemTextJsonMessageSerializer.Options);
        }
        catch (Exception e) when (IsOfReading(e))
        {
            return new(IsJson(body) ? "message: not in the bus's envelope" : "message: not JSON", null, null);
        }

        if (envelope?.MessageType is null or []) return new("message: not in the bus's envelope", null, null);
        var commune = CommuneOf(envelope.Message);
        if (!envelope.MessageType.Contains(s_segment)) return new("message: of another type than a journal's segment", commune, null);
        try
        {
            var segment = envelope.Message.Deserialize<JournalSegment>(SystemTextJsonMessageSerializer.Options);
            return segment is null ? new("message: a journal's segment without content", null, null) : WhatIsWrong(segment);
        }
        catch (Exception e) when (IsOfReading(e))
        {
            // Of what the parser says only the path: the rest may repeat the value.
            return new($"message: {(e as JsonException)?.Path ?? "content"} not readable", commune, null);
        }
    }

    /// <summary>Why a segment makes no sense; null when it does.</summary>
    public static UndecipherableMessage? WhatIsWrong(JournalSegment segment)
    {
        var isCommune = CommuneCode.TryParse(segment.Commune, out _);
        var wrong =
            !isCommune ? "message: commune: an INSEE commune code expected"
            : segment.Journal == Guid.Empty ? "message: journal: a UUID expected"
            : segment.FirstPosition < 1 ? "message: firstPosition: 1 or more expected"
            : segment.Events is null or { Count: 0 } ? "message: events: at least one expected"
            : null;
        return wrong is null ? null : new(wrong, isCommune ? segment.Commune : null, null);
    }

    private static bool IsJson(byte[] body)
    {
        try
        {
            using var json = JsonDocument.Parse(body);
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static string? CommuneOf(JsonElement message)
    {
        try
        {
            return message.ValueKind == JsonValueKind.Object && message.TryGetProperty("commune", out var commune)
                && commune.ValueKind == JsonValueKind.String && CommuneCode.TryParse(commune.GetString(), out var code) ? code.ToString() : null;
        }
        catch (InvalidOperationException)
        {
            // Not well-formed Unicode.
            return null;
        }
    }

    private static bool IsOfReading(Exception e) => e is JsonException or SerializationException or NotSupportedException or InvalidOperationException;

    private sealed record Envelope(string[]? MessageType, JsonElement Message);
}

/// <summary>
/// The outermost filter of the ingestion queue: whatever arrives there and is no run of events is kept whole in quarantine, and
/// acknowledged only then; the messages behind it go on. While the database is away it is held, unacknowledged, and tried again:
/// giving it back would have the broker drop it once it has been delivered so many times.
/// </summary>
internal sealed partial class UndecipherableMessages(
    Quarantine quarantine, BusUsers users, StoreSchema schema, TimeProvider clock, ILogger<UndecipherableMessages> logger)
    : IFilter<ReceiveContext>
{
    private static readonly TimeSpan s_retryDelay = TimeSpan.FromSeconds(1);

    public async Task Send(ReceiveContext context, IPipe<ReceiveContext> next)
    {
        try
        {
            await next.Send(context);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            var found = UndecipherableMessage.Read(context.Body.GetBytes())
                ?? (e is JsonException or SerializationException or MessageNotConsumedException ? new("message: not readable", null, null) : null);
            if (found is null)
            {
                // Ours, not the message's: it goes back to the queue, at a pace that a fault does not use up its deliveries at once.
                await Task.Delay(s_retryDelay, clock, context.CancellationToken);
                throw;
            }

            await KeepAsync(context, found);
        }
    }

    /// <summary>Keeps a message; returns once it is in quarantine.</summary>
    /// <exception cref="OperationCanceledException">The hub stops; the message comes again.</exception>
    public async Task KeepAsync(ReceiveContext context, UndecipherableMessage message)
    {
        var traced = message with { TraceId = Quarantine.TraceId(context.TransportHeaders.Get<string>(DiagnosticHeaders.ActivityId)) };
        await schema.Applied.WaitAsync(context.CancellationToken);
        while (true)
        {
            try
            {
                var sender = BusUsers.SenderOf(context);
                var kept = await quarantine.KeepAsync(
                    traced, context.Body.GetBytes(), context.Redelivered, sender == users.HubsOwn ? null : sender ?? "", context.CancellationToken);
                if (kept) LogKept(traced.Reason);
                return;
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                LogUnavailable(e.Message);
                await Task.Delay(s_retryDelay, clock, context.CancellationToken);
            }
        }
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("undecipherable");

    [LoggerMessage(Level = LogLevel.Warning, Message = "A message on the ingestion queue is no run of events that its sender may send; it is in quarantine. {Reason}")]
    private partial void LogKept(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The database does not take a message into quarantine for now; it is tried again. {Reason}")]
    private partial void LogUnavailable(string reason);
}
