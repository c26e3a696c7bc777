using System.Globalization;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Formats.Rolls;

/// <summary>What must be told beside a state file, since the file does not say it: the school and the school year.</summary>
internal static class RollSettings
{
    /// <summary>The setting that names the school.</summary>
    public const string Uai = "uai";

    /// <summary>The setting that names the school year, by the year in which it starts.</summary>
    public const string SchoolYear = "schoolYear";

    private const int FirstYear = 2000;
    private const int LastYear = 2100;
    private const int PreparedFrom = 7;
    private const int StartsIn = 9;

    private static readonly Reason s_noCommune = new(
        "Le fichier ne dit pas de quelle commune est l'école.", "The file does not say which commune the school is of.",
        new(
            "Envoyez-le à /communes/{code INSEE}/files/…, ou déposez-le dans le dossier de la commune.",
            "Send it to /communes/{INSEE code}/files/…, or put it into the commune's folder."));

    private static readonly Reason s_noSchool = new(
        "Le fichier ne dit pas de quelle école il est.", "The file does not say which school it is of.",
        new(
            "Donnez l'UAI de l'école : ?uai=0350122T, ou un dossier de dépôt de ce nom.",
            "Give the school's UAI: ?uai=0350122T, or a drop folder of that name."));

    private static readonly Reason s_noUai = new(
        "Le paramètre uai n'est pas une UAI : sept chiffres et une lettre sont attendus.", "The setting uai is not a UAI: seven digits and a letter expected.",
        new("Corrigez l'UAI, par exemple 0350122T.", "Correct the UAI, for example 0350122T."));

    private static readonly Reason s_noYear = new(
        $"Le paramètre schoolYear n'est pas une année de rentrée ({FirstYear} à {LastYear}).",
        $"The setting schoolYear is not the year in which a school year starts ({FirstYear} to {LastYear}).",
        new("Donnez l'année de la rentrée : 2026 pour 2026-2027.", "Give the year of its start: 2026 for 2026-2027."));

    /// <summary>Why a file cannot be read with what was told beside it; null when it can.</summary>
    /// <param name="context">What is known beside the file.</param>
    /// <param name="needsSchool">Whether the school must be told.</param>
    public static Reason? Refuses(ImportContext context, bool needsSchool)
    {
        if (context.Commune is null) return s_noCommune;
        if (!context.Settings.TryGetValue(Uai, out var uai))
        {
            if (needsSchool) return s_noSchool;
        }
        else if (!TryUai(uai, out _))
        {
            return s_noUai;
        }

        return context.Settings.TryGetValue(SchoolYear, out var year) && !TryYear(year, out _) ? s_noYear : null;
    }

    /// <summary>The school that was told; null when none was.</summary>
    public static Uai? SchoolOf(ImportContext context) => context.Settings.TryGetValue(Uai, out var text) && TryUai(text, out var uai) ? uai : null;

    /// <summary>
    /// The school year that was told, else the one of the day on which the file was taken. In July and August that is the coming
    /// one: pupils who leave are gone by then, and what offices work on is the next.
    /// </summary>
    /// <param name="context">What is known beside the file.</param>
    /// <param name="remark">In these two months, that the year was guessed; else null.</param>
    public static SchoolYear YearOf(ImportContext context, out RemarkRecord? remark)
    {
        remark = null;
        if (context.Settings.TryGetValue(SchoolYear, out var text) && TryYear(text, out var told)) return told;
        var day = ParisTime.DayOf(context.TakenAt);
        if (day.Month is < PreparedFrom or >= StartsIn) return Contracts.SchoolYear.At(day);
        remark = new RemarkRecord(1, Fault.OfCode(SchoolYear, Invariant(day.Year), new(
            $"l'année scolaire n'est pas donnée : {day.Year}-{day.Year + 1} est supposée",
            $"the school year is not given: {day.Year}-{day.Year + 1} is assumed",
            new($"Si le fichier est de l'année qui finit, renvoyez-le avec schoolYear={day.Year - 1}.", $"If the file is of the year that ends, send it with schoolYear={day.Year - 1}."))));
        return new SchoolYear(day.Year);
    }

    /// <summary>Reads a UAI, in whatever case.</summary>
    public static bool TryUai(string text, out Uai uai) => Contracts.Uai.TryParse(text.Trim().ToUpperInvariant(), out uai);

    private static bool TryYear(string text, out SchoolYear year)
    {
        var read = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var start);
        year = new SchoolYear(start);
        return read && start is >= FirstYear and <= LastYear;
    }

    private static string Invariant(int number) => number.ToString(CultureInfo.InvariantCulture);
}
