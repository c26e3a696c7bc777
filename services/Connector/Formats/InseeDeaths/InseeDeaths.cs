using System.Runtime.CompilerServices;

namespace Intercommunalite.Connector.Formats.InseeDeaths;

/// <summary>
/// <c>insee-deaths</c>: INSEE's file of deceased persons, in either of its layouts; the first line tells which. A death goes to the
/// commune of the death place.
/// </summary>
internal sealed class InseeDeaths(TimeProvider clock) : IFormat
{
    // The longest sound line has some 200 characters.
    private const int MaxLineLength = 8 * 1024;

    public string Name => "insee-deaths";

    public string CommuneField => DeathRow.DeathPlaceField;

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, [EnumeratorCancellation] CancellationToken cancellation)
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

            yield return Read(line, layout);
        }

        if (layout is null) throw new FileRefusedException("The file is empty.");
    }

    private static IDeathLayout Recognise(Line first)
    {
        var text = first.TooLong ? "" : first.Text;
        if (CsvLayout.IsHeader(text)) return new CsvLayout();
        if (FixedWidthLayout.IsLine(text)) return new FixedWidthLayout();
        throw new FileRefusedException(
            $"The file is neither of INSEE's two layouts. As CSV its first line must be the header {CsvLayout.Header}; "
            + $"in fixed width every line must have {FixedWidthLayout.MinLength} characters or more and begin with LASTNAME*FIRST NAMES/.");
    }

    private FormatRecord Read(Line line, IDeathLayout layout)
    {
        if (line.TooLong) return new RejectedRecord(line.Number, Fault.Of("", $"longer than {MaxLineLength} bytes"));
        return layout.TryRead(line.Text, out var row, out var fault)
            ? DeathRecord.From(line.Number, row, clock.GetUtcNow())
            : new RejectedRecord(line.Number, fault);
    }
}
