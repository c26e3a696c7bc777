using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Npgsql;

namespace Intercommunalite.Hub.Privacy;

/// <summary>What a content of quarantine says of a person.</summary>
/// <param name="Id">Its id in quarantine.</param>
/// <param name="Commune">INSEE code; null where it cannot be told.</param>
/// <param name="ReceivedAt">When it arrived.</param>
/// <param name="Reason">Why it was not accepted.</param>
internal sealed record QuarantinedPerson(long Id, string? Commune, DateTimeOffset ReceivedAt, string Reason)
{
    /// <summary>The persons found in it, as they are written there; null where that is not asked for.</summary>
    public JsonArray? Data { get; init; }
}

/// <summary>
/// Persons in what the hub did not accept. It is no event that the contracts describe, so a person is whatever object has a last name;
/// all that is kept is decrypted and looked through, since there is little of it. What is no JSON cannot be looked through: it goes when
/// it is discarded or its time is over.
/// </summary>
internal sealed class QuarantinedPersons(NpgsqlDataSource database, PersonalDataStore store, KeyVault vault, TimeProvider clock)
{
    private const int Page = 500;

    /// <summary>The contents that name a person.</summary>
    /// <param name="isSought">Whether a person that is named is the one.</param>
    /// <param name="withData">Whether to tell what stands there.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<IReadOnlyList<QuarantinedPerson>> FindAsync(Func<Person, bool> isSought, bool withData, CancellationToken cancellation)
    {
        var found = new List<QuarantinedPerson>();
        await foreach (var (content, _, json) in AllAsync(cancellation))
        {
            using (json)
            {
                var persons = PersonsIn(json.RootElement).Where(one => isSought(one.Person)).ToList();
                if (persons.Count > 0)
                    found.Add(withData ? content with { Data = [.. persons.Select(one => JsonSerializer.SerializeToNode(one.Person, ContractJson.Options))] } : content);
            }
        }

        return found;
    }

    /// <summary>
    /// Takes persons out of all contents. Each of these gets a new key, and the one before goes, so that no backup shows them: to be
    /// followed by what deletes the keys of those who are leaving. What held a person alone goes with the person (a list is shortened,
    /// else all of <c>personal</c> goes): the event can still be retried.
    /// </summary>
    /// <returns>From how many.</returns>
    public async Task<int> EraseAsync(IReadOnlySet<Guid> pseudonyms, CancellationToken cancellation)
    {
        var secret = await vault.SecretAsync(cancellation);
        var erased = 0;
        await foreach (var (content, key, json) in AllAsync(cancellation))
        {
            using (json)
            {
                if (!PersonsIn(json.RootElement).Any(one => IsOf(one.Person))) continue;
                erased += await ReplaceAsync(content.Id, key, Without(json.RootElement), cancellation);
            }
        }

        return erased;

        byte[] Without(JsonElement element)
        {
            try
            {
                var rest = new ArrayBufferWriter<byte>();
                using (var writer = new Utf8JsonWriter(rest)) Write(element, writer);
                return rest.WrittenSpan.ToArray();
            }
            catch (InvalidOperationException)
            {
                // Text that is no well-formed Unicode cannot be written again: then all of it goes.
                return [.. "{}"u8];
            }
        }

        bool IsOf(Person person) => Persons.Pseudonym(secret, person) is { } pseudonym && pseudonyms.Contains(pseudonym);
        bool Goes(JsonElement element) => Read(element) is { } person && IsOf(person);

        void Write(JsonElement element, Utf8JsonWriter writer)
        {
            switch (element.ValueKind)
            {
                case JsonValueKind.Object:
                    writer.WriteStartObject();
                    foreach (var property in element.EnumerateObject())
                    {
                        var goesWhole = property.NameEquals("personal") && property.Value.ValueKind == JsonValueKind.Object && property.Value.EnumerateObject().Any(inner => Goes(inner.Value));
                        if (goesWhole || Goes(property.Value)) continue;
                        writer.WritePropertyName(property.Name);
                        Write(property.Value, writer);
                    }

                    writer.WriteEndObject();
                    break;
                case JsonValueKind.Array:
                    writer.WriteStartArray();
                    foreach (var item in element.EnumerateArray().Where(item => !Goes(item))) Write(item, writer);
                    writer.WriteEndArray();
                    break;
                default:
                    element.WriteTo(writer);
                    break;
            }
        }
    }

    // The former key is registered in the same transaction: whatever happens then, it will be deleted.
    private async Task<int> ReplaceAsync(long id, Guid formerKey, byte[] content, CancellationToken cancellation)
    {
        var (key, encrypted) = await store.SealAsync(content, cancellation);
        await using var command = database.CreateCommand("""
            WITH replaced AS (UPDATE ingestion.quarantine SET event = $3, key = $4 WHERE id = $1 AND key = $2 AND state = 'kept' RETURNING id),
            leaving AS (INSERT INTO privacy.forgotten (person, erased, at, is_content) SELECT $2, true, $5, true FROM replaced ON CONFLICT DO NOTHING)
            SELECT count(*)::int FROM replaced
            """);
        foreach (var value in (object[])[id, formerKey, encrypted, key, clock.GetUtcNow()]) command.Parameters.Add(new() { Value = value });
        return (int)(await command.ExecuteScalarAsync(cancellation))!;
    }

    private async IAsyncEnumerable<(QuarantinedPerson Content, Guid Key, JsonDocument Json)> AllAsync([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        for (var (after, last) = (0L, false); !last;)
        {
            var page = await PageAsync(after, cancellation);
            var contents = await store.OpenAsync([.. page.Select(row => (row.Key, row.Encrypted))], cancellation);
            foreach (var (content, key, _) in page)
            {
                if (contents.TryGetValue(key, out var bytes) && Parse(bytes) is { } json) yield return (content, key, json);
            }

            (after, last) = (page.Count > 0 ? page[^1].Content.Id : after, page.Count < Page);
        }
    }

    private async Task<IReadOnlyList<(QuarantinedPerson Content, Guid Key, byte[] Encrypted)>> PageAsync(long after, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            SELECT id, commune, received_at, reason, key, event FROM ingestion.quarantine WHERE state = 'kept' AND key IS NOT NULL AND id > $1 ORDER BY id LIMIT {Page}
            """);
        command.Parameters.Add(new() { Value = after });
        var page = new List<(QuarantinedPerson, Guid, byte[])>();
        await using var reader = await command.ExecuteReaderAsync(cancellation);
        while (await reader.ReadAsync(cancellation))
        {
            page.Add((
                new(reader.GetInt64(0), await reader.IsDBNullAsync(1, cancellation) ? null : reader.GetString(1), reader.GetFieldValue<DateTimeOffset>(2), reader.GetString(3)),
                reader.GetGuid(4), reader.GetFieldValue<byte[]>(5)));
        }

        return page;
    }

    private static JsonDocument? Parse(byte[] content)
    {
        try
        {
            return JsonDocument.Parse(content);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static IEnumerable<(Person Person, JsonElement Json)> PersonsIn(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => (Read(element) is { } person ? [(person, element)] : Enumerable.Empty<(Person, JsonElement)>())
            .Concat(element.EnumerateObject().SelectMany(property => PersonsIn(property.Value))),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(PersonsIn),
        _ => [],
    };

    // Each field that can be read, since one that cannot may be why the event is here.
    private static Person? Read(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object || Text("lastName") is not { } lastName) return null;
        return new(
            lastName, Text("firstNames"), Text("usualName"), BirthDate: PartialDate.TryParse(Text("birthDate"), out var born) ? born : null,
            BirthPlace: Text("birthPlace"), BirthCountry: Text("birthCountry"), Address: Text("address"), Email: Text("email"), Phone: Text("phone"));

        string? Text(string name)
        {
            try
            {
                return element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
            }
            catch (InvalidOperationException)
            {
                // Not well-formed Unicode.
                return null;
            }
        }
    }
}
