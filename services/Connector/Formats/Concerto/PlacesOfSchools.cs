using Intercommunalite.Connector.Formats.Rolls;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.Concerto;

/// <summary>
/// Which school a place of enrolment is: Concerto names places as the commune calls them, not by UAI. The commune's table
/// <c>{data}/{code}/schools.csv</c> has a line <c>name;uai</c> for each; case and blanks around a name do not matter.
/// </summary>
internal sealed class PlacesOfSchools
{
    /// <summary>The name of the table.</summary>
    public const string FileName = "schools.csv";

    private const int MaxLineLength = 1024;

    private readonly Dictionary<string, Uai> _schools = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The school of a place; null when the table does not have it.</summary>
    public Uai? Find(string place) => _schools.TryGetValue(place, out var school) ? school : null;

    /// <summary>Reads a table; an empty one where there is none.</summary>
    /// <param name="directory">The commune's directory.</param>
    /// <param name="cancellation">Stops reading.</param>
    /// <exception cref="FileRefusedException">A line of it is wrong: without it pupils might go to no school, or to another.</exception>
    public static async Task<PlacesOfSchools> LoadAsync(string directory, CancellationToken cancellation)
    {
        var table = new PlacesOfSchools();
        var path = Path.Combine(directory, FileName);
        if (!File.Exists(path)) return table;
        await using var file = File.OpenRead(path);
        await foreach (var line in file.ReadLinesAsync(MaxLineLength, cancellation))
        {
            if (!line.IsBlank && !table.TryAdd(line)) throw new FileRefusedException(Wrong(line.Number));
        }

        return table;
    }

    private static Reason Wrong(long line) => new(
        $"La table des écoles de la commune, {FileName}, est fausse à la ligne {line} : « nom;UAI » attendu, chaque nom une fois.",
        $"The commune's table of schools, {FileName}, is wrong at line {line}: \"name;UAI\" expected, each name once.",
        new(
            $"Corrigez {FileName} dans le répertoire de la commune, au connecteur, puis renvoyez le fichier.",
            $"Correct {FileName} in the commune's directory at the connector, then send the file again."));

    private bool TryAdd(Line line)
    {
        if (line.TooLong || CsvRow.Split(line.Text) is not [var name, var uai]) return false;
        if (line.Number == 1 && Blanks.Trim(uai).Equals("uai", StringComparison.OrdinalIgnoreCase)) return true;
        return Blanks.Trim(name).Length > 0 && RollSettings.TryUai(Blanks.Trim(uai), out var school) && _schools.TryAdd(Blanks.Trim(name), school);
    }
}
