using System.Runtime.CompilerServices;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>
/// <c>insee-deaths</c>: INSEE's file of deceased persons, in either of its layouts; the first line tells which. A death goes to the
/// commune of the death place.
/// </summary>
internal sealed class InseeDeaths : IFormat
{
    // The longest sound line has some 200 characters.
    private const int MaxLineLength = 8 * 1024;

    private static readonly Reason s_otherLayout = new(
        $"Le fichier n'a aucune des deux présentations de l'INSEE. En CSV, la première ligne est l'en-tête {CsvLayout.Header} ; "
            + $"en largeur fixe, chaque ligne a {FixedWidthLayout.MinLength} caractères au moins et commence par NOM*PRÉNOMS/.",
        $"The file is neither of INSEE's two layouts. As CSV its first line must be the header {CsvLayout.Header}; "
            + $"in fixed width every line must have {FixedWidthLayout.MinLength} characters or more and begin with LASTNAME*FIRST NAMES/.",
        Advice.OtherFile);

    public string Name => "insee-deaths";

    public string CommuneField => DeathRow.DeathPlaceField;

    public bool LooksLike(string start)
    {
        var first = start.TrimStart().Split('\r', '\n')[0];
        return CsvLayout.IsHeader(first) || FixedWidthLayout.IsLine(first);
    }

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
    {
        IDeathLayout? layout = null;
        await foreach (var line in file.ReadLinesAsync(MaxLineLength, cancellation))
        {
            if (line.IsBlank) continue;
            if (layout is null)
            {
                layout = Recognise(line);
                if (layout is CsvLayout) continue;
            }

            if (line.TooLong)
            {
                yield return new RejectedRecord(line.Number, Fault.Of("", Reason.LongerThan(MaxLineLength, "octets", "bytes")));
            }
            else if (!layout.TryRead(line.Text, out var row, out var fault))
            {
                yield return new RejectedRecord(line.Number, fault);
            }
            else
            {
                var record = DeathRecord.From(line.Number, row, context.TakenAt);
                yield return record;
                if (record is EventRecord && DeathRecord.Doubt(row) is { } doubt) yield return new RemarkRecord(line.Number, doubt);
            }
        }

        if (layout is null) throw new FileRefusedException(Reason.EmptyFile);
    }

    private static IDeathLayout Recognise(Line first)
    {
        var text = first.TooLong ? "" : first.Text;
        if (CsvLayout.IsHeader(text)) return new CsvLayout();
        if (FixedWidthLayout.IsLine(text)) return new FixedWidthLayout();
        throw new FileRefusedException(s_otherLayout);
    }
}
