namespace Intercommunalite.Connector.Tests;

/// <summary>A folder of its own for a test, deleted with all in it when disposed.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string FullPath { get; } = Directory.CreateTempSubdirectory("connector-tests-").FullName;

    public string Combine(params ReadOnlySpan<string> parts) => Path.Combine([FullPath, .. parts]);

    public void Dispose() => Directory.Delete(FullPath, recursive: true);
}
