namespace Intercommunalite.Connector.Formats;

/// <summary>Why something of a file was not taken, for whoever sent it. It holds no personal data.</summary>
/// <param name="French">What is wrong and what is expected, in French.</param>
/// <param name="English">The same in English.</param>
/// <param name="ToDo">What to do about it.</param>
internal sealed record Reason(string French, string English, Advice ToDo)
{
    /// <summary>The same as a sentence, where it stands alone: <see cref="French"/> or <see cref="English"/>.</summary>
    public static string Sentence(string text) => text.Length == 0 ? text : $"{char.ToUpperInvariant(text[0])}{text[1..].TrimEnd('.', ' ')}.";

    /// <summary>The file is cut off or broken at this place; what is behind it was not read.</summary>
    public static Reason CutOff { get; } = new(
        "le fichier est coupé ou abîmé à cet endroit ; la suite n'a pas été lue",
        "the file is cut off or broken here; what is behind was not read",
        Advice.SendWhole);

    /// <summary>Nothing in it.</summary>
    public static Reason EmptyFile { get; } = new("Le fichier est vide.", "The file is empty.", Advice.SendWhole);

    /// <summary>A quote that does not end its field.</summary>
    public static Reason OpenQuote { get; } = new(
        "un guillemet n'est pas fermé, ou se trouve dans un champ sans être doublé",
        "a quote is not closed, or stands inside a field without being doubled",
        Advice.Correct);

    /// <summary>Characters that no text holds.</summary>
    public static Reason ControlCharacters { get; } = new("caractères de contrôle", "control characters", Advice.Correct);

    /// <summary>A field that must hold something is empty.</summary>
    public static Reason Missing { get; } = new("le champ est vide", "the field is empty", Advice.Correct);

    /// <summary>A date that the calendar does not have, or in another form.</summary>
    /// <param name="form">The form expected: <c>JJ/MM/AAAA</c>.</param>
    public static Reason NoDate(string form) => new($"cette date n'existe pas ; {form} attendu", $"no such date; {form} expected", Advice.Correct);

    /// <summary>A value or a line that is too long.</summary>
    public static Reason LongerThan(int length, string unit = "caractères", string unitInEnglish = "characters") =>
        new($"plus long que {length} {unit}", $"longer than {length} {unitInEnglish}", Advice.Correct);

    /// <summary>A line with more or fewer fields than its layout.</summary>
    public static Reason FieldCount(int found, int expected) =>
        new($"{found} champs, {expected} attendus", $"{found} fields, {expected} expected", Advice.Correct);

    /// <summary>A record of another commune than the one whose file it is.</summary>
    public static Reason OtherCommune(string owner, string expected) => new(
        $"d'une autre commune, {owner} : {expected} attendu", $"of another commune, {owner}: {expected} expected",
        new("Envoyez cet enregistrement avec le fichier de sa commune, ou le fichier sans préciser de commune.", "Send this record with its commune's file, or the file without naming a commune."));
}

/// <summary>What to do about a fault.</summary>
/// <param name="French">In French.</param>
/// <param name="English">In English.</param>
internal sealed record Advice(string French, string English)
{
    /// <summary>The usual one.</summary>
    public static Advice Correct { get; } = new(
        "Corrigez dans le logiciel d'origine, puis renvoyez le fichier entier : ce qui est déjà pris ne compte pas deux fois.",
        "Correct it in the software that wrote the file, then send the whole file again: what was taken already does not count twice.");

    /// <summary>For a file that did not come whole.</summary>
    public static Advice SendWhole { get; } = new(
        "Exportez de nouveau, vérifiez que le fichier est complet, et renvoyez-le : ce qui est déjà pris ne compte pas deux fois.",
        "Export again, check that the file is complete, and send it: what was taken already does not count twice.");

    /// <summary>For a file that is of another kind than said.</summary>
    public static Advice OtherFile { get; } = new(
        "Vérifiez le fichier et le format choisi, puis renvoyez-le.",
        "Check the file and the format that was named, then send it again.");
}
