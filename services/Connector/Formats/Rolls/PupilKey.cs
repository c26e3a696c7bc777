using System.Globalization;
using System.Text.Json;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>What tells one pupil, and one event of a pupil, from another.</summary>
/// <remarks>
/// A subject goes to the hub and its partners. An INE alone must not be its hash: there are few enough INE to try them all. So names
/// and birth date go in as well, with school and year, so that nobody can follow a child from one to the next by it. There is no
/// secret key, since a commune that has lost its data must make the same subjects again: whoever knows a child's names, birth date
/// and INE (where the school had one) can confirm that an enrolment is that child's, and learns its level and commune of residence.
/// The marks by which pupils are found again stay in the connector. Each roll has a salt of its own for them, so that two files
/// cannot be joined, nor looked up in a table made before; they keep names out of copies and out of sight, no more, as the journal
/// that has the names lies beside them.
/// </remarks>
internal static class PupilKey
{
    private const int SubjectHashLength = 20;
    private const int MarkLength = 32;
    private const int IdLength = 32;

    /// <summary>Names and birth date as they are compared: capitals without accents, single blanks.</summary>
    public static string Identity(Pupil pupil) => Identity(pupil.Personal.Pupil);

    /// <summary>The same of a pupil of whom no more is known.</summary>
    public static string Identity(Person person)
    {
        return $"{PlainLetters.Of(person.LastName)}\u001F{PlainLetters.Of(person.FirstNames ?? "")}\u001F{person.BirthDate}";
    }

    /// <summary>Subject of an enrolment: <c>{uai}/{school year}/{hash}</c>, of the pupil as first seen.</summary>
    /// <param name="roll">The roll.</param>
    /// <param name="pupil">The pupil.</param>
    /// <param name="rank">How many others have had the same one: 0, since only corrected names bring that about.</param>
    public static string Subject(RollKey roll, Pupil pupil, int rank) =>
        $"{roll.School}/{roll.Year.Start}/{ContentHash.Of(SubjectHashLength, roll.ToString(), pupil.Personal.Ine ?? "", Identity(pupil), rank.ToString(CultureInfo.InvariantCulture))}";

    /// <summary>
    /// Id of an event: the same when, and only when, the same follows the same. So a file read again after a crash makes the same
    /// events, and a pupil who comes back for the second time a new one.
    /// </summary>
    /// <param name="subject">Subject.</param>
    /// <param name="previous">Id of the pupil's event before; null for the first.</param>
    /// <param name="data">What it says.</param>
    public static string EventId(string subject, string? previous, DomainEvent data) => ContentHash.Of(
        IdLength, subject, previous ?? "", Catalogue.Of(data).Name, JsonSerializer.Serialize(data, data.GetType(), ContractJson.Options));

    /// <summary>A mark of a value that is not kept: an INE, an identity, the name of a class.</summary>
    public static string Mark(string salt, string value) => ContentHash.Of(MarkLength, salt, value);
}
