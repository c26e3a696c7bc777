using Xunit;

namespace Intercommunalite.Testing;

/// <summary>A test on the shared sample files; skipped, with the reason, where they are not beside the repository.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SharedDataFactAttribute : FactAttribute
{
    /// <summary>Skips the test where the folder is missing.</summary>
    public SharedDataFactAttribute() => Skip = SharedData.Missing;
}

/// <summary>The same with several sets of data.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class SharedDataTheoryAttribute : TheoryAttribute
{
    /// <summary>Skips the test where the folder is missing.</summary>
    public SharedDataTheoryAttribute() => Skip = SharedData.Missing;
}
