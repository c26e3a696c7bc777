namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>The nine fields of a death as text, blanks at both ends taken off.</summary>
/// <param name="Name"><c>LASTNAME*FIRST NAMES/</c>.</param>
/// <param name="Sex"><c>1</c> male, <c>2</c> female.</param>
/// <param name="BirthDate"><c>AAAAMMJJ</c>; <c>00</c> for an unknown month or day.</param>
/// <param name="BirthPlace">INSEE code of the commune or country of birth.</param>
/// <param name="BirthCommune">Name of the commune of birth.</param>
/// <param name="BirthCountry">Country or overseas territory of birth; empty for France.</param>
/// <param name="DeathDate">As the birth date.</param>
/// <param name="DeathPlace">INSEE code of the commune or country of death.</param>
/// <param name="Act">Number of the act; may be empty.</param>
internal sealed record DeathRow(
    string Name,
    string Sex,
    string BirthDate,
    string BirthPlace,
    string BirthCommune,
    string BirthCountry,
    string DeathDate,
    string DeathPlace,
    string Act)
{
    /// <summary>The field of the death place, by which a death belongs to a commune.</summary>
    public const string DeathPlaceField = "lieudeces";

    /// <summary>The fields' names in the CSV layout, in its order; faults name them so in both layouts.</summary>
    public static readonly string[] Fields =
        ["nomprenom", "sexe", "datenaiss", "lieunaiss", "commnaiss", "paysnaiss", "datedeces", DeathPlaceField, "actedeces"];

    /// <summary>The values, in the order of <see cref="Fields"/>.</summary>
    public IReadOnlyList<string> Values => [Name, Sex, BirthDate, BirthPlace, BirthCommune, BirthCountry, DeathDate, DeathPlace, Act];

    /// <summary>Takes the fields in the order of <see cref="Fields"/>. NUL counts as a blank: some exports fill up with it.</summary>
    public static DeathRow Of(IReadOnlyList<string> fields)
    {
        var trimmed = fields.Select(Blanks.Trim).ToList();
        return new(trimmed[0], trimmed[1], trimmed[2], trimmed[3], trimmed[4], trimmed[5], trimmed[6], trimmed[7], trimmed[8]);
    }

    /// <summary>A fixed word: the row names a person.</summary>
    public override string ToString() => "[death]";
}
