using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;

namespace Intercommunalite.Connector.Tests.Formats;

/// <summary>What readers are given beside a file.</summary>
internal static class SampleFiles
{
    /// <summary>The context of a file taken on 24 November 2026.</summary>
    /// <param name="commune">The only commune whose records are taken.</param>
    /// <param name="settings">What is told beside the file.</param>
    public static ImportContext Context(string? commune = null, params (string Name, string Value)[] settings) => new(
        commune is null ? null : CommuneCode.Parse(commune),
        new DateTimeOffset(2026, 11, 24, 9, 30, 0, TimeSpan.FromHours(1)),
        settings.ToDictionary(setting => setting.Name, setting => setting.Value));
}
