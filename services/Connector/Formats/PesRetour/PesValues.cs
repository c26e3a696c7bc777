using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>Values as a PES writes them. Each is read, or a fault is added to a list.</summary>
internal static class PesValues
{
    private const int MaxDigits = 18;
    // Five such texts make an address, which an event holds in 1,000 characters.
    private const int MaxTextLength = 160;

    private static readonly Reason s_noAmount = new(
        "un montant en euros est attendu : des chiffres, et un point devant les centimes", "an amount in euros expected: digits, and a point before the cents", Advice.Correct);

    private static readonly Reason s_negative = new("un montant négatif n'est pas pris", "a negative amount is not taken", Advice.Correct);

    private static readonly Reason s_fractions = new("plus fin que le centime", "finer than a cent", Advice.Correct);

    private static readonly Reason s_tooMuch = new(
        "au-delà de 999 999 999,99 €", "beyond 999,999,999.99 €", Advice.Correct);

    private static readonly Reason s_noNumber = new($"un numéro de {MaxDigits} chiffres au plus est attendu", $"a number of {MaxDigits} digits at most expected", Advice.Correct);

    private static readonly Reason s_noYear = new("une année de quatre chiffres est attendue", "a year of four digits expected", Advice.Correct);

    private static readonly Reason s_noDate = Reason.NoDate("AAAA-MM-JJ");

    private static readonly Reason s_future = new("dans le futur", "in the future", Advice.Correct);

    /// <summary>
    /// Reads an amount in cents: <c>150</c>, <c>230.3</c>, <c>11119.07</c>, <c>1.500</c>.
    /// </summary>
    /// <param name="text">The value; null when it is absent.</param>
    /// <param name="cents">The amount, as an event may carry it.</param>
    /// <returns>What is wrong; null when nothing is.</returns>
    public static Reason? Amount(string? text, out long cents)
    {
        cents = 0;
        var rest = text.AsSpan().Trim();
        if (rest.IsEmpty) return Reason.Missing;
        var point = rest.IndexOf('.');
        var whole = point < 0 ? rest : rest[..point];
        var part = point < 0 ? default : rest[(point + 1)..];
        if (whole is ['-', ..] && IsDigits(whole[1..])) return s_negative;
        if (!IsDigits(whole) || (point >= 0 && !IsDigits(part))) return s_noAmount;
        part = part.TrimEnd('0');
        whole = whole.TrimStart('0');
        if (part.Length > 2) return s_fractions;
        if (whole.Length > MaxDigits - 2) return s_tooMuch;
        foreach (var digit in whole) cents = (cents * 10) + (digit - '0');
        cents = (cents * 100) + (part.Length > 0 ? (part[0] - '0') * 10 : 0) + (part.Length > 1 ? part[1] - '0' : 0);
        return cents > Cents.Max ? s_tooMuch : null;
    }

    /// <summary>Reads an amount, or adds a fault.</summary>
    public static long Amount(string field, string? text, List<Fault> faults) => Checked(field, text, Amount(text, out var cents), faults) ? cents : 0;

    /// <summary>Reads an amount that may be absent, which is nothing; or adds a fault.</summary>
    public static long AmountOrNothing(string field, string? text, List<Fault> faults) => text is null ? 0 : Amount(field, text, faults);

    /// <summary>The sum of amounts that were read, or a fault of the first of them when no event can carry it.</summary>
    public static Cents Sum(string field, string? text, long one, long other, List<Fault> faults)
    {
        if (one + other <= Cents.Max) return new Cents(one + other);
        Checked(field, text, s_tooMuch, faults);
        return default;
    }

    /// <summary>
    /// Reads a number that identifies something. Leading zeros are dropped: the schemas have these as numbers, and software pads
    /// them or not.
    /// </summary>
    public static string Number(string field, string? text, List<Fault> faults)
    {
        var digits = text.AsSpan().Trim();
        var reason = digits.IsEmpty ? Reason.Missing : digits.Length > MaxDigits || !IsDigits(digits) ? s_noNumber : null;
        if (!Checked(field, text, reason, faults)) return "";
        digits = digits.TrimStart('0');
        return digits.IsEmpty ? "0" : digits.ToString();
    }

    /// <summary>Reads a year of the accounts (exercice).</summary>
    public static string Year(string field, string? text, List<Fault> faults)
    {
        var digits = text.AsSpan().Trim();
        return Checked(field, text, digits.IsEmpty ? Reason.Missing : digits.Length != 4 || !IsDigits(digits) ? s_noYear : null, faults) ? digits.ToString() : "";
    }

    /// <summary>Reads a date, <c>AAAA-MM-JJ</c>, which is not after tomorrow.</summary>
    public static DateOnly Date(string field, string? text, DateTimeOffset now, List<Fault> faults)
    {
        DateOnly date = default;
        var trimmed = text.AsSpan().Trim();
        var reason = trimmed.IsEmpty ? Reason.Missing
            : !DateOnly.TryParseExact(trimmed, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out date) ? s_noDate
            : date > DateOnly.FromDateTime(now.UtcDateTime.AddDays(1)) ? s_future
            : null;
        return Checked(field, text, reason, faults) ? date : default;
    }

    /// <summary>
    /// Takes a text of a person: blanks and control characters become single blanks. Null when nothing is left; a fault, without
    /// the value, when it is longer than any schema allows.
    /// </summary>
    public static string? Personal(string field, string? text, List<Fault> faults)
    {
        if (text is null) return null;
        if (text.Length > MaxTextLength)
        {
            faults.Add(Fault.Of(field, Reason.LongerThan(MaxTextLength)));
            return null;
        }

        if (text.AsSpan().ContainsAnyInRange('\0', '\u001F') || text.AsSpan().ContainsAnyInRange('\u007F', '\u009F') || text.Contains("  ", StringComparison.Ordinal))
            text = string.Join(' ', string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c)).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        return text.Trim() is { Length: > 0 } trimmed ? trimmed : null;
    }

    private static bool IsDigits(ReadOnlySpan<char> text) => !text.IsEmpty && !text.ContainsAnyExceptInRange('0', '9');

    private static bool Checked(string field, string? text, [NotNullWhen(false)] Reason? reason, List<Fault> faults)
    {
        if (reason is null) return true;
        faults.Add(string.IsNullOrEmpty(text) ? Fault.Of(field, reason) : Fault.OfCode(field, text, reason));
        return false;
    }
}
