using Intercommunalite.Contracts;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>
/// The personal data of events, apart from the events: one erasable row an event, with the time until which the catalogue
/// lets it be kept.
/// </summary>
internal static class PersonalDataStore
{
    /// <summary>Stores the personal data of events, as part of the transaction that appends them.</summary>
    /// <param name="batch">The transaction's commands.</param>
    /// <param name="events">Events; those without personal data are passed over.</param>
    public static void StorePersonalData(this NpgsqlBatch batch, IReadOnlyCollection<CheckedEvent> events)
    {
        var kept = events.Where(read => read.Type.Personal is not null && read.Envelope.Data.TryGetProperty("personal", out _)).ToList();
        if (kept.Count == 0) return;
        var command = new NpgsqlBatchCommand("""
            INSERT INTO privacy.personal_data (event_id, commune, type, keep_until, personal)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[])
            """);
        command.Parameters.Add(new() { Value = kept.Select(read => read.EventId).ToArray() });
        command.Parameters.Add(new() { Value = kept.Select(read => read.Envelope.Source.Commune.ToString()).ToArray() });
        command.Parameters.Add(new() { Value = kept.Select(read => read.Type.Name).ToArray() });
        command.Parameters.Add(new() { Value = kept.Select(read => read.Envelope.Time.ToUniversalTime().AddMonths(read.Type.Personal!.Months)).ToArray() });
        command.Parameters.Add(new() { Value = kept.Select(read => read.Envelope.Data.GetProperty("personal").GetRawText()).ToArray() });
        batch.BatchCommands.Add(command);
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("privacy.personal_data");
        table.AddColumn("event_id", "uuid").AsPrimaryKey();
        table.AddColumn("commune", "text").NotNull();
        table.AddColumn("type", "text").NotNull();
        table.AddColumn("keep_until", "timestamptz").NotNull();
        table.AddColumn("personal", "jsonb").NotNull();
        return table;
    }
}
