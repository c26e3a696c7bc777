using System.Diagnostics.Metrics;
using System.Security.Cryptography;
using System.Text;
using Intercommunalite.Contracts;
using Intercommunalite.ServiceDefaults;
using Npgsql;
using Weasel.Postgresql.Tables;

namespace Intercommunalite.Hub.Privacy;

/// <summary>A part of an event's personal data as it is stored, or readable again.</summary>
/// <param name="EventId">The event.</param>
/// <param name="Path">Where it stands in <c>data.personal</c>; empty for what stands beside the persons.</param>
/// <param name="Person">Whose it is.</param>
/// <param name="Commune">INSEE code of the commune that sent it.</param>
/// <param name="Type">Type of the event.</param>
/// <param name="KeepUntil">Until when it may be kept.</param>
/// <param name="Content">The part; encrypted, or in UTF-8.</param>
internal sealed record PersonalRow(Guid EventId, string Path, Guid Person, string Commune, string Type, DateTimeOffset KeepUntil, byte[] Content);

/// <summary>What of a run of events is encrypted, to be stored with them.</summary>
/// <param name="Rows">Personal data.</param>
/// <param name="Contents">Whole contents, each with the id of its key, in the order given.</param>
internal sealed record SealedRun(IReadOnlyList<PersonalRow> Rows, IReadOnlyList<(Guid Key, byte[] Content)> Contents)
{
    /// <summary>Stores the personal data as part of the transaction in which it was encrypted.</summary>
    public void Store(NpgsqlBatch batch)
    {
        if (Rows.Count == 0) return;
        var command = new NpgsqlBatchCommand("""
            INSERT INTO privacy.personal_data (event_id, path, person, commune, type, keep_until, sealed)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[])
            """);
        command.Parameters.Add(new() { Value = Rows.Select(row => row.EventId).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.Path).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.Person).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.Commune).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.Type).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.KeepUntil).ToArray() });
        command.Parameters.Add(new() { Value = Rows.Select(row => row.Content).ToArray() });
        batch.BatchCommands.Add(command);
    }
}

/// <summary>
/// The personal data of events, apart from the events: a row for each event and person in it, encrypted with the person's key, with
/// the time until which the catalogue lets it be kept. A person known by name and whole birth date has one key for all events;
/// another one is a person of that event alone, so that strangers are never taken for one.
/// </summary>
internal sealed class PersonalDataStore(NpgsqlDataSource database, KeyVault vault)
{
    private const int CachedKeys = 50_000;

    /// <summary>Columns of a <see cref="PersonalRow"/>, in its order.</summary>
    private const string Columns = "event_id, path, person, commune, type, keep_until, sealed";

    private static readonly Counter<long> s_pastItsTime = Telemetry.Meter.CreateCounter<long>(
        "hub.personal_data.past_its_time", "{event}", "Events whose personal data was not stored, since the time for which the catalogue lets it be kept was over when they arrived");

    private readonly PersonKeys _keys = new(CachedKeys / 2);

    /// <summary>
    /// Encrypts what is about to be stored. Until the transaction ends, nobody is forgotten (<see cref="Forgetting"/>), so that
    /// no key used here is deleted meanwhile; keys that a transaction did not need after all stay: who deletes what one database does not know deletes what another one needs.
    /// </summary>
    /// <param name="connection">The connection, in its transaction.</param>
    /// <param name="events">Events; those without personal data, or whose personal data may be kept no longer, are passed over, as are parts that were erased by right.</param>
    /// <param name="contents">Contents to be encrypted whole, each with a key of its own; of events, without what was erased of them by right.</param>
    /// <param name="now">The time of reception.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<SealedRun> SealAsync(
        NpgsqlConnection connection, IReadOnlyCollection<CheckedEvent> events, IReadOnlyList<(Guid? EventId, byte[] Content)> contents, DateTimeOffset now, CancellationToken cancellation)
    {
        var secret = await vault.SecretAsync(cancellation);
        var parts = new List<(CheckedEvent Event, DateTimeOffset KeepUntil, PersonalPart Part, Guid? Pseudonym)>(events.Count);
        foreach (var read in events)
        {
            if (read.Type.Personal is not { } retention || read.Data.GetPersonal() is null) continue;
            if (KeepUntil(read.Envelope.Time, retention, now) is var until && until <= now)
            {
                s_pastItsTime.Add(1, new KeyValuePair<string, object?>("type", read.Type.Name));
                continue;
            }

            foreach (var part in Persons.In(read.Data)) parts.Add((read, until, part, part.Person is null ? null : Persons.Pseudonym(secret, part.Person)));
        }

        Guid[] concerned = [.. parts.Select(part => part.Event.EventId).Concat(contents.Select(content => content.EventId).OfType<Guid>()).Distinct()];
        if (concerned.Length > 0 && await vault.ErasedPartsAsync(concerned, cancellation) is { Count: > 0 } erased)
        {
            parts.RemoveAll(part => erased.Contains((part.Event.EventId, part.Part.Path)));
            contents = [.. contents.Select(content => (content.EventId, WithoutErased(content.EventId, content.Content, erased)))];
        }

        if (parts.Count + contents.Count == 0) return new([], []);
        var (byPseudonym, others) = await KeysAsync(connection, parts.Where(part => part.Pseudonym is not null).Select(part => part.Pseudonym!.Value), OfNobodyElse(parts) + contents.Count, cancellation);

        var rows = new List<PersonalRow>(parts.Count);
        var next = 0;
        DataKey? main = null;
        foreach (var (read, until, part, pseudonym) in parts)
        {
            if (rows.Count == 0 || rows[^1].EventId != read.EventId) main = null;
            // What stands beside the persons is of the first of them.
            var key = pseudonym is { } known ? byPseudonym[known] : part.Person is null && main is not null ? main.Value : others[next++];
            main ??= key;
            rows.Add(new(
                read.EventId, part.Path, key.Id, read.Envelope.Source.Commune.ToString(), read.Type.Name, until,
                Seal(key, read.EventId, part.Path, part.Json)));
        }

        return new(rows, [.. contents.Select((content, index) => (others[next + index].Id, Sealed.Seal(others[next + index].Key, content.Content, [])))]);
    }

    /// <summary>Decrypts rows. Those whose key is gone are left out: their person was forgotten, and the row is of an older copy of the database.</summary>
    public async Task<IReadOnlyList<PersonalRow>> OpenAsync(IReadOnlyCollection<PersonalRow> rows, CancellationToken cancellation)
    {
        if (rows.Count == 0) return [];
        var keys = await vault.FindAsync([.. rows.Select(row => row.Person)], cancellation);
        return [.. rows.Where(row => keys.ContainsKey(row.Person)).Select(row => row with { Content = Sealed.Open(keys[row.Person], row.Content, Place(row.EventId, row.Path)) })];
    }

    /// <summary>Rows as they are stored, in the order of events and paths.</summary>
    /// <param name="condition">SQL of the hub's own.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <param name="parameters">Its parameters.</param>
    public async Task<IReadOnlyList<PersonalRow>> RowsAsync(string condition, CancellationToken cancellation, params object[] parameters)
    {
        await using var connection = await database.OpenConnectionAsync(cancellation);
        return await RowsAsync(connection, condition, cancellation, parameters);
    }

    /// <summary>The same on a connection, in the transaction that it is in.</summary>
    public static async Task<IReadOnlyList<PersonalRow>> RowsAsync(NpgsqlConnection connection, string condition, CancellationToken cancellation, params object[] parameters)
    {
        await using var command = new NpgsqlCommand($"SELECT {Columns} FROM privacy.personal_data WHERE {condition}", connection);
        foreach (var value in parameters) command.Parameters.Add(new() { Value = value });
        var rows = new List<PersonalRow>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation)) rows.Add(Row(reader));
        return rows;
    }

    /// <summary>The key of a pseudonym's person, or of a person of one event alone, for a part to be encrypted in the connection's transaction.</summary>
    public async Task<DataKey> KeyAsync(NpgsqlConnection connection, Guid? pseudonym, CancellationToken cancellation)
    {
        var (byPseudonym, more) = await KeysAsync(connection, pseudonym is { } known ? [known] : [], pseudonym is null ? 1 : 0, cancellation);
        return pseudonym is { } mine ? byPseudonym[mine] : more[0];
    }

    /// <summary>Encrypts a part for its place.</summary>
    public static byte[] Seal(DataKey key, Guid eventId, string path, byte[] content) => Sealed.Seal(key.Key, content, Place(eventId, path));

    /// <summary>Encrypts content that is of no event with a key of its own.</summary>
    public async Task<(Guid Key, byte[] Content)> SealAsync(byte[] content, CancellationToken cancellation)
    {
        var key = (await vault.TakeAsync([], 1, cancellation)).More[0];
        return (key.Id, Sealed.Seal(key.Key, content, []));
    }

    /// <summary>Decrypts contents; those whose key is gone, or that are damaged, are left out: one must not keep the others from being read.</summary>
    public async Task<IReadOnlyDictionary<Guid, byte[]>> OpenAsync(IReadOnlyCollection<(Guid Key, byte[] Content)> contents, CancellationToken cancellation)
    {
        if (contents.Count == 0) return new Dictionary<Guid, byte[]>();
        var keys = await vault.FindAsync([.. contents.Select(content => content.Key)], cancellation);
        var open = new Dictionary<Guid, byte[]>(contents.Count);
        foreach (var (id, content) in contents)
        {
            try
            {
                if (keys.TryGetValue(id, out var key)) open[id] = Sealed.Open(key, content, []);
            }
            catch (CryptographicException)
            {
                continue;
            }
        }

        return open;
    }

    /// <summary>
    /// Until when: the catalogue's months from the event's time. An event that claims to be of the future is kept no longer than one
    /// of the day on which it arrived.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The event's time is beyond all calendars.</exception>
    public static DateTimeOffset KeepUntil(DateTimeOffset time, Retention retention, DateTimeOffset now)
    {
        var (until, longest) = (time.ToUniversalTime().AddMonths(retention.Months), now.ToUniversalTime().AddMonths(retention.Months));
        return until < longest ? until : longest;
    }

    /// <summary>Its table.</summary>
    public static Table Schema()
    {
        var table = new Table("privacy.personal_data");
        table.AddColumn("event_id", "uuid").AsPrimaryKey();
        table.AddColumn("path", "text").AsPrimaryKey();
        table.AddColumn("person", "uuid").NotNull();
        table.AddColumn("commune", "text").NotNull();
        table.AddColumn("type", "text").NotNull();
        table.AddColumn("keep_until", "timestamptz").NotNull();
        table.AddColumn("sealed", "bytea").NotNull();
        table.Indexes.Add(new IndexDefinition("personal_data_person") { Columns = ["person"] });
        table.Indexes.Add(new IndexDefinition("personal_data_keep_until") { Columns = ["keep_until"] });
        return table;
    }

    private static PersonalRow Row(NpgsqlDataReader reader) => new(
        reader.GetGuid(0), reader.GetString(1), reader.GetGuid(2), reader.GetString(3), reader.GetString(4), reader.GetFieldValue<DateTimeOffset>(5), reader.GetFieldValue<byte[]>(6));

    private static byte[] WithoutErased(Guid? eventId, byte[] content, IReadOnlySet<(Guid EventId, string Path)> erased)
    {
        var paths = erased.Where(part => part.EventId == eventId && part.Path.Length > 0).Select(part => part.Path).ToHashSet();
        if (paths.Count == 0) return content;
        using var json = QuarantinedPersons.Parse(content);
        return json is null ? content : QuarantinedPersons.Without(json.RootElement, paths);
    }

    // A row says nothing in another row's place.
    private static byte[] Place(Guid eventId, string path)
    {
        var place = new byte[16 + Encoding.UTF8.GetByteCount(path)];
        eventId.TryWriteBytes(place, bigEndian: true, out _);
        Encoding.UTF8.GetBytes(path, place.AsSpan(16));
        return place;
    }

    // Persons without a pseudonym, and what stands beside no person.
    private static int OfNobodyElse(List<(CheckedEvent Event, DateTimeOffset KeepUntil, PersonalPart Part, Guid? Pseudonym)> parts)
    {
        var count = 0;
        for (var i = 0; i < parts.Count; i++)
        {
            var isFirst = i == 0 || parts[i - 1].Event.EventId != parts[i].Event.EventId;
            if (parts[i].Pseudonym is null && (parts[i].Part.Person is not null || isFirst)) count++;
        }

        return count;
    }

    private async Task<(IReadOnlyDictionary<Guid, DataKey> ByPseudonym, IReadOnlyList<DataKey> More)> KeysAsync(
        NpgsqlConnection connection, IEnumerable<Guid> pseudonyms, int more, CancellationToken cancellation)
    {
        var epoch = await Forgetting.HoldAsync(connection, cancellation);
        var keys = new Dictionary<Guid, DataKey>();
        var missing = _keys.Take(epoch, pseudonyms.Distinct(), keys);
        var taken = await vault.TakeAsync(missing, more, cancellation);
        if (await Forgetting.ForgottenAsync(connection, [.. taken.ByPseudonym.Values.Select(key => key.Id)], cancellation) is { Count: > 0 } gone)
        {
            // Forgotten, though their keys are there: not deleted yet, or put back from an older copy. What comes now is of new persons.
            await vault.DeleteAheadAsync(gone, cancellation);
            var anew = await vault.TakeAsync(missing, 0, cancellation);
            taken = (anew.ByPseudonym, taken.More);
        }

        foreach (var (pseudonym, key) in taken.ByPseudonym) keys[pseudonym] = key;
        _keys.Keep(epoch, taken.ByPseudonym);
        return (keys, taken.More);
    }
}
