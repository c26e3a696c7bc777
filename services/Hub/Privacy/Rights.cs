using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Intercommunalite.Hub.Audit;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>What came of an erasure.</summary>
internal enum Erasure
{
    /// <summary>Nothing is held of the person.</summary>
    Unknown,

    /// <summary>A legal hold stands.</summary>
    Held,

    /// <summary>Nobody can find or read it here any more; the key goes by itself as soon as its database answers.</summary>
    Begun,

    /// <summary>Done.</summary>
    Erased,
}

/// <summary>A legal hold stands on a person's data.</summary>
internal sealed class LegalHoldException : Exception;

/// <summary>Erases, corrects and holds the data of persons; each act is in the audit in the same transaction, the person by id alone.</summary>
internal sealed class Rights(NpgsqlDataSource database, PersonalDataStore personalData, KeyVault vault, Forgetting forgetting, AuditLog audit, TimeProvider clock)
{
    private const string IsHeld = "SELECT EXISTS (SELECT FROM privacy.hold WHERE person = $1 AND ended_at IS NULL)";

    /// <summary>Erases all that is held of a person: the rows, what quarantine holds, then the key, and with it every copy (RGPD, art. 17).</summary>
    /// <param name="person">The person.</param>
    /// <param name="who">The caller's id.</param>
    /// <param name="reason">Why; goes into the audit.</param>
    /// <param name="cancellation">Gives up before anything is done; what was begun is brought to its end by itself.</param>
    /// <returns>What came of it, how many parts of events were erased, and from how many contents of quarantine the person was taken out.</returns>
    public async Task<(Erasure Outcome, int Rows, int Quarantined)> EraseAsync(Guid person, string who, string reason, CancellationToken cancellation)
    {
        var rows = 0;
        await using (var connection = await database.OpenConnectionAsync(cancellation))
        {
            await using var transaction = await connection.BeginTransactionAsync(cancellation);
            await Forgetting.LockAsync(connection, cancellation);
            if (await IsAsync(connection, IsHeld, person, cancellation)) return (Erasure.Held, 0, 0);
            if (await IsHeldDataAsync(connection, person, cancellation))
            {
                rows = await forgetting.RegisterAsync(connection, [person], erased: true, cancellation);
                await audit.AppendAsync(connection, new(who, "privacy.person-erased", person.ToString(), reason, new JsonObject { ["rows"] = rows }), cancellation);
                await transaction.CommitAsync(cancellation);
            }
            else if (!await IsAsync(connection, "SELECT EXISTS (SELECT FROM privacy.forgotten WHERE person = $1 AND key_gone_at IS NULL)", person, cancellation))
            {
                return (Erasure.Unknown, 0, 0);
            }
        }

        try
        {
            return (Erasure.Erased, rows, await forgetting.FinishAsync([person], CancellationToken.None));
        }
        catch (Exception e) when (e is NpgsqlException or CryptographicException or WrongKeysException)
        {
            // Registered: it is tried again until the key is deleted.
            return (Erasure.Begun, rows, 0);
        }
    }

    /// <summary>Notes that an erasure was refused, and on which legal ground (RGPD, art. 17(3)).</summary>
    /// <returns>False when nothing is held of the person.</returns>
    public Task<bool> RefuseAsync(Guid person, string who, string ground, CancellationToken cancellation) => NoteAsync(
        person, new(who, "privacy.erasure-refused", person.ToString(), ground), "INSERT INTO privacy.refusal (person, at, ground, refused_by) VALUES ($1, $2, $3, $4)", cancellation);

    /// <summary>Holds a person's data: neither an erasure nor the end of its time touches it until the hold ends.</summary>
    /// <returns>False when nothing is held of the person.</returns>
    public Task<bool> HoldAsync(Guid person, string who, string reason, CancellationToken cancellation) => NoteAsync(
        person, new(who, "privacy.hold-begun", person.ToString(), reason), "INSERT INTO privacy.hold (person, at, reason, held_by) VALUES ($1, $2, $3, $4)", cancellation);

    /// <summary>Ends the holds on a person's data.</summary>
    /// <returns>False when there is none.</returns>
    public async Task<bool> ReleaseAsync(Guid person, string who, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Forgetting.LockAsync(connection, cancellation);
        await using (var command = new NpgsqlCommand("UPDATE privacy.hold SET ended_at = $2 WHERE person = $1 AND ended_at IS NULL", connection))
        {
            command.Parameters.Add(new() { Value = person });
            command.Parameters.Add(new() { Value = clock.GetUtcNow() });
            if (await command.ExecuteNonQueryAsync(cancellation) == 0) return false;
        }

        await audit.AppendAsync(connection, new(who, "privacy.hold-ended", person.ToString()), cancellation);
        await transaction.CommitAsync(cancellation);
        return true;
    }

    /// <summary>
    /// Corrects what an event says of a person (RGPD, art. 16), in the hub's copy. When the identity changes, the part becomes that of
    /// the person of the new identity.
    /// </summary>
    /// <param name="person">The person.</param>
    /// <param name="eventId">The event.</param>
    /// <param name="path">Where the person stands in it.</param>
    /// <param name="fields">Fields of the person; those that are not given stay, those that are null go.</param>
    /// <param name="who">The caller's id.</param>
    /// <param name="reason">Why; goes into the audit.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>The person that the part is of now, and who was sent it; null when the event does not hold that person there.</returns>
    /// <exception cref="JsonException">The fields do not make a person.</exception>
    /// <exception cref="LegalHoldException">A legal hold stands on the person's data.</exception>
    public async Task<(Guid Person, IReadOnlyList<string> Recipients)?> RectifyAsync(
        Guid person, Guid eventId, string path, JsonObject fields, string who, string reason, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Forgetting.HoldAsync(connection, cancellation);
        var rows = await PersonalDataStore.RowsAsync(connection, "person = $1 AND event_id = $2 ORDER BY path FOR UPDATE", cancellation, person, eventId);
        var open = await personalData.OpenAsync(rows, cancellation);
        if (path.Length == 0 || open.SingleOrDefault(row => row.Path == path) is not { } held) return null;
        if (await IsAsync(connection, IsHeld, person, cancellation)) throw new LegalHoldException();
        var merged = JsonNode.Parse(held.Content)!.AsObject();
        foreach (var (name, value) in fields) merged[name] = value?.DeepClone();
        var corrected = merged.Deserialize<Person>(ContractJson.Options) ?? throw new JsonException("A person expected.");

        var (secret, before) = (await vault.SecretAsync(cancellation), JsonSerializer.Deserialize<Person>(held.Content, ContractJson.Options)!);
        var moved = Persons.Pseudonym(secret, corrected) is var pseudonym && pseudonym != Persons.Pseudonym(secret, before);
        // What stands beside the persons goes with it when there is nobody else of this person in the event.
        var others = open.Where(row => row.Path != path).ToList();
        var parts = new List<(string Path, byte[] Content)> { (path, JsonSerializer.SerializeToUtf8Bytes(corrected, ContractJson.Options)) };
        if (moved && others is [{ Path: "" } beside]) parts.Add((beside.Path, beside.Content));
        var key = moved ? await personalData.KeyAsync(connection, pseudonym, cancellation) : new(person, (await vault.FindAsync([person], cancellation))[person]);
        foreach (var part in parts)
        {
            await using var update = new NpgsqlCommand("UPDATE privacy.personal_data SET person = $3, sealed = $4 WHERE event_id = $1 AND path = $2", connection);
            update.Parameters.Add(new() { Value = eventId });
            update.Parameters.Add(new() { Value = part.Path });
            update.Parameters.Add(new() { Value = key.Id });
            update.Parameters.Add(new() { Value = PersonalDataStore.Seal(key, eventId, part.Path, part.Content) });
            await update.ExecuteNonQueryAsync(cancellation);
        }

        var recipients = await Disclosures.RecipientsAsync(connection, person, eventId, cancellation);
        if (moved) await Disclosures.MoveAsync(connection, eventId, person, key.Id, cancellation);
        var details = new JsonObject { ["event"] = eventId.ToString(), ["path"] = path, ["fields"] = new JsonArray([.. fields.Select(field => (JsonNode)field.Key)]) };
        if (moved) details["person"] = key.Id.ToString();
        await audit.AppendAsync(connection, new(who, "privacy.person-rectified", person.ToString(), reason, details), cancellation);
        await transaction.CommitAsync(cancellation);
        return (key.Id, recipients);
    }

    /// <summary>The tables of holds and refusals.</summary>
    public static IEnumerable<Table> Schema()
    {
        var hold = new Table("privacy.hold");
        hold.AddColumn("id", "bigint").BigAutoIncrement().AsPrimaryKey();
        hold.AddColumn("person", "uuid").NotNull();
        hold.AddColumn("at", "timestamptz").NotNull();
        hold.AddColumn("reason", "text").NotNull();
        hold.AddColumn("held_by", "text").NotNull();
        hold.AddColumn("ended_at", "timestamptz");
        hold.Indexes.Add(new IndexDefinition("hold_person") { Columns = ["person"], Predicate = "ended_at IS NULL" });
        yield return hold;
        var refusal = new Table("privacy.refusal");
        refusal.AddColumn("id", "bigint").BigAutoIncrement().AsPrimaryKey();
        refusal.AddColumn("person", "uuid").NotNull();
        refusal.AddColumn("at", "timestamptz").NotNull();
        refusal.AddColumn("ground", "text").NotNull();
        refusal.AddColumn("refused_by", "text").NotNull();
        refusal.Indexes.Add(new IndexDefinition("refusal_person") { Columns = ["person"] });
        yield return refusal;
    }

    private async Task<bool> NoteAsync(Guid person, AuditEntry entry, string sql, CancellationToken cancellation)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        await using var transaction = await connection.BeginTransactionAsync(cancellation);
        await Forgetting.LockAsync(connection, cancellation);
        if (!await IsHeldDataAsync(connection, person, cancellation)) return false;
        await using (var command = new NpgsqlCommand(sql, connection))
        {
            foreach (var value in (object[])[person, clock.GetUtcNow(), entry.Why!, entry.Who]) command.Parameters.Add(new() { Value = value });
            await command.ExecuteNonQueryAsync(cancellation);
        }

        await audit.AppendAsync(connection, entry, cancellation);
        await transaction.CommitAsync(cancellation);
        return true;
    }

    private static Task<bool> IsHeldDataAsync(NpgsqlConnection connection, Guid person, CancellationToken cancellation) =>
        IsAsync(connection, "SELECT EXISTS (SELECT FROM privacy.personal_data WHERE person = $1)", person, cancellation);

    private static async Task<bool> IsAsync(NpgsqlConnection connection, string sql, Guid person, CancellationToken cancellation)
    {
        await using var command = new NpgsqlCommand(sql, connection);
        command.Parameters.Add(new() { Value = person });
        return (bool)(await command.ExecuteScalarAsync(cancellation))!;
    }
}
