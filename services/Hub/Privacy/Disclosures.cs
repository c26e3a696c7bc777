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
