namespace Intercommunalite.Connector.Formats;

/// <summary>Blanks as files have them: white space, and NUL, with which some exports fill fields up.</summary>
internal static class Blanks
{
    /// <summary>Whether a character is one.</summary>
    public static bool Is(char c) => c == '\0' || char.IsWhiteSpace(c);

    /// <summary>Takes them off both ends.</summary>
    public static string Trim(string field)
    {
        var (begin, end) = (0, field.Length);
        while (begin < end && Is(field[begin])) begin++;
        while (end > begin && Is(field[end - 1])) end--;
        return field[begin..end];
    }
}
