using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using Intercommunalite.Contracts;

namespace Intercommunalite.Hub.EventStore;

/// <summary>How callers name types of events: one by its name, or several by the beginning of their names with <c>*</c> behind.</summary>
internal static class TypePattern
{
    /// <summary>What is said when it is written otherwise.</summary>
    public const string Form = "a type's name, or its beginning with '*' behind, expected";

    private const int LongestName = 100;

    private static readonly SearchValues<char> s_characters = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789.-");

    /// <summary>The pattern as SQL's LIKE takes it; false when it is none.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out string? like)
    {
        var prefix = text.EndsWith('*') ? text[..^1] : text;
        like = prefix.Length == 0 || prefix.AsSpan().ContainsAnyExcept(s_characters) ? null : text.EndsWith('*') ? $"{prefix}%" : prefix;
        return like is not null;
    }

    /// <summary>The types of the catalogue that a pattern means; none when it is no pattern.</summary>
    public static IEnumerable<EventType> Types(string text) =>
        !TryParse(text, out _) ? []
        : text.EndsWith('*') ? Catalogue.All.Where(type => type.Name.StartsWith(text[..^1], StringComparison.Ordinal))
        : Catalogue.Find(text) is { } type ? [type] : [];

    /// <summary>What is said of a pattern that means no type of the catalogue: it, and the three types that have most of it in common.</summary>
    public static string Unknown(string text)
    {
        var asked = text.TrimEnd('*');
        if (asked.Length > LongestName) asked = asked[..LongestName];
        var near = Catalogue.All.Select(type => type.Name).OrderByDescending(name => InCommon(asked, name)).Take(3);
        return $"there is no type {(text.EndsWith('*') ? "that begins with" : "named")} \"{asked}\"; near to it are {string.Join(", ", near)}";
    }

    // How long the longest text is that occurs in both.
    private static int InCommon(string one, string other)
    {
        var longest = 0;
        for (var from = 0; from < one.Length; from++)
        {
            while (from + longest < one.Length && other.AsSpan().Contains(one.AsSpan(from, longest + 1), StringComparison.Ordinal)) longest++;
        }

        return longest;
    }
}
