using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Unicode;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.CloudEvents;

/// <summary>
/// <c>cloudevents-jsonl</c>: one CloudEvent a line, held to the same checks as one that is posted. Lines of an export that carry
/// <c>journal</c> and <c>position</c> are rejected: those are for this connector's journal to give.
/// </summary>
internal sealed class CloudEventsJsonl : IFormat
{
    private const int MaxLineLength = 1024 * 1024;
    private const int MaxFaults = 20;

    private static readonly JsonDocumentOptions s_json = new() { MaxDepth = 32 };
    private static readonly Reason s_otherFile = new(
        "Le fichier n'a pas un événement CloudEvents en JSON par ligne.", "The file does not have a CloudEvent in JSON on each line.", Advice.OtherFile);

    private static readonly Reason s_notUtf8 = new("n'est pas en UTF-8", "not UTF-8", Advice.Correct);
    private static readonly Reason s_notJson = new("n'est pas du JSON", "not JSON", Advice.Correct);

    public string Name => "cloudevents-jsonl";

    public string CommuneField => "source";

    public bool LooksLike(string start) => start.TrimStart() is ['{', ..] && start.Contains("\"specversion\"", StringComparison.Ordinal);

    public async IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, ImportContext context, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var begun = false;
        await foreach (var line in file.ReadLinesAsync(MaxLineLength, cancellation))
        {
            if (line.IsBlank) continue;
            if (!begun && !line.TooLong && !line.Bytes.Span.TrimStart(" \t\0"u8).StartsWith("{"u8)) throw new FileRefusedException(s_otherFile);
            begun = true;
            yield return Read(line);
        }

        if (!begun) throw new FileRefusedException(Reason.EmptyFile);
    }

    private static FormatRecord Read(Line line)
    {
        if (line.TooLong) return new RejectedRecord(line.Number, Fault.Of("", Reason.LongerThan(1, "Mio", "MiB")));
        if (!Utf8.IsValid(line.Bytes.Span)) return new RejectedRecord(line.Number, Fault.Of("", s_notUtf8));
        JsonElement json;
        try
        {
            json = JsonElement.Parse(line.Bytes.Span, s_json);
        }
        catch (JsonException)
        {
            return new RejectedRecord(line.Number, Fault.Of("", s_notJson));
        }

        var commune = CommuneOf(json);
        return Intake.Intake.Check(json, commune ?? default, out var errors) is { } accepted
            ? new EventRecord(line.Number, accepted)
            : new RejectedRecord(line.Number, commune, [.. errors.Take(MaxFaults).Select(EventFaults.Of)]);
    }

    private static CommuneCode? CommuneOf(JsonElement json)
    {
        if (json.ValueKind != JsonValueKind.Object) return null;
        try
        {
            return json.TryGetProperty("source", out var source) && source.ValueKind == JsonValueKind.String
                && EventSource.TryParse(source.GetString(), out var read) ? read.Commune : null;
        }
        catch (InvalidOperationException)
        {
            // A lone surrogate, in the source or in a field's name; the check says where.
            return null;
        }
    }
}
