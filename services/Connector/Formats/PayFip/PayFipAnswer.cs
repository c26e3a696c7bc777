using System.Globalization;
using System.Text.Json;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Payments;

namespace Intercommunalite.Connector.Formats.PayFip;

/// <summary>
/// An answer of the payment page: its fields by name, whatever they came as. The names are those of TIPI and PayFiP in any case
/// (<c>idOp</c>, <c>idop</c>); fields that say nothing here (<c>exer</c>, <c>objet</c>, <c>numauto</c>, a front office's own) are not kept.
/// </summary>
internal sealed class PayFipAnswer
{
    /// <summary>Reference of the debt: the invoice.</summary>
    public const string ReferenceField = "refdet";

    /// <summary>What came of the payment.</summary>
    public const string OutcomeField = "resultrans";

    /// <summary>The creditor's number at PayFiP.</summary>
    public const string ClientField = "numcli";

    private const string AmountField = "montant";
    private const string DateField = "dattrans";
    private const string TimeField = "heurtrans";
    private const string EntryField = "saisie";
    private const string EmailField = "mel";
    private const string SourceSystem = "payfip";
    private const int IdLength = 32;
    private const int MaxEmailLength = 254;

    private static readonly string[] s_fields =
        [ReferenceField, AmountField, DateField, TimeField, ClientField, OutcomeField, EntryField, EmailField];

    private static readonly JsonDocumentOptions s_json = new() { MaxDepth = 8 };

    private static readonly Reason s_notJson = new("n'est pas un objet JSON entier", "not a whole JSON object", Advice.Correct);
    private static readonly Reason s_notText = new("un texte ou un nombre est attendu", "a text or a number expected", Advice.Correct);
    private static readonly Reason s_twice = new("donné deux fois, avec deux valeurs", "given twice, with two values", Advice.Correct);
    private static readonly Reason s_noReference = new("6 à 30 lettres et chiffres sont attendus", "6 to 30 letters and digits expected", Advice.Correct);
    private static readonly Reason s_noClient = new("6 chiffres sont attendus", "6 digits expected", Advice.Correct);
    private static readonly Reason s_noAmount = new(
        "un nombre entier de centimes, de 0 à 99999999999, est attendu", "a whole number of cents from 0 to 99999999999 expected", Advice.Correct);

    private static readonly Reason s_noDate = Reason.NoDate("JJMMAAAA");
    private static readonly Reason s_noTime = new("cette heure n'existe pas ; HHMM attendu", "no such time; HHMM expected", Advice.Correct);
    private static readonly Reason s_future = new("dans le futur", "in the future", Advice.Correct);
    private static readonly Reason s_noOutcome = new(
        "P (carte), V (prélèvement), A (abandon), R ou Z (refus) attendu", "P (card), V (direct debit), A (abandoned), R or Z (refused) expected", Advice.Correct);

    private static readonly Reason s_test = new(
        "réponse en mode test (T) ou activation (X) ; comptée comme les autres", "an answer of the test (T) or activation (X) mode; counted like the others",
        new("Ne branchez le mode test que sur un connecteur d'essai.", "Let the test mode answer to a connector for trials only."));

    private readonly Dictionary<string, string> _fields = new(StringComparer.OrdinalIgnoreCase);
    private readonly List<Fault> _faults = [];

    private PayFipAnswer()
    {
    }

    /// <summary>Whether the text has the form of fields at all.</summary>
    public bool IsReadable { get; private init; } = true;

    /// <summary>Whether it has any field of PayFiP.</summary>
    public bool HasFields => _fields.Count > 0 || _faults.Count > 0;

    /// <summary>What is worth knowing of an answer that is taken; null when nothing is.</summary>
    public Fault? Remark => Text(EntryField) is "T" or "X" ? Fault.OfCode(EntryField, Text(EntryField), s_test) : null;

    /// <summary>Reads an answer: a JSON object, or form fields, perhaps with an address before them.</summary>
    public static PayFipAnswer Read(string text) => text.AsSpan().TrimStart() is ['{', ..] ? OfJson(text) : OfForm(text);

    /// <summary>The event, or why there is none.</summary>
    /// <param name="commune">The commune that is paid.</param>
    /// <param name="now">The time: nothing is answered after it.</param>
    /// <param name="faults">What is wrong; empty when there is an event.</param>
    /// <remarks>
    /// The subject is the payment's own reference: the creditor, the debt and the minute. (PayFiP's own, idOp, does not stand in every
    /// form of the answer, and the same payment must have the same subject in all.) The id is
    /// a hash of that and of what was answered, so the same answer is one event in whatever form and order it comes; not of the
    /// e-mail address, so that nobody can try addresses on it.
    /// </remarks>
    public CloudEvent? Event(CommuneCode commune, DateTimeOffset now, out IReadOnlyList<Fault> faults)
    {
        var found = new List<Fault>(_faults);
        faults = found;
        if (!IsReadable) return null;
        var reference = Checked(ReferenceField, s_noReference, text => text.Length is >= 6 and <= 30 && text.All(char.IsAsciiLetterOrDigit), found);
        var amount = Checked(AmountField, s_noAmount, text => text.Length <= 18 && IsDigits(text) && long.Parse(text, CultureInfo.InvariantCulture) <= Cents.Max, found);
        var answeredAt = AnsweredAt(now, found);
        var outcome = Outcome(found);
        var payment = Payment(reference, found);
        if (found.Count > 0) return null;

        var answered = new OnlinePaymentAnswered(reference, new Cents(long.Parse(amount, CultureInfo.InvariantCulture)), answeredAt, outcome)
        {
            Personal = IsEmail(Text(EmailField)) ? new PayerPersonal(Text(EmailField)) : null,
        };
        var subject = $"online-payment/{payment}";
        var id = ContentHash.Of(IdLength, subject, reference, amount.TrimStart('0'), answeredAt.ToString("O", CultureInfo.InvariantCulture), outcome.ToString());
        return CloudEvent.Create(answered, id, new EventSource(commune, SourceSystem), subject, answeredAt);
    }

    private static PayFipAnswer OfJson(string text)
    {
        try
        {
            using var json = JsonDocument.Parse(text, s_json);
            if (json.RootElement.ValueKind != JsonValueKind.Object) return Unreadable();
            var answer = new PayFipAnswer();
            foreach (var property in json.RootElement.EnumerateObject())
            {
                if (Known(property.Name) is not { } field || property.Value.ValueKind == JsonValueKind.Null) continue;
                if (property.Value.ValueKind == JsonValueKind.String) answer.Add(field, property.Value.GetString()!);
                else if (property.Value.ValueKind == JsonValueKind.Number) answer.Add(field, Padded(field, property.Value.GetRawText()));
                else answer._faults.Add(Fault.Of(field, s_notText));
            }

            return answer;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // The latter: half a surrogate pair in a name or a value.
            return Unreadable();
        }
    }

    private static PayFipAnswer OfForm(string text)
    {
        var answer = new PayFipAnswer();
        var equals = text.IndexOf('=', StringComparison.Ordinal);
        if (text.IndexOf('?', StringComparison.Ordinal) is >= 0 and var question && question < equals) text = text[(question + 1)..];
        foreach (var pair in text.Split('&'))
        {
            if (pair.IndexOf('=', StringComparison.Ordinal) is > 0 and var parting && Known(Decoded(pair[..parting])) is { } field)
                answer.Add(field, Decoded(pair[(parting + 1)..]));
        }

        return answer;
    }

    private static PayFipAnswer Unreadable()
    {
        var answer = new PayFipAnswer { IsReadable = false };
        answer._faults.Add(Fault.Of("", s_notJson));
        return answer;
    }

    private static string? Known(string name) => Array.Find(s_fields, field => string.Equals(field, name.Trim(), StringComparison.OrdinalIgnoreCase));

    private static string Decoded(string text) => Uri.UnescapeDataString(text.Replace('+', ' '));

    // A number has lost the zeros before it.
    private static string Padded(string field, string number) => field switch
    {
        DateField => number.PadLeft(8, '0'),
        TimeField => number.PadLeft(4, '0'),
        ClientField => number.PadLeft(6, '0'),
        _ => number,
    };

    private static bool IsDigits(string text) => text.Length > 0 && !text.AsSpan().ContainsAnyExceptInRange('0', '9');

    private static bool IsEmail(string text) =>
        text.Length is > 2 and <= MaxEmailLength && text.IndexOf('@', StringComparison.Ordinal) is > 0 and var at && at == text.LastIndexOf('@') && at < text.Length - 1
        && !text.Any(c => char.IsControl(c) || char.IsWhiteSpace(c) || char.IsSurrogate(c));

    private void Add(string field, string value)
    {
        value = value.Trim();
        if (!_fields.TryAdd(field, value) && _fields[field] != value) _faults.Add(Fault.Of(field, s_twice));
    }

    private string Text(string field) => _fields.GetValueOrDefault(field, "");

    private string Checked(string field, Reason reason, Func<string, bool> isSound, List<Fault> faults)
    {
        var text = Text(field);
        if (text.Length == 0) faults.Add(Fault.Of(field, Reason.Missing));
        else if (!isSound(text)) faults.Add(Fault.OfCode(field, text, reason));
        return text;
    }

    private string Payment(string reference, List<Fault> faults)
    {
        var client = Checked(ClientField, s_noClient, text => text.Length == 6 && IsDigits(text), faults);
        return $"{client}-{reference}-{Text(DateField)}-{Text(TimeField)}";
    }

    // The page tells the time of the clocks in France. An hour that the clocks leave out in March is as many minutes after the change;
    // one that they go through twice in October is the first of the two.
    private DateTimeOffset AnsweredAt(DateTimeOffset now, List<Fault> faults)
    {
        DateOnly date = default;
        TimeOnly time = default;
        var before = faults.Count;
        Checked(DateField, s_noDate, text => DateOnly.TryParseExact(text, "ddMMyyyy", CultureInfo.InvariantCulture, DateTimeStyles.None, out date) && date.Year > 1, faults);
        Checked(TimeField, s_noTime, text => TimeOnly.TryParseExact(text, "HHmm", CultureInfo.InvariantCulture, DateTimeStyles.None, out time), faults);
        if (faults.Count > before) return default;
        var clock = date.ToDateTime(time);
        var offset = ParisTime.Zone.IsAmbiguousTime(clock) ? ParisTime.Zone.GetAmbiguousTimeOffsets(clock).Max() : ParisTime.Zone.GetUtcOffset(clock);
        var at = TimeZoneInfo.ConvertTime(new DateTimeOffset(clock, offset), ParisTime.Zone);
        if (at > now.AddDays(1)) faults.Add(Fault.OfCode(DateField, Text(DateField), s_future));
        return at;
    }

    private OnlinePaymentOutcome Outcome(List<Fault> faults) =>
        Checked(OutcomeField, s_noOutcome, text => text is "P" or "V" or "A" or "R" or "Z", faults) switch
        {
            "P" => OnlinePaymentOutcome.CardPaid,
            "V" => OnlinePaymentOutcome.DirectDebitPaid,
            "A" => OnlinePaymentOutcome.Abandoned,
            _ => OnlinePaymentOutcome.Refused,
        };
}
