using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Hub.Agreements;
using Intercommunalite.Hub.Audit;
using Intercommunalite.Hub.Privacy;
using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>Personal data on its way to a partner: read and decrypted for the page that is being made, and kept nowhere else.</summary>
internal sealed class PersonalPages(NpgsqlDataSource database, PersonalDataStore store, AuditLog audit, TimeProvider time)
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>
    /// Adds to events what an agreement allows of their personal data. Whose data goes to whom is noted before it can be sent: when that
    /// fails, nothing is. Nobody is forgotten meanwhile: who is so before is not in it, and of who is so after it is known to whom the
    /// data went.
    /// </summary>
    /// <param name="page">The events.</param>
    /// <param name="who">The client that gets them.</param>
    /// <param name="agreement">The agreement.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>The epoch of <see cref="Forgetting"/> of which the data is; null when there is none.</returns>
    public async Task<long?> AddAsync(IReadOnlyList<FeedEvent> page, string who, AgreementInForce agreement, CancellationToken cancellation)
    {
        var events = page.Where(item => agreement.AllowsPersonalData(item.Message.Type)).ToDictionary(item => item.Place.Event);
        if (events.Count == 0) return null;
        var now = time.GetUtcNow();
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        var epoch = await Forgetting.HoldAsync(connection, cancellation);
        var rows = await PersonalDataStore.RowsAsync(connection, "event_id = ANY($1) AND keep_until > $2", cancellation, events.Keys.ToArray(), now.ToUniversalTime());
        // Of whom nothing is allowed, nothing is decrypted.
        var parts = await store.OpenAsync([.. rows.Where(row => agreement.AllowsPart(row.Type, row.Path))], cancellation);
        var told = new List<Disclosure>();
        var sent = new List<long>();
        foreach (var ofEvent in parts.GroupBy(part => part.EventId))
        {
            var item = events[ofEvent.Key];
            var whole = Persons.Together(ofEvent.Select(part => (part.Path, part.Content))).ToJsonString(s_json);
            if (agreement.TrimPersonal(item.Message.Type, whole) is not { } allowed) continue;
            item.Message.Personal = allowed;
            sent.Add(item.Place.Position);
            told.AddRange(ofEvent.Select(part => part.Person).Distinct().Select(person => new Disclosure(person, ofEvent.Key, who, agreement.Id, now)));
        }

        if (sent.Count == 0) return null;
        await Disclosures.RecordAsync(connection, told, cancellation);
        await audit.AppendAsync(
            connection, new(who, "feed.personal-data-sent", agreement.Id, agreement.Terms.Purpose, new JsonObject
            {
                ["version"] = agreement.Version,
                ["events"] = sent.Count,
                ["persons"] = told.Select(disclosure => disclosure.Person).Distinct().Count(),
                ["first"] = sent.Min(),
                ["last"] = sent.Max(),
            }),
            cancellation);
        await transaction.CommitAsync(cancellation);
        return epoch;
    }
}
