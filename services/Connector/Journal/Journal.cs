using Intercommunalite.ServiceDefaults;

namespace Intercommunalite.Connector.Journal;

/// <summary>
/// How much the journals may hold; section <c>Journal</c>. Past any of these limits a journal accepts nothing, so that the disk
/// never fills up under what was accepted. It goes on by itself once it is below.
/// </summary>
internal sealed class JournalOptions
{
    /// <summary>
    /// Most bytes that a commune's journal may use, events received but still retained included. Pages freed by deletions are
    /// used again and do not count; the write-ahead log, some MB, comes on top.
    /// </summary>
    public long MaxSize { get; init; } = 4L << 30;

    /// <summary>How long the oldest event that the hub has not received may have waited.</summary>
    public TimeSpan MaxUnreceivedAge { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Bytes that stay free on the file system: for the notes on what was received, without which nothing could be deleted.</summary>
    public long MinFreeDisk { get; init; } = 512L << 20;
}

/// <summary>Registers the journals and their limits.</summary>
internal static class Journal
{
    public static WebApplicationBuilder AddJournal(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton(builder.Configuration.GetSection("Journal").Get<JournalOptions>() ?? new JournalOptions());
        builder.Services.AddSingleton<Journals>();
        builder.Services.AddSingleton<JournalLimits>();
        builder.Services.AddHealthChecks().AddCheck<JournalLimits>("journal", tags: [Defaults.Ready]);
        return builder;
    }
}
