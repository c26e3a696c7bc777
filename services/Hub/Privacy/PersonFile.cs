using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;
using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>What an event holds of a person.</summary>
/// <param name="EventId">The event.</param>
/// <param name="Type">Its type.</param>
/// <param name="Meaning">What the type says.</param>
/// <param name="Commune">INSEE code of the commune that sent it.</param>
/// <param name="Source">Which of its systems.</param>
/// <param name="Subject">The record's own key in the commune.</param>
/// <param name="Time">When the commune recorded it.</param>
/// <param name="ReceivedAt">When the hub received it.</param>
/// <param name="Ground">Purpose and legal ground, as the catalogue says.</param>
/// <param name="KeepUntil">Until when it may be kept.</param>
/// <param name="Paths">Where the person stands in the event's personal data; empty for what stands beside the persons.</param>
internal sealed record HeldEvent(
    Guid EventId, string Type, string? Meaning, string Commune, string? Source, string? Subject, DateTimeOffset? Time, DateTimeOffset? ReceivedAt, string? Ground, DateTimeOffset KeepUntil,
    IReadOnlyList<string> Paths)
{
    /// <summary>The event's facts; null where they are not asked for.</summary>
    public JsonNode? Facts { get; init; }

    /// <summary>The personal data by path; null where it is not asked for.</summary>
    public JsonObject? Data { get; init; }
}

/// <summary>A hold on a person's data.</summary>
internal sealed record LegalHold(string Reason, string By, DateTimeOffset At);

/// <summary>An erasure that was refused.</summary>
internal sealed record Refusal(string Ground, string By, DateTimeOffset At);

/// <summary>All that is held of a person.</summary>
/// <param name="Person">The person's id.</param>
/// <param name="Controller">Who holds it.</param>
/// <param name="At">When this was put together.</param>
/// <param name="Events">What is held, by the time of reception.</param>
/// <param name="Quarantined">What is in quarantine that names the person.</param>
/// <param name="Disclosures">To whom it went.</param>
/// <param name="Holds">Legal holds that stand.</param>
/// <param name="Refusals">Erasures that were refused.</param>
internal sealed record PersonFile(
    Guid Person, string Controller, DateTimeOffset At, IReadOnlyList<HeldEvent> Events, IReadOnlyList<QuarantinedPerson> Quarantined, IReadOnlyList<Disclosure> Disclosures, IReadOnlyList<LegalHold> Holds, IReadOnlyList<Refusal> Refusals);

/// <summary>Puts together what is held of persons (RGPD, art. 15).</summary>
internal sealed class PersonFiles(
    NpgsqlDataSource database, PersonalDataStore personalData, QuarantinedPersons quarantined, KeyVault vault, Disclosures disclosures, Epci territory, TimeProvider clock)
{
    /// <summary>SQL that is true of a row that may still be used: in its time, or held by law. <c>$2</c> is now.</summary>
    public const string Usable = "(keep_until > $2 OR EXISTS (SELECT FROM privacy.hold h WHERE h.person = personal_data.person AND h.ended_at IS NULL))";

    /// <summary>What is held of a person; null when nothing is. What can be read no longer, since the key is gone, is not held.</summary>
    /// <param name="person">The person.</param>
    /// <param name="withData">Whether with the data itself, or only what kind there is.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<PersonFile?> ReadAsync(Guid person, bool withData, CancellationToken cancellation)
    {
        var now = clock.GetUtcNow();
        var rows = await personalData.OpenAsync(
            await personalData.RowsAsync($"person = $1 AND {Usable} ORDER BY event_id, length(path), path", cancellation, person, now), cancellation);
        if (rows.Count == 0) return null;
        var facts = await FactsAsync([.. rows.Select(row => row.EventId).Distinct()], cancellation);
        var events = rows.GroupBy(row => row.EventId).Select(group =>
        {
            var (first, of) = (group.First(), facts.GetValueOrDefault(group.Key));
            var type = Catalogue.Find(first.Type);
            return new HeldEvent(
                group.Key, first.Type, type?.Meaning, first.Commune, of?.Source, of?.Subject, of?.Time, of?.ReceivedAt, type?.Personal?.Ground, first.KeepUntil, [.. group.Select(row => row.Path)])
            {
                Facts = withData && of is not null ? JsonNode.Parse(of.Data) : null,
                Data = withData ? new JsonObject(group.Select(row => KeyValuePair.Create(row.Path, JsonNode.Parse(row.Content)))) : null,
            };
        });
        return new(
            person, territory.Name, now, [.. events.OrderBy(held => held.ReceivedAt).ThenBy(held => held.EventId)], await QuarantinedAsync(person, withData, cancellation),
            await disclosures.OfAsync(person, cancellation), await HoldsAsync(person, cancellation), await RefusalsAsync(person, cancellation));
    }

    /// <summary>The record's own key in the commune of an event; null when the event is not there.</summary>
    public async Task<string?> SubjectAsync(Guid eventId, CancellationToken cancellation) => (await FactsAsync([eventId], cancellation)).GetValueOrDefault(eventId)?.Subject;

    /// <summary>The holds on a person's data that stand.</summary>
    public Task<IReadOnlyList<LegalHold>> HoldsAsync(Guid person, CancellationToken cancellation) => NotesAsync(
        "SELECT reason, held_by, at FROM privacy.hold WHERE person = $1 AND ended_at IS NULL ORDER BY at", person, (text, by, at) => new LegalHold(text, by, at), cancellation);

    /// <summary>The erasures that were refused to a person.</summary>
    public Task<IReadOnlyList<Refusal>> RefusalsAsync(Guid person, CancellationToken cancellation) => NotesAsync(
        "SELECT ground, refused_by, at FROM privacy.refusal WHERE person = $1 ORDER BY at", person, (text, by, at) => new Refusal(text, by, at), cancellation);

    // Whoever has no pseudonym is a person of one event alone, so of none in quarantine.
    private async Task<IReadOnlyList<QuarantinedPerson>> QuarantinedAsync(Guid person, bool withData, CancellationToken cancellation)
    {
        var (pseudonyms, secret) = (await vault.PseudonymsAsync([person], cancellation), await vault.SecretAsync(cancellation));
        return pseudonyms.Count == 0
            ? [] : await quarantined.FindAsync((_, named) => named is not null && Persons.Pseudonym(secret, named) is { } pseudonym && pseudonyms.Contains(pseudonym), withData, int.MaxValue, cancellation);
    }

    private async Task<IReadOnlyList<T>> NotesAsync<T>(string sql, Guid person, Func<string, string, DateTimeOffset, T> make, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(sql);
        command.Parameters.Add(new() { Value = person });
        var notes = new List<T>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) notes.Add(make(reader.GetString(0), reader.GetString(1), reader.GetFieldValue<DateTimeOffset>(2)));
        return notes;
    }

    private async Task<Dictionary<Guid, EventFacts>> FactsAsync(Guid[] events, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand(
            "SELECT id, headers ->> 'source', split_part(stream_id, '/', 2), stream_id, (headers ->> 'time')::timestamptz, timestamp, data::text FROM hub.mt_events WHERE id = ANY($1)");
        command.Parameters.Add(new() { Value = events });
        var found = new Dictionary<Guid, EventFacts>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            var stream = reader.GetString(3);
            found[reader.GetGuid(0)] = new(
                reader.GetString(1), stream[(stream.IndexOf('/', stream.IndexOf('/', StringComparison.Ordinal) + 1) + 1)..], reader.GetFieldValue<DateTimeOffset>(4),
                reader.GetFieldValue<DateTimeOffset>(5), reader.GetString(6));
        }

        return found;
    }

    private sealed record EventFacts(string Source, string Subject, DateTimeOffset Time, DateTimeOffset ReceivedAt, string Data);
}
