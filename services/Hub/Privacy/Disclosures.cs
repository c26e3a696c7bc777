using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>A person's data went to a recipient.</summary>
/// <param name="Person">Whose.</param>
/// <param name="EventId">In which event.</param>
/// <param name="Recipient">Who got it: the partner's id.</param>
/// <param name="Agreement">Under which agreement.</param>
/// <param name="At">When.</param>
internal sealed record Disclosure(Guid Person, Guid EventId, string Recipient, string Agreement, DateTimeOffset At);

/// <summary>
/// To whom personal data went (RGPD, art. 15(1)(c) and 19). What was told once to a recipient under an agreement is noted once, with the
/// first time.
/// </summary>
internal sealed class Disclosures(NpgsqlDataSource database)
{
    /// <summary>Notes disclosures in the transaction that a connection is in; to be done before the data leaves, so that none is missing.</summary>
    public static async Task RecordAsync(NpgsqlConnection connection, IReadOnlyCollection<Disclosure> disclosures, CancellationToken cancellation)
    {
        if (disclosures.Count == 0) return;
        await using var command = new NpgsqlCommand("""
            INSERT INTO privacy.disclosure (person, event_id, recipient, agreement, at)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[]) AS given (person, event_id, recipient, agreement, at)
            ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING
            """, connection);
        command.Parameters.Add(new() { Value = disclosures.Select(disclosure => disclosure.Person).ToArray() });
        command.Parameters.Add(new() { Value = disclosures.Select(disclosure => disclosure.EventId).ToArray() });
        command.Parameters.Add(new() { Value = disclosures.Select(disclosure => disclosure.Recipient).ToArray() });
        command.Parameters.Add(new() { Value = disclosures.Select(disclosure => disclosure.Agreement).ToArray() });
        command.Parameters.Add(new() { Value = disclosures.Select(disclosure => disclosure.At.ToUniversalTime()).ToArray() });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>To whom a person's data went, by time.</summary>
    public async Task<IReadOnlyList<Disclosure>> OfAsync(Guid person, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand("SELECT person, event_id, recipient, agreement, at FROM privacy.disclosure WHERE person = $1 ORDER BY at, event_id, recipient");
        command.Parameters.Add(new() { Value = person });
        var disclosures = new List<Disclosure>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
            disclosures.Add(new(reader.GetGuid(0), reader.GetGuid(1), reader.GetString(2), reader.GetString(3), reader.GetFieldValue<DateTimeOffset>(4)));
        return disclosures;
    }

    /// <summary>Who was sent what an event says of a person, by name.</summary>
    public static async Task<IReadOnlyList<string>> RecipientsAsync(NpgsqlConnection connection, Guid person, Guid eventId, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("SELECT DISTINCT recipient FROM privacy.disclosure WHERE person = $1 AND event_id = $2 ORDER BY 1", connection);
        command.Parameters.Add(new() { Value = person });
        command.Parameters.Add(new() { Value = eventId });
        var recipients = new List<string>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) recipients.Add(reader.GetString(0));
        return recipients;
    }

    /// <summary>What an event said of a person is of another one now: to whom it went is told of that one, and of the first as far as more of it stands there.</summary>
    public static async Task MoveAsync(NpgsqlConnection connection, Guid eventId, Guid from, Guid to, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand("""
            WITH moved AS (
                INSERT INTO privacy.disclosure (person, event_id, recipient, agreement, at)
                SELECT $3, event_id, recipient, agreement, at FROM privacy.disclosure WHERE person = $2 AND event_id = $1 ON CONFLICT DO NOTHING)
            DELETE FROM privacy.disclosure WHERE person = $2 AND event_id = $1 AND NOT EXISTS (SELECT FROM privacy.personal_data WHERE person = $2 AND event_id = $1)
            """, connection);
        foreach (var id in (ReadOnlySpan<Guid>)[eventId, from, to]) command.Parameters.Add(new() { Value = id });
        await command.ExecuteNonQueryAsync(cancellation);
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("privacy.disclosure");
        table.AddColumn("person", "uuid").AsPrimaryKey();
        table.AddColumn("event_id", "uuid").AsPrimaryKey();
        table.AddColumn("recipient", "text").AsPrimaryKey();
        table.AddColumn("agreement", "text").AsPrimaryKey();
        table.AddColumn("at", "timestamptz").NotNull();
        return table;
    }
}
