namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>
/// What tells one invoice or collection from another: the same in every file that speaks of it, whatever zeros its numbers are padded
/// with, and at every connector.
/// </summary>
internal static class PesKey
{
    private const int IdLength = 32;

    /// <summary>
    /// Subject of an invoice: <c>invoice/{SIREN}/{CodCol}-{CodBud}/{exercice}/{bordereau}/{pièce}/{ligne}</c>.
    /// </summary>
    public static string Invoice(PesHeader header, string year, string slip, string piece, string line) =>
        $"invoice/{header.Key}/{year}/{slip}/{piece}/{line}";

    /// <summary>Subject of a collection: its invoice's, with its own number behind.</summary>
    public static string Collection(string invoice, string number) => $"collection{invoice.AsSpan("invoice".Length)}/{number}";

    /// <summary>
    /// The number of a collection to which the Trésor gave none (schema 5.3): its date, its amount in cents, and its rank among those
    /// of the same line with the same date and amount.
    /// </summary>
    public static string Number(DateOnly date, long cents, int rank) => $"{date:yyyyMMdd}-{cents}-{rank}";

    /// <summary>
    /// Id of the event: a hash of all that it says. The same content in a later file is the same event; a corrected one has the
    /// same subject and another id. As no key is secret, whoever knows all the rest of an invoice can confirm a debtor's name.
    /// </summary>
    public static string Id(params ReadOnlySpan<string?> fields) => ContentHash.Of(IdLength, fields);
}
