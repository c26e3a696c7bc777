using System.Text;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Formats.Onde;

namespace Intercommunalite.Connector.Tests.Formats.Onde;

/// <summary>A line of an ONDE export, of a child who never was.</summary>
internal sealed record OndePupil(
    string FirstNames = "Léa",
    string LastName = "MARTIN",
    string Ine = "",
    string Level = "CP",
    string Class = "CP de Mme Durand",
    string PostalCode = "35270",
    string Town = "Combourg",
    string Country = "FRANCE",
    string BirthDate = "14/03/2019",
    string Sex = "F",
    string UsualName = "",
    string Second = ";;;")
{
    public const string Header =
        "Nom élève;Nom d'usage élève;Prénom élève;Date naissance;Sexe;INE;Adresse1;Cp1;Commune1;Pays1;Adresse2;Cp2;Commune2;Pays2; Cycle;Niveau;Libellé classe;Identifiant classe;Attestation fournie;Autorisation associations;Autorisation photo;Décision de passage";

    public string Csv =>
        $"{LastName};{UsualName};{FirstNames};{BirthDate};{Sex};{Ine};1 rue du Secret;{PostalCode};{Town};{Country};{Second};CYCLE II;{Level};{Class};99999;Non;Non;Non;";

    public static string File(params IEnumerable<OndePupil> pupils) => $"{Header}\n{string.Concat(pupils.Select(pupil => $"{pupil.Csv}\n"))}";

    /// <summary>So many children, told apart by their first names.</summary>
    public static IEnumerable<OndePupil> ClassOf(int count, string level = "CP") => Enumerable.Range(1, count).Select(i => new OndePupil($"Enfant {i}", Level: level, Ine: $"{i:D9}AA"));

    public static Task<List<FormatRecord>> ReadAsync(string text, params (string Name, string Value)[] settings) => ReadAsync(Encoding.UTF8.GetBytes(text), settings);

    public static async Task<List<FormatRecord>> ReadAsync(byte[] bytes, params (string Name, string Value)[] settings)
    {
        using var file = new MemoryStream(bytes);
        var context = SampleFiles.Context("35085", settings.Length > 0 ? settings : [("uai", "0350122T")]);
        return await new OndePupils(new FormatsOptions()).ReadAsync(file, context, CancellationToken.None).ToListAsync();
    }
}
