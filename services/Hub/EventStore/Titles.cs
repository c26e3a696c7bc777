namespace Intercommunalite.Hub.EventStore;

/// <summary>What the figures are called in French, on the pages and at the head of files.</summary>
internal static class Titles
{
    public const string Commune = "Commune";
    public const string CommuneCode = "Code INSEE";
    public const string Period = "Période";
    public const string Births = "Naissances";
    public const string Recognitions = "Reconnaissances";
    public const string Marriages = "Mariages";
    public const string Pacs = "PACS";
    public const string Deaths = "Décès";
    public const string NameChanges = "Changements de nom ou de prénom";
    public const string School = "École";
    public const string SchoolCode = "UAI";
    public const string SchoolYear = "Année scolaire";
    public const string Places = "Places";
    public const string Pupils = "Élèves";
    public const string PupilsOutside = "dont hors commune";
    public const string Service = "Service";
    public const string Issued = "Émis";
    public const string Reduced = "Réduit ou annulé";
    public const string Collected = "Encaissé";
    public const string Refunded = "Remboursé";
    public const string Outstanding = "Reste à recouvrer";
    public const string Overpaid = "Trop-perçu";
    public const string PaidOnline = "Payé en ligne";
    public const string Difference = "écart";
    public const string Today = "aujourd’hui";
}
