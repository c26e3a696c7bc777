using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.Concerto;
using Intercommunalite.Connector.Journal;
using Microsoft.Extensions.Configuration;

namespace Intercommunalite.Connector.Tests.Formats.Concerto;

/// <summary>A line of a Concerto export, of a child who never was.</summary>
internal sealed record ConcertoPupil(
    string FirstNames = "Léa",
    string LastName = "MARTIN",
    string Sex = "Fille",
    string BirthDate = "14/03/19",
    string Level = "CP",
    string Address = "10  RUE DU SECRET 35270 COMBOURG",
    string Price = "\u00A03,10",
    string Income = "1160,00",
    string Place = "Ecole du Coin")
{
    public const string Header =
        "\"Code famille\",\"Nom inscrit\",\"Prénom inscrit\",\"PRENOM MAJUSCULE\",\"Sexe inscrit\",\"Date de naissance inscrit\",\"Niveau inscrit\",\"Cantine\",\"Régime\",\"Civilité responsable 1\",\"Nom responsable 1\",\"Prénom responsable 1\",\"Adresse responsable 1\",\"Téléphone responsable 1\",\"Civilité responsable 2\",\"Nom responsable 2\",\"Prénom responsable 2\",\"Tarif cantine\",\"Valeur QF\",\"Lieu d'inscription\",\"Garderie\"";

    public string Csv =>
        $"34,\"{LastName}\",\"{FirstNames}\",\"\",\"{Sex}\",{BirthDate},\"{Level}\",\"Restauration Scolaire\",,\"Madame\",\"SECRET\",\"Anne\",\"{Address}\",\"05.05.05.05.05\",,,,\"{Price}\",\"{Income}\",\"{Place}\",\"Garderie\"";

    public static string File(params IEnumerable<ConcertoPupil> pupils) => $"{Header}\n{string.Concat(pupils.Select(pupil => $"{pupil.Csv}\n"))}";

    public static Task<List<FormatRecord>> ReadAsync(string text, string schools, params (string Name, string Value)[] settings) =>
        ReadAsync(Encoding.UTF8.GetBytes(text), schools, settings);

    /// <summary>Reads a file with a table of schools.</summary>
    public static async Task<List<FormatRecord>> ReadAsync(byte[] bytes, string schools, params (string Name, string Value)[] settings)
    {
        using var data = new TemporaryFolder();
        var configuration = new ConfigurationBuilder()
            .AddInMemoryCollection([new("Connector:DataDirectory", data.FullPath), new("Connector:Communes", "35085")]).Build();
        await using var journals = new Journals(configuration);
        await System.IO.File.WriteAllTextAsync(data.Combine("35085", "schools.csv"), schools);
        using var file = new MemoryStream(bytes);
        return await new ConcertoEnrolments(journals, new FormatsOptions())
            .ReadAsync(file, SampleFiles.Context("35085", settings), CancellationToken.None).ToListAsync();
    }
}
