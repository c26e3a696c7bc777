using System.Text.Json;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.Privacy;

/// <summary>Whom to look for.</summary>
/// <param name="LastName">Birth name, or nom d'usage; required, unless an identifier is given.</param>
/// <param name="FirstNames">All first names, or the first ones.</param>
/// <param name="BirthDate">May be partial.</param>
/// <param name="Commune">INSEE code of the commune that sent the event; for the search through everything.</param>
/// <param name="Everywhere">Whether to look through all that is held even when the identity is whole: for other spellings.</param>
/// <param name="After">Where an earlier answer ended (<c>next</c>).</param>
/// <param name="Identifier">In place of the name: an e-mail address, a telephone number, or an INE.</param>
internal sealed record Sought(
    string? LastName = null, string? FirstNames = null, string? BirthDate = null, string? Commune = null, bool Everywhere = false, string? After = null, string? Identifier = null);

/// <summary>A person found.</summary>
/// <param name="Person">The id by which the other calls know the person.</param>
/// <param name="LastName">As the first event found names the person; null when what was found stands beside no person (a payer's e-mail address).</param>
/// <param name="FirstNames">Likewise.</param>
/// <param name="BirthDate">Likewise.</param>
/// <param name="Events">How many events of which type were found, by type.</param>
/// <param name="Communes">INSEE codes of the communes that sent them.</param>
internal sealed record FoundPerson(
    Guid Person, string? LastName, string? FirstNames, PartialDate? BirthDate, IReadOnlyDictionary<string, int> Events, IReadOnlyList<string> Communes);

/// <summary>Finds persons: a whole identity by its pseudonym, at once; else by decrypting what is held, a bounded part at each call.</summary>
internal sealed class PersonSearch(PersonalDataStore personalData, QuarantinedPersons quarantined, KeyVault vault, TimeProvider clock)
{
    /// <summary>Rows that a call looks through.</summary>
    public const int Page = 20_000;

    private const int MostQuarantined = 100;

    /// <summary>Looks for somebody.</summary>
    /// <param name="sought">Whom; checked.</param>
    /// <param name="born">The birth date, read.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <returns>Who was found, and where the next call goes on; null when all was looked through, or the identity was whole.</returns>
    public async Task<(IReadOnlyList<FoundPerson> Persons, string? Next)> FindAsync(Sought sought, PartialDate? born, CancellationToken cancellation)
    {
        var now = clock.GetUtcNow();
        if (sought is { Everywhere: false, Identifier: null } && Persons.Pseudonym(await vault.SecretAsync(cancellation), new Person(sought.LastName!, sought.FirstNames, BirthDate: born)) is { } pseudonym)
        {
            if (await vault.PersonOfAsync(pseudonym, cancellation) is not { } person) return ([], null);
            return (Found(await OpenAsync(await personalData.RowsAsync($"person = $1 AND {PersonFiles.Usable} ORDER BY event_id, path", cancellation, person, now), cancellation)), null);
        }

        var (eventId, path) = Cursor.Read(sought.After) ?? (Guid.Empty, "");
        var rows = await personalData.RowsAsync(
            $"($1::text IS NULL OR commune = $1) AND {PersonFiles.Usable} AND (event_id, path) > ($3, $4) ORDER BY event_id, path LIMIT {Page}", cancellation,
            (object?)sought.Commune ?? DBNull.Value, now, eventId, path);
        var found = (await OpenAsync(rows, cancellation)).Where(row => sought.Identifier is { } identifier ? Holds(row.Json, identifier) : row.Person is not null && Matches(sought, born, row.Person)).ToList();
        return (Found(found), rows.Count < Page ? null : Cursor.Write(rows[^1].EventId, rows[^1].Path));
    }

    /// <summary>What is in quarantine of somebody; all of it is looked through, and a hundred told.</summary>
    public Task<IReadOnlyList<QuarantinedPerson>> FindQuarantinedAsync(Sought sought, PartialDate? born, CancellationToken cancellation) => quarantined.FindAsync(
        (json, person) => sought.Identifier is { } identifier ? Holds(json, identifier) : person is not null && Matches(sought, born, person), withData: false, MostQuarantined, cancellation);

    // What stands beside the persons is read too: it may be all that is held of somebody.
    private async Task<List<(PersonalRow Row, Person? Person, JsonElement Json)>> OpenAsync(IReadOnlyList<PersonalRow> rows, CancellationToken cancellation) =>
        [.. (await personalData.OpenAsync(rows, cancellation)).Select(row => (
            row, row.Path.Length > 0 ? JsonSerializer.Deserialize<Person>(row.Content, ContractJson.Options) : null, JsonSerializer.Deserialize<JsonElement>(row.Content)))];

    private static List<FoundPerson> Found(IEnumerable<(PersonalRow Row, Person? Person, JsonElement Json)> rows) => [.. rows.GroupBy(row => row.Row.Person).Select(group =>
    {
        var named = group.FirstOrDefault(row => row.Person is not null).Person;
        return new FoundPerson(
            group.Key, named?.LastName, named?.FirstNames, named?.BirthDate,
            group.DistinctBy(row => row.Row.EventId).GroupBy(row => row.Row.Type).OrderBy(type => type.Key, StringComparer.Ordinal).ToDictionary(type => type.Key, type => type.Count()),
            [.. group.Select(row => row.Row.Commune).Distinct().Order(StringComparer.Ordinal)]);
    })];

    // What is not known of the person contradicts nothing.
    private static bool Matches(Sought sought, PartialDate? born, Person person)
    {
        var lastName = PlainLetters.Of(sought.LastName!);
        if (PlainLetters.Of(person.LastName) != lastName && (person.UsualName is null || PlainLetters.Of(person.UsualName) != lastName)) return false;
        if (sought.FirstNames is { } names && person.FirstNames is { } theirs && !$"{PlainLetters.Of(theirs)} ".StartsWith($"{PlainLetters.Of(names)} ", StringComparison.Ordinal)) return false;
        return born is not { } date || person.BirthDate is not { } known
            || known.ToString().StartsWith(date.ToString(), StringComparison.Ordinal) || date.ToString().StartsWith(known.ToString(), StringComparison.Ordinal);
    }

    private static bool Holds(JsonElement part, string identifier) =>
        part.EnumerateObject().Any(field => field.Value.ValueKind == JsonValueKind.String && QuarantinedPersons.NameOf(field) is "email" or "phone" or "ine" && Is(QuarantinedPersons.Text(field.Value), identifier));

    private static bool Is(string? text, string identifier) => text is not null && Plain(text) == Plain(identifier);

    // A telephone number and an INE may be written in groups.
    private static string Plain(string text) =>
        (text.Contains('@', StringComparison.Ordinal) ? text.Trim() : string.Concat(text.Where(char.IsLetterOrDigit))).ToUpperInvariant();

    /// <summary>A place in the order of the rows, as callers carry it.</summary>
    internal static class Cursor
    {
        public static string Write(Guid eventId, string path) => $"{eventId:N}.{path}";

        public static (Guid EventId, string Path)? Read(string? cursor) =>
            cursor?.Split('.', 2) is [var eventId, var path] && Guid.TryParseExact(eventId, "N", out var id) ? (id, path) : null;
    }
}
