using System.Runtime.CompilerServices;

namespace Intercommunalite.Connector.Formats.PayFip;

/// <summary>
/// <c>payfip</c>: answers of the payment page, of one commune: a JSON object, an array of them, one on each line, or the form fields
/// (or query string, or address with one) that the page sent, one answer on each line. Answers that come one by one are posted to
/// <see cref="PayFipCallback"/>.
/// </summary>
internal sealed class PayFip : IFormat
{
    private static readonly Reason s_noCommune = new(
        "Une réponse de PayFiP ne dit pas de quelle commune elle est", "An answer of PayFiP does not say which commune's it is",
        new("Envoyez le fichier en précisant la commune.", "Send the file and name the commune."));

    private static readonly Reason s_other = new(
        "Le fichier ne contient aucun champ de PayFiP (refdet, montant, resultrans…) dans sa première réponse.",
        "The file has none of PayFiP's fields (refdet, montant, resultrans…) in its first answer.",
        Advice.OtherFile);

    public string Name => "payfip";

    public string CommuneField => PayFipAnswer.ClientField;

    public bool LooksLike(string start) =>
        start.Contains(PayFipAnswer.ReferenceField, StringComparison.OrdinalIgnoreCase) && start.Contains(PayFipAnswer.OutcomeField, StringComparison.OrdinalIgnoreCase);

    public Reason? Refuses(ImportContext context) => context.Commune is null ? s_noCommune : null;

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var commune = context.Commune ?? throw new FileRefusedException(s_noCommune);
        var isFirst = true;
        await foreach (var line in PayFipAnswers.SplitAsync(file, cancellation))
        {
            var answer = line.TooLong ? null : PayFipAnswer.Read(line.Text);
            if (isFirst && answer is { IsReadable: true, HasFields: false }) throw new FileRefusedException(s_other);
            isFirst = false;
            if (answer is null)
            {
                yield return new RejectedRecord(line.Number, commune, [Fault.Of("", Reason.LongerThan(PayFipAnswers.MaxLength / 1024, "Kio", "KiB"))]);
                continue;
            }

            if (answer.Event(commune, context.TakenAt, out var faults) is not { } read)
            {
                yield return new RejectedRecord(line.Number, commune, faults);
                continue;
            }

            yield return new EventRecord(line.Number, read);
            if (answer.Remark is { } remark) yield return new RemarkRecord(line.Number, remark);
        }

        if (isFirst) throw new FileRefusedException(Reason.EmptyFile);
    }
}
