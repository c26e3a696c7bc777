namespace Intercommunalite.Hub.EventStore;

/// <summary>
/// A version of a projection's figures: tables of the same shape, each in a schema named after its own, and a position of its own.
/// A projection writes one version at a time, and does not know which.
/// </summary>
/// <param name="Suffix">What is behind the names of the schemas; empty for the one in service.</param>
internal sealed record FiguresVersion(string Suffix)
{
    // As much of a build's name as fits into that of a schema, and tells it from others.
    private const int BuildLength = 12;

    /// <summary>The one that queries read.</summary>
    public static FiguresVersion InService { get; } = new("");

    /// <summary>The one that a rebuild makes, to be put into service.</summary>
    public static FiguresVersion Next { get; } = new("_next");

    /// <summary>The figures as they were when the store was at a position, as this build of the hub makes them; see <see cref="PastVersions"/>.</summary>
    public static FiguresVersion At(long position) => At(position, Rebuilder.Build);

    /// <summary>The same, of any build.</summary>
    public static FiguresVersion At(long position, string build) => new($"_at_{position}_{string.Concat(build.Where(char.IsAsciiLetterOrDigit).Take(BuildLength))}");

    /// <summary>A table of this version.</summary>
    /// <param name="table"><c>schema.table</c> of the one in service.</param>
    public string Of(string table) => table.Insert(table.IndexOf('.', StringComparison.Ordinal), Suffix);

    /// <summary>Name of its row in Marten's table of positions.</summary>
    public string Shard(string projection) => Suffix.Length == 0 ? Positions.Shard(projection) : $"{projection}:{Suffix[1..]}";
}
