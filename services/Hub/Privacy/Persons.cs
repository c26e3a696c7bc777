using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.Privacy;

/// <summary>A part of an event's personal data that is of one person.</summary>
/// <param name="Path">Where it stands in <c>data.personal</c>: <c>child</c>, <c>parents.0</c>; empty for what stands beside the persons.</param>
/// <param name="Person">The person; null for what stands beside.</param>
/// <param name="Json">The part in UTF-8.</param>
internal readonly record struct PersonalPart(string Path, Person? Person, byte[] Json);

/// <summary>Takes an event's personal data apart, person by person, as the contract's types say, and puts it together again.</summary>
internal static class Persons
{
    private static readonly ConcurrentDictionary<Type, JsonPropertyInfo[]> s_fields = new();

    private static readonly FrozenSet<string> s_places =
    [
        .. Catalogue.All.Select(type => type.Record.GetProperty(nameof(DomainEvent<>.Personal))?.PropertyType).OfType<Type>()
            .SelectMany(type => ContractJson.Options.GetTypeInfo(type).Properties).Select(field => field.Name),
    ];

    /// <summary>Whether a path is one at which an event of the catalogue may hold a person.</summary>
    public static bool IsPlace(string path) =>
        path.Split('.') is [var name, .. var rest] && s_places.Contains(name) && rest is [] or [{ Length: < 6 }] && rest.All(index => index.All(char.IsAsciiDigit));

    /// <summary>
    /// The parts: each person, in the order of the type, then what stands beside them (an INE, the payer's e-mail address), which is
    /// of the first person.
    /// </summary>
    public static List<PersonalPart> In(DomainEvent data)
    {
        var parts = new List<PersonalPart>();
        if (data.GetPersonal() is not { } personal) return parts;
        JsonObject? rest = null;
        foreach (var field in s_fields.GetOrAdd(personal.GetType(), type => [.. ContractJson.Options.GetTypeInfo(type).Properties]))
        {
            switch (field.Get!(personal))
            {
                case null: break;
                case Person person: Add(field.Name, person); break;
                case IEnumerable<Person?> persons:
                    foreach (var (index, person) in persons.Index().Where(item => item.Item is not null)) Add($"{field.Name}.{index}", person!);
                    break;
                case var value: (rest ??= [])[field.Name] = JsonSerializer.SerializeToNode(value, field.PropertyType, ContractJson.Options); break;
            }
        }

        if (rest is not null) parts.Add(new("", null, JsonSerializer.SerializeToUtf8Bytes(rest, ContractJson.Options)));
        return parts;

        void Add(string path, Person person) => parts.Add(new(path, person, JsonSerializer.SerializeToUtf8Bytes(person, ContractJson.Options)));
    }

    /// <summary>
    /// Puts parts together to <c>data.personal</c>. Persons that are no longer held are missing; of a list the others stay in order.
    /// </summary>
    public static JsonObject Together(IEnumerable<(string Path, byte[] Json)> parts)
    {
        var personal = new JsonObject();
        // By number where the path has one: parents.10 comes behind parents.9.
        foreach (var (path, json) in parts.OrderBy(part => part.Path.Length).ThenBy(part => part.Path, StringComparer.Ordinal))
        {
            var part = JsonNode.Parse(json);
            if (path.Length == 0)
            {
                foreach (var (name, value) in part!.AsObject()) personal[name] = value?.DeepClone();
            }
            else if (path.IndexOf('.', StringComparison.Ordinal) is var dot and > 0)
            {
                if (personal[path[..dot]] is not JsonArray list) personal[path[..dot]] = list = [];
                list.Add(part);
            }
            else
            {
                personal[path] = part;
            }
        }

        return personal;
    }

    /// <summary>
    /// The pseudonym of an identity: the first 128 bits of HMAC-SHA256 over birth name, first names and birth date, names in plain
    /// letters, so that each software's way of writing gives the same. The sex is left out: some sources lack it.
    /// </summary>
    /// <param name="secret">The key; without it nobody can tell by trying whose a pseudonym is.</param>
    /// <param name="person">The person.</param>
    /// <returns>Null when there is too little to tell two strangers apart: no first name, or no whole birth date.</returns>
    public static Guid? Pseudonym(byte[] secret, Person person)
    {
        if (person.BirthDate is not { Day: not null } born || person.FirstNames is null) return null;
        var (lastName, firstNames) = (PlainLetters.Of(person.LastName), PlainLetters.Of(person.FirstNames));
        if (lastName.Length == 0 || firstNames.Length == 0) return null;
        return Keyed(secret, Encoding.UTF8.GetBytes($"person|{lastName}|{firstNames}|{born}"));
    }

    /// <summary>The first 128 bits of HMAC-SHA256.</summary>
    public static Guid Keyed(byte[] secret, ReadOnlySpan<byte> content)
    {
        Span<byte> hash = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(secret, content, hash);
        return new Guid(hash[..16], bigEndian: true);
    }
}
