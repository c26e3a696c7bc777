namespace Intercommunalite.Testing;

/// <summary>
/// Where this checkout lies.
/// </summary>
public static class RepositoryRoot
{
    private const string Marker = "Intercommunalite.Hub.sln";

    /// <summary>
    /// The folder that holds the solution, found by walking up from the test's assembly.
    /// </summary>
    public static string Directory { get; } = Find();

    /// <summary>
    /// A file or folder of the checkout.
    /// </summary>
    /// <param name="parts">The names on the way to it, from the root.</param>
    public static string Combine(params ReadOnlySpan<string> parts) => Path.Combine([Directory, .. parts]);

    private static string Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, Marker)))
                return folder.FullName;

        throw new InvalidOperationException($"No folder above {AppContext.BaseDirectory} holds {Marker}.");
    }
}
