using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>A roll as the last accepted file has it. It names nobody: see <see cref="PupilKey"/>.</summary>
/// <param name="Salt">Goes into the marks.</param>
/// <param name="Imports">The files accepted, each once, the last one first; some hundred at most.</param>
/// <param name="Pupils">All pupils ever seen, those who left included.</param>
internal sealed record RollState(string Salt, IReadOnlyList<AcceptedFile> Imports, IReadOnlyList<KnownPupil> Pupils)
{
    private const int MaxImports = 100;
    private const int SaltLength = 16;

    private static readonly Reason s_damaged = new(
        "L'état connu de l'école, dans le répertoire de données du connecteur, est abîmé.",
        "What is known of the school, in the connector's data directory, is damaged.",
        new(
            "Restaurez le dossier rolls de la commune depuis une sauvegarde, puis renvoyez le fichier.",
            "Restore the commune's folder rolls from a backup, then send the file again."));

    /// <summary>The file accepted last; null before the first.</summary>
    [JsonIgnore]
    public AcceptedFile? Last => Imports.Count > 0 ? Imports[0] : null;

    /// <summary>How many pupils are there.</summary>
    [JsonIgnore]
    public int Present => Pupils.Count(pupil => !pupil.Withdrawn);

    /// <summary>A roll of which nothing is known.</summary>
    public static RollState Empty() => new(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SaltLength)), [], []);

    /// <summary>The state after a file.</summary>
    public RollState After(AcceptedFile accepted, IReadOnlyList<KnownPupil> pupils) =>
        this with { Imports = [accepted, .. Imports.Where(earlier => earlier.Hash != accepted.Hash).Take(MaxImports - 1)], Pupils = pupils };

    /// <summary>Where the state of a roll is in a commune's directory.</summary>
    public static string PathOf(string directory, RollKey roll) => Path.Combine(directory, "rolls", $"{roll}.json");

    /// <summary>The schools whose pupils of that year come from files of that format, each with how many are there.</summary>
    /// <exception cref="FileRefusedException">A state is damaged.</exception>
    public static IEnumerable<(Uai School, int Present)> Known(string directory, string format, SchoolYear year)
    {
        var folder = Path.Combine(directory, "rolls");
        if (!Directory.Exists(folder)) yield break;
        var end = $"-{year.Start}.json";
        foreach (var path in Directory.EnumerateFiles(folder, $"*{end}").Order(StringComparer.Ordinal))
        {
            if (Uai.TryParse(Path.GetFileName(path)[..^end.Length], out var school) && Load(path) is { Last: { } last, Present: > 0 and var present } && last.Format == format)
                yield return (school, present);
        }
    }

    /// <summary>Reads a state; an empty one where there is none.</summary>
    /// <exception cref="FileRefusedException">It is damaged. To go on without it would enrol everybody anew.</exception>
    public static RollState Load(string path)
    {
        if (!File.Exists(path)) return Empty();
        try
        {
            return JsonSerializer.Deserialize<RollState>(File.ReadAllBytes(path), ContractJson.Options) ?? throw new FileRefusedException(s_damaged);
        }
        catch (JsonException)
        {
            throw new FileRefusedException(s_damaged);
        }
    }

    /// <summary>Writes a state, so that a crash leaves the old one or the new one.</summary>
    public void Save(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using (var file = new FileStream($"{path}.new", FileMode.Create, FileAccess.Write, FileShare.None))
        {
            JsonSerializer.Serialize(file, this, ContractJson.Options);
            file.Flush(flushToDisk: true);
        }

        File.Move($"{path}.new", path, overwrite: true);
    }
}

/// <summary>A file that a roll was made of.</summary>
/// <param name="Id">Import.</param>
/// <param name="Format">Its format.</param>
/// <param name="Hash">SHA-256, in hexadecimal.</param>
/// <param name="TakenAt">When it was taken.</param>
/// <param name="Changed">Lines of it that gave an event, for an import that is run again after a crash.</param>
/// <param name="Withdrawn">Events that no line of it gave.</param>
internal sealed record AcceptedFile(Guid Id, string Format, string Hash, DateTimeOffset TakenAt, int Changed = 0, int Withdrawn = 0);

/// <summary>A pupil as last said to the hub.</summary>
/// <param name="Identity">Mark of names and birth date, as last written.</param>
/// <param name="Subject">Subject of the events; never changes.</param>
/// <param name="Level">Level.</param>
/// <param name="Residence">Commune of residence.</param>
/// <param name="LastEvent">Id of the last event.</param>
/// <param name="Withdrawn">Whether that was the withdrawal.</param>
/// <param name="Ine">Mark of the INE; null when no file had one.</param>
/// <param name="Class">Mark of the class; null when no file told it.</param>
internal sealed record KnownPupil(
    string Identity, string Subject, SchoolLevel Level, CommuneCode Residence, string LastEvent, bool Withdrawn = false, string? Ine = null, string? Class = null);
