namespace Intercommunalite.Testing;

/// <summary>
/// Sample files that are too large or not licensed to be part of the repository. They lie beside the checkout, in
/// <c>../shared/data</c>, on machines that have them; a test that needs one is skipped elsewhere.
/// </summary>
public static class SharedData
{
    /// <summary>
    /// The folder of sample files, or null where there is none.
    /// </summary>
    public static string? Directory { get; } = Find();

    /// <summary>
    /// The path of a sample file, or null where it does not exist.
    /// </summary>
    /// <param name="parts">The names on the way to it, from the folder of sample files.</param>
    public static string? File(params ReadOnlySpan<string> parts)
    {
        if (Directory is null)
            return null;

        var path = Path.Combine([Directory, .. parts]);
        return System.IO.File.Exists(path) ? path : null;
    }

    /// <summary>Why tests on the shared files cannot run; null when they can.</summary>
    public static string? Missing { get; } = Directory is null ? "The folder of shared sample files is not beside the repository." : null;

    private static string? Find()
    {
        var path = Path.GetFullPath(RepositoryRoot.Combine("..", "shared", "data"));
        return System.IO.Directory.Exists(path) ? path : null;
    }
}
