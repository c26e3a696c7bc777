namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>
/// <c>pes-retour</c>: the PES v2 Retour Recette of the Trésor (Hélios), which says what became of each titre: an
/// <see cref="Contracts.Payments.InvoiceIssued"/> for each line of a titre and a <see cref="Contracts.Payments.PaymentCollected"/> for each
/// collection. Schemas 4.71 and 5.3. All of a file is of one collectivity, named by its SIREN.
/// </summary>
internal sealed class PesRetour : IFormat
{
    public string Name => "pes-retour";

    public string CommuneField => PesHeader.IdCollField;

    public bool LooksLike(string start) => start.TrimStart('\uFEFF', ' ', '\r', '\n', '\t') is ['<', ..] && start.Contains(PesReader.Namespace, StringComparison.Ordinal);

    /// <inheritdoc/>
    /// <remarks>
    /// What is broken inside the file ends the reading there with a rejected record: the events before it stay. Reading does not
    /// await: files come from the disk, and a call for each of the XML's nodes costs more than the reading itself.
    /// </remarks>
    public IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, CancellationToken cancellation) =>
        new PesReader(file, context, cancellation).Read().ToAsyncEnumerable();
}
