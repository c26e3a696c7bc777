using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Territories;

namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>Whose file it is: <c>EnTetePES</c>.</summary>
/// <param name="Commune">The commune to whose journal the events go.</param>
/// <param name="Key">The budget: <c>{SIREN}/{CodCol}-{CodBud}</c>.</param>
internal sealed record PesHeader(CommuneCode Commune, string Key)
{
    /// <summary>The field that says whose file it is.</summary>
    public const string IdCollField = "EnTetePES/IdColl";

    private const int SirenLength = 9;
    private const int SiretLength = 14;
    private const int MaxCodeLength = 10;

    private static readonly Reason s_noIdColl = new(
        $"{IdCollField} manque ou n'est ni un SIRET (14 chiffres) ni un SIREN (9 chiffres) : on ne sait pas de quelle collectivité est le fichier.",
        $"{IdCollField} is missing or neither a SIRET (14 digits) nor a SIREN (9 digits): nobody knows whose file it is.",
        Advice.SendWhole);

    private static readonly Reason s_noCodBud = new(
        "EnTetePES/CodBud ou CodCol manque ou n'est pas un code de 10 lettres et chiffres au plus.",
        "EnTetePES/CodBud or CodCol is missing or not a code of 10 letters and digits at most.",
        Advice.SendWhole);

    /// <summary>
    /// Reads the header. The budget's codes are part of the key, since budgets of one SIREN (water, housing estates) number their
    /// titres each from 1. They are codes, not numbers: <c>00</c> stays <c>00</c>.
    /// </summary>
    /// <param name="idColl">SIRET or SIREN.</param>
    /// <param name="codCol">Code of the collectivity at its Trésor office.</param>
    /// <param name="codBud">Code of the budget.</param>
    /// <param name="only">The only commune whose records are taken.</param>
    /// <exception cref="FileRefusedException">It says too little, or that the file is another commune's.</exception>
    public static PesHeader Of(string? idColl, string? codCol, string? codBud, CommuneCode? only)
    {
        idColl = idColl?.Trim() ?? "";
        if (idColl.Length is not (SirenLength or SiretLength) || idColl.AsSpan().ContainsAnyExceptInRange('0', '9')) throw new FileRefusedException(s_noIdColl);
        var siren = idColl[..SirenLength];
        var owner = CommuneDirectory.OfSiren(siren);
        if (owner is { } named && only is { } expected && named != expected) throw new FileRefusedException(OtherCommune(siren, named, expected));
        return (only ?? owner) is { } commune
            ? new PesHeader(commune, $"{siren}/{Code(codCol)}-{Code(codBud)}")
            : throw new FileRefusedException(NoCommune(siren));
    }

    private static string Code(string? code) =>
        code?.Trim() is { Length: > 0 and <= MaxCodeLength } trimmed && trimmed.All(char.IsAsciiLetterOrDigit)
            ? trimmed.ToUpperInvariant()
            : throw new FileRefusedException(s_noCodBud);

    private static Reason OtherCommune(string siren, CommuneCode named, CommuneCode expected) => new(
        $"Le SIREN {siren} est celui de la commune {named}, et le fichier est envoyé pour {expected}.",
        $"The SIREN {siren} is that of the commune {named}, and the file was sent for {expected}.",
        new("Envoyez-le pour sa commune, ou sans préciser de commune.", "Send it for its commune, or without naming a commune."));

    private static Reason NoCommune(string siren) => new(
        $"Le SIREN {siren} n'est celui d'aucune commune (EPCI, CCAS, syndicat ?).",
        $"The SIREN {siren} is no commune's (an EPCI, a CCAS, a syndicat?).",
        new("Envoyez le fichier en précisant la commune dans le journal de laquelle il va.", "Send the file and name the commune to whose journal it goes."));
}
