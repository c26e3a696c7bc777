using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Intercommunalite.Contracts;
using Npgsql;
using NpgsqlTypes;

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
/// all that is kept is decrypted and looked through. What is no JSON cannot be looked through: it goes when
/// it is discarded or its time is over.
/// </summary>
internal sealed class QuarantinedPersons(NpgsqlDataSource database, PersonalDataStore store, KeyVault vault, TimeProvider clock)
{
    private const int Page = 500;

    // A connector keeps its journal for good, and quarantine counts the time from the arrival.
    private const int YearsRemembered = 100;

    // As what is on the bus is read.
    private static readonly JsonDocumentOptions s_json = new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>The contents that name a person.</summary>
    /// <param name="isSought">Whether an object in it, and the person that it is if it is one, is sought.</param>
    /// <param name="withData">Whether to tell what stands there.</param>
    /// <param name="limit">How many at most, the oldest ones.</param>
    /// <param name="cancellation">Gives up.</param>
    public async Task<IReadOnlyList<QuarantinedPerson>> FindAsync(Func<JsonElement, Person?, bool> isSought, bool withData, int limit, CancellationToken cancellation)
    {
        var found = new List<QuarantinedPerson>();
        await foreach (var (content, _, json) in AllAsync(clock.GetUtcNow(), cancellation))
        {
            using (json)
            {
                var objects = Objects(json.RootElement, "").Select(one => (one.Json, Person: Read(one.Json))).Where(one => isSought(one.Json, one.Person)).ToList();
                if (objects.Count == 0) continue;
                found.Add(withData ? content with { Data = [.. objects.Select(one => one.Person).OfType<Person>().Select(person => JsonSerializer.SerializeToNode(person, ContractJson.Options))] } : content);
                if (found.Count == limit) break;
            }
        }

        return found;
    }

    /// <summary>
    /// Takes persons out of all contents (<see cref="Without"/>), and notes where they stood in which event, so that they are not kept or
    /// stored again when it comes again. Each content gets a new key; the one before is registered as leaving, so that no backup shows them.
    /// </summary>
    /// <returns>The former keys, which are to be deleted.</returns>
    public async Task<IReadOnlyList<Guid>> EraseAsync(IReadOnlySet<Guid> pseudonyms, CancellationToken cancellation)
    {
        var secret = await vault.SecretAsync(cancellation);
        var formerKeys = new List<Guid>();
        // Also what is past its time: until it is discarded it may be retried.
        await foreach (var (content, key, json) in AllAsync(DateTimeOffset.MinValue, cancellation))
        {
            using (json)
            {
                var paths = Objects(json.RootElement, "")
                    .Where(one => Read(one.Json) is { } person && Persons.Pseudonym(secret, person) is { } pseudonym && pseudonyms.Contains(pseudonym)).Select(one => one.Path).ToHashSet();
                if (paths.Count == 0) continue;
                if (await ReplaceAsync(content.Id, key, CloudEvent.EventIdOf(json.RootElement), paths, Without(json.RootElement, paths), cancellation)) formerKeys.Add(key);
            }
        }

        return formerKeys;
    }

    /// <summary>
    /// A content without what stands at some paths, so that the event can still be retried: in a list <c>null</c> takes the place, so that the
    /// others keep theirs; where a person is a field of <c>personal</c>, which may need it, all of <c>personal</c> goes.
    /// </summary>
    /// <param name="content">JSON.</param>
    /// <param name="paths">Of persons, as in <see cref="PersonalPart"/>.</param>
    public static byte[] Without(JsonElement content, IReadOnlySet<string> paths)
    {
        try
        {
            var rest = new ArrayBufferWriter<byte>();
            using (var writer = new Utf8JsonWriter(rest)) Write(content, "", writer);
            return rest.WrittenSpan.ToArray();
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            // Text that is no well-formed Unicode cannot be written again: then all of it goes.
            return [.. "{}"u8];
        }

        void Write(JsonElement element, string path, Utf8JsonWriter writer)
        {
            switch (element.ValueKind)
            {
                case JsonValueKind.Object:
                    writer.WriteStartObject();
                    foreach (var property in element.EnumerateObject())
                    {
                        var at = Join(path, property.Name);
                        var goesWhole = property.NameEquals("personal") && property.Value.ValueKind == JsonValueKind.Object
                            && property.Value.EnumerateObject().Any(inner => paths.Contains(Part(Join(at, inner.Name))));
                        if (goesWhole || paths.Contains(Part(at))) continue;
                        writer.WritePropertyName(property.Name);
                        Write(property.Value, at, writer);
                    }

                    writer.WriteEndObject();
                    break;
                case JsonValueKind.Array:
                    writer.WriteStartArray();
                    foreach (var (index, item) in element.EnumerateArray().Index())
                    {
                        var at = Join(path, $"{index}");
                        if (paths.Contains(Part(at))) writer.WriteNullValue();
                        else Write(item, at, writer);
                    }

                    writer.WriteEndArray();
                    break;
                default:
                    element.WriteTo(writer);
                    break;
            }
        }
    }

    // In one statement with what must not be lost: the former key, which will be deleted whatever happens then, and what is to be remembered
    // for as long as the event may come again: places that a contract has, since a sender may put anything into the names of others. What
    // stands beside the persons goes with a field of personal. The vault first, since it is asked when the event comes.
    private async Task<bool> ReplaceAsync(long id, Guid formerKey, Guid? eventId, IReadOnlySet<string> paths, byte[] content, CancellationToken cancellation)
    {
        var places = paths.Where(Persons.IsPlace).ToList();
        if (places.Any(path => !path.Contains('.', StringComparison.Ordinal))) places.Add("");
        var until = clock.GetUtcNow().ToUniversalTime().AddYears(YearsRemembered);
        if (eventId is { } known) await vault.RememberAsync([.. places.Select(place => new ErasedPart(known, place, until))], cancellation);
        var (key, encrypted) = await store.SealAsync(content, cancellation);
        await using var command = database.CreateCommand("""
            WITH replaced AS (UPDATE ingestion.quarantine SET event = $3, key = $4 WHERE id = $1 AND key = $2 AND state = 'kept' RETURNING id),
            leaving AS (INSERT INTO privacy.forgotten (person, erased, at) SELECT $2, true, $5 FROM replaced ON CONFLICT DO NOTHING),
            noted AS (
                INSERT INTO privacy.erased_part (event_id, path, person, keep_until)
                SELECT $6, path, $2, $8 FROM replaced, unnest($7) AS path WHERE $6 IS NOT NULL ON CONFLICT DO NOTHING)
            SELECT EXISTS (SELECT FROM replaced)
            """);
        foreach (var value in (object[])[id, formerKey, encrypted, key, clock.GetUtcNow()]) command.Parameters.Add(new() { Value = value });
        command.Parameters.Add(new() { Value = (object?)eventId ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Uuid });
        command.Parameters.Add(new() { Value = places.ToArray() });
        command.Parameters.Add(new() { Value = until });
        if ((bool)(await command.ExecuteScalarAsync(cancellation))!) return true;
        // It has ended meanwhile, or another node was first.
        await vault.DeleteAsync([key], erased: false, cancellation);
        return false;
    }

    private async IAsyncEnumerable<(QuarantinedPerson Content, Guid Key, JsonDocument Json)> AllAsync(DateTimeOffset keptAfter, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        for (var (after, last) = (0L, false); !last;)
        {
            var page = await PageAsync(after, keptAfter, cancellation);
            var contents = await store.OpenAsync([.. page.Select(row => (row.Key, row.Encrypted))], cancellation);
            foreach (var (content, key, _) in page)
            {
                if (contents.TryGetValue(key, out var bytes) && Parse(bytes) is { } json) yield return (content, key, json);
            }

            (after, last) = (page.Count > 0 ? page[^1].Content.Id : after, page.Count < Page);
        }
    }

    private async Task<IReadOnlyList<(QuarantinedPerson Content, Guid Key, byte[] Encrypted)>> PageAsync(long after, DateTimeOffset keptAfter, CancellationToken cancellation)
    {
        await using var command = database.CreateCommand($"""
            SELECT id, commune, received_at, reason, key, event FROM ingestion.quarantine WHERE state = 'kept' AND key IS NOT NULL AND keep_until > $2 AND id > $1 ORDER BY id LIMIT {Page}
            """);
        command.Parameters.Add(new() { Value = after });
        command.Parameters.Add(new() { Value = keptAfter.ToUniversalTime() });
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

    /// <summary>A content as it is read here; null where it is no JSON.</summary>
    public static JsonDocument? Parse(byte[] content)
    {
        try
        {
            return JsonDocument.Parse(content, s_json);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static IEnumerable<(string Path, JsonElement Json)> Objects(JsonElement element, string path) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(property => Objects(property.Value, Join(path, NameOf(property)))).Prepend((Part(path), element)),
        JsonValueKind.Array => element.EnumerateArray().Index().SelectMany(item => Objects(item.Item, Join(path, $"{item.Index}"))),
        _ => [],
    };

    /// <summary>A field's name; <c>?</c> where it is not well-formed Unicode.</summary>
    internal static string NameOf(JsonProperty property)
    {
        try
        {
            return property.Name;
        }
        catch (InvalidOperationException)
        {
            return "?";
        }
    }

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}.{name}";

    // Within data.personal as parts of events are named, elsewhere with a stroke before, so that neither is taken for the other.
    private static string Part(string path) => path.StartsWith("data.personal.", StringComparison.Ordinal) ? path["data.personal.".Length..] : $"/{path}";

    // Each field that can be read, since one that cannot may be why the event is here.
    private static Person? Read(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object || Text("lastName") is not { } lastName) return null;
        return new(
            lastName, Text("firstNames"), Text("usualName"), BirthDate: PartialDate.TryParse(Text("birthDate"), out var born) ? born : null,
            BirthPlace: Text("birthPlace"), BirthCountry: Text("birthCountry"), Address: Text("address"), Email: Text("email"), Phone: Text("phone"));

        // Not TryGetProperty, which fails on a name beside it that is not well-formed Unicode. Of one given twice, the last counts.
        string? Text(string name) => element.EnumerateObject().Where(property => NameOf(property) == name).Select(property => QuarantinedPersons.Text(property.Value)).LastOrDefault();
    }

    /// <summary>A text; null where it is none, or not well-formed Unicode.</summary>
    internal static string? Text(JsonElement value)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }
}
